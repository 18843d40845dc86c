"""Saved states of a run, from which it goes on to the same bits as if it had never stopped.

    OUTPUT.run/state-00000500.safetensors
        tensors: adapter, the optimiser's means and bases, the best adapter so far
        metadata: the run's history, and what run it is

Frozen weights are never saved: at xmod-base's shape the adapter and Adam's means are 85 MB, the
optimiser's bases and their statistics 113 MB, and an earlier adapter that was the best 28 MB.
Masks, order and dropout need no state, because each step's are a function of (seed, step).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmod_extend.errors import UsageError
from xmod_extend.model.tensors import tensor_bytes, tensor_info, write_safetensors
from xmod_extend.training.history import History

if TYPE_CHECKING:
    import torch

FINISHED_NAME = "finished.safetensors"
"""A trained adapter that waits for others, to be written into one checkpoint with them."""
NUM_KEPT = 2
_VERSION = "1"
_NAME = re.compile(r"state-(\d{8,})\.safetensors")

Identity = Mapping[str, Any]
"""What a run is, as plain values under the names that a user knows: the same for its resumption."""


@dataclass(frozen=True)
class SavedState:
    """A state as it was read back."""

    tensors: dict[str, torch.Tensor]
    history: History
    counts: dict[str, float]


class StateFolder:
    """The folder of one run's states.

    Args:
        path: Made with the first state.
        identity: What the run is; a state of another run is refused.
    """

    def __init__(self, path: Path, identity: Identity) -> None:
        self.path = path
        self._identity = json.loads(json.dumps(identity))
        self._made: list[Path] = []

    def make(self) -> None:
        """Makes the folder, and notes which folders above it were not there."""
        self._made += [folder for folder in self.path.parents if not folder.exists()]
        self.path.mkdir(parents=True, exist_ok=True)

    def save(
        self, tensors: Mapping[str, torch.Tensor], history: History, counts: Mapping[str, float]
    ) -> Path:
        """Writes a state in one piece, and removes all but the newest two.

        A process that is killed at any moment leaves the states before, or this one whole.
        """
        metadata = {
            "version": _VERSION,
            "identity": json.dumps(self._identity),
            "history": json.dumps(history.to_json()),
            "counts": json.dumps(counts),
        }
        self.make()
        path = self.path / f"state-{history.steps_done:08}.safetensors"
        _write_tensors(path, tensors, metadata)
        for old in saved_states(self.path)[:-NUM_KEPT]:
            old.unlink()
        return path

    def load_newest(self) -> SavedState | None:
        """The newest state that is whole, or None if there is none.

        Raises:
            UsageError: It belongs to another run; the sentence names what differs.
        """
        for path in reversed(saved_states(self.path)):
            state = self._load(path)
            if state is not None:
                return state
        return None

    def finish(self, tensors: Mapping[str, torch.Tensor], about: str) -> None:
        """Writes what training gave, and `about` it, in the place of the states."""
        metadata = {
            "version": _VERSION,
            "identity": json.dumps(self._identity),
            "about": about,
        }
        self.make()
        _write_tensors(self.path / FINISHED_NAME, tensors, metadata)
        for state in saved_states(self.path):
            state.unlink()

    def is_finished(self) -> bool:
        """Whether this run has nothing left to train.

        Raises:
            UsageError: Another run has; the sentence names what differs.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path / FINISHED_NAME, framework="pt") as file:
                metadata = file.metadata() or {}
        except (SafetensorError, OSError):
            return False
        if metadata.get("version") != _VERSION:
            return False
        self._refuse_another_run(json.loads(metadata["identity"]))
        return True

    def remove(self) -> None:
        """Removes the folder with all that is in it, and the empty ones above that it made."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            for folder in self._made:
                folder.rmdir()

    def remove_if_stateless(self) -> None:
        """Removes the folder unless there is a state in it."""
        if not saved_states(self.path):
            self.remove()

    def _load(self, path: Path) -> SavedState | None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("version") != _VERSION:
                    return None
                self._refuse_another_run(json.loads(metadata["identity"]))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, json.JSONDecodeError):
            # Whatever is wrong with it, the state before may be whole.
            return None
        history = History.from_json(json.loads(metadata["history"]))
        return SavedState(tensors, history, json.loads(metadata["counts"]))

    def _refuse_another_run(self, saved: dict[str, Any]) -> None:
        names = [*self._identity, *(name for name in saved if name not in self._identity)]
        changes = [
            _change(name, saved.get(name), self._identity.get(name))
            for name in names
            if saved.get(name) != self._identity.get(name)
        ]
        if changes:
            raise UsageError(
                f"{self.path} is of another run: {'; '.join(changes)}.",
                hint="Resume with what it was started with, or start anew with --force.",
            )


def saved_states(folder: Path) -> list[Path]:
    """The states in a folder, the oldest first."""
    with suppress(OSError):
        found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(found, key=step_of)
    return []


def read_finished(folder: Path) -> tuple[dict[str, torch.Tensor], str]:
    """What `StateFolder.finish` wrote: the tensors, and what is said about them."""
    from safetensors import safe_open

    with safe_open(folder / FINISHED_NAME, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, file.metadata()["about"]


def begun_languages(run: Path) -> list[str]:
    """The languages that a run of several has a saved state or a finished adapter of."""
    with suppress(OSError):
        return sorted(
            folder.name
            for folder in run.iterdir()
            if saved_states(folder) or (folder / FINISHED_NAME).exists()
        )
    return []


def step_of(path: Path) -> int:
    """The optimiser steps that a saved state has behind it."""
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def run_folder(output: Path) -> Path:
    """Where the states of a run that writes `output` are."""
    return output.with_name(output.name + ".run")


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file that is whole or not there, even after a power cut."""
    with _written_aside(path) as temporary:
        temporary.write_bytes(content)


def _write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """Writes a safetensors file in one piece, without a copy of the tensors in memory."""
    with _written_aside(path) as temporary:
        entries = (
            (name, tensor_info(each), [tensor_bytes(each)]) for name, each in tensors.items()
        )
        write_safetensors(temporary, entries, metadata=metadata)


@contextmanager
def _written_aside(path: Path) -> Iterator[Path]:
    """Yields a file that gets the name `path` when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _change(name: str, before: Any, now: Any) -> str:
    if isinstance(now, str) and re.fullmatch(r"[0-9a-f]{32,}", now):
        return f"the {name} is not the same"
    return f"{name} was {_spell(before)} and is {_spell(now)}"


def _spell(value: Any) -> str:
    return "not given" if value is None else str(value)

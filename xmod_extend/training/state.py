"""Saved states of a run, from which it goes on to the same bits as if it had never stopped.

    OUTPUT.run/state-00000500.safetensors
        tensors: the values, the optimiser's averages and bases, the best values so far
        metadata: the run's history, and what run it is

Frozen weights are never saved: at xmod-base's shape the adapter and Adam's means are 85 MB, the
optimiser's bases and their statistics 113 MB, and an earlier adapter that was the best 28 MB.
Masks, order and dropout need no state, because each step's are a function of (seed, step).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmod_extend.errors import UsageError
from xmod_extend.files.atomic import atomic_file, os_error
from xmod_extend.files.ownership import RUN, read_mark
from xmod_extend.files.run_folder import (
    FINISHED_NAME,
    clear_states,
    mark_run,
    saved_states,
    state_name,
)
from xmod_extend.model.safetensors_files import write_safetensors
from xmod_extend.model.tensors import (
    tensor_bytes,
    tensor_info,
)
from xmod_extend.training.history import History

if TYPE_CHECKING:
    import torch

NUM_KEPT = 2
_VERSION = "2"

Identity = Mapping[str, Any]
"""A run's identity: plain values under the names that a user knows, the same when it is resumed."""


@dataclass(frozen=True)
class SavedState:
    """A state as it was read back."""

    tensors: dict[str, torch.Tensor]
    history: History
    counts: dict[str, float]


class StateFolder:
    """The folder of one run's states.

    Args:
        path: Made with the first thing that is kept in it.
        identity: What the run is; whatever another run left is refused.
    """

    def __init__(self, path: Path, identity: Identity) -> None:
        self.path = path
        self._identity = json.loads(json.dumps(identity))

    def begin(self) -> None:
        """Make the folder and note in it which run all of its files are of."""
        mark_run(self.path, identity=self._identity)

    def refuse_another_run(self) -> None:
        """Refuse to go on in the folder of another run, whatever is in it.

        Raises:
            UsageError: The sentence names what differs.
        """
        saved = (read_mark(self.path, RUN) or {}).get("identity")
        if saved is not None:
            self._refuse_another_run(saved)

    def save(
        self, tensors: Mapping[str, torch.Tensor], history: History, counts: Mapping[str, float]
    ) -> Path:
        """Write a state in one piece, and remove all but the newest two.

        A process that is killed at any moment leaves the states before, or this one whole.
        """
        metadata = {
            "version": _VERSION,
            "identity": json.dumps(self._identity),
            "history": json.dumps(history.to_json()),
            "counts": json.dumps(counts),
        }
        path = self.path / state_name(history.steps_done)
        _write_tensors(path, tensors, metadata)
        for old in saved_states(self.path)[:-NUM_KEPT]:
            old.unlink()
        return path

    def load_newest(self) -> SavedState | None:
        """Return the newest state that is whole, or None if there is none.

        Raises:
            UsageError: It belongs to another run; the sentence names what differs.
        """
        for path in reversed(saved_states(self.path)):
            state = self._load(path)
            if state is not None:
                return state
        return None

    def finish(self, tensors: Mapping[str, torch.Tensor], about: str) -> None:
        """Write what training gave, with a text about it, and remove the states."""
        metadata = {
            "version": _VERSION,
            "identity": json.dumps(self._identity),
            "about": about,
        }
        _write_tensors(self.path / FINISHED_NAME, tensors, metadata)
        for state in saved_states(self.path):
            state.unlink()

    def is_finished(self) -> bool:
        """Return whether this run has nothing left to train.

        Raises:
            UsageError: Another run has; the sentence names what differs.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path / FINISHED_NAME, framework="pt") as file:
                metadata = file.metadata() or {}
        except (SafetensorError, OSError):
            return False
        self._refuse_another_version(self.path / FINISHED_NAME, metadata)
        self._refuse_another_run(json.loads(metadata["identity"]))
        return True

    def clear(self) -> None:
        """Remove all that was saved; what else is in the folder stays."""
        clear_states(self.path)

    def _load(self, path: Path) -> SavedState | None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                self._refuse_another_version(path, metadata)
                self._refuse_another_run(json.loads(metadata["identity"]))
                tensors = _read_tensors(file)
        except (SafetensorError, OSError, KeyError, json.JSONDecodeError):
            # Whatever is wrong with it, the state before may be whole.
            return None
        history = History.from_json(json.loads(metadata["history"]))
        return SavedState(tensors, history, json.loads(metadata["counts"]))

    def _refuse_another_version(self, path: Path, metadata: Mapping[str, str]) -> None:
        if metadata.get("version") != _VERSION:
            raise UsageError(
                f"{path} was saved by another version of xmod-extend.",
                hint="Resume with that version, or start anew with --force alone.",
            )

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
                hint="Resume with what it was started with, or anew with --force alone.",
            )


def state_bytes(shapes: Iterable[Sequence[int]]) -> int:
    """Return what a state takes of an adapter whose tensors have these shapes, the best one
    included."""
    sizes = [
        4 * math.prod(shape) + (2 * max(shape) ** 2 if len(shape) == 2 else 0) for shape in shapes
    ]
    return 4 * sum(sizes)


def read_finished(folder: Path) -> tuple[dict[str, torch.Tensor], str]:
    """Return what `StateFolder.finish` wrote: the tensors, and what is said about them."""
    from safetensors import safe_open

    with safe_open(folder / FINISHED_NAME, framework="pt") as file:
        tensors = _read_tensors(file)
        return tensors, file.metadata()["about"]


def _read_tensors(file: Any) -> dict[str, torch.Tensor]:
    """Return the tensors of an open file, copied: Windows would not remove the file while it is
    mapped."""
    return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118


def _write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file in one piece, without a copy of the tensors in memory.

    Raises:
        UsageError: The file system refuses something; what was there before is left.
    """
    entries = (
        (name, tensor_info(tensor), [tensor_bytes(tensor)]) for name, tensor in tensors.items()
    )
    try:
        with atomic_file(path) as temporary:
            write_safetensors(temporary, entries, metadata=metadata)
    except OSError as error:
        raise os_error(error, path) from error


def _change(name: str, before: Any, now: Any) -> str:
    if isinstance(now, str) and re.fullmatch(r"[0-9a-f]{32,}", now):
        return f"the {name} is not the same"
    return f"{name} was {_spell(before)} and is {_spell(now)}"


def _spell(value: Any) -> str:
    return "not given" if value is None else str(value)

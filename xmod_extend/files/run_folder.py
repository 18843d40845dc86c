"""The folder OUTPUT.run: the states of a run until it has ended, and a lock.

    OUTPUT.run/                 of one language
        .xmod-extend.json       the mark: what run it is, and which process holds it
        .lock                   held by that process; the system lets go of it when the process dies
        state-00000500.safetensors, probe.safetensors, metrics.jsonl, learning_curve.json
    OUTPUT.run/                 of several languages
        .xmod-extend.json, .lock, written.json
        CODE/                   as for one language, without the lock; finished.safetensors

A folder without the mark is not the program's, and neither is any other file in one that has it.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xmod_extend.errors import UsageError
from xmod_extend.files.atomic import UNFINISHED_PATTERN, os_error
from xmod_extend.files.lock import has_name, release, try_lock
from xmod_extend.files.ownership import RUN, UNFINISHED_MARK, read_mark, remove_mark, write_mark

FINISHED_NAME = "finished.safetensors"
"""A trained adapter that waits for others, to be written into one checkpoint with them."""
PROBE_NAME = "probe.safetensors"
METRICS_NAME = "metrics.jsonl"
"""Live figures of the training, one JSON object a line."""
CURVE_NAME = "learning_curve.json"
"""The finished parts of a learning curve."""
WRITTEN_NAME = "written.json"
"""The record of the checkpoint that a run wrote without the languages that failed."""
LOCK_NAME = ".lock"

_STATE = re.compile(r"state-(\d{8,})\.safetensors")
_KEPT = re.compile(
    rf"{_STATE.pattern}|"
    + "|".join(map(re.escape, (FINISHED_NAME, PROBE_NAME, METRICS_NAME, CURVE_NAME, WRITTEN_NAME)))
)

_TRIES = 10
_SECONDS_BETWEEN_TRIES = 0.05


def run_folder(output: Path) -> Path:
    """Return the folder of the states of a run that writes `output`."""
    output = output.expanduser()
    if output.name in ("", ".."):
        output = output.resolve()
    return output.parent / f"{output.name}.run"


def saved_states(folder: Path) -> list[Path]:
    """Return the states in a folder, the oldest first."""
    with suppress(OSError):
        states = [path for path in folder.iterdir() if _STATE.fullmatch(path.name)]
        return sorted(states, key=step_of)
    return []


def step_of(state: Path) -> int:
    """Return the number of optimiser steps before a state was saved."""
    match = _STATE.fullmatch(state.name)
    assert match is not None
    return int(match[1])


def state_name(step: int) -> str:
    """Return the file name of the state that is saved after a step."""
    return f"state-{step:08}.safetensors"


def is_resumable(folder: Path) -> bool:
    """Return whether one language's folder has a state or a finished adapter."""
    return bool(saved_states(folder)) or (folder / FINISHED_NAME).exists()


def begun_languages(run: Path) -> list[str]:
    """Return the languages whose folders have a state or a finished adapter."""
    with suppress(OSError):
        return sorted(folder.name for folder in run.iterdir() if is_resumable(folder))
    return []


def what_is_saved(output: Path) -> str | None:
    """Describe what `--resume` would go on from, or return None if there is nothing."""
    run = run_folder(output)
    states, begun = saved_states(run), begun_languages(run)
    if states:
        return f"{run} holds the state saved after step {step_of(states[-1]):,}"
    return f"{run} holds the states of {', '.join(begun)}" if begun else None


def check_run_folder(folder: Path) -> None:
    """Refuse an OUTPUT.run or OUTPUT.run/CODE that the program did not make.

    Raises:
        UsageError: It is a file, a link, or a folder that the program did not make.
    """
    try:
        if folder.is_symlink():
            problem = "is a link"
        elif not folder.exists():
            return
        elif not folder.is_dir():
            problem = "is a file"
        elif read_mark(folder, RUN) or _is_new(folder) or _is_markless_run(folder):
            return
        else:
            name = min(entry.name for entry in folder.iterdir())
            problem = f"is a folder that xmod-extend did not make, with {name} in it"
    except FileNotFoundError:
        return  # Another run has just ended and removed it.
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    raise UsageError(
        f"{folder} {problem}; a run needs that name for its states.",
        hint="Choose another output folder, or move that elsewhere.",
    )


def check_not_locked(output: Path) -> None:
    """Refuse an output that another process is writing.

    Raises:
        UsageError: It is; the message names that process.
    """
    folder = run_folder(output)
    try:
        handle = os.open(folder / LOCK_NAME, os.O_RDWR)
    except OSError:
        return
    try:
        if not try_lock(handle):
            raise _locked_error(output, folder)
    finally:
        os.close(handle)


class RunFolder:
    """OUTPUT.run while it is locked by this process."""

    def __init__(self, output: Path) -> None:
        self.path = run_folder(output)
        self._measured: set[Path] = set()

    def remember(self) -> None:
        """Remember which folders have a probe already: a run that is refused keeps it."""
        folders = [self.path, *self._languages()]
        self._measured = {folder for folder in folders if (folder / PROBE_NAME).exists()}

    def clear(self) -> None:
        """Remove all states: the run has ended well or starts anew."""
        for folder in self._languages():
            clear_states(folder)
        clear_states(self.path)

    def leave(self, on_note: Callable[[str], None]) -> bool:
        """Remove what no run can go on from; return whether the folder is to be removed too."""
        kept = False
        for folder in self._languages():
            if self._is_useful(folder):
                kept = True
            elif _empty_folder(folder, on_note):
                folder.rmdir()
        return not (kept or self._is_useful(self.path)) and _empty_folder(self.path, on_note)

    def _is_useful(self, folder: Path) -> bool:
        return is_resumable(folder) or (folder in self._measured and (folder / PROBE_NAME).exists())

    def _languages(self) -> list[Path]:
        return [
            entry
            for entry in self.path.iterdir()
            if not entry.is_symlink()
            and entry.is_dir()
            and (read_mark(entry, RUN) or _is_markless_run(entry))
        ]


@contextmanager
def lock_run_folder(output: Path, on_note: Callable[[str], None]) -> Iterator[RunFolder]:
    """Make OUTPUT.run, and lock out every other process until the block ends.

    Where processes train one adapter together, the first one does it for all.

    Raises:
        UsageError: Another process has locked it, or the folder is not the program's.
    """
    run = RunFolder(output)
    if os.environ.get("RANK", "0") != "0":
        yield run
        return
    made = [folder for folder in run.path.parents if not folder.exists()]
    lock: int | None = None
    try:
        try:
            lock = _lock_folder(output, run.path)
        except OSError as error:
            raise os_error(error, run.path) from error
        run.remember()
        yield run
    finally:
        if lock is not None:
            is_removable = False
            with suppress(OSError):
                is_removable = run.leave(on_note)
            with suppress(OSError):
                # From here on another process may lock it; then the folder is not empty.
                release(lock, run.path / LOCK_NAME)
                if is_removable:
                    run.path.rmdir()
        for folder in made:
            with suppress(OSError):
                folder.rmdir()


def mark_run(folder: Path, **values: object) -> None:
    """Make a folder for a run's states if need be, and note `values` in its mark."""
    was_there = folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    mark = read_mark(folder, RUN)
    if mark is None:
        mark = {"was_there": was_there}
    write_mark(folder, RUN, **(mark | values))


def clear_states(folder: Path) -> None:
    """Remove a run's files from a folder; nothing else, and not the folder."""
    for entry in list(folder.iterdir()) if folder.is_dir() else ():
        unfinished = re.fullmatch(UNFINISHED_PATTERN, entry.name)
        name = unfinished[1] if unfinished else entry.name
        if _KEPT.fullmatch(name) and (entry.is_symlink() or not entry.is_dir()):
            entry.unlink(missing_ok=True)


def _empty_folder(folder: Path, on_note: Callable[[str], None]) -> bool:
    """Remove the program's files; return whether the folder is its own and empty."""
    clear_states(folder)
    mark = read_mark(folder, RUN) or {}
    remove_mark(folder)
    foreign = sorted(entry.name for entry in folder.iterdir() if entry.name != LOCK_NAME)
    if foreign:
        on_note(f"{folder} stays: it holds {', '.join(foreign)}, which xmod-extend did not make")
    return not foreign and not mark.get("was_there")


def _lock_folder(output: Path, folder: Path) -> int:
    """Make and lock the folder; return the open lock."""
    for _ in range(_TRIES):
        check_run_folder(folder)
        was_there = folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # Another run has just ended and removed the folder.
        try:
            if try_lock(handle) and has_name(handle, folder / LOCK_NAME):
                # Only the holder of the lock writes the mark.
                mark = read_mark(folder, RUN) or {"was_there": was_there}
                write_mark(folder, RUN, **(mark | {"process": _this_process()}))
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        time.sleep(_SECONDS_BETWEEN_TRIES)
    raise _locked_error(output, folder)


def _this_process() -> dict[str, object]:
    now = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return {"id": os.getpid(), "host": socket.gethostname(), "since": now}


def _locked_error(output: Path, folder: Path) -> UsageError:
    process = (read_mark(folder, RUN) or {}).get("process") or {}
    holder = " ".join(
        f"{word} {process[name]}"
        for word, name in (("process", "id"), ("on", "host"), ("since", "since"))
        if name in process
    )
    return UsageError(
        f"{output} is being written by another run ({holder or 'its process is unknown'}).",
        hint="Wait until it has ended, end it, or choose another output folder.",
    )


def _is_new(folder: Path) -> bool:
    """Return whether a folder holds at most a lock and an unfinished mark."""
    return {entry.name for entry in folder.iterdir()} <= {UNFINISHED_MARK, LOCK_NAME}


def _is_markless_run(folder: Path) -> bool:
    """Return whether a folder holds only states, as version 0.1.0 left them without a mark."""
    entries = list(folder.iterdir())
    states = [entry for entry in entries if entry.suffix == ".safetensors" and entry.is_file()]
    languages = [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
    others = [entry.name for entry in entries if entry not in languages]
    if not all(map(_KEPT.fullmatch, others)):
        return False
    if any(_is_state(state) for state in states):
        return not languages
    return bool(languages) and all(map(_is_markless_run, languages))


def _is_state(state: Path) -> bool:
    """Return whether a file's header says which run it belongs to."""
    try:
        with state.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, 1 << 20)))
        return "identity" in header["__metadata__"]
    except (OSError, ValueError, KeyError, TypeError):
        return False

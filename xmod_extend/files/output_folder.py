"""The output folder of a run: complete, or not there.

Everything is written to a hidden folder beside the target, flushed to the disk, and renamed. What a
process that was killed left behind is removed by the next one with the same target. Only what the
program made itself is ever replaced or removed.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from xmod_extend.errors import UsageError
from xmod_extend.files.atomic import OutputError, atomic_folder, os_error
from xmod_extend.files.ownership import (
    CHECKPOINT,
    UNFINISHED,
    Files,
    checkpoint_files,
    describe_files,
    find_foreign,
    is_empty,
    marked_files,
    read_mark,
    remove_files,
    write_mark,
)

_LONGEST_PROCESS_ID = 10
_LONGEST_INSIDE = "sub" * 40
"""No file name in the folders that are made is longer, such as a tokenizer's or
`CODE/.state-00000000.safetensors.writing-ID`."""


def check_target(output: Path, *, force: bool) -> None:
    """Refuse a target that must not be written to.

    With `force` only a checkpoint that the program wrote is ever replaced, and only if nothing in
    it was added or changed since.

    Raises:
        UsageError: The target is a file, is not empty, or holds something of the user's.
    """
    target = output.expanduser().resolve()
    try:
        if not target.exists():
            return
        if not target.is_dir():
            raise UsageError(f"{output} is a file.", hint="Give the name of a folder.")
        is_taken = any(target.iterdir())
        foreign = _find_foreign(target) if is_taken and force else None
    except OSError as error:
        raise os_error(error, output) from error
    # A new folder gets the name, and a shell would be left in one that is there no longer.
    if Path.cwd().is_relative_to(target):
        raise UsageError(
            f"{output} is or holds the current folder and is not replaced.",
            hint="Give the name of a folder in it.",
        )
    if target.is_mount():
        raise UsageError(
            f"{output} is a mount point, which cannot be replaced.",
            hint="Give the name of a folder in it.",
        )
    if is_taken and not force:
        raise OutputError(
            f"{output} exists and is not empty.",
            hint="Use --force to replace it, or choose another.",
            remedy="Move it elsewhere",
        )
    if foreign is not None:
        raise _not_replaced(output, foreign)


def check_writable(output: Path) -> Path:
    """Make and remove an empty folder beside `output`; return the nearest folder that exists.

    Raises:
        UsageError: Nothing can be made there, or a name that is needed is too long.
    """
    target = output.expanduser().resolve()
    try:
        parent = next(folder for folder in target.parents if folder.exists())
        _check_names(target, parent)
        probe = parent / f".{target.name}.probe-{_owner()}"
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise os_error(error, output) from error
    return parent


def _check_names(target: Path, parent: Path) -> None:
    """Let the file system refuse a name that is too long, by looking for it."""
    longest = f".{target.name}.replaced-{_host()}-{'9' * _LONGEST_PROCESS_ID}"
    missing = [folder.name for folder in target.parents if not folder.exists()]
    for path in (
        *(parent / name for name in [*missing, longest]),
        target.with_name(longest) / _LONGEST_INSIDE,
    ):
        with suppress(FileNotFoundError):
            path.lstat()


@contextmanager
def new_folder(output: Path, *, names: Iterable[str], force: bool) -> Iterator[Path]:
    """Yield an empty hidden folder that becomes `output` when the block ends without an error.

    Args:
        names: All files that may be written into it.
        force: Replace a checkpoint of the program's that is there.

    Raises:
        UsageError: The target must not be replaced, or the file system refuses something.
    """
    recover(output)
    check_target(output, force=force)
    check_writable(output)
    target = output.expanduser().resolve()
    temporary = target.with_name(f".{target.name}.writing-{_owner()}")
    made = [folder for folder in target.parents if not folder.exists()]
    planned: dict[str, dict[str, Any]] = {name: {} for name in names}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(
            target,
            temporary,
            replacing=_moved_away(target, output) if force else None,
            remove=lambda folder: remove_files(folder, planned),
        ):
            write_mark(temporary, UNFINISHED, files=planned)
            yield temporary
            write_mark(temporary, CHECKPOINT, files=describe_files(temporary))
    except OSError as error:
        raise os_error(error, output) from error
    finally:
        for folder in made:
            # Those that are not empty are in use: the output lies in them.
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def _moved_away(target: Path, output: Path) -> Iterator[None]:
    """Move a checkpoint away while another one gets its name, and back if none does."""
    replaced = target.with_name(f".{target.name}.replaced-{_owner()}")
    files: Files = {}
    try:
        if target.exists():
            target.rename(replaced)
            # Only from here on can nothing be added to it under its old name.
            files = checkpoint_files(replaced) or {}
            foreign = None if is_empty(replaced) else find_foreign(replaced, files)
            if foreign is not None:
                raise _not_replaced(output, foreign)
        yield
    except BaseException:  # an interrupt as well
        if replaced.exists() and not target.exists():
            replaced.rename(target)
        raise
    if replaced.exists():
        remove_files(replaced, files)


def _find_foreign(folder: Path) -> str | None:
    """Return why a folder is not, or not only, a checkpoint of the program's, in a sentence."""
    files = checkpoint_files(folder)
    if files is None:
        return "holds no checkpoint that xmod-extend wrote"
    return find_foreign(folder, files)


def _not_replaced(output: Path, foreign: str) -> OutputError:
    return OutputError(
        f"{output} {foreign}, and --force replaces nothing else.",
        hint="Move that elsewhere, or choose another output folder.",
        remedy="Move that elsewhere",
    )


def recover(output: Path) -> None:
    """Remove what dead processes left for an output, and restore what they moved away.

    Raises:
        UsageError: The file system refuses something.
    """
    target = output.expanduser().resolve()
    try:
        if target.parent.is_dir():
            _recover(target)
    except OSError as error:
        raise os_error(error, output) from error


def _recover(target: Path) -> None:
    prefix = re.escape(f".{target.name}.")
    pattern = re.compile(rf"{prefix}(writing|replaced|probe)-(.+)-(\d+)")
    for entry in list(target.parent.iterdir()):
        match = pattern.fullmatch(entry.name)
        # Nothing is known of a process on another machine that shares this disk.
        if match is None or match[2] != _host() or _is_running(int(match[3])):
            continue
        if entry.is_symlink() or not entry.is_dir():
            continue
        if is_empty(entry):
            remove_files(entry, [])
            continue
        unfinished = read_mark(entry, UNFINISHED)
        files = checkpoint_files(entry) if unfinished is None else marked_files(unfinished)
        if files is None:
            continue
        if match[1] == "replaced" and not target.exists():
            entry.rename(target)
        elif find_foreign(entry, files) is None:
            remove_files(entry, files)


def _is_running(process: int) -> bool:
    import psutil

    # On Windows, os.kill would end the process that it asks about.
    return process != os.getpid() and psutil.pid_exists(process)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname())[:40] or "host"


def _owner() -> str:
    return f"{_host()}-{os.getpid()}"

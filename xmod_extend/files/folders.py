"""A new folder that is either complete or not there.

Everything is written to a hidden folder beside the target, flushed to the disk, and renamed. What a
process that was killed left behind is put right by the next one with the same target. Only what the
program made itself is ever replaced or removed.
"""

from __future__ import annotations

import errno
import fnmatch
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from xmod_extend.errors import UsageError
from xmod_extend.files.atomic import OutputError, flush, os_error
from xmod_extend.files.ownership import (
    CHECKPOINT,
    UNFINISHED,
    Files,
    describe_files,
    find_foreign,
    is_empty,
    read_mark,
    remove_files,
    write_mark,
)

_FICLONE = 0x40049409
"""Linux's ioctl that makes a file share another's blocks."""

_NO_FAST_COPY = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY)

_LONGEST_PROCESS_ID = 10
_LONGEST_INSIDE = "sub" * 40
"""As long as any name in the folders that are made: `CODE/.state-00000000.safetensors.writing-ID`,
a tokenizer's file."""

_MARKLESS_NAMES = ("config.json", "model.safetensors.index.json", "README.md")
_MARKLESS_PATTERNS = (
    *("LICENSE*", "NOTICE*", "run.json", "run-*.json", "metrics.jsonl", "metrics-*.jsonl"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("*.model", "vocab.*"),
)
"""What version 0.1.0, which left no mark, wrote beside the weights."""
_MARKLESS_SECONDS = 10.0
"""Between the last file that version 0.1.0 wrote and any other, but for the weights before."""


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
        foreign = find_foreign_in_checkpoint(target) if is_taken and force else None
    except OSError as error:
        raise os_error(error, output) from error
    # A new folder takes the name, which would leave a shell in one that is not there any more.
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
        raise OutputError(
            f"{output} {foreign}, and --force replaces nothing else.",
            hint="Move that elsewhere, or choose another output folder.",
            remedy="Move that elsewhere",
        )


def find_foreign_in_checkpoint(folder: Path) -> str | None:
    """Return why a folder is not, or not only, a checkpoint of the program's, in a sentence."""
    files = _checkpoint_files(folder)
    if files is None:
        return "holds no checkpoint that xmod-extend wrote"
    return find_foreign(folder, files)


def _checkpoint_files(folder: Path) -> Files | None:
    mark = read_mark(folder, CHECKPOINT)
    return _markless_files(folder) if mark is None else mark.get("files", {})


def _markless_files(folder: Path) -> Files | None:
    """Return the files of a checkpoint that version 0.1.0 wrote, which left no mark, or None.

    It wrote the record last. What is newer, such as a card that was edited, is the user's.
    """
    try:
        record = folder / "run.json"
        if "xmod-extend" not in json.loads(record.read_text(encoding="utf-8"))["versions"]:
            return None
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        weights = set(index["weight_map"].values())
        last = record.stat().st_mtime + _MARKLESS_SECONDS
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    names = [entry.name for entry in folder.iterdir()]
    known = weights.union(_MARKLESS_NAMES)
    return {
        name: {"modified_before": last}
        for name in names
        if name in known or any(fnmatch.fnmatch(name, each) for each in _MARKLESS_PATTERNS)
    }


def check_writable(output: Path) -> Path:
    """Make and remove a probe where `output` will be; returns the folder that exists already.

    Raises:
        UsageError: Nothing can be made there, or a name that will be needed is too long.
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
    """Let the file system look for every long name that will be made."""
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
        names: Of all the files that may be written into it.
        force: Replace a checkpoint of the program's that is there.

    Raises:
        UsageError: The target must not be replaced, or the file system refuses something.
    """
    put_right(output)
    check_target(output, force=force)
    check_writable(output)
    target = output.expanduser().resolve()
    temporary = target.with_name(f".{target.name}.writing-{_owner()}")
    made = [folder for folder in target.parents if not folder.exists()]
    planned: dict[str, dict[str, Any]] = {name: {} for name in names}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        write_mark(temporary, UNFINISHED, files=planned)
        yield temporary
        write_mark(temporary, CHECKPOINT, files=describe_files(temporary))
        _flush_folder(temporary)
        _move_into_place(temporary, target, output, force=force)
    except OSError as error:
        raise os_error(error, output) from error
    finally:
        if temporary.is_dir():
            remove_files(temporary, planned)
        for folder in made:
            # Those that are not empty are in use: the output lies in them.
            with suppress(OSError):
                folder.rmdir()


def _move_into_place(temporary: Path, target: Path, output: Path, *, force: bool) -> None:
    replaced = target.with_name(f".{target.name}.replaced-{_owner()}")
    files: Files = {}
    try:
        if force and target.exists():
            target.rename(replaced)
            # Nothing can be added under its old name from here on; until here it could.
            if not is_empty(replaced):
                files = _checkpoint_files(replaced) or {}
                foreign = find_foreign(replaced, files)
                if foreign is not None:
                    raise OutputError(
                        f"{output} {foreign}, and --force replaces nothing else.",
                        hint="Move that elsewhere.",
                        remedy="Move that elsewhere",
                    )
        temporary.rename(target)
    except BaseException:  # an interrupt as well
        if replaced.exists() and not target.exists():
            replaced.rename(target)
        raise
    flush(target.parent)
    if replaced.exists():
        remove_files(replaced, files)


def put_right(output: Path) -> None:
    """Remove what dead processes left for an output, and restore what they moved away.

    Raises:
        UsageError: The file system refuses something.
    """
    target = output.expanduser().resolve()
    try:
        if target.parent.is_dir():
            _put_right(target)
    except OSError as error:
        raise os_error(error, output) from error


def _put_right(target: Path) -> None:
    prefix = re.escape(f".{target.name}.")
    pattern = re.compile(rf"{prefix}(writing|replaced|probe)-(.+)-(\d+)")
    for entry in list(target.parent.iterdir()):
        match = pattern.fullmatch(entry.name)
        # Of a process on another machine that shares this disk nothing can be known.
        if match is None or match[2] != _host() or _is_running(int(match[3])):
            continue
        if entry.is_symlink() or not entry.is_dir():
            continue
        if is_empty(entry):
            remove_files(entry, [])
            continue
        unfinished = read_mark(entry, UNFINISHED)
        files = _checkpoint_files(entry) if unfinished is None else unfinished.get("files", {})
        if files is None:
            continue
        if match[1] == "replaced" and not target.exists():
            entry.rename(target)
        elif find_foreign(entry, files) is None:
            remove_files(entry, files)


def _is_running(process: int) -> bool:
    import psutil

    # To ask with a signal, as is the habit elsewhere, would end the process on Windows.
    return process != os.getpid() and psutil.pid_exists(process)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname())[:40] or "host"


def _owner() -> str:
    return f"{_host()}-{os.getpid()}"


def _flush_folder(folder: Path) -> None:
    for entry in folder.rglob("*"):
        flush(entry)
    flush(folder)


def can_clone(source: Path, folder: Path) -> bool:
    """Return whether a copy of `source` in `folder` would take no room, because blocks
    are shared."""
    try:
        # It has no name on Linux, so that a killed process leaves nothing.
        with source.open("rb") as read, tempfile.TemporaryFile(dir=folder) as write:
            return _clone(read.fileno(), write.fileno())
    except OSError:
        return False


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes, by sharing blocks or inside the kernel where that is possible.

    Raises:
        OSError: It cannot be read or written.
    """
    with source.open("rb") as read, target.open("xb") as write:
        if _clone(read.fileno(), write.fileno()):
            return
        if _copy_in_kernel(read.fileno(), write.fileno(), os.fstat(read.fileno()).st_size):
            return
        shutil.copyfileobj(read, write, length=4 * 1024 * 1024)


def _clone(read: int, write: int) -> bool:
    try:
        import fcntl

        fcntl.ioctl(write, _FICLONE, read)
    except (ImportError, OSError):
        return False
    return True


def _copy_in_kernel(read: int, write: int, num_bytes: int) -> bool:
    """Return whether all bytes were copied; if not, both files are at their start."""
    if not hasattr(os, "copy_file_range"):
        return False
    done = 0
    while done < num_bytes:
        try:
            count = os.copy_file_range(read, write, num_bytes - done)
        except OSError as error:
            if done or error.errno not in _NO_FAST_COPY:
                raise
            return False
        if count == 0:
            if done:
                raise OSError(errno.EIO, "the file became shorter while it was copied")
            return False
        done += count
    return True

"""A new folder that is either complete or not there.

Everything is written to a hidden folder beside the target, flushed to the disk, and renamed. What a
process that was killed left behind is put right by the next one with the same target.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xmod_extend.errors import UsageError

_FICLONE = 0x40049409
"""Linux's ioctl that makes a file share another's blocks."""

_NO_FAST_COPY = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY)


def os_error(error: OSError, output: Path) -> UsageError:
    """An error of the file system while `output` is written, in a sentence."""
    reasons = {
        errno.ENOSPC: ("the disk is full", "Free some space, or choose a folder on another disk."),
        errno.EDQUOT: ("the disk quota is used up", "Free some space, or choose another disk."),
        errno.EROFS: ("the file system is read-only", "Choose another output folder."),
        errno.EACCES: ("permission is denied", "Choose a folder that you may write to."),
        errno.EPERM: ("permission is denied", "Choose a folder that you may write to."),
        errno.ENOTEMPTY: ("it is not empty", "Use --force to replace it, or choose another."),
        errno.EEXIST: ("it exists", "Use --force to replace it, or choose another."),
        errno.ENOTDIR: ("a part of its path is a file", "Choose another output folder."),
        errno.ENOENT: ("a folder there cannot be made", "Choose another output folder."),
        errno.ENAMETOOLONG: ("its name is too long", "Choose a shorter name."),
    }
    what, hint = reasons.get(
        error.errno or 0, (error.strerror or type(error).__name__, "Choose another output folder.")
    )
    return UsageError(f"{output} cannot be written: {what}.", hint=hint)


def check_target(output: Path, *, force: bool) -> None:
    """Refuses a target that must not be written to, after putting right what a killed process left.

    With `force` only a folder that holds a checkpoint or an adapter is ever replaced, so that
    `--output ~ --force` destroys nothing.

    Raises:
        UsageError: The target is a file, is not empty, or is no checkpoint.
    """
    target = output.expanduser().resolve()
    try:
        _put_right(target)
        if not target.exists():
            return
        if not target.is_dir():
            raise UsageError(f"{output} is a file.", hint="Give the name of a folder.")
        held = {entry.name for entry in target.iterdir()}
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
    if not held:
        return
    if not force:
        raise UsageError(
            f"{output} exists and is not empty.",
            hint="Use --force to replace it, or choose another.",
        )
    if not any(re.fullmatch(r".*config\.json", name) for name in held):
        raise UsageError(
            f"{output} holds no checkpoint, and --force replaces nothing else.",
            hint="Choose another folder, or empty this one yourself.",
        )


def check_writable(output: Path) -> Path:
    """Makes and removes a probe where `output` will be; returns the folder that exists already.

    Raises:
        UsageError: Nothing can be made there.
    """
    target = output.expanduser().resolve()
    try:
        parent = next(folder for folder in target.parents if folder.exists())
        probe = parent / f".{target.name}.probe-{_owner()}"
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise os_error(error, output) from error
    return parent


@contextmanager
def new_folder(output: Path, *, force: bool) -> Iterator[Path]:
    """Yields an empty hidden folder that becomes `output` when the block ends without an error.

    Raises:
        UsageError: The target must not be replaced, or the file system refuses something.
    """
    check_target(output, force=force)
    check_writable(output)
    target = output.expanduser().resolve()
    temporary = target.with_name(f".{target.name}.writing-{_owner()}")
    made = [folder for folder in target.parents if not folder.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        _flush_folder(temporary)
        _move_into_place(temporary, target, force=force)
    except OSError as error:
        raise os_error(error, output) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for folder in made:
            # Those that are not empty are in use: the output lies in them.
            with suppress(OSError):
                folder.rmdir()


def _move_into_place(temporary: Path, target: Path, *, force: bool) -> None:
    replaced = target.with_name(f".{target.name}.replaced-{_owner()}")
    try:
        if force and target.exists():
            target.rename(replaced)
        temporary.rename(target)
    except BaseException:  # an interrupt as well
        if replaced.exists() and not target.exists():
            replaced.rename(target)
        raise
    _flush(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _put_right(target: Path) -> None:
    """Removes what dead processes left for this target, and restores what they moved away."""
    if not target.parent.is_dir():
        return
    prefix = re.escape(f".{target.name}.")
    pattern = re.compile(rf"{prefix}(writing|replaced|probe)-(.+)-(\d+)")
    for entry in list(target.parent.iterdir()):
        match = pattern.fullmatch(entry.name)
        # Of a process on another machine that shares this disk nothing can be known.
        if match is None or match[2] != _host() or _is_running(int(match[3])):
            continue
        if match[1] == "replaced" and not target.exists():
            entry.rename(target)
        else:
            shutil.rmtree(entry, ignore_errors=True)


def _is_running(process: int) -> bool:
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname())[:40] or "host"


def _owner() -> str:
    return f"{_host()}-{os.getpid()}"


def _flush_folder(folder: Path) -> None:
    for entry in folder.rglob("*"):
        _flush(entry)
    _flush(folder)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot flush a folder.
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def can_clone(source: Path, folder: Path) -> bool:
    """Whether a copy of `source` in `folder` would take no room, because blocks are shared."""
    probe = folder / f".{source.name}.probe-{_owner()}"
    try:
        with source.open("rb") as read, probe.open("xb") as write:
            return _clone(read.fileno(), write.fileno())
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)


def copy_file(source: Path, target: Path) -> None:
    """Copies a file's bytes, by sharing blocks or inside the kernel where that is possible.

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
    """Whether all bytes were copied; if not, both files are at their start."""
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

"""Files and folders that are whole or not there, even after a power cut."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from xmod_extend.errors import UsageError

UNFINISHED_PATTERN = r"\.(.+)\.writing-\d+"
"""The temporary name of a file; its own name is the pattern's only group."""


class OutputError(UsageError):
    """An output that cannot be written.

    Args:
        remedy: What would make the same output possible, as a command: "Free some space".
    """

    def __init__(self, message: str, *, hint: str, remedy: str) -> None:
        super().__init__(message, hint=hint)
        self.remedy = remedy


def os_error(error: OSError, output: Path) -> OutputError:
    """Return the error to raise for one of the file system's while `output` is written."""
    another = "or choose another output folder"
    reasons = {
        errno.ENOSPC: ("the disk is full", "Free some space", "or choose a folder on another disk"),
        errno.EDQUOT: ("the disk quota is used up", "Free some space", "or choose another disk"),
        errno.EROFS: ("the file system is read-only", "Make it writable", another),
        errno.EACCES: ("permission is denied", "Allow yourself to write there", another),
        errno.EPERM: ("permission is denied", "Allow yourself to write there", another),
        errno.ENOTEMPTY: ("it is not empty", "Move what is there elsewhere", another),
        errno.EEXIST: ("it exists", "Move what is there elsewhere", another),
        errno.ENOTDIR: ("a part of its path is a file", "Move that file elsewhere", another),
        errno.ENOENT: ("a folder of its path cannot be made", "Make that folder", another),
        errno.ENAMETOOLONG: ("its name is too long", "Choose a shorter name", "for its folder too"),
    }
    what, remedy, otherwise = reasons.get(
        error.errno or 0,
        (error.strerror or type(error).__name__, "Check the disk", another),
    )
    return OutputError(
        f"{output} cannot be written: {what}.", hint=f"{remedy}, {otherwise}.", remedy=remedy
    )


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file in one piece."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def atomic_file(path: Path, temporary: Path | None = None) -> Iterator[Path]:
    """Yield the path of a new file that gets the name `path` when the block ends without an error.

    Args:
        temporary: Its name until then, on the same disk; by default hidden, beside `path`.
    """
    temporary = temporary or path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        _name_file(error, path)
        raise


@contextmanager
def atomic_folder(
    path: Path,
    temporary: Path,
    *,
    replacing: AbstractContextManager[None] | None = None,
    remove: Callable[[Path], None] | None = None,
) -> Iterator[Path]:
    """Yield a new folder that gets the name `path` when the block ends without an error.

    A process that is killed leaves the folder under its temporary name; whoever makes such folders
    chooses names and marks by which the next process knows what it may remove.

    Args:
        temporary: Its name until then, on the same disk.
        replacing: Entered when the folder is whole and on the disk, for the moment of renaming: it
            moves away what has the name.
        remove: Removes the folder if it does not get its name; by default with all that is in it.
    """
    try:
        temporary.mkdir()
        yield temporary
        flush_folder(temporary)
        with replacing or nullcontext():
            temporary.rename(path)
            flush(path.parent)
    except BaseException as error:
        if temporary.is_dir():
            if remove is None:
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                remove(temporary)
        _name_file(error, path)
        raise


def _name_file(error: BaseException, path: Path) -> None:
    # A full disk does not say which file it was.
    if isinstance(error, OSError) and error.filename is None:
        error.filename = str(path)


def flush_folder(folder: Path) -> None:
    """Wait until all that is in a folder is on the disk."""
    for entry in folder.rglob("*"):
        flush(entry)
    flush(folder)


def flush(path: Path) -> None:
    """Wait until a file, or a folder's names, are on the disk."""
    on_windows = sys.platform == "win32"
    if on_windows and path.is_dir():
        return  # Windows opens no folders, and flushes a file only if it may be written to.
    handle = os.open(path, os.O_RDWR if on_windows else os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot flush a folder.
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)

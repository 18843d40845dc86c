"""Copying a large file: by sharing its blocks or inside the kernel, where that is possible."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

_FICLONE = 0x40049409
"""Linux's ioctl that makes a file share another's blocks."""

_NO_FAST_COPY = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY)


def can_clone(source: Path, folder: Path) -> bool:
    """Return whether a copy of `source` in `folder` would share its blocks and so take no room."""
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

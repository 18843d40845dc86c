"""A lock on a file, which the system lets go of when the process that holds it dies."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""Error numbers of a file system that has no locks."""

if sys.platform == "win32":
    import msvcrt

    def try_lock(handle: int) -> bool:
        """Lock an open file, and return whether no other process had locked it."""
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def try_lock(handle: int) -> bool:
        """Lock an open file, and return whether no other process had locked it."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        return True


def release(handle: int, path: Path) -> None:
    """Remove the file and let go of its lock, in this order where an open file can be removed."""
    if sys.platform == "win32":
        os.close(handle)
        path.unlink()
        return
    try:
        path.unlink()
    finally:
        os.close(handle)


def has_name(handle: int, path: Path) -> bool:
    """Return whether an open file is still the one that others would open under this name."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False

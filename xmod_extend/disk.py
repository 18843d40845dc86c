"""Files that are whole or not there, even after a power cut."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNFINISHED_PATTERN = r"\.(.+)\.writing-\d+"
"""What a process that was killed leaves of a file, whose name is the pattern's only group."""


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file in one piece."""
    with written_aside(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yields a file that gets the name `path` when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            # A full disk does not say which file it was.
            error.filename = str(path)
        raise


def flush(path: Path) -> None:
    """Waits until a file, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot flush a folder.
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)

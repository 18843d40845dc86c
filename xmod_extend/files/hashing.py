"""The hash by which a file is known."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PIECE_BYTES = 1 << 20


def file_sha256(file: Path, *, stop: threading.Event | None = None) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits.

    Args:
        stop: If it is set before the end, the rest is not read, and the result means nothing.
    """
    sha, piece = hashlib.sha256(), bytearray(PIECE_BYTES)
    with file.open("rb", buffering=0) as stream:
        while (size := stream.readinto(piece)) and not (stop and stop.is_set()):
            sha.update(memoryview(piece)[:size])
    return sha.hexdigest()


class FileHashes:
    """Hashes of files, computed in a thread while something else goes on.

    The thread has ended when the block is left, however that comes about, and it never complains:
    what it could not read is read again, and refused, where its hash is asked for.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._found: dict[Path, tuple[tuple[int, ...], str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._join()

    def begin(self, find: Callable[[], Iterable[Path]]) -> None:
        """Begin to hash what `find` returns, unless it was begun before.

        Args:
            find: Called in the thread. If it raises an error, nothing is hashed yet.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(find,), name="hashing")
            self._thread.start()

    def of(self, files: Sequence[Path]) -> list[str]:
        """Return the SHA-256 of each file as it is now.

        Raises:
            OSError: A file cannot be read.
        """
        self._join()
        return [self._hash(file) for file in files]

    def _run(self, find: Callable[[], Iterable[Path]]) -> None:
        try:
            for file in find():
                if self._stop.is_set():
                    return
                state = _state(file)
                sha256 = file_sha256(file, stop=self._stop)
                if not self._stop.is_set():
                    self._found[file] = state, sha256
        except Exception:  # whoever needs the files meets it again, and says what it means
            return

    def _hash(self, file: Path) -> str:
        state, sha256 = self._found.get(file, ((), ""))
        return sha256 if state == _state(file) else file_sha256(file)

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()


def _state(file: Path) -> tuple[int, ...]:
    """Return what changes with a file's content, as far as the disk tells."""
    status = file.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

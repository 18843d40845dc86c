"""Files whose content is held against checksums whenever it is read.

Beside a file lies another one with a checksum of each 16 KiB, so that a few tokens from anywhere
cost the reading of one piece (3 µs), and a gigabyte 0.1 s. Nothing is mapped into memory: where
another process cuts a mapped file short, the system ends this one with SIGBUS.
"""

from __future__ import annotations

import io
import os
import threading
import weakref
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xxhash

from xmod_extend.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES = 1 << 14
"""Bytes that one checksum stands for."""

_PIECES_A_READ = 64
_SUMS_SUFFIX = ".sums"


class CheckedFile:
    """A file to be read anywhere, by any thread. It stays readable when its name is removed.

    Args:
        path: The file; its checksums lie beside it.

    Raises:
        CorpusError: It is missing, or its checksums do not fit its size.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            weakref.finalize(self, os.close, self._file)
            self.size = os.fstat(self._file).st_size
            self._sums = np.fromfile(sums_path(path), dtype="<u8")
        except OSError as error:
            raise CorpusError(
                f"The prepared text in {path} cannot be read: {error.strerror or error}.",
                hint="Start again: what is missing in the cache is made anew.",
            ) from error
        self._lock = threading.Lock()
        if len(self._sums) != -(-self.size // PIECE_BYTES):
            raise _damaged(path)

    def read(self, start: int, size: int) -> memoryview:
        """Return bytes from `start` on, `size` of them or those up to the end.

        Raises:
            CorpusError: They are not what was written.
        """
        end = min(start + size, self.size)
        if start >= end:
            return memoryview(b"")
        first, last = start // PIECE_BYTES, -(-end // PIECE_BYTES)
        origin, stop = first * PIECE_BYTES, min(last * PIECE_BYTES, self.size)
        content = self._read_pieces(origin, stop - origin)
        for index in range(first, last):
            piece = content[index * PIECE_BYTES - origin : (index + 1) * PIECE_BYTES - origin]
            # A file that lost its end gives a short piece, which has another checksum.
            if xxhash.xxh3_64_intdigest(piece) != self._sums[index]:
                raise _damaged(self.path)
        return content[start - origin : end - origin]

    def check(self) -> None:
        """Read all of it.

        Raises:
            CorpusError: It is not what was written.
        """
        for start in range(0, self.size, _PIECES_A_READ * PIECE_BYTES):
            self.read(start, _PIECES_A_READ * PIECE_BYTES)

    def stream(self) -> IO[bytes]:
        """Return its content from the beginning, as a file that is read to the end."""
        return io.BufferedReader(_Stream(self), _PIECES_A_READ * PIECE_BYTES)

    def _read_pieces(self, start: int, size: int) -> memoryview:
        content = b""
        try:
            with self._lock:
                os.lseek(self._file, start, os.SEEK_SET)
                # One call may give less than it is asked for.
                while len(content) < size and (more := os.read(self._file, size - len(content))):
                    content += more
        except OSError as error:
            raise CorpusError(
                f"The prepared text in {self.path} cannot be read: {error.strerror or error}.",
                hint="Look after the disk, or set HF_DATASETS_CACHE to a folder on another one.",
            ) from error
        return memoryview(content)


class _Stream(io.RawIOBase):
    def __init__(self, file: CheckedFile) -> None:
        self._source = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        content = self._source.read(self._position, len(target))
        target[: len(content)] = content
        self._position += len(content)
        return len(content)


def sums_path(path: Path) -> Path:
    """Return where a file's checksums lie."""
    return path.with_name(path.name + _SUMS_SUFFIX)


def write_sums(path: Path) -> int:
    """Write a finished file's checksums beside it, and return its `digest_sums`."""
    sums: list[int] = []
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            sums.append(xxhash.xxh3_64_intdigest(piece))
    encoded: npt.NDArray[np.uint64] = np.array(sums, dtype="<u8")
    sums_path(path).write_bytes(encoded.tobytes())
    return xxhash.xxh3_64_intdigest(encoded.tobytes())


def digest_sums(path: Path) -> int:
    """Return what stands for the whole file: the checksum of its checksums."""
    return xxhash.xxh3_64_intdigest(sums_path(path).read_bytes())


def read_array(file: CheckedFile, kind: Any, *, piece: int) -> Iterator[Any]:
    """Yield a file of numbers, `piece` of them at a time."""
    size = np.dtype(kind).itemsize * piece
    for start in range(0, file.size, size):
        yield np.frombuffer(file.read(start, size), dtype=kind)


def _damaged(path: Path) -> CorpusError:
    return CorpusError(
        f"The prepared text in {path} is not what was written there.",
        hint="Start again: what is damaged in the cache is made anew. If it happens again, look "
        "after the disk, or set HF_DATASETS_CACHE to a folder on another one.",
    )

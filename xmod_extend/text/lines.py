"""The lines of one side of a corpus: on the disk, in memory, or read anew whenever they are needed.

This is the one difference between a corpus on the disk and one that is streamed: where the lines
come from, and whether they are counted before they are used. Each line is a document.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xmod_extend.text.arrow import encode_lines, read_arrow
from xmod_extend.text.cache import Entry
from xmod_extend.text.cleaning import CleanBlock, clean_block
from xmod_extend.text.near_duplicates import NearIndex
from xmod_extend.text.reading import read_blocks
from xmod_extend.text.sources import Source

Ids = npt.NDArray[np.int64]

RECENT_LINES = 1 << 17
"""Lines of a stream among which a repeated one is found; their digests take some 20 MB."""

COUNTED_TOKENS = 1 << 21
"""Tokens of a stream's beginning that are counted: some 8 MB of text."""

_PIECE_BYTES = 1 << 18
_ROWS = 100
"""Lines in a row that are sampled."""


@dataclass(frozen=True)
class StoredLines:
    """Lines in a file of the cache."""

    entry: Entry
    name: str
    """The file's."""
    fingerprint: str
    """Stands for the lines: it comes from the content of the files that they are from."""
    num_lines: int
    num_bytes: int

    @property
    def path(self) -> Path:
        return self.entry.folder / self.name

    def __len__(self) -> int:
        return self.num_lines

    def __iter__(self) -> Iterator[str]:
        for column in read_arrow(self.path):
            yield from column.to_pylist()

    def take(self, numbers: Ids) -> list[str]:
        """Return the lines of these numbers, which ascend; the first line's is 0."""
        found: list[str] = []
        start = 0
        for column in read_arrow(self.path):
            first, last = np.searchsorted(numbers, (start, start + len(column)))
            found += column.take(numbers[first:last] - start).to_pylist()
            start += len(column)
            if last == len(numbers):
                break
        return found

    def pieces(self) -> Iterator[bytes]:
        """Yield the lines as a file has them, each with a \\n, about 1 MiB at a time."""
        for column in read_arrow(self.path):
            yield from encode_lines(column)

    def sample(self, num_bytes: int) -> tuple[Iterator[str], bool]:
        """Return about so many bytes, at even distances, and whether there is more text."""
        every = max(1, -(-self.num_bytes // num_bytes))
        sampled = (
            "\n".join(column.slice(start, _ROWS).to_pylist())
            for column in read_arrow(self.path)
            for start in range(0, len(column), _ROWS * every)
        )
        return sampled, every > 1


@dataclass(frozen=True)
class LinesInMemory:
    """A few lines."""

    lines: tuple[str, ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines)

    def take(self, numbers: Ids) -> list[str]:
        """Return the lines of these numbers; the first line's is 0."""
        return [self.lines[number] for number in numbers.tolist()]

    def pieces(self) -> Iterator[bytes]:
        """Yield all lines as a file has them."""
        yield "".join(f"{line}\n" for line in self.lines).encode()

    def sample(self, num_bytes: int) -> tuple[Iterator[str], bool]:
        """Return all of them: what is in memory is not much, and there is no more."""
        return iter(self.lines), False


@dataclass(frozen=True)
class StreamedLines:
    """Lines that are read from their sources each time, and never touch the disk.

    Empty lines are left out, and so are lines that repeat one of the last 131,072 of their source.
    """

    sources: tuple[Source, ...]
    excluded: frozenset[int] = frozenset()
    """Digests of lines that are left out as well, such as the held-out ones."""
    near: NearIndex | None = field(default=None, compare=False, repr=False)
    """Lines that nearly repeat one of these are left out too, if it is given."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sources."""
        return tuple(source.name for source in self.sources)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what tells one stream from another without reading it.

        Of each file its name, size and date; of a data set on the Hub its address.
        """
        first = self.sources[0]
        versions = [source.version for source in self.sources]
        parts = [first.text_field, first.encoding_errors, *versions]
        if self.near is not None:
            parts.append("without near duplicates")
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def pieces(self, order: Sequence[int] | None = None) -> Iterator[bytes]:
        """Yield the lines as a file has them, each with a \\n, about 256 KiB at a time.

        Args:
            order: Of the sources; as they were given if None. It changes no source's lines.

        Raises:
            CorpusError: A source cannot be read.
            HubError: A data set cannot be had.
        """
        piece: list[bytes] = []
        size = 0
        for line in self._lines(order):
            piece.append(line)
            size += len(line)
            if size >= _PIECE_BYTES:
                yield b"\n".join([*piece, b""])
                piece, size = [], 0
        if piece:
            yield b"\n".join([*piece, b""])

    def _lines(self, order: Sequence[int] | None) -> Iterator[bytes]:
        for index in range(len(self.sources)) if order is None else order:
            recent: deque[int] = deque()
            known = set(self.excluded)
            for block in map(clean_block, read_blocks(self.sources[index])):
                near = self._near_rows(block)
                for row, (digest, line) in enumerate(block.lines()):
                    if not line or digest in known or row in near:
                        continue
                    known.add(digest)
                    recent.append(digest)
                    if len(recent) > RECENT_LINES:
                        known.remove(recent.popleft())
                    yield line

    def _near_rows(self, block: CleanBlock) -> frozenset[int]:
        if self.near is None:
            return frozenset()
        lines = [line.decode() for _, line in block.lines()]
        return frozenset(near.row for near in self.near.find(lines))

    def sample(self, num_bytes: int) -> tuple[Iterator[str], bool]:
        """Return nothing: what a stream holds shows when it is read."""
        return iter(()), False


Lines = StoredLines | LinesInMemory | StreamedLines
"""One side of a corpus."""

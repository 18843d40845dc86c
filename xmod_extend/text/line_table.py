"""Every cleaned line of a text, with its digest and size: from these the sides are chosen.

On the disk it is prepared once, on all cores, so that a text may exceed memory:

    sources ── blocks of bytes ──> workers: decode, clean, cut, hash ──> lines.arrow  the text
                                                                         digests.bin  8 bytes a line
                                                                         sizes.bin    4 bytes a line

Of a text that is streamed only the beginning is in such a table, in memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xmod_extend.errors import CorpusError
from xmod_extend.text.arrow import ArrowFile, read_arrow
from xmod_extend.text.cache import Entry, find_or_make_entry
from xmod_extend.text.checked_files import CheckedFile, read_array
from xmod_extend.text.cleaning import CleanBlock, clean_block
from xmod_extend.text.fingerprinting import fingerprint_sources
from xmod_extend.text.reading import RawBlock, read_blocks
from xmod_extend.text.sources import Source
from xmod_extend.text.workers import choose_num_workers, map_in_order

_LINES, _DIGESTS, _SIZES = "lines.arrow", "digests.bin", "sizes.bin"
_LINES_A_READ = 1 << 20


class LineTable(ABC):
    """Every cleaned line of some sources, in their order; empty lines as empty text.

    A line's digest is 64 bits of BLAKE2b as a signed integer, its size in bytes of UTF-8.

    Args:
        names: Of the sources.
        facts: `lines`, `empty_lines`, `whole_lines` (the pieces of an overlong one count once),
            `cut_lines` (that were cut into pieces) and `bytes`.
    """

    def __init__(self, names: tuple[str, ...], facts: dict[str, int]) -> None:
        self.names = names
        self.num_lines = facts["lines"]
        self.empty_lines = facts["empty_lines"]
        self.num_whole_lines = facts["whole_lines"]
        self.cut_lines = facts["cut_lines"]
        self.num_bytes = facts["bytes"]

    @abstractmethod
    def runs(self) -> Iterator[tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int32]]]:
        """Yield the position of a run's first line, the digests `(N,)` and the sizes `(N,)`."""

    @abstractmethod
    def columns(self) -> Iterator[Any]:
        """Yield the text as Arrow's string arrays, one behind another."""


class StoredTable(LineTable):
    """A table in an entry of the cache; it is read in runs, for it may be larger than memory."""

    def __init__(self, names: tuple[str, ...], entry: Entry) -> None:
        super().__init__(names, entry.facts)
        self.entry = entry

    def columns(self) -> Iterator[Any]:
        return read_arrow(self.entry.folder / _LINES)

    def runs(self) -> Iterator[tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int32]]]:
        digests, sizes = self._read(_DIGESTS, np.int64), self._read(_SIZES, np.int32)
        start = 0
        for some_digests, some_sizes in zip(digests, sizes, strict=True):
            yield start, some_digests, some_sizes
            start += len(some_sizes)

    def _read(self, name: str, kind: Any) -> Iterator[Any]:
        return read_array(CheckedFile(self.entry.folder / name), kind, piece=_LINES_A_READ)


class TableInMemory(LineTable):
    """A table of a few lines."""

    def __init__(self, names: tuple[str, ...], blocks: Sequence[CleanBlock]) -> None:
        super().__init__(names, _count(blocks))
        self._blocks = blocks

    def columns(self) -> Iterator[Any]:
        return map(_as_arrow, self._blocks)

    def runs(self) -> Iterator[tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int32]]]:
        start = 0
        for block in self._blocks:
            yield start, block.digests, block.sizes
            start += len(block.sizes)


def prepare_table(
    sources: Sequence[Source], *, fingerprint: str, cache_dir: Path, num_workers: int | None = None
) -> StoredTable:
    """Read and clean every line of the sources, or find the result of an earlier run.

    Args:
        sources: Files.
        fingerprint: `fingerprinting.fingerprint_sources` of them.
        cache_dir: Where the result is kept.
        num_workers: Processes to use; by the size of the files if None. The result is the same.

    Raises:
        CorpusError: A source cannot be read, or the disk is full.
    """
    num_bytes = sum(source.path.stat().st_size for source in sources)
    if num_workers is None:
        num_workers = choose_num_workers(num_bytes)
    names = tuple(source.name for source in sources)

    def make(folder: Path) -> dict[str, Any]:
        blocks = map_in_order(clean_block, _read_all(sources), num_workers=num_workers)
        facts = _write(folder, blocks)
        _require_lines(names, facts)
        if fingerprint_sources(sources, cache_dir=cache_dir) != fingerprint:
            raise CorpusError(
                f"{_shorten(names)} changed while it was read.",
                hint="Start again when nothing writes to it any more.",
            )
        return facts

    folder = cache_dir / f"lines-{fingerprint}"
    return StoredTable(names, find_or_make_entry(folder, make, num_bytes=num_bytes))


def read_beginning(sources: Sequence[Source], num_bytes: float = float("inf")) -> TableInMemory:
    """Return the first lines of the sources, so many that the different ones have `num_bytes`.

    Raises:
        CorpusError: A source cannot be read.
        HubError: A data set cannot be had.
    """
    names = tuple(source.name for source in sources)
    blocks: list[CleanBlock] = []
    known: set[int] = set()
    size = 0
    for block in map(clean_block, _read_all(sources)):
        for number, (digest, line) in enumerate(block.lines(), 1):
            if digest not in known:
                known.add(digest)
                size += len(line)
            if size >= num_bytes:
                return TableInMemory(names, [*blocks, block.head(number)])
        blocks.append(block)
    table = TableInMemory(names, blocks)
    _require_lines(names, {"lines": table.num_lines})
    return table


def _read_all(sources: Sequence[Source]) -> Iterator[RawBlock]:
    return chain.from_iterable(map(read_blocks, sources))


def _write(folder: Path, blocks: Iterator[CleanBlock]) -> dict[str, int]:
    import pyarrow as pa

    facts: Counter[str] = Counter()
    with (
        ArrowFile(folder / _LINES, pa.field("text", pa.string())) as lines,
        (folder / _DIGESTS).open("wb") as digests,
        (folder / _SIZES).open("wb") as sizes,
    ):
        for block in blocks:
            lines.write(_as_arrow(block))
            digests.write(block.digests.tobytes())
            sizes.write(block.sizes.tobytes())
            facts.update(_count([block]))
    return facts


def _count(blocks: Sequence[CleanBlock]) -> Counter[str]:
    facts = Counter[str]()
    for block in blocks:
        facts["lines"] += len(block.sizes)
        facts["empty_lines"] += int(np.count_nonzero(block.sizes == 0))
        facts["whole_lines"] += block.whole_lines
        facts["cut_lines"] += block.cut_lines
        facts["bytes"] += len(block.text)
    return facts


def _as_arrow(block: CleanBlock) -> Any:
    import pyarrow as pa

    offsets = np.zeros(len(block.sizes) + 1, dtype=np.int32)
    np.cumsum(block.sizes, out=offsets[1:])
    return pa.StringArray.from_buffers(
        len(block.sizes), pa.py_buffer(offsets), pa.py_buffer(block.text)
    )


def _require_lines(names: Sequence[str], facts: dict[str, int]) -> None:
    if not facts["lines"]:
        raise CorpusError(
            f"There is no text in {_shorten(names)}: no line at all.",
            hint="Give UTF-8 text, one sentence or paragraph a line.",
        )


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")

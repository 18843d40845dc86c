"""Cleaned lines on disk: prepared once, on all cores, so that a corpus may exceed memory.

files ── blocks of bytes ──> workers: decode, clean, cut, hash ──> lines.arrow  the text
                                                                   digests.bin  8 bytes a line
                                                                   sizes.bin    4 bytes a line
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from xmod_extend.errors import CorpusError, UsageError
from xmod_extend.text.arrow import ArrowFile
from xmod_extend.text.cache import Entry, find_or_make_entry
from xmod_extend.text.checked_files import CheckedFile, read_array
from xmod_extend.text.cleaning import CUT_OVER_CHARACTERS, clean_line, cut_line
from xmod_extend.text.fingerprinting import fingerprint_sources
from xmod_extend.text.options import EncodingErrors
from xmod_extend.text.reading import Part, RawBlock, read_blocks, split_block
from xmod_extend.text.sources import Source
from xmod_extend.text.workers import choose_num_workers, map_in_order

_LINES, _DIGESTS, _SIZES = "lines.arrow", "digests.bin", "sizes.bin"
_LINES_A_READ = 1 << 20


@dataclass(frozen=True)
class PreparedLines:
    """Every cleaned line of some files, in their order; empty lines as empty text.

    Of a line are needed its digest, 64 bits of BLAKE2b as a signed integer, and its size in bytes
    of UTF-8. They are read from the disk in runs, for there may be more of them than fit in memory.
    """

    entry: Entry
    fingerprint: str
    files: tuple[str, ...]

    @property
    def path(self) -> Path:
        return self.entry.folder / _LINES

    @property
    def num_lines(self) -> int:
        return int(self.entry.facts["lines"])

    @property
    def empty_lines(self) -> int:
        return int(self.entry.facts["empty_lines"])

    @property
    def num_whole_lines(self) -> int:
        """Lines of the files: the pieces of an overlong one count once."""
        return int(self.entry.facts["whole_lines"])

    @property
    def cut_lines(self) -> int:
        """Lines that were cut into pieces."""
        return int(self.entry.facts["cut_lines"])

    def runs(self) -> Iterator[tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int32]]]:
        """Yield the position of a run's first line, the digests `(N,)` and the sizes `(N,)`."""
        digests = self._read(_DIGESTS, np.int64)
        sizes = self._read(_SIZES, np.int32)
        start = 0
        for some_digests, some_sizes in zip(digests, sizes, strict=True):
            yield start, some_digests, some_sizes
            start += len(some_sizes)

    def _read(self, name: str, kind: Any) -> Iterator[Any]:
        return read_array(CheckedFile(self.entry.folder / name), kind, piece=_LINES_A_READ)


class CleanBlock(NamedTuple):
    """The cleaned lines of one block."""

    text: bytes
    """Their UTF-8, one behind another."""
    sizes: npt.NDArray[np.int32]
    digests: npt.NDArray[np.int64]
    whole_lines: int
    cut_lines: int


def prepare_lines(
    sources: Sequence[Source],
    *,
    fingerprint: str,
    text_field: str,
    encoding_errors: EncodingErrors,
    cache_dir: Path,
    num_workers: int | None = None,
) -> PreparedLines:
    """Read and clean every line of the sources, or find the result of an earlier run.

    Args:
        sources: The files.
        fingerprint: `fingerprinting.fingerprint_sources` of them and of the two options.
        text_field: As in `reading.read_lines`.
        encoding_errors: The same.
        cache_dir: Where the result is kept.
        num_workers: Processes to use; by the size of the files if None. The result is the same.

    Raises:
        CorpusError: A source cannot be read, or the disk is full.
        UsageError: `encoding_errors` is not one of its values.
    """
    require_encoding_errors(encoding_errors)
    if num_workers is None:
        num_workers = choose_num_workers(sum(source.path.stat().st_size for source in sources))
    clean = functools.partial(clean_block, text_field=text_field, encoding_errors=encoding_errors)

    def make(folder: Path) -> dict[str, Any]:
        blocks = _read(sources, text_field, encoding_errors)
        facts = _write(folder, map_in_order(clean, blocks, num_workers=num_workers), sources)
        now = fingerprint_sources(
            sources, text_field=text_field, encoding_errors=encoding_errors, cache_dir=cache_dir
        )
        if now != fingerprint:
            raise CorpusError(
                f"{_names(sources)} changed while it was read.",
                hint="Start again when nothing writes to it any more.",
            )
        return facts

    entry = find_or_make_entry(cache_dir / f"lines-{fingerprint}", make)
    return PreparedLines(entry, fingerprint, tuple(source.name for source in sources))


def require_encoding_errors(encoding_errors: str) -> None:
    """Refuse what is none of `EncodingErrors`.

    Raises:
        UsageError: It is not.
    """
    if encoding_errors not in get_args(EncodingErrors):
        raise UsageError(
            f"{encoding_errors!r} is no way to treat bytes that are not UTF-8.",
            hint=f"Choose {' or '.join(get_args(EncodingErrors))}.",
        )


def digest_line(encoded: bytes) -> bytes:
    """64 bits: of 100 million different lines, two share one with a chance of 1 in 3,700."""
    return hashlib.blake2b(encoded, digest_size=8).digest()


def clean_block(block: RawBlock, *, text_field: str, encoding_errors: EncodingErrors) -> CleanBlock:
    """Decode, clean, cut and hash the lines of a block."""
    raw = split_block(block, text_field=text_field, encoding_errors=encoding_errors)
    lines = list(map(clean_line, raw))
    whole, cut = len(lines), 0
    if block.part is not Part.WHOLE:
        cut += block.part is Part.FIRST
        whole -= block.part is Part.FURTHER
    if any(len(line) > CUT_OVER_CHARACTERS for line in lines) or block.part is Part.FURTHER:
        pieces: list[str] = []
        for number, line in enumerate(lines):
            parts = cut_line(line)
            is_further = number == 0 and block.part is Part.FURTHER
            if number > 0 or block.part is Part.WHOLE:
                cut += len(parts) > 1
            # The first piece of a line stands for it even if it is empty.
            pieces += [part for i, part in enumerate(parts) if part or not (i or is_further)]
        lines = pieces
    encoded = [line.encode() for line in lines]
    return CleanBlock(
        text=b"".join(encoded),
        sizes=np.fromiter(map(len, encoded), np.int32, len(encoded)),
        digests=np.frombuffer(b"".join(map(digest_line, encoded)), dtype="<i8"),
        whole_lines=whole,
        cut_lines=cut,
    )


def _read(
    sources: Sequence[Source], text_field: str, encoding_errors: EncodingErrors
) -> Iterator[RawBlock]:
    for source in sources:
        yield from read_blocks(source, text_field=text_field, encoding_errors=encoding_errors)


def _write(folder: Path, blocks: Iterator[CleanBlock], sources: Sequence[Source]) -> dict[str, Any]:
    import pyarrow as pa

    facts = {"lines": 0, "empty_lines": 0, "whole_lines": 0, "cut_lines": 0}
    field = pa.field("text", pa.string())
    with (
        ArrowFile(folder / _LINES, field) as lines,
        (folder / _DIGESTS).open("wb") as digests,
        (folder / _SIZES).open("wb") as sizes,
    ):
        for block in blocks:
            lines.write(_as_arrow(block))
            digests.write(block.digests.tobytes())
            sizes.write(block.sizes.tobytes())
            facts["lines"] += len(block.sizes)
            facts["empty_lines"] += int(np.count_nonzero(block.sizes == 0))
            facts["whole_lines"] += block.whole_lines
            facts["cut_lines"] += block.cut_lines
    if not facts["lines"]:
        raise CorpusError(
            f"There is no text in {_names(sources)}: no line at all.",
            hint="Give UTF-8 text, one sentence or paragraph a line.",
        )
    return facts


def _names(sources: Sequence[Source]) -> str:
    return ", ".join(source.name for source in sources[:3]) + (", …" if len(sources) > 3 else "")


def _as_arrow(block: CleanBlock) -> Any:
    import pyarrow as pa

    offsets = np.zeros(len(block.sizes) + 1, dtype=np.int32)
    np.cumsum(block.sizes, out=offsets[1:])
    return pa.StringArray.from_buffers(
        len(block.sizes), pa.py_buffer(offsets), pa.py_buffer(block.text)
    )

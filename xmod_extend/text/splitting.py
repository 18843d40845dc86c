"""The split into lines to train on and lines held out, when there are too many for the memory.

A line has one byte in memory: whether it is kept. Its digest is read from the disk, a range of
digests at a time, so that repeated lines are found exactly: equal digests are in the same range.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from xmod_extend.errors import CorpusError
from xmod_extend.text.arrow import ArrowFile, encode_lines
from xmod_extend.text.line_table import LineTable
from xmod_extend.text.statistics import Measurement, TextStatistics, count_characters
from xmod_extend.text.workers import choose_num_workers, map_in_order

Mask = npt.NDArray[np.bool_]
"""(N,) of all lines of a text."""

MIN_LINES = 20
MIN_BYTES = 10_000
"""Least of a text that gives both sides: it leaves MIN_TRAIN_BYTES in any split."""

MIN_TRAIN_BYTES = 5_000
MIN_HELD_OUT_LINES = 3
MIN_HELD_OUT_BYTES = 1_000

HELD_OUT_SHARE = 0.05
HELD_OUT_MIN_BYTES = 10_000
HELD_OUT_MAX_BYTES = 200_000
HELD_OUT_MAX_SHARE = 0.2
"""Most that is held out of a small text, even if that is less than the minimum."""

RANGE_LINES = 1 << 22
"""Lines whose digests are compared at a time, about; they take some 200 MB."""

_ROWS = 1_000
"""Lines in a row that are sampled."""


class Sides(NamedTuple):
    """The lines of each side of a corpus, as masks."""

    train: Mask
    held_out: Mask
    """Lines of the corpus, or of the held-out text if one was given."""
    contaminated: int
    """Different lines of the corpus that the given held-out text has too."""


def choose_sides(corpus: LineTable, held_out_text: LineTable | None) -> Sides:
    """Choose what is trained on and what is measured on.

    Args:
        corpus: All lines, or the beginning of a stream.
        held_out_text: The held-out text, if there is one; its lines are left out of training.

    Raises:
        CorpusError: There is too little text for one of the sides.
    """
    distinct = find_distinct(corpus)
    if held_out_text is None:
        held_out = hold_out(corpus, distinct)
        train = distinct & ~held_out
        _require_enough(corpus, distinct, train, held_out, contaminated=None)
        return Sides(train, held_out, 0)
    held_out = find_distinct(held_out_text)
    shared = find_shared(corpus, distinct, held_out_text)
    train, contaminated = distinct & ~shared, int(shared.sum())
    _require_enough(corpus, distinct, train, held_out, contaminated=contaminated)
    _require_enough_to_measure(held_out_text, held_out)
    return Sides(train, held_out, contaminated)


def find_distinct(lines: LineTable) -> Mask:
    """Return which lines are neither empty nor the same as an earlier one.

    Raises:
        CorpusError: All lines are empty, or the text is one line that cannot be cut.
    """
    _require_lines(lines)
    distinct = np.zeros(lines.num_lines, dtype=np.bool_)
    bits = max(0, (lines.num_lines - 1) // RANGE_LINES).bit_length()
    for which in range(1 << bits):
        found, positions = [], []
        for start, digests, sizes in lines.runs():
            chosen = sizes > 0
            if bits:
                chosen &= digests.view(np.uint64) >> np.uint64(64 - bits) == which
            rows = np.flatnonzero(chosen)
            # np.unique gives the first position of each value. Done for each run, it keeps a line
            # that is repeated millions of times from filling the memory.
            values, first = np.unique(digests[rows], return_index=True)
            found.append(values)
            positions.append(start + rows[first])
        first = np.unique(np.concatenate(found), return_index=True)[1]
        distinct[np.concatenate(positions)[first]] = True
    return distinct


def count_lines(lines: LineTable, mask: Mask) -> tuple[int, int]:
    """Return how many lines are in the mask, and their bytes."""
    num_bytes = 0
    for start, _, sizes in lines.runs():
        num_bytes += int(sizes[mask[start : start + len(sizes)]].sum(dtype=np.int64))
    return int(np.count_nonzero(mask)), num_bytes


def find_shared(lines: LineTable, mask: Mask, other: LineTable) -> Mask:
    """Return which lines of the mask the other text has too."""
    theirs = np.unique(np.concatenate([digests[sizes > 0] for _, digests, sizes in other.runs()]))
    shared = np.zeros(lines.num_lines, dtype=np.bool_)
    for start, digests, _ in lines.runs():
        shared[start : start + len(digests)] = np.isin(digests, theirs)
    return shared & mask


def hold_out(lines: LineTable, distinct: Mask) -> Mask:
    """Return which of the distinct lines are held out; see `choose_held_out`."""
    total = count_lines(lines, distinct)[1]
    target = held_out_target(total)
    # The lowest hashes are enough to choose the lowest from: usually far more than enough.
    share = 16 * target / total
    while True:
        positions, digests, sizes = _lowest(lines, distinct, share)
        if share >= 1 or sizes[sizes <= target].sum() >= target:
            break
        share *= 4
    held_out = np.zeros(lines.num_lines, dtype=np.bool_)
    held_out[positions[choose_held_out(digests, sizes, total=total)]] = True
    return held_out


def held_out_target(total: int) -> float:
    """Return bytes to hold out of a text of `total` bytes."""
    return min(
        max(HELD_OUT_SHARE * total, min(HELD_OUT_MIN_BYTES, HELD_OUT_MAX_SHARE * total)),
        HELD_OUT_MAX_BYTES,
    )


def choose_held_out(
    digests: npt.NDArray[np.int64], num_bytes: npt.NDArray[np.int64], *, total: int | None = None
) -> Mask:
    """Return which of the distinct lines are held out: those with the lowest hashes, up to the
    target.

    Args:
        digests: `(N,)`, each line's hash, all different.
        num_bytes: `(N,)`, each line's length.
        total: Bytes of the whole text, where these are only its lines with the lowest hashes.

    Returns:
        `(N,)`, True where a line is held out; a function of the set, not of the order.
    """
    target = held_out_target(int(num_bytes.sum()) if total is None else total)
    # One line that is longer than the whole target would be all of the held-out side.
    eligible = num_bytes <= target
    if num_bytes[eligible].sum() < target:
        eligible[:] = True
    order = np.argsort(digests, kind="stable")
    order = order[eligible[order]]
    before = np.cumsum(num_bytes[order]) - num_bytes[order]
    chosen = np.zeros(len(digests), dtype=np.bool_)
    chosen[order[before < target]] = True
    return chosen


def _lowest(
    lines: LineTable, mask: Mask, share: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return positions, digests and sizes of the lines with the lowest digests, a share of all."""
    limits = np.iinfo(np.int64)
    limit = limits.max if share >= 1 else int(limits.min + share * 2.0**64)
    positions, found, found_sizes = [], [], []
    for start, digests, sizes in lines.runs():
        rows = np.flatnonzero(mask[start : start + len(digests)] & (digests <= limit))
        positions.append(start + rows)
        found.append(digests[rows])
        found_sizes.append(sizes[rows].astype(np.int64))
    return np.concatenate(positions), np.concatenate(found), np.concatenate(found_sizes)


def write_sides(
    lines: LineTable, sides: Sequence[tuple[Path, Mask]], *, num_workers: int | None = None
) -> list[TextStatistics]:
    """Write the lines of each mask to an Arrow file of their own, and measure them.

    Args:
        lines: The text.
        sides: Files to write, and what goes there.
        num_workers: Processes to use; by the size of the text if None. The result is the same.
    """
    import pyarrow as pa

    if num_workers is None:
        num_workers = choose_num_workers(lines.num_bytes)
    measurements = [Measurement() for _ in sides]
    owners: deque[Measurement] = deque()
    field = pa.field("text", pa.string())
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(ArrowFile(path, field)) for path, _ in sides]

        def pieces() -> Iterator[bytes]:
            start = 0
            for column in lines.columns():
                for file, measurement, (_, mask) in zip(files, measurements, sides, strict=True):
                    kept = column.filter(pa.array(mask[start : start + len(column)]))
                    file.write(kept)
                    for piece in encode_lines(kept):
                        measurement.hash(piece)
                        owners.append(measurement)
                        yield piece
                start += len(column)

        for counts in map_in_order(count_characters, pieces(), num_workers=num_workers):
            owners.popleft().add(counts)
    return [measurement.result() for measurement in measurements]


def select_lines(lines: LineTable, mask: Mask, *, every: int = 1) -> Iterator[str]:
    """Yield the lines of the mask: all, or a thousand in a row at even distances."""
    import pyarrow as pa

    start = 0
    for column in lines.columns():
        kept = column.filter(pa.array(mask[start : start + len(column)]))
        start += len(column)
        for first in range(0, len(kept), _ROWS * every):
            yield from kept.slice(first, _ROWS).to_pylist()


def _require_lines(lines: LineTable) -> None:
    if lines.empty_lines == lines.num_lines:
        name = (
            lines.names[0] if len(lines.names) == 1 else f"the corpus of {len(lines.names):,} files"
        )
        raise CorpusError(
            f"There is no text in {name}: found {_number(lines.num_lines, 'line')}, none with "
            "text.",
            hint="Give UTF-8 text, one sentence or paragraph a line.",
        )
    if lines.num_whole_lines <= 1 and lines.cut_lines:
        pieces = (piece for column in lines.columns() for piece in encode_lines(column))
        if not any(b" " in piece for piece in pieces):
            size = sum(int(sizes.sum()) for _, _, sizes in lines.runs())
            raise CorpusError(
                f"{_name(lines)} is one line of {size:,} bytes without a space.",
                hint="One sentence or paragraph a line is needed.",
            )


def _require_enough(
    corpus: LineTable, distinct: Mask, train: Mask, held_out: Mask, *, contaminated: int | None
) -> None:
    """Refuse a corpus without enough to train on, and to hold out if it is to give that too.

    Args:
        corpus: All of it.
        distinct: Which of its lines are not empty or repeated.
        train: Which are trained on.
        held_out: Which are held out; of another text if that was given.
        contaminated: How many lines a given held-out text took out; None if none was given.
    """
    lines, size = count_lines(corpus, distinct)
    train_lines, train_size = count_lines(corpus, train)
    found = f"found {_number(lines, 'line')} ({size:,} bytes)"
    if corpus.cut_lines:
        # Who looks into the file sees its lines, and not the pieces that they were cut into.
        whole = _number(corpus.num_whole_lines, "line")
        found = f"found {whole} ({size:,} bytes), cut into {lines:,} pieces"
    if lines < corpus.num_lines:
        found += ", empty and repeated ones left out"
    if contaminated:
        found += f", of which {contaminated:,} are in the held-out text too"
        lines, size = train_lines, train_size
    needed_bytes = MIN_TRAIN_BYTES if contaminated is not None else MIN_BYTES
    needed = None
    hint = "Add text; for a useful adapter a few hundred kilobytes are the least."
    if lines < MIN_LINES:
        needed = f"{MIN_LINES} different lines"
        hint = "One sentence or paragraph a line is needed."
    elif size < needed_bytes:
        needed = f"{needed_bytes:,} bytes"
    elif contaminated is None and (
        held_out.sum() < MIN_HELD_OUT_LINES or train_size < MIN_TRAIN_BYTES
    ):
        needed = f"{MIN_LINES} lines of similar length"
        hint = "One sentence or paragraph a line is needed."
    if needed is not None:
        raise CorpusError(
            f"{_name(corpus)} has too little text: {found}; at least {needed} are needed.",
            hint="Give a held-out text that is not in the corpus." if contaminated else hint,
        )


def require_training_text(corpus: LineTable, train: Mask, *, num_dropped: int) -> None:
    """Refuse a corpus of which too little is left to train on.

    Args:
        corpus: All of it.
        train: Which of its lines are left.
        num_dropped: How many nearly repeat a held-out line.
    """
    lines, size = count_lines(corpus, train)
    if lines < MIN_LINES or size < MIN_TRAIN_BYTES:
        raise CorpusError(
            f"{_name(corpus)} has too little text without near duplicates: of the training lines "
            f"{num_dropped:,} nearly repeat a held-out line, and {_number(lines, 'line')} "
            f"({size:,} bytes) are left; at least {MIN_LINES} lines and {MIN_TRAIN_BYTES:,} bytes "
            "are needed.",
            hint="Add text that is not in the held-out text, or leave --drop-near-duplicates out.",
        )


def _require_enough_to_measure(text: LineTable, mask: Mask) -> None:
    lines, size = count_lines(text, mask)
    if lines < MIN_HELD_OUT_LINES or size < MIN_HELD_OUT_BYTES:
        raise CorpusError(
            f"{_name(text)} has too little text to measure on: found "
            f"{_number(lines, 'line')} ({size:,} bytes); at least {MIN_HELD_OUT_LINES} "
            f"different lines and {MIN_HELD_OUT_BYTES:,} bytes are needed.",
            hint="Give more text, one sentence or paragraph a line.",
        )


def _name(lines: LineTable) -> str:
    """Return what the start of a sentence calls the text; a path keeps its spelling."""
    names = lines.names
    return names[0] if len(names) == 1 else f"The corpus of {len(names):,} files"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

"""Which lines are kept, and which of them are held out, when there are too many for the memory.

A line has one byte in memory: whether it is kept. Its digest is read from the disk, a range of
digests at a time, so that repeated lines are found exactly: equal digests are in the same range.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xmod_extend.text.arrow import ArrowFile, encode_lines, read_arrow
from xmod_extend.text.lines import PreparedLines
from xmod_extend.text.statistics import Measurement, TextStatistics, count_characters
from xmod_extend.text.workers import choose_num_workers, map_in_order

Mask = npt.NDArray[np.bool_]
"""(N,) of all lines of a text."""

HELD_OUT_SHARE = 0.05
HELD_OUT_MIN_BYTES = 10_000
HELD_OUT_MAX_BYTES = 200_000
HELD_OUT_MAX_SHARE = 0.2
"""Of a small text, no more than this is held out, even if that is less than the minimum."""

RANGE_LINES = 1 << 22
"""Lines whose digests are compared at a time, about; they take some 200 MB."""


def find_distinct(lines: PreparedLines) -> Mask:
    """Return which lines are neither empty nor the same as an earlier one."""
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


def count_lines(lines: PreparedLines, mask: Mask) -> tuple[int, int]:
    """Return how many lines are in the mask, and their bytes."""
    num_bytes = 0
    for start, _, sizes in lines.runs():
        num_bytes += int(sizes[mask[start : start + len(sizes)]].sum(dtype=np.int64))
    return int(np.count_nonzero(mask)), num_bytes


def find_shared(lines: PreparedLines, mask: Mask, other: PreparedLines) -> Mask:
    """Return which lines of the mask the other text has too."""
    theirs = np.unique(np.concatenate([digests[sizes > 0] for _, digests, sizes in other.runs()]))
    shared = np.zeros(lines.num_lines, dtype=np.bool_)
    for start, digests, _ in lines.runs():
        shared[start : start + len(digests)] = np.isin(digests, theirs)
    return shared & mask


def hold_out(lines: PreparedLines, distinct: Mask) -> Mask:
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
    lines: PreparedLines, mask: Mask, share: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions, digests and sizes of the lines whose digests are in the lowest part of all."""
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
    lines: PreparedLines, sides: Sequence[tuple[Path, Mask]], *, num_workers: int | None = None
) -> list[TextStatistics]:
    """Write the lines of each mask to an Arrow file of their own, and measure them.

    Args:
        lines: The text.
        sides: Files to write, and what goes there.
        num_workers: Processes to use; by the size of the text if None. The result is the same.
    """
    import pyarrow as pa

    if num_workers is None:
        num_workers = choose_num_workers(lines.path.stat().st_size)
    measurements = [Measurement() for _ in sides]
    owners: deque[Measurement] = deque()
    field = pa.field("text", pa.string())
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(ArrowFile(path, field)) for path, _ in sides]

        def pieces() -> Iterator[bytes]:
            start = 0
            for column in read_arrow(lines.path):
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

"""What the training side has of the held-out side: lines that are nearly the same, and words.

    held-out lines ── n-grams, words ──> an index
    training lines ── 1 MiB at a time ──> workers: near lines, words that are there too

It is one pass over the training side, on all cores. Of more than a gigabyte a sample is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from xmod_extend.text.arrow import encode_lines
from xmod_extend.text.code_points import Hashes
from xmod_extend.text.line_table import LineTable
from xmod_extend.text.near_duplicates import (
    EXAMPLE_CHARACTERS,
    NUM_EXAMPLES,
    Near,
    NearDuplicates,
    NearIndex,
    NearPair,
    find_stretch,
    shorten,
)
from xmod_extend.text.splitting import Mask, count_lines, select_lines
from xmod_extend.text.unseen_words import WordSet
from xmod_extend.text.workers import choose_num_workers, map_in_order

MOST_HELD_OUT_BYTES = 4 << 20
"""Bytes of a held-out text; of a longer one lines at even distances are looked for."""
MOST_TRAIN_BYTES = 1 << 30
"""Bytes of a training text; of a longer one lines at even distances are looked at, unless near ones
are dropped."""
COMPARING_COSTS = 4
"""Times as much as what else is done to a text: a smaller one is worth more processes."""

_ROWS = 1_000
"""Lines in a row that are sampled."""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What two sides of a corpus have in common."""

    near: NearDuplicates
    near_rows: tuple[int, ...]
    """Indices of the held-out lines that are nearly repeated."""
    compared_every: int
    """Every so many-th of the held-out lines was looked for."""
    train_every: int
    """Every so many-th of the training lines was looked at, in runs."""
    num_words: int
    """Words of the held-out side."""
    num_unseen: int
    """Those of them that the training side never has."""
    unseen: tuple[int, ...]
    """Hashes of the different ones; see `unseen_words.hash_words`."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON keeps them."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Overlap:
        """Return what `to_json` made these values of."""
        near = dict(values["near"])
        near["examples"] = tuple(NearPair(**pair) for pair in near["examples"])
        lists = {name: tuple(values[name]) for name in ("near_rows", "unseen")}
        return cls(**values | lists | {"near": NearDuplicates(**near)})


def compare_sides(
    corpus: LineTable, train: Mask, measured: LineTable, held_out: Mask, *, drop: bool = False
) -> tuple[Overlap, Mask]:
    """Compare both sides of a corpus.

    Args:
        corpus: The text of the training side.
        train: Which of its lines are trained on.
        measured: The text of the held-out side.
        held_out: Which of its lines are held out.
        drop: Whether to leave out training lines that nearly repeat a held-out line.

    Returns:
        What was found, and the lines to train on.
    """
    lines = select_lines(measured, held_out)
    words, sampled, every = _index(lines, count_lines(measured, held_out)[1])
    index = NearIndex(sampled)
    num_bytes = count_lines(corpus, train)[1]
    train_every = 1 if drop else -(-num_bytes // MOST_TRAIN_BYTES) or 1
    rows: list[int] = []
    best: dict[int, tuple[float, str]] = {}
    seen = np.empty(0, np.uint64)
    first = 0
    compare = _Comparison(index, words, drop=drop)
    pieces = _pieces(corpus, train, every=train_every)
    num_workers = choose_num_workers(COMPARING_COSTS * num_bytes // train_every)
    for found in map_in_order(compare, pieces, num_workers=num_workers):
        rows += sorted({first + near.row for near, _ in found.near})
        for near, stretch in found.near:
            if near.similarity > best.get(near.held_out, (0.0, ""))[0]:
                best[near.held_out] = near.similarity, stretch
        seen = np.union1d(seen, found.words)
        first += found.num_lines
    unseen = np.setdiff1d(words.hashes, seen)
    near_duplicates = NearDuplicates(
        held_out_lines=len(best),
        compared_lines=len(sampled),
        share=len(best) / max(1, len(sampled)),
        train_lines=len(rows),
        dropped=drop,
        is_sample=every > 1 or train_every > 1,
        examples=_examples(sampled, best),
    )
    if drop:
        train = train.copy()
        train[np.flatnonzero(train)[rows]] = False
    overlap = Overlap(
        near=near_duplicates,
        near_rows=tuple(sorted(every * line for line in best)),
        compared_every=every,
        train_every=train_every,
        num_words=words.num_words,
        num_unseen=words.count(unseen),
        unseen=tuple(unseen.tolist()),
    )
    return overlap, train


class _Found(NamedTuple):
    """What a piece of the training side has of the held-out side."""

    num_lines: int
    near: list[tuple[Near, str]]
    """With the stretch of the training line that is like the held-out line."""
    words: Hashes


class _Comparison:
    """Compares pieces of the training side with the held-out side; picklable."""

    def __init__(self, index: NearIndex, words: WordSet, *, drop: bool) -> None:
        self._index, self._words, self._drop = index, words, drop
        self._best: dict[int, float] = {}

    def __call__(self, piece: bytes) -> _Found:
        lines = piece.decode().removesuffix("\n").split("\n")
        near = self._index.find(lines)
        found = [(one, self._stretch(one, lines)) for one in near]
        if self._drop and near:
            # A word is not seen in a line that is not trained on.
            dropped = {one.row for one in near}
            kept = [line for row, line in enumerate(lines) if row not in dropped]
            return _Found(len(lines), found, self._words.find(kept))
        return _Found(len(lines), found, self._words.find(lines))

    def _stretch(self, near: Near, lines: Sequence[str]) -> str:
        """Return what of a training line is like the held-out line, if none was more so before."""
        if near.similarity <= self._best.get(near.held_out, 0.0):
            return ""
        self._best[near.held_out] = near.similarity
        return find_stretch(self._index.lines[near.held_out], lines[near.row])


def sample_lines(lines: Sequence[str]) -> Sequence[str]:
    """Return held-out lines, or so many of them that an index of them stays small."""
    num_bytes = sum(len(line.encode()) for line in lines)
    return lines[:: -(-num_bytes // MOST_HELD_OUT_BYTES) or 1]


def _index(lines: Iterable[str], num_bytes: int) -> tuple[WordSet, list[str], int]:
    """Return the words of the held-out lines, and a sample of the lines: every so many-th."""
    every = -(-num_bytes // MOST_HELD_OUT_BYTES) or 1
    words, sampled = WordSet(), []
    some: list[str] = []
    for number, line in enumerate(lines):
        if number % every == 0:
            sampled.append(line)
        some.append(line)
        if len(some) == _ROWS:
            words.add(some)
            some = []
    words.add(some)
    return words, sampled, every


def _pieces(lines: LineTable, mask: Mask, *, every: int) -> Iterator[bytes]:
    """Yield the lines of the mask, each with a \\n: all, or a thousand in a row at even
    distances."""
    import pyarrow as pa

    start = 0
    for column in lines.columns():
        kept = column.filter(pa.array(mask[start : start + len(column)]))
        start += len(column)
        if every == 1:
            yield from encode_lines(kept)
            continue
        for first in range(0, len(kept), _ROWS * every):
            yield from encode_lines(kept.slice(first, _ROWS))


def _examples(held_out: Sequence[str], best: dict[int, tuple[float, str]]) -> tuple[NearPair, ...]:
    """Return some of the pairs, from the most to the least similar."""
    order = sorted(best, key=lambda line: (-best[line][0], line))
    count = min(NUM_EXAMPLES, len(order))
    chosen = [order[i * (len(order) - 1) // max(1, count - 1)] for i in range(count)]
    return tuple(
        NearPair(
            held_out=shorten(held_out[line], EXAMPLE_CHARACTERS),
            train=shorten(best[line][1], EXAMPLE_CHARACTERS),
            similarity=round(best[line][0], 4),
        )
        for line in chosen
    )

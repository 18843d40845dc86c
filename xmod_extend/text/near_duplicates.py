"""Held-out lines that a training line nearly repeats: templates, verses, quotations, copies.

Two lines are compared without case, spaces and signs, with every number alike, by their n-grams of
five characters. A held-out line is nearly repeated if a stretch of one training line, a quarter
longer than itself at most, has 60 % of its n-grams. So it is found in a paragraph that quotes it,
where the two lines as a whole have little in common (a Jaccard index would miss it), and no long
paragraph has it by chance. Of a line shorter than 28 letters every n-gram may be chance: it must be
the training line. Measured on real text; `scripts/benchmarks/RESULTS.md` has the figures.

    H  held-out lines
    G  n-grams that are looked up

The held-out side is small. Of each of its lines the rarest n-grams are in an index, so many that no
line with 60 % of them can lack all; the training text streams past it. It misses nothing but where
hardly an n-gram is rare, and is faster than MinHash, which makes a signature of each training line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from xmod_extend.text.code_points import (
    Codes,
    Hashes,
    code_points,
    hash_ngrams,
    hash_stretches,
    plain_codes,
)

NGRAM = 5
"""Characters of an n-gram."""
LEAST_SIMILAR = 0.6
"""Share of a held-out line's n-grams from which on a training line is near."""
LEAST_NGRAMS = 24
"""Different n-grams of a line from which on their share says something."""
STRETCH = 1.25
"""Times as long as the held-out line is the stretch of a training line that is compared."""
INDEXED = 0.6
"""Share of a held-out line's n-grams that are looked up, the rarest ones."""
LEAST_OF_RARE = 0.3
"""Share of a line's n-grams in the index that a near line has at least; of most lines it follows
from the two shares above."""
MOST_OWNERS = 64
"""An n-gram of more held-out lines is not looked up: a text of few words would take hours."""
MOST_ENTRIES = 1 << 21
"""Looked up at a time; they take some 100 MB."""
MOST_REMEMBERED = 1 << 17
"""Lines for which it is remembered what they nearly repeat."""
NUM_EXAMPLES = 5
WARNED_SHARE = 0.005
"""Share of the held-out lines from which on near duplicates are warned about."""
MANY = 2
"""Held-out lines that are no accident."""
EXAMPLE_CHARACTERS = 200

_TABLE_BITS = 22

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class NearPair:
    """A held-out line and a training line that nearly repeats it; long ones are cut."""

    held_out: str
    train: str
    similarity: float
    """Share of the held-out line's n-grams that a stretch of the training line has."""


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """Held-out lines that a training line nearly repeats; the same lines are left out before."""

    held_out_lines: int
    """Held-out lines that a training line nearly repeats."""
    compared_lines: int
    """Held-out lines that were looked for."""
    share: float
    """The first of the two by the second."""
    train_lines: int
    """Training lines that nearly repeat one of them."""
    dropped: bool
    """Whether these training lines were left out."""
    is_sample: bool
    """Whether only a sample of one of the two sides was compared, lines at even distances."""
    examples: tuple[NearPair, ...] = ()
    """From the most to the least similar, at even distances."""

    def describe(self) -> str | None:
        """Return a warning, or None where there are so few that they change no score."""
        if self.held_out_lines < max(MANY, WARNED_SHARE * self.compared_lines):
            return None
        some = " of a sample" if self.is_sample else ""
        found = (
            f"{self.held_out_lines:,} of {self.compared_lines:,} held-out lines{some} "
            f"({self.share:.1%}) nearly repeat a training line"
        )
        if self.examples:
            pair = self.examples[0]
            found += f", such as {shorten(pair.held_out)!r} and {shorten(pair.train)!r}"
        if self.dropped:
            return (
                f"{found}. The training lines, {self.train_lines:,}, were left out, as "
                "--drop-near-duplicates asks."
            )
        return (
            f"{found}: they score better than text that was never seen, and so flatter the score "
            f"of the held-out text. --drop-near-duplicates leaves the training lines, "
            f"{self.train_lines:,}, out."
        )


def shorten(text: str, most: int = 60) -> str:
    """Return the text, or its beginning up to a space."""
    if len(text) <= most:
        return text
    return f"{text[:most].rsplit(' ', 1)[0][:most]} …"


class Near(NamedTuple):
    """A training line that nearly repeats a held-out line."""

    row: int
    """Index among the training lines that were looked at."""
    held_out: int
    """Index among the held-out lines."""
    similarity: float


class NearIndex:
    """Finds lines that nearly repeat one of a few lines; a copy can be sent to another process.

    Args:
        lines: Held out, cleaned. They should be a few megabytes at most: each takes some 30 bytes
            for each of its characters.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        text = _Text(lines)
        self.num_lines = text.num_lines
        owners = text.lines_of_ngrams
        pairs = np.unique(np.stack([owners.astype(np.uint64), text.ngrams]), axis=1)
        owners, hashes = pairs[0].astype(np.int64), pairs[1]
        self._starts = np.searchsorted(owners, np.arange(self.num_lines + 1))
        self._hashes = hashes
        self._sizes = np.diff(self._starts)
        self._whole: dict[int, list[int]] = {}
        for line in np.flatnonzero(text.lengths).tolist():
            self._whole.setdefault(int(text.whole[line]), []).append(line)
        self._known: dict[int, dict[int, float]] = {}
        self._index(owners, hashes)

    def _index(self, owners: Ints, hashes: Hashes) -> None:
        """Make the index of each line's rarest n-grams."""
        _, which, times = np.unique(hashes, return_inverse=True, return_counts=True)
        order = np.lexsort((hashes, times[which], owners))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order)) - self._starts[owners[order]]
        indexed = (rank < np.ceil(INDEXED * self._sizes[owners])) & (times[which] <= MOST_OWNERS)
        indexed &= self._sizes[owners] >= LEAST_NGRAMS
        # A line with the least share of all the n-grams has at least so many of the indexed; and of
        # a line whose n-grams are mostly too frequent for that, a share of the others.
        num_indexed = np.bincount(owners[indexed], minlength=self.num_lines)
        left = np.ceil(LEAST_SIMILAR * self._sizes) - (self._sizes - num_indexed)
        self._needed = np.maximum(left, np.maximum(1, np.ceil(LEAST_OF_RARE * num_indexed)))
        by_hash = np.argsort(hashes[indexed], kind="stable")
        self._owners = owners[indexed][by_hash]
        self._keys, self._firsts = np.unique(hashes[indexed][by_hash], return_index=True)
        self._firsts = np.append(self._firsts, len(self._owners))
        self._table = np.zeros(1 << _TABLE_BITS, dtype=np.bool_)
        self._table[_slots(self._keys)] = True

    def find(self, lines: Sequence[str]) -> list[Near]:
        """Return which lines nearly repeat which of the index, in the order of the rows."""
        text = _Text(lines)
        whole = text.whole.tolist()
        # Templates come again and again: what a line is like is found once.
        new = [row for row, line in enumerate(whole) if self._remember(line, row)]
        for near in self._find_similar(text, np.array(new, dtype=np.int64)):
            self._known[whole[near.row]][near.held_out] = near.similarity
        return [
            Near(row, held_out, similarity)
            for row, line in enumerate(whole)
            for held_out, similarity in sorted(self._known[line].items())
        ]

    def _remember(self, line: int, row: int) -> bool:
        """Return whether a line was not met before; of those that were, so many are remembered."""
        if line in self._known:
            return False
        if row == 0 and len(self._known) > MOST_REMEMBERED:
            self._known.clear()
        # The same letters: also in a line that is too short for a share of n-grams to mean much.
        self._known[line] = dict.fromkeys(self._whole.get(line, ()), 1.0)
        return True

    def _find_similar(self, text: _Text, rows: Ints) -> Iterator[Near]:
        if not len(self._keys):
            return
        wanted = np.zeros(text.num_lines, dtype=np.bool_)
        wanted[rows] = True
        # Most n-grams are ruled out by a look into a table.
        is_likely = self._table[_slots(text.ngrams)] & wanted[text.lines_of_ngrams]
        places = np.flatnonzero(is_likely)
        hashes = text.ngrams[places]
        which = np.minimum(np.searchsorted(self._keys, hashes), len(self._keys) - 1)
        hit = self._keys[which] == hashes
        owners, which = text.lines_of_ngrams[places[hit]], which[hit]
        # One entry for each n-gram of a training line and each held-out line that has it.
        counts = self._firsts[which + 1] - self._firsts[which]
        entries = np.cumsum(counts)
        start = 0
        while start < len(owners):
            stop = np.searchsorted(entries, (entries[start - 1] if start else 0) + MOST_ENTRIES)
            # Whole lines only, one at least.
            last = owners[min(int(stop), len(owners) - 1)]
            stop = np.searchsorted(owners, last) if stop < len(owners) else len(owners)
            if stop <= start:
                stop = np.searchsorted(owners, last, side="right")
            part = slice(start, int(stop))
            yield from self._compare(text, owners[part], which[part], counts[part])
            start = int(stop)

    def _compare(self, text: _Text, rows: Ints, which: Ints, counts: Ints) -> Iterator[Near]:
        """Yield the pairs that are near, of lines whose n-grams are given with their numbers of
        entries in the index."""
        entries = np.repeat(self._firsts[which] - (np.cumsum(counts) - counts), counts)
        entries += np.arange(len(entries))
        pairs = np.repeat(rows, counts) * self.num_lines + self._owners[entries]
        pairs, times = np.unique(pairs, return_counts=True)
        likely = pairs[times >= self._needed[pairs % self.num_lines]]
        for pair in likely.tolist():
            row, held_out = divmod(pair, self.num_lines)
            similarity = self._similarity(text.ngrams_of(row), held_out)
            if similarity >= LEAST_SIMILAR:
                yield Near(row, held_out, similarity)

    def _similarity(self, ngrams: Hashes, held_out: int) -> float:
        """Return the share of a held-out line's n-grams that a stretch of a training line has."""
        mine = self._hashes[self._starts[held_out] : self._starts[held_out + 1]]
        has = np.isin(ngrams, mine)
        start, stop = _densest(has, len(mine))
        return len(np.unique(ngrams[start:stop][has[start:stop]])) / len(mine)


def find_stretch(held_out: str, train: str) -> str:
    """Return the part of a training line that is most like a held-out line, in whole words."""
    mine = _Text([held_out])
    codes, positions = plain_codes(code_points(train))
    ngrams, starts = hash_ngrams(codes, NGRAM)
    if not len(mine.ngrams) or not len(ngrams):
        return train
    start, stop = _densest(np.isin(ngrams, mine.ngrams), len(np.unique(mine.ngrams)))
    first = int(positions[starts[start]])
    last = int(positions[starts[stop - 1] + NGRAM - 1])
    first = train.rfind(" ", 0, first) + 1
    end = train.find(" ", last)
    return train[first : len(train) if end < 0 else end]


def _densest(has: npt.NDArray[np.bool_], size: int) -> tuple[int, int]:
    """Return the stretch of a training line with the most n-grams of a held-out line's `size`."""
    length = math.ceil(STRETCH * size)
    if len(has) <= length:
        return 0, len(has)
    sums = np.concatenate([[0], np.cumsum(has)])
    start = int((sums[length:] - sums[:-length]).argmax())
    return start, start + length


class _Text:
    """Lines as they are compared.

    Attributes:
        ngrams: `(N,)`, one line's behind another's.
        lines_of_ngrams: `(N,)`, which line each is of.
        whole: `(H,)`, the hash of each line.
        lengths: `(H,)`, characters of each line that are compared.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        codes, _ = plain_codes(code_points("".join(f"{line}\n" for line in lines)))
        self.num_lines = len(lines)
        ends = np.flatnonzero(codes == ord("\n"))
        starts = np.append(0, ends[:-1] + 1) if len(ends) else ends
        self.lengths = ends - starts
        self.whole = hash_stretches(codes, starts, ends)
        self.ngrams, places = hash_ngrams(codes, NGRAM)
        self.lines_of_ngrams: Ints = np.searchsorted(ends, places).astype(np.int64)
        self._firsts = np.searchsorted(self.lines_of_ngrams, np.arange(self.num_lines + 1))

    def ngrams_of(self, line: int) -> Hashes:
        """Return the n-grams of a line, in their order."""
        return self.ngrams[self._firsts[line] : self._firsts[line + 1]]


def _slots(hashes: Hashes) -> Codes:
    slots: Codes = (hashes >> np.uint64(64 - _TABLE_BITS)).astype(np.uint32)
    return slots

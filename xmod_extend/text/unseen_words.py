"""Words of the held-out side that the training side never has, in any case of their letters.

What a word is says `statistics.count_words`. The different held-out words are in memory, as hashes;
the training text streams past them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xmod_extend.text.code_points import (
    Hashes,
    Positions,
    code_points,
    hash_stretches,
    lower_codes,
)
from xmod_extend.text.statistics import find_word_bounds


class WordSet:
    """Different words of a text, and how often each is there; a copy can be sent to another
    process."""

    def __init__(self) -> None:
        self.hashes: Hashes = np.empty(0, np.uint64)
        self._times: npt.NDArray[np.int64] = np.empty(0, np.int64)

    @property
    def num_words(self) -> int:
        """Words of the text, each as often as it is there."""
        return int(self._times.sum())

    def add(self, lines: Sequence[str]) -> None:
        """Take more lines of the text."""
        new, times = np.unique(hash_words(lines), return_counts=True)
        hashes, which = np.unique(np.concatenate([self.hashes, new]), return_inverse=True)
        all_times = np.concatenate([self._times, times])
        self._times = np.bincount(which, weights=all_times, minlength=len(hashes)).astype(np.int64)
        self.hashes = hashes

    def find(self, lines: Sequence[str]) -> Hashes:
        """Return those of the words that other lines have."""
        return np.intersect1d(self.hashes, hash_words(lines))

    def count(self, words: Hashes) -> int:
        """Return how often these words are in the text."""
        return int(self._times[np.isin(self.hashes, words)].sum())


def hash_words(lines: Sequence[str]) -> Hashes:
    """Return the hash of each word of the lines, in their order; their case makes no difference."""
    return find_words_with_hashes("".join(f"{line}\n" for line in lines))[2]


def find_words_with_hashes(text: str) -> tuple[Positions, Positions, Hashes]:
    """Return where the words of a text begin and end, in characters, and the hash of each."""
    starts, ends = find_word_bounds(text)
    return starts, ends, hash_stretches(lower_codes(code_points(text)), starts, ends)

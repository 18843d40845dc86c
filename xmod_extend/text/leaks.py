"""Test sentences that stand in a training text, for which a score would be no score.

A line and a sentence are the same if their letters and digits are, in this order, whatever their
case, punctuation and spaces: treebanks put spaces where other text has none. Nearly the same is
what `near_duplicates.py` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import regex

from xmod_extend.text.cleaning import clean_line
from xmod_extend.text.near_duplicates import NearIndex
from xmod_extend.text.reading import read_blocks, split_block
from xmod_extend.text.sources import Source

_NEITHER_LETTER_NOR_DIGIT = regex.compile(r"[^\p{L}\p{M}\p{N}]+")


@dataclass(frozen=True)
class Leaks:
    """Numbers of the test sentences that a corpus has, from 0."""

    exact: tuple[int, ...]
    near: tuple[int, ...] = ()
    """Others that are nearly a line of it."""

    @property
    def all(self) -> frozenset[int]:
        return frozenset((*self.exact, *self.near))


def letters_of(text: str) -> str:
    """Return the letters and digits of a cleaned text, in lower case, and nothing else."""
    letters: str = _NEITHER_LETTER_NOR_DIGIT.sub("", text.casefold())
    return letters


def find_leaks(sentences: Sequence[Iterable[str]], sources: Iterable[Source]) -> Leaks:
    """Return which sentences are lines of a corpus, which is read once and not kept.

    Args:
        sentences: Of each test example one or more; one is enough for the example to be leaked.
        sources: The corpus.

    Raises:
        CorpusError: The corpus cannot be read.
    """
    texts = [(clean_line(text), number) for number, own in enumerate(sentences) for text in own]
    wanted: dict[str, list[int]] = {}
    for text, number in texts:
        wanted.setdefault(letters_of(text), []).append(number)
    wanted.pop("", None)
    index = NearIndex([text for text, _ in texts])
    exact: set[int] = set()
    near: set[int] = set()
    for source in sources:
        for block in read_blocks(source):
            lines = list(map(clean_line, split_block(block)))
            for line in lines:
                exact.update(wanted.get(letters_of(line), ()))
            near.update(texts[found.held_out][1] for found in index.find(lines))
    return Leaks(tuple(sorted(exact)), tuple(sorted(near - exact)))

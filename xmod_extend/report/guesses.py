"""Guesses for the gaps of a sentence, before and after."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NamedGuess:
    """A piece of the vocabulary and how likely it is in a gap, from 0 to 1.

    A piece that begins a word has the mark `▁` before it.
    """

    piece: str
    probability: float


@dataclass(frozen=True)
class GapGuesses:
    """The guesses for one gap, the likeliest first."""

    before: tuple[NamedGuess, ...]
    after: tuple[NamedGuess, ...]


@dataclass(frozen=True, kw_only=True)
class FilledMask:
    """The guesses for each gap of a sentence by two states."""

    text: str
    before: str
    """The first state in a few words."""
    after: str
    gaps: tuple[GapGuesses, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the guesses as plain dicts, lists, strings and numbers."""
        return dataclasses.asdict(self)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each rank of each gap."""
        for gap, guesses in enumerate(self.gaps, start=1):
            both = zip(guesses.before, guesses.after, strict=True)
            for rank, (before, after) in enumerate(both, start=1):
                yield {
                    "gap": gap,
                    "rank": rank,
                    "before": before.piece,
                    "before_probability": before.probability,
                    "after": after.piece,
                    "after_probability": after.probability,
                }

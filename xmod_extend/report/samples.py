"""Samples of the held-out text for the report: what a speaker can judge without knowing the scores.

They are bounded, so that the record of 10 GB of text is as small as that of 1 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SampleSentence:
    """A held-out line in the tokenizer's pieces, and how surprising each one was."""

    pieces: tuple[str, ...]
    """The text of each token; joined, they are the line, or the beginning of a long one."""
    before: tuple[float | None, ...]
    """Nats of each token with the best existing adapter, the rest of its word hidden too; None of
    one that is unknown, and so not scored."""
    after: tuple[float | None, ...]
    """The same with the new adapter."""
    is_cut: bool = False
    """Whether the line goes on."""

    @property
    def mean_before(self) -> float:
        """Mean nats of the scored tokens with the best existing adapter; 0 if none was scored."""
        return _mean(self.before)

    @property
    def mean_after(self) -> float:
        """The same with the new adapter."""
        return _mean(self.after)


def _mean(nats: Sequence[float | None]) -> float:
    scored = [value for value in nats if value is not None]
    return sum(scored) / max(1, len(scored))


@dataclass(frozen=True, kw_only=True)
class PieceGuess:
    """One of a model's best guesses for a hidden token."""

    piece: str
    """Its text, with the space before it if it begins a word."""
    probability: float
    is_right: bool


@dataclass(frozen=True, kw_only=True)
class GuessSample:
    """A held-out line with one token hidden, and what is guessed for it."""

    left: str
    """The line up to the hidden token."""
    answer: str
    """What was hidden."""
    right: str
    before: tuple[PieceGuess, ...]
    """The best guesses with the best existing adapter, the likeliest first."""
    after: tuple[PieceGuess, ...]
    before_probability: float
    """What the best existing adapter gave to the answer, be it one of the guesses or not."""
    after_probability: float


@dataclass(frozen=True, kw_only=True)
class CutWord:
    """A word that the tokenizer cuts into many pieces."""

    pieces: tuple[str, ...]
    count: int
    """How often the held-out text has it."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Examples from the held-out text, before and after.

    Lines are chosen by their mean loss in the evaluation, where 15 % of the tokens are hidden, and
    then scored token by token.
    """

    hardest: tuple[SampleSentence, ...]
    """Lines that the new adapter finds hardest, the hardest first."""
    most_improved: tuple[SampleSentence, ...]
    """Lines whose loss fell most, the one that fell most first."""
    typical: tuple[SampleSentence, ...]
    """Lines whose loss is the median with the new adapter."""
    guesses: tuple[GuessSample, ...]
    """Tokens drawn at random."""
    cut_words: tuple[CutWord, ...]
    """Words of the held-out text that are cut most finely."""
    signature: str = ""
    """What the losses of single tokens depend on."""

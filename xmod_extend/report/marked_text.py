"""Text marked by how surprising each token is, cut only where a reader sees a cut.

A tokenizer knows nothing of letters that are written as one: it may end a token before a vowel sign
or inside a conjunct. Marked apart, the two halves would be torn in the middle of a glyph, so they
are marked as one, whose surprisal is the sum. Between letters that join, as in Arabic, a browser
shapes across the marks as long as they add no space.

Source: Unicode Standard Annex 29, extended grapheme clusters; UAX 44, Indic_Syllabic_Category, for
the signs that bind the next letter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import regex

from xmod_extend.report.samples import SampleSentence

LEVELS = (2.0, 10.0, 100.0, 1000.0)
"""Bounds of the levels of surprise: as if one in so many equally likely pieces had come up."""
LEVEL_NAMES = (
    "likelier than 1 in 2",
    "1 in 2 to 10",
    "1 in 10 to 100",
    "1 in 100 to 1,000",
    "rarer than 1 in 1,000",
)

_CLUSTER = regex.compile(r"\X")
_BINDS_NEXT = regex.compile(r"[\p{InSC=Virama}\p{InSC=Invisible_Stacker}\u200d]\Z")
_IS_BOUND = regex.compile(r"[\p{M}\u0e33\u0eb3]")
"""Some vowel signs, as in Burmese, begin a cluster of their own; those of Thai and Lao that are
written on the letter before them are letters to Unicode."""


@dataclass(frozen=True)
class Mark:
    """A piece of a line that can be coloured by itself."""

    space: str
    """The white space before it, which is not coloured."""
    text: str
    nats: float | None
    """Its surprisal; None where a part of it is unknown, and so was not scored."""
    num_tokens: int

    @property
    def level(self) -> int | None:
        """The level of surprise, 0 for what was expected."""
        if self.nats is None:
            return None
        return sum(self.nats >= math.log(bound) for bound in LEVELS)

    @property
    def odds(self) -> str:
        """The surprisal as `1 in 20`."""
        return "not scored" if self.nats is None else f"1 in {format_odds(self.nats)}"


def format_odds(nats: float) -> str:
    """Return `exp(nats)` with as many digits as say something."""
    if nats > math.log(1e6):
        return "over 1,000,000"
    odds = math.exp(nats)
    return f"{odds:,.2f}" if odds < 2 else f"{odds:,.1f}" if odds < 10 else f"{odds:,.0f}"


def mark_tokens(pieces: Sequence[str], nats: Sequence[float | None]) -> list[Mark]:
    """Return the marks of a line.

    Args:
        pieces: The text of each token; joined, they are the line.
        nats: Surprisal of each.
    """
    cuts = set(_visible_cuts("".join(pieces)))
    marks: list[Mark] = []
    space, text, end = "", "", 0
    parts: list[float | None] = []
    for piece, loss in zip(pieces, nats, strict=True):
        text, end = text + piece, end + len(piece)
        parts.append(loss)
        # A token may stand for a space alone, or for a part of a character.
        if end in cuts and text.strip():
            shown = text.strip()
            before, after = text.split(shown, 1)
            marks.append(Mark(space + before, shown, _sum(parts), len(parts)))
            space, text, parts = after, "", []
    if parts and marks:
        # White space at the end is not seen, but what it cost is not lost.
        last = marks.pop()
        total = _sum([last.nats, *parts])
        marks.append(Mark(last.space, last.text, total, last.num_tokens + len(parts)))
    return marks


def _sum(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _visible_cuts(text: str) -> Iterator[int]:
    """Yield the places between two characters that are not written as one, and the end."""
    for cluster in _CLUSTER.finditer(text):
        end = cluster.end()
        is_torn = _BINDS_NEXT.search(cluster[0]) or _IS_BOUND.match(text, end)
        if end == len(text) or not is_torn:
            yield end


def starts_with_sign(text: str) -> bool:
    """Return whether a text begins with a sign that is written on the letter before it."""
    return bool(_IS_BOUND.match(text))


def widen(left: str, middle: str, right: str) -> tuple[str, str, str]:
    """Return the parts of a line with the middle one widened until no letter of it is torn."""
    line = left + middle + right
    cuts = [0, *_visible_cuts(line)]
    start = max(cut for cut in cuts if cut <= len(left))
    end = min(cut for cut in cuts if cut >= len(left) + len(middle))
    return line[:start], line[start:end], line[end:]


@dataclass(frozen=True)
class MarkedSentence:
    """A line before and after, with the same marks."""

    before: tuple[Mark, ...]
    after: tuple[Mark, ...]

    @property
    def perplexity_before(self) -> float | None:
        """As many equally likely pieces as each token was worth, on average."""
        return _perplexity(self.before)

    @property
    def perplexity_after(self) -> float | None:
        """The same with the new adapter."""
        return _perplexity(self.after)


def compare_marks(sentence: SampleSentence) -> MarkedSentence:
    """Return a sample's marks, before and after."""
    return MarkedSentence(
        tuple(mark_tokens(sentence.pieces, sentence.before)),
        tuple(mark_tokens(sentence.pieces, sentence.after)),
    )


def _perplexity(marks: Sequence[Mark]) -> float | None:
    scored = [(mark.nats, mark.num_tokens) for mark in marks if mark.nats is not None]
    if not scored:
        return None
    return math.exp(sum(nats for nats, _ in scored) / sum(count for _, count in scored))

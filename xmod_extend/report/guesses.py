"""Guesses for the gaps of a sentence, before and after."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xmod_extend.report.cells import guesses_cell
from xmod_extend.report.extras import load_plots
from xmod_extend.report.frames import to_frame

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

WORD_MARK = "▁"


@dataclass(frozen=True)
class NamedGuess:
    """A piece of the vocabulary and how likely it is in a gap, from 0 to 1.

    A piece that begins a word has the mark `▁` before it.
    """

    piece: str
    probability: float

    @property
    def label(self) -> str:
        """The piece for readers: one that goes on with a word has a hyphen before it."""
        if self.piece == WORD_MARK:
            return "␣"
        text = self.piece.replace(WORD_MARK, " ")
        return text[1:] if text[:1] == " " else f"-{text}"


@dataclass(frozen=True)
class GapGuesses:
    """The guesses for one gap, the likeliest first."""

    before: tuple[NamedGuess, ...]
    after: tuple[NamedGuess, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class FilledMask:
    """The guesses for each gap of a sentence by two states.

    It prints as two lines for each gap, and shows as a table in a notebook.
    """

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

    def to_pandas(self) -> pandas.DataFrame:
        """Return a frame with a row for each rank of each gap.

        Raises:
            UsageError: pandas is not installed.
        """
        return to_frame(self.rows())

    def plot(self) -> Figure:
        """Draw the guesses of both states side by side, and return the figure.

        Raises:
            UsageError: matplotlib is not installed.
        """
        figure: Figure = load_plots().plot_guesses(self)
        return figure

    def __repr__(self) -> str:
        lines = [self.text]
        for gap in self.gaps:
            lines += [
                f"  {name}: " + ", ".join(f"{one.label} {one.probability:.2f}" for one in guesses)
                for name, guesses in ((self.before, gap.before), (self.after, gap.after))
            ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return guesses_cell(self)

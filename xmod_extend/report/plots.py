"""Plots of results, for a notebook or a paper.

They are drawn on figures of their own, never on pyplot's: nothing is shown that was not asked for,
no backend is chosen and no setting of the caller's is touched. This module needs matplotlib; it is
imported when a plot is asked for.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)

from xmod_extend.evaluation.losses import Floats
from xmod_extend.evaluation.minimal_pairs import METRIC as MINIMAL_PAIRS
from xmod_extend.report.fonts import DEFAULT, families_for
from xmod_extend.report.side_by_side import METRIC_NAMES, Kind, Row, Rung, SideBySide

if TYPE_CHECKING:
    from xmod_extend.evaluation.learning_curve import LearningCurve
    from xmod_extend.report.guesses import FilledMask, NamedGuess

Flags = npt.NDArray[np.bool_]

COLORS: dict[Kind, str] = {
    "before": "#8a4b08",
    "after": "#00695f",
    "frequencies": "#4b5a8a",
    "reference": "#5d4a8a",
}
MARKERS: dict[Kind, str] = {"before": "s", "after": "o", "frequencies": "D", "reference": "^"}
"""Shapes, so that no colour is the only sign."""
INK, SOFT, GRID = "#1c1d21", "#55585f", "#dcd9d2"
INCHES = 4.2
RESOLUTION = 110


class NotebookFigure(Figure):
    """A figure that a notebook shows when it is the last thing in a cell, without pyplot."""

    def __init__(self, width: float, height: float) -> None:
        super().__init__(
            figsize=(width, height), dpi=RESOLUTION, facecolor="white", layout="constrained"
        )
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png")
        return content.getvalue()


def plot_comparison(result: SideBySide, rows: Sequence[Row]) -> NotebookFigure:
    """Draw the scores with their intervals, and each sentence before and after.

    Args:
        result: What to compare.
        rows: Of sentences or of pairs under the metric to lead with; there may be none.
    """
    figure = NotebookFigure(2.35 * INCHES if rows else 1.6 * INCHES, INCHES)
    axes = figure.subplots(1, 2 if rows else 1, squeeze=False)[0]
    _draw_ladder(axes[0], result)
    if rows and result.metrics[0] == MINIMAL_PAIRS:
        _draw_margins(axes[1], rows)
    elif rows:
        _draw_sentences(axes[1], rows)
    return figure


def plot_evaluation(rung: Rung, rows: Sequence[Row]) -> NotebookFigure:
    """Draw how the sentences of one state are spread, with the score of all of them.

    Args:
        rung: The score to lead with.
        rows: Of sentences or of pairs.
    """
    figure = NotebookFigure(1.6 * INCHES, INCHES)
    axes = figure.subplots()
    metric, score = rung.score.metric, rung.score
    is_pairs = metric == MINIMAL_PAIRS
    values = [row["margin_nats" if is_pairs else "perplexity"] for row in rows]
    color = COLORS[rung.kind]
    if is_pairs:
        axes.hist(values, bins=30, color=color, alpha=0.55)
        axes.axvline(0, color=INK, linewidth=1.2)
        name = f"{rung.figure:.1%} of {len(values):,} pairs found"
        _decorate(axes, name, "nats by which the right sentence is the likelier", "pairs")
    else:
        bins = np.geomspace(min(values), max(*values, min(values) * 1.01), 31).tolist()
        axes.hist(values, bins=bins, color=color, alpha=0.55)
        _logarithmic(axes, "x", min(values), max(values))
        if score.low is not None and score.high is not None:
            axes.axvspan(score.low, score.high, color=color, alpha=0.25, linewidth=0)
        axes.axvline(rung.figure, color=INK, linewidth=1.2)
        name = f"{rung.figure:,.1f} over all sentences"
        _decorate(axes, name, f"{METRIC_NAMES[metric]} of a sentence", "sentences")
    figure.suptitle(rung.name, fontsize=10, color=SOFT)
    return figure


def plot_guesses(result: FilledMask) -> NotebookFigure:
    """Draw the guesses for each gap, one state beside the other."""
    count = max(len(gap.before) for gap in result.gaps)
    height = (0.9 + 0.3 * count) * len(result.gaps) + 0.5
    figure = NotebookFigure(2.1 * INCHES, height)
    axes = figure.subplots(len(result.gaps), 2, squeeze=False, sharex=True)
    for number, (row, gap) in enumerate(zip(axes, result.gaps, strict=True), start=1):
        which = f", gap {number}" if len(result.gaps) > 1 else ""
        for place, name, color, guesses in (
            (row[0], result.before, COLORS["before"], gap.before),
            (row[1], result.after, COLORS["after"], gap.after),
        ):
            _draw_guesses(place, guesses, color)
            _decorate(place, f"{name}{which}", "", "", grid="x")
            _write_plainly(place)
    most = max(one.probability for gap in result.gaps for one in (*gap.before, *gap.after))
    for place in axes[-1]:
        place.set_xlim(0, 1.15 * most)
        place.set_xlabel("probability", color=SOFT, fontsize=9)
    return figure


def plot_shares(scores: Mapping[str, tuple[float, float, float]], *, title: str) -> NotebookFigure:
    """Draw shares with their intervals, the first one, of which the others are told, at the top.

    Args:
        scores: What each is of, in a few words -> the share, and its interval's bounds.
        title: What they have in common.
    """
    figure = NotebookFigure(1.8 * INCHES, 0.6 * len(scores) + 1.4)
    axes = figure.subplots()
    for place, (share, low, high) in enumerate(scores.values()):
        kind: Kind = "before" if place else "after"
        _draw_mark(axes, kind, place, (low, share, high), f"{share:.1%}")
    axes.set_yticks(range(len(scores)), [_wrap(name) for name in scores], fontsize=9)
    axes.set_ylim(len(scores) - 0.4, -0.75)
    axes.set_xlim(0, 1.04)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    _write_plainly(axes)
    _decorate(axes, title, "higher is better", "", grid="x")
    return figure


def plot_learning_curve(curve: LearningCurve) -> NotebookFigure:
    """Draw the score after training on more and more of the text, and what twice as much may
    bring."""
    figure = NotebookFigure(1.6 * INCHES, INCHES)
    axes = figure.subplots()
    points, color = curve.points, COLORS["after"]
    sizes = [point.num_tokens for point in points]
    values = [point.perplexity for point in points]
    ends = [end for point in points for end in (point.low, point.high) if end is not None]
    axes.plot(sizes, values, "-o", color=color, markersize=7)
    for point in points:
        if point.low is not None and point.high is not None:
            axes.plot([point.num_tokens] * 2, [point.low, point.high], color=color, lw=5, alpha=0.3)
        _label_mark(axes, point.num_tokens, point.perplexity, f"{point.perplexity:,.1f}", color)
    if curve.expected_perplexity is not None:
        twice, expected = 2 * sizes[-1], curve.expected_perplexity
        color = COLORS["frequencies"]
        axes.plot([sizes[-1], twice], [values[-1], expected], ":", color=color)
        axes.plot([twice], [expected], "D", color=color, markerfacecolor="white", markersize=7)
        _label_mark(axes, twice, expected, f"{expected:,.1f}?", color)
        sizes, values = [*sizes, twice], [*values, expected]
    _logarithmic(axes, "y", min(values + ends), max(values + ends), margin=0.15)
    axes.set_xscale("log", base=2)
    axes.set_xlim(sizes[0] / 1.25, sizes[-1] * 1.25)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    title = "More text, a lower perplexity?" + (
        " (open: estimated)" if len(sizes) > len(points) else ""
    )
    _decorate(axes, title, "tokens of training text", "held-out perplexity", grid="y")
    return figure


def _draw_mark(
    axes: Axes, kind: Kind, place: int, ends: tuple[float | None, float, float | None], text: str
) -> None:
    """Draw a figure, in a row of its own, with its interval if it has one."""
    low, figure, high = ends
    color = COLORS[kind]
    if low is not None and high is not None:
        axes.plot([low, high], [place] * 2, color=color, linewidth=4, alpha=0.35)
    axes.plot([figure], [place], MARKERS[kind], color=color, markersize=8)
    _label_mark(axes, figure, place, text, color)


def _label_mark(axes: Axes, x: float, y: float, text: str, color: str) -> None:
    axes.annotate(
        text,
        (x, y),
        xytext=(0, 9),
        textcoords="offset points",
        ha="center",
        color=color,
        fontsize=10,
        fontweight="bold",
    )


def _draw_ladder(axes: Axes, result: SideBySide) -> None:
    """Draw a mark with its interval for each score, the first one at the top."""
    rungs = result.rungs
    is_pairs = result.metrics == [MINIMAL_PAIRS]
    several = len(result.metrics) > 1
    labels = []
    for place, rung in enumerate(rungs):
        score, figure = rung.score, rung.figure
        text = f"{figure:.1%}" if is_pairs else f"{figure:,.1f}"
        _draw_mark(axes, rung.kind, place, (score.low, figure, score.high), text)
        metric = f"\n{score.metric}" if several else ""
        labels.append(_wrap(rung.name) + metric)
    axes.set_yticks(range(len(rungs)), labels, fontsize=9)
    axes.set_ylim(len(rungs) - 0.4, -0.75)
    _write_plainly(axes)
    if is_pairs:
        axes.set_xlim(0, 1.04)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.axvline(0.5, color=SOFT, linestyle=":", linewidth=1.2)
        _decorate(axes, "Pairs found (dotted: by chance)", "higher is better", "", grid="x")
        return
    figures = [rung.figure for rung in rungs]
    ends = [value for rung in rungs for value in (rung.score.low, rung.score.high) if value]
    _logarithmic(axes, "x", min(figures + ends), max(figures + ends), margin=0.12)
    title = "Perplexity" if several else METRIC_NAMES[result.metrics[0]].capitalize()
    _decorate(axes, f"{title}, with 95 % intervals", "lower is better", "", grid="x")


def _draw_sentences(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw a point for each sentence: below the line it is read better than before."""
    before = np.array([row["before_perplexity"] for row in rows])
    after = np.array([row["after_perplexity"] for row in rows])
    low, high = min(before.min(), after.min()), max(before.max(), after.max())
    ends = [low / 1.3, high * 1.3]
    axes.plot(ends, ends, color=SOFT, linewidth=1)
    better = after < before
    _scatter(axes, before, after, better, size=26 if len(rows) < 300 else 12)
    _logarithmic(axes, "x", *ends)
    _logarithmic(axes, "y", *ends)
    axes.set_aspect("equal")
    for text, place, side in (
        ("better after", (0.97, 0.04), "right"),
        ("worse", (0.03, 0.95), "left"),
    ):
        axes.text(*place, text, transform=axes.transAxes, ha=side, fontsize=9, color=SOFT)
    share = f"{better.mean():.0%} of {len(rows):,} sentences are better"
    _decorate(axes, share, "perplexity of a sentence, before", "after", grid="both")


def _draw_margins(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw a point for each pair: above the level line it is found after, right of the other
    before."""
    before = np.array([row["before_margin_nats"] for row in rows])
    after = np.array([row["after_margin_nats"] for row in rows])
    found = after > 0
    _scatter(axes, before, after, found, size=26)
    axes.axhline(0, color=SOFT, linewidth=1)
    axes.axvline(0, color=SOFT, linewidth=1)
    gained, lost = int((found & (before <= 0)).sum()), int((~found & (before > 0)).sum())
    title = f"{gained:,} pairs are newly found, {lost:,} no longer"
    _decorate(axes, title, "nats for the right sentence, before", "after", grid="both")


def _scatter(axes: Axes, x: Floats, y: Floats, is_better: Flags, *, size: int) -> None:
    """Draw discs where something is better after, and crosses elsewhere."""
    color = COLORS["after"]
    axes.scatter(x[is_better], y[is_better], s=size, color=color, alpha=0.5, linewidths=0)
    rest, color = ~is_better, COLORS["before"]
    axes.scatter(x[rest], y[rest], s=size, marker="x", color=color, alpha=0.8, linewidths=1.2)


def _draw_guesses(axes: Axes, guesses: Sequence[NamedGuess], color: str) -> None:
    places = range(len(guesses))
    values = [guess.probability for guess in guesses]
    axes.barh(places, values, color=color, alpha=0.75, height=0.62)
    # Without a font that has the letters boxes would stand there; the table has the piece.
    labels = [
        guess.label if families_for(guess.label) else f"(guess {place + 1})"
        for place, guess in enumerate(guesses)
    ]
    axes.set_yticks(list(places), labels)
    axes.set_ylim(len(guesses) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for place, guess in enumerate(guesses):
        axes.annotate(
            f"{guess.probability:.0%}" if guess.probability >= 0.01 else "<1%",
            (guess.probability, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=SOFT,
        )


def _logarithmic(axes: Axes, which: str, low: float, high: float, *, margin: float = 0.0) -> None:
    """Give an axis even factors and plain numbers, a few of them."""
    low, high = max(low, 1e-3), min(max(high, low * 1.2), 1e12)
    factor = max(1.1, (high / low) ** margin) if margin else 1.0
    set_scale, set_limits = (
        (axes.set_xscale, axes.set_xlim) if which == "x" else (axes.set_yscale, axes.set_ylim)
    )
    set_scale("log")
    set_limits(low / factor, high * factor)
    axis = axes.xaxis if which == "x" else axes.yaxis
    decades = math.log10(high / low)
    steps = (1, 1.5, 2, 3, 4, 5, 7) if decades < 1 else (1, 2, 5) if decades < 2.3 else (1,)
    axis.set_major_locator(LogLocator(subs=steps, numticks=12))
    axis.set_minor_locator(LogLocator(subs=(1,), numticks=12))
    axis.set_major_formatter(FuncFormatter(_plain_number))
    axis.set_minor_formatter(NullFormatter())


def _plain_number(value: float, place: int | None = None) -> str:
    if value >= 1e9:
        return f"{value:.0e}"
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    if value >= 1e5:
        return f"{value / 1e3:g} k"
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def _decorate(axes: Axes, title: str, x: str, y: str, *, grid: Any = None) -> None:
    axes.set_facecolor("white")
    axes.set_title(title, fontsize=11, color=INK, loc="left", pad=10)
    axes.set_xlabel(x, color=SOFT, fontsize=9)
    axes.set_ylabel(y, color=SOFT, fontsize=9)
    axes.tick_params(colors=SOFT, labelcolor=INK, labelsize=9, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)


def _write_plainly(axes: Axes) -> None:
    """Have the names of users stand as they are, in fonts that have their letters."""
    for label in (axes.title, *axes.get_yticklabels()):
        label.set_parse_math(False)
        label.set_fontfamily(families_for(label.get_text()) or [DEFAULT])


def _wrap(text: str, width: int = 24) -> str:
    """Return a name in lines of about so many characters, cut at spaces."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + len(word) < width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)

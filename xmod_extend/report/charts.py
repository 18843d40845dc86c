"""The lines and bars of the report's charts, in per cent of their width and height.

A chart is an `<svg>` that is stretched, with its labels beside it as text of the page, so that they
are as large on a phone as elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xmod_extend.evaluation.probe import Candidate
from xmod_extend.report.axes import Axis, axis_around, axis_from_one
from xmod_extend.report.record import RunRecord

NUM_SHOWN = 12
"""Languages of the probe that are shown at once; the others can be unfolded."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart."""

    name: str
    kind: str
    values: tuple[float, ...]
    points: str
    """`x,y x,y` in per cent, y from above."""


@dataclass(frozen=True, kw_only=True)
class LineChart:
    """Lines over one axis."""

    x: Axis
    y: Axis
    steps: tuple[float, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class ProbeChart:
    """The base's languages, the best one first."""

    axis: Axis
    shown: tuple[Candidate, ...]
    others: tuple[Candidate, ...]


def line_chart(steps: Sequence[float], values: dict[tuple[str, str], Sequence[float]]) -> LineChart:
    """Return a chart on a logarithmic axis.

    Args:
        steps: Where the values are, ascending.
        values: Name and kind of each line -> its values.
    """
    x = Axis(min([0, *steps]), max([*steps, 1]))
    y = axis_around([value for line in values.values() for value in line])
    return LineChart(
        x=x,
        y=y,
        steps=tuple(steps),
        lines=tuple(
            Line(
                name=name,
                kind=kind,
                values=tuple(line),
                points=" ".join(
                    f"{x.at(step)},{100 - y.at(value):.2f}"
                    for step, value in zip(steps, line, strict=True)
                    if math.isfinite(value)
                ),
            )
            for (name, kind), line in values.items()
        ),
    )


def training_chart(record: RunRecord) -> LineChart | None:
    """Return how the losses fell in training, as perplexities, or None if that is not known."""
    if record.training is None or not record.training.curve:
        return None
    curve = record.training.curve
    return line_chart(
        [point.step for point in curve],
        {
            ("held-out text", "new"): [_perplexity(point.held_out_loss) for point in curve],
            ("training text", "existing"): [_perplexity(point.train_loss) for point in curve],
        },
    )


def learning_chart(record: RunRecord) -> LineChart | None:
    """Return how the score moves with more text, or None if that was not asked for."""
    curve = record.learning_curve
    if curve is None or len(curve.points) < 2:
        return None
    return line_chart(
        [point.num_tokens for point in curve.points],
        {("held-out text", "new"): [point.perplexity for point in curve.points]},
    )


def probe_chart(record: RunRecord) -> ProbeChart | None:
    """Return the ranking of the base's languages, or None if there is none."""
    if not record.probe:
        return None
    return ProbeChart(
        axis=axis_from_one([candidate.perplexity for candidate in record.probe]),
        shown=record.probe[:NUM_SHOWN],
        others=record.probe[NUM_SHOWN:],
    )


def _perplexity(nats: float) -> float:
    return math.exp(nats) if nats < 700 else math.inf

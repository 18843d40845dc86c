"""Where a figure stands on an axis of a chart, in per cent of its length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MOST_TICKS = 5
LEAST_SPAN = 2.6
HIGHEST = 1e12
"""No axis goes further: what is above has lost all meaning, and stands at the end."""


@dataclass(frozen=True)
class Tick:
    """A mark of an axis."""

    at: float
    """Per cent of the axis."""
    label: str


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high`, in even steps or in even factors."""

    low: float
    high: float
    is_logarithmic: bool = False

    def at(self, value: float) -> float:
        """Return where a value stands, in per cent; one beyond an end stands at that end."""
        low, high, here = self.low, self.high, min(max(value, self.low), self.high)
        if self.is_logarithmic:
            low, high, here = math.log(low), math.log(high), math.log(here)
        return round(100 * (here - low) / (high - low), 2) if high > low else 0.0

    def ticks(self) -> list[Tick]:
        """Return a few round figures of the axis."""
        chosen = self._powers() if self.is_logarithmic else self._steps()
        return [Tick(self.at(value), format_figure(value)) for value in chosen]

    def _powers(self) -> list[float]:
        """Return powers of ten, and with few of them 2 and 5 times these as well."""
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for factors in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
            inside = self._inside([10.0**exponent * f for exponent in exponents for f in factors])
            if len(inside) <= MOST_TICKS:
                return inside
        return inside[:: math.ceil(len(inside) / MOST_TICKS)]

    def _steps(self) -> list[float]:
        rough = (self.high - self.low) / (MOST_TICKS - 1)
        power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
        step = next(power * f for f in (1, 2, 5, 10) if power * f >= rough)
        first = math.ceil(self.low / step)
        count = math.floor(self.high / step + 1e-9) - first + 1
        return self._inside([(first + i) * step for i in range(count)])

    def _inside(self, values: Sequence[float]) -> list[float]:
        slack = 1 + 1e-9
        return [value for value in values if self.low / slack <= value <= self.high * slack]


def axis_from_one(values: Sequence[float]) -> Axis:
    """Return a logarithmic axis from 1 to a round figure above all of the values."""
    highest = min(HIGHEST, max([10.0, *filter(math.isfinite, values)]))
    power = 10.0 ** math.floor(math.log10(highest))
    return Axis(1.0, next(power * f for f in (1, 2, 5, 10) if power * f >= highest), True)


def axis_around(values: Sequence[float]) -> Axis:
    """Return a logarithmic axis that holds all of the values, and little more.

    It spans a factor of 2.6 at the least: a difference that means nothing would fill the chart, and
    there would be no round figure on it.
    """
    finite = [min(value, HIGHEST) for value in values if 0 < value < math.inf] or [1.0]
    low, high = min(finite), max(finite)
    margin = max(1.05, (high / low) ** 0.08, math.sqrt(LEAST_SPAN * low / high))
    return Axis(low / margin, high * margin, True)


def format_figure(value: float) -> str:
    """Return a figure with three significant digits or all before the point."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "–"
    if value >= 1e9:
        return f"{value:.1e}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if float(value).is_integer():
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")

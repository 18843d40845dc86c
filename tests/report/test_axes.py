"""Axes of the report's charts: every value has a place, and no small difference looks large."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmod_extend.report.axes import LEAST_SPAN, Axis, axis_around, axis_from_one, format_figure

VALUES = st.lists(st.floats(min_value=1.0, max_value=1e9), min_size=1, max_size=6)


@given(VALUES)
def test_each_value_has_its_place(values: list[float]) -> None:
    for axis in (axis_from_one(values), axis_around(values)):
        assert axis.high / axis.low >= LEAST_SPAN * (1 - 1e-9)
        places = [axis.at(value) for value in sorted(values)]
        assert places == sorted(places) and all(0 <= place <= 100 for place in places)
        assert axis.low <= min(values) and max(values) <= axis.high * (1 + 1e-9)


@given(VALUES)
def test_ticks_are_few_different_and_on_the_axis(values: list[float]) -> None:
    for axis in (axis_from_one(values), axis_around(values), Axis(0, max(values))):
        ticks = axis.ticks()
        assert 1 <= len(ticks) <= 6
        assert len({tick.label for tick in ticks}) == len(ticks)
        assert all(0 <= tick.at <= 100 for tick in ticks)


def test_an_axis_of_factors_gives_each_factor_the_same_room() -> None:
    axis = Axis(1, 1000, True)
    assert [axis.at(value) for value in (1, 10, 100, 1000, 5000)] == pytest.approx(
        [0, 100 / 3, 200 / 3, 100, 100], abs=0.01
    )
    assert [tick.label for tick in axis.ticks()] == ["1", "10", "100", "1,000"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(9.206, "9.21"), (16, "16"), (23.46, "23.5"), (1380.4, "1,380"), (2e9, "2.0e+09")],
)
def test_figures_have_three_digits_that_say_something(value: float, shown: str) -> None:
    assert format_figure(value) == shown
    assert format_figure(math.inf) == "∞" and format_figure(math.nan) == "–"

"""Results as a notebook shows them: pieces of a page under a cell.

Whatever comes from a text or a user is escaped, by the templates. Colours are those of the
notebook's own theme, and where one is given it can be read on white and on black.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from xmod_extend.evaluation.minimal_pairs import METRIC as MINIMAL_PAIRS
from xmod_extend.report.side_by_side import METRIC_NAMES, Row, SideBySide, choose_rows
from xmod_extend.report.summary import describe_score, describe_step, step_name

if TYPE_CHECKING:
    from jinja2 import Environment

    from xmod_extend.report.guesses import FilledMask

NUM_SENTENCES = 5
"""Sentences of each kind that are shown."""
MOST_CHARACTERS = 300
"""Characters of a sentence that are shown; of a longer one it is the beginning."""


def comparison_cell(result: SideBySide, rows: Sequence[Row]) -> str:
    """Return the page of states that are compared.

    Args:
        result: The scores.
        rows: Of sentences or of pairs under the metric to lead with; there may be none.
    """
    groups = {}
    if rows and _is_pairs(result):
        groups["Most improved"] = choose_rows(rows, _gained_margin, NUM_SENTENCES)
        groups["Hardest still"] = choose_rows(
            rows, lambda row: -row["after_margin_nats"], NUM_SENTENCES
        )
    elif rows:
        groups["Most improved"] = choose_rows(rows, itemgetter("ratio"), NUM_SENTENCES)
        groups["Hardest still"] = choose_rows(rows, itemgetter("after_perplexity"), NUM_SENTENCES)
    return _render(result, groups, ("before", "after"))


def evaluation_cell(result: SideBySide, rows: Sequence[Row]) -> str:
    """Return the page of one state.

    Args:
        result: Its scores.
        rows: As in `comparison_cell`.
    """
    groups = {}
    if rows:
        sign, column = (-1, "margin_nats") if _is_pairs(result) else (1, "perplexity")
        groups["Hardest"] = choose_rows(rows, lambda row: sign * row[column], NUM_SENTENCES)
        groups["Easiest"] = choose_rows(rows, lambda row: -sign * row[column], NUM_SENTENCES)
    return _render(result, groups, ("",))


def guesses_cell(result: FilledMask) -> str:
    """Return the page of guesses, one state beside the other."""
    return _environment().get_template("cell_guesses.html").render(result=result)


def _render(result: SideBySide, groups: Mapping[str, Sequence[Row]], sides: tuple[str, ...]) -> str:
    is_pairs = _is_pairs(result)
    column = "margin_nats" if is_pairs else "perplexity"
    return (
        _environment()
        .get_template("cell_scores.html")
        .render(
            result=result,
            is_pairs=is_pairs,
            several_metrics=len(result.metrics) > 1,
            marks=_marks(result),
            groups=groups,
            columns={side: f"{side}_{column}" if side else column for side in sides},
        )
    )


def _is_pairs(result: SideBySide) -> bool:
    return result.metrics[0] == MINIMAL_PAIRS


def _gained_margin(row: Row) -> float:
    gained: float = row["after_margin_nats"] - row["before_margin_nats"]
    return gained


@dataclass(frozen=True)
class Mark:
    """Where a score and its interval stand on an axis, in per cent of it."""

    at: float
    low: float
    width: float


def _marks(result: SideBySide) -> list[Mark]:
    """Return a mark for each rung: of perplexities on a logarithmic axis that begins at 1."""
    figures = [(rung.score.low, rung.figure, rung.score.high) for rung in result.rungs]
    ends = [
        [figure if value is None else value for value in (low, figure, high)]
        for low, figure, high in figures
    ]
    if _is_pairs(result):
        places = [[100 * value for value in triple] for triple in ends]
    else:
        most = math.log(max(10.0, *(value for triple in ends for value in triple)))
        places = [[100 * math.log(max(1.0, value)) / most for value in triple] for triple in ends]
    return [Mark(at, low, high - low) for low, at, high in places]


def _figure(value: float) -> str:
    return f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def _beginning(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} …"


@functools.cache
def _environment() -> Environment:
    from xmod_extend.report.pages import make_environment

    return make_environment(
        figure=_figure,
        beginning=_beginning,
        score=describe_score,
        step=describe_step,
        step_name=step_name,
        metric=lambda name: METRIC_NAMES.get(name, name),
    )

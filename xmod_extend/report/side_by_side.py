"""States side by side: what a table, a plot or a page shows of any result that compares some.

A comparison and the record of an added language become the same rungs, so that they look alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from xmod_extend.evaluation.bootstrap import Improvement
from xmod_extend.evaluation.minimal_pairs import METRIC as MINIMAL_PAIRS
from xmod_extend.evaluation.minimal_pairs import PairImprovement, PairScore
from xmod_extend.evaluation.score import Score

AnyScore = Score | PairScore
AnyImprovement = Improvement | PairImprovement
Kind = Literal["before", "after", "frequencies", "reference"]
Row = dict[str, Any]

METRIC_NAMES = {
    "masked_perplexity": "masked perplexity",
    "within_word_l2r": "pseudo-perplexity, the rest of the word hidden too",
    "pll": "pseudo-perplexity, each token hidden alone",
    MINIMAL_PAIRS: "minimal pairs",
}
ENOUGH_TOKENS = 5
"""Sentences with fewer scored tokens are shown only if too few have more: their mean is chance."""
ALIKE = 0.5
"""Sentences that share so many of their runs of three letters are of one template, and shown once.
"""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """The score of one state under one metric."""

    name: str
    """The state in a few words."""
    kind: Kind
    score: AnyScore

    @property
    def figure(self) -> float:
        """The perplexity, or the share of pairs found."""
        return figure_of(self.score)


@dataclass(frozen=True, kw_only=True)
class Step:
    """How much better the last state is than one before it, under one metric."""

    before: Rung
    after: Rung
    improvement: AnyImprovement


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """Everything that is shown of a result, but the sentences."""

    verdict: str
    rungs: tuple[Rung, ...]
    """All scores, metric by metric, the states in their order."""
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> list[str]:
        """The metrics, the one to lead with first."""
        return list(dict.fromkeys(rung.score.metric for rung in self.rungs))


def figure_of(score: AnyScore) -> float:
    """Return the perplexity, or the share of pairs found."""
    return score.accuracy if isinstance(score, PairScore) else score.perplexity


def compared_row(line: int, text: str, num_tokens: int, before: float, after: float) -> Row:
    """Return what is told of one sentence before and after.

    Args:
        line: Its number, counted from 1.
        num_tokens: Tokens of it that were scored.
        before: Nats of all of these.
        after: The same with the other state.
    """
    return {
        "line": line,
        "text": text,
        "num_scored_tokens": num_tokens,
        "before_nats": before,
        "after_nats": after,
        "before_perplexity": math.exp(before / num_tokens),
        "after_perplexity": math.exp(after / num_tokens),
        "ratio": math.exp((before - after) / num_tokens),
    }


def choose_rows(rows: Iterable[Row], by: Callable[[Row], float], count: int) -> list[Row]:
    """Return the few sentences, or pairs, that come first by a value, none like another one."""
    listed = list(rows)
    likely = [row for row in listed if row.get("num_scored_tokens", math.inf) >= ENOUGH_TOKENS]
    if len(likely) < 2 * count:
        likely = listed
    likely.sort(key=by, reverse=True)
    chosen: list[Row] = []
    for row in likely:
        if len(chosen) == count:
            break
        if not any(_are_alike(_text(row), _text(other)) for other in chosen):
            chosen.append(row)
    return chosen


def _text(row: Row) -> str:
    return str(row.get("text", row.get("right", "")))


def _are_alike(first: str, second: str) -> bool:
    a, b = _runs(first), _runs(second)
    return len(a & b) >= ALIKE * len(a | b)


def _runs(text: str) -> set[str]:
    return {text[i : i + 3] for i in range(max(1, len(text) - 2))}


def rungs_of(name: str, kind: Kind, scores: Sequence[AnyScore]) -> tuple[Rung, ...]:
    """Return a state's rung of each metric."""
    return tuple(Rung(name=name, kind=kind, score=score) for score in scores)

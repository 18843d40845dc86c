"""Tables of scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from xmod_extend.evaluation.minimal_pairs import PairScore
    from xmod_extend.evaluation.score import Score


def score_table(rows: Sequence[tuple[str, Score | PairScore]]) -> Table:
    """Return a table with a row for each state and score."""
    from xmod_extend.evaluation.minimal_pairs import PairScore

    table = Table(box=None, pad_edge=False)
    table.add_column("state")
    metrics = {score.metric for _, score in rows}
    if len(metrics) > 1:
        table.add_column("metric")
    names = ["accuracy", "95 % interval", "pairs"]
    if not isinstance(rows[0][1], PairScore):
        name = rows[0][1].metric.replace("_", " ") if len(metrics) == 1 else "perplexity"
        names = [name, "95 % interval", "bits per byte", "scored tokens"]
    for name in (*names, "unknown tokens"):
        table.add_column(name, justify="right")
    for state, score in rows:
        metric = [score.metric] if len(metrics) > 1 else []
        table.add_row(state, *metric, *_figures(score), _percent(score.unk_rate))
    return table


def _figures(score: Score | PairScore) -> list[str]:
    from xmod_extend.evaluation.minimal_pairs import PairScore

    if isinstance(score, PairScore):
        interval = f"{score.low:.1%} to {score.high:.1%}"
        return [f"{score.accuracy:.1%}", interval, f"{score.num_pairs:,}"]
    return [
        f"{score.perplexity:,.1f}",
        describe_interval(score.low, score.high),
        f"{score.bits_per_byte:.3f}",
        f"{score.num_scored_tokens:,}",
    ]


def describe_interval(low: float | None, high: float | None) -> str:
    """Return an interval of perplexities in words; records of version 0.2 have none."""
    return "" if low is None or high is None else f"{low:,.1f} to {high:,.1f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"

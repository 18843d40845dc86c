"""Results in a few lines of text, as Python prints them."""

from __future__ import annotations

from collections.abc import Sequence

from xmod_extend.evaluation.minimal_pairs import PairImprovement, PairScore
from xmod_extend.report.side_by_side import AnyScore, Rung, Step


def summarize_rungs(rungs: Sequence[Rung]) -> str:
    """Return a line for each score."""
    lines = [(rung.score.metric, describe_score(rung.score), rung.name) for rung in rungs]
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in lines)


def summarize_step(step: Step) -> str:
    """Return a line on how much better a state is."""
    found = f"{step_name(step)}: {describe_step(step)}"
    return f"{found}, p = {step.improvement.p_value:.2g}" if step.improvement.p_value else found


def step_name(step: Step) -> str:
    """Return what the figure of an improvement is."""
    if isinstance(step.improvement, PairImprovement):
        return "after - before"
    return "before / after"


def describe_step(step: Step) -> str:
    """Return an improvement with its interval."""
    gain = step.improvement
    if isinstance(gain, PairImprovement):
        points = [100 * value for value in (gain.difference, gain.low, gain.high)]
        return "{:+.1f} points ({:+.1f} to {:+.1f})".format(*points)
    return f"{gain.ratio:.2f} ({gain.low:.2f} to {gain.high:.2f})"


def describe_score(score: AnyScore) -> str:
    """Return a figure with its interval, if it has one."""
    if isinstance(score, PairScore):
        return f"{score.accuracy:.1%} ({score.low:.1%} to {score.high:.1%})"
    if score.low is None or score.high is None:
        return f"{score.perplexity:,.1f}"
    return f"{score.perplexity:,.1f} ({score.low:,.1f} to {score.high:,.1f})"

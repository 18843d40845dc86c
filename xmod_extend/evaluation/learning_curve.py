"""The learning curve over text: how the held-out score moves with a quarter, a half, all of it.

It tells whether collecting more text would help. The gain of another doubling is estimated from the
last two: where it shrank, it is taken to shrink as much again, and where it grew, to be their mean.
The intervals are of the held-out text; one training run differs from another, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from xmod_extend.evaluation.bootstrap import Improvement

CLEAR_GAIN = 1.03
"""A doubling that lowers the perplexity by fewer times than this helps little."""


@dataclass(frozen=True, kw_only=True)
class LearningPoint:
    """The score after training on a part of the text."""

    share: float
    """Share of the training lines, chosen by their hash: each part holds the smaller ones."""
    num_tokens: int
    """Tokens of that part of the text."""
    num_steps: int
    perplexity: float
    low: float | None
    """The interval of the perplexity, 95 % of a bootstrap over documents."""
    high: float | None
    seconds: float
    """The time of training alone."""


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """Scores of the same held-out tokens after training on more and more of the text."""

    points: tuple[LearningPoint, ...]
    """From the smallest part to all of the text."""
    last_doubling: Improvement | None
    """All of the text over half of it; None if that could not be trained."""
    expected_perplexity: float | None
    """What twice as much text may bring; None where the last doubling was no clear gain."""
    sentence: str
    """Whether more text would help, for whoever collects it."""


def describe_curve(
    points: tuple[LearningPoint, ...],
    last_doubling: Improvement | None,
    *,
    default_num_steps: int = 0,
) -> LearningCurve:
    """Return the curve with what it says of another doubling.

    Args:
        points: From the smallest part to all of the text.
        last_doubling: All of the text over half of it, if half of it was trained on.
        default_num_steps: Of all of the text. After fewer the text is not what limits a score.
    """
    expected = None
    if last_doubling is None or len(points) < 2:
        sentence = "Too few parts of the text could be trained on to say whether more would help."
    else:
        half, whole = points[-2].perplexity, points[-1].perplexity
        interval = (
            f"{last_doubling.ratio:.2f} times, 95 % interval {last_doubling.low:.2f} to "
            f"{last_doubling.high:.2f}"
        )
        gain = _next_gain(points, math.log(last_doubling.ratio))
        if last_doubling.low <= 1 or gain <= 0:
            changed = "raised" if last_doubling.high < 1 else "did not clearly lower"
            sentence = (
                f"Doubling the text {changed} the perplexity ({half:,.1f} to {whole:,.1f}; "
                f"{interval}): more text of this kind will hardly help."
            )
        else:
            expected = whole / math.exp(gain)
            helps = "would help" if math.exp(gain) >= CLEAR_GAIN else "would help little"
            sentence = (
                f"Doubling the text lowered the perplexity from {half:,.1f} to {whole:,.1f} "
                f"({interval}); another doubling may bring about {expected:,.1f}. Collecting more "
                f"text of this kind {helps}."
            )
    is_short = points[-1].num_steps < default_num_steps
    if is_short and last_doubling is not None and expected is None:
        # Where the text is hardly read once, a quarter of it is as good as all of it.
        sentence = (
            f"The training was too short to tell what more text is worth ({points[-1].num_steps:,} "
            f"steps; {default_num_steps:,} are the default for this text): so far, less text gives "
            "the same perplexity. Leave --max-steps out, or raise it."
        )
    return LearningCurve(
        points=points,
        last_doubling=last_doubling,
        expected_perplexity=expected,
        sentence=sentence,
    )


def _next_gain(points: tuple[LearningPoint, ...], last: float) -> float:
    """Return how many nats a token the next doubling may gain.

    Args:
        points: From the smallest part to all of the text.
        last: What the last doubling gained.
    """
    if len(points) < 3:
        return last
    before = math.log(points[-3].perplexity / points[-2].perplexity)
    if last <= before:
        return last * last / before if last > 0 else last
    # A gain that grows is chance as likely as not.
    return (before + last) / 2

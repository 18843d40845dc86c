"""Scores of a part of the scored tokens, such as those of the lines that training nearly has.

N  scored tokens
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.text.overlap import Overlap

MIN_SCORED_TOKENS = 20
"""Scored tokens below which a perplexity is not given."""


@dataclass(frozen=True, kw_only=True)
class PartScore:
    """Perplexities of some of the scored tokens."""

    num_scored_tokens: int
    before: float | None
    """With the best existing adapter; None for fewer than 20 tokens."""
    after: float | None
    """With the new adapter; None for fewer than 20 tokens."""


@dataclass(frozen=True, kw_only=True)
class NearDuplicateScores:
    """Perplexities of the held-out lines that a training line nearly repeats, and of the others.

    Training lines that were dropped are no training lines: the first part is then of lines that
    training had nearly, and has no more.
    """

    near: PartScore
    others: PartScore

    def describe(self) -> str | None:
        """Return the figures in a sentence; None where there are too few of one kind."""
        near, others = self.near, self.others
        if None in (near.before, near.after, others.before, others.after):
            return None
        return (
            f"Held-out lines that a training line nearly repeats: perplexity {near.after:,.1f} "
            f"(before {near.before:,.1f}); the others: {others.after:,.1f} (before "
            f"{others.before:,.1f})"
        )


def score_part(chosen: npt.NDArray[np.bool_], before: TokenLosses, after: TokenLosses) -> PartScore:
    """Sum up the losses of the chosen tokens, `(N,)`."""
    count = int(np.count_nonzero(chosen))
    if count < MIN_SCORED_TOKENS:
        return PartScore(num_scored_tokens=count, before=None, after=None)
    means = [math.exp(losses.nats[chosen].mean()) for losses in (before, after)]
    return PartScore(num_scored_tokens=count, before=means[0], after=means[1])


def score_near_duplicates(
    overlap: Overlap, before: TokenLosses, after: TokenLosses
) -> NearDuplicateScores:
    """Sum up losses by whether a training line nearly repeats the token's line.

    Args:
        overlap: Of both sides of the corpus; a document of the losses is a held-out line.
        before: With the best existing adapter.
        after: With the new one, on the same tokens.
    """
    is_near = np.isin(after.documents, overlap.near_rows)
    # Lines that were not looked for are of neither part.
    is_known = after.documents % overlap.compared_every == 0
    return NearDuplicateScores(
        near=score_part(is_near, before, after),
        others=score_part(is_known & ~is_near, before, after),
    )

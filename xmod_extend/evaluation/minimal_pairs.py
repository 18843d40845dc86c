"""Minimal pairs: how often an adapter finds the right one of two sentences the likelier.

Two sentences differ in one point of grammar. The likelier one has the lower sum of cross-entropies,
each token hidden with the rest of its word (`pseudo_perplexity`). Two that the tokenizer cannot
tell apart are not found, so that blind guessing is not above one half.

    P  pairs
    N  scored tokens

Source: Warstadt et al. 2020 (arXiv 1912.00582), section 3, for the pairs; Salazar et al. 2020
(arXiv 1910.14659), section 4.2, for the pseudo-likelihood; Jumelet et al. 2025 (arXiv 2504.02768)
for pairs in 101 languages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xmod_extend.evaluation.bootstrap import SEED, interval, p_value, resample_means, share_interval
from xmod_extend.evaluation.losses import Floats, TokenLosses
from xmod_extend.evaluation.score import ScoredText

METRIC = "minimal_pairs"


@dataclass(frozen=True, kw_only=True)
class PairScore:
    """A share of pairs with all that is needed to know what it means."""

    metric: str = METRIC
    accuracy: float
    """Share of the pairs whose right sentence is the likelier."""
    num_pairs: int
    num_undecided: int
    """Pairs whose sentences are equally likely, which count as not found."""
    num_scored_tokens: int
    unk_rate: float
    low: float
    """The interval of the accuracy, 95 % of it by Wilson."""
    high: float
    signature: str


@dataclass(frozen=True, kw_only=True)
class PairImprovement:
    """How much higher an accuracy became, paired over the same pairs, with its 95 % interval."""

    difference: float
    low: float
    high: float
    p_value: float


def pair_margins(losses: TokenLosses, num_pairs: int) -> Floats:
    """Return how many nats likelier the right sentence of each pair is, (P,).

    Args:
        losses: Scores of the sentences as documents: 0 the first pair's right one, 1 its wrong one,
            2 the second pair's right one, and so on.
    """
    sums: Floats = np.bincount(
        losses.documents, weights=losses.nats, minlength=2 * num_pairs
    ).astype(np.float64)
    return sums[1::2] - sums[0::2]


def score_pairs(losses: TokenLosses, num_pairs: int, text: ScoredText) -> PairScore:
    """Count the pairs whose right sentence is the likelier."""
    margins = pair_margins(losses, num_pairs)
    found = int(np.count_nonzero(margins > 0))
    low, high = share_interval(found, num_pairs)
    return PairScore(
        accuracy=found / num_pairs,
        num_pairs=num_pairs,
        num_undecided=int(np.count_nonzero(margins == 0)),
        num_scored_tokens=losses.nats.size,
        unk_rate=text.unk_rate,
        low=low,
        high=high,
        signature=text.signature,
    )


def compare_pairs(before: Floats, after: Floats, *, seed: int = SEED) -> PairImprovement:
    """Return the difference of two accuracies, from the margins (P,) of the same pairs."""
    gained = (after > 0).astype(np.float64) - (before > 0)
    means = resample_means(gained, np.ones_like(gained), seed=seed)
    low, high = interval(means, gained.size)
    return PairImprovement(
        difference=float(gained.mean()), low=low, high=high, p_value=p_value(means)
    )

"""Intervals and p-values by resampling documents, which are what a text is a sample of.

The tokens of a document depend on each other, so documents are drawn, with replacement, and not
tokens. Percentiles of such resamples are too narrow where there are few documents: by the factor
sqrt((n - 1) / n), and by as much as the normal distribution is narrower than Student's. They are
therefore taken further out, which makes no difference from some hundred documents on.

    D  documents

Source: Koehn 2004, section 3, for the paired bootstrap; Efron and Tibshirani 1993, chapter 13, for
percentile intervals; Hesterberg 2015 (The American Statistician 69) for the expansion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from xmod_extend.evaluation.losses import Floats, TokenLosses
from xmod_extend.tokens.blocks import Ids

NUM_RESAMPLES = 1000
CONFIDENCE = 0.95
SEED = 20_220_512
"""Seed of an interval where nothing else is said: the same text gets the same one."""


@dataclass(frozen=True, kw_only=True)
class Improvement:
    """How many times lower a perplexity became, paired over the same scored tokens.

    `low` and `high` bound 95 % of a paired bootstrap over documents (1000 resamples).
    """

    ratio: float
    low: float
    high: float
    p_value: float | None = None
    """Two-sided, from the same resamples, and so no lower than 0.002: how often a difference as
    large turns up between two that are equally good. None in records of version 0.2."""


def compare(before: TokenLosses, after: TokenLosses, *, seed: int = SEED) -> Improvement:
    """Return the ratio of the perplexities before / after, with its interval.

    Raises:
        ValueError: If the two were not scored on the same tokens.
    """
    if not np.array_equal(before.targets, after.targets):
        raise ValueError("a paired comparison needs the same scored tokens on both sides")
    gained = TokenLosses(before.nats - after.nats, before.documents, before.targets).by_document()
    means = resample_means(gained.nats, gained.num_tokens, seed=seed)
    low, high = np.exp(interval(means, gained.nats.size))
    return Improvement(
        ratio=math.exp(gained.nats.sum() / gained.num_tokens.sum()),
        low=float(low),
        high=float(high),
        p_value=p_value(means),
    )


def perplexity_interval(losses: TokenLosses, *, seed: int = SEED) -> tuple[float, float]:
    """Return the bounds of 95 % of the perplexities of resampled documents."""
    summed = losses.by_document()
    means = resample_means(summed.nats, summed.num_tokens, seed=seed)
    low, high = np.exp(interval(means, summed.nats.size))
    return float(low), float(high)


def resample_means(sums: Floats, counts: Ids | Floats, *, seed: int) -> Floats:
    """Return the mean of each resample, (NUM_RESAMPLES,): drawn sums over drawn counts.

    Args:
        sums: (D,), of what is averaged, over each document.
        counts: (D,): how many there are in each document.
    """
    random = np.random.default_rng(seed)
    weights = counts.astype(np.float64)
    means = np.empty(NUM_RESAMPLES)
    for i in range(NUM_RESAMPLES):
        times = np.bincount(random.integers(sums.size, size=sums.size), minlength=sums.size)
        means[i] = (sums @ times) / (weights @ times)
    return means


def interval(means: Floats, num_documents: int) -> tuple[float, float]:
    """Return the expanded 95 % percentile interval of resampled means."""
    tail = (1 - CONFIDENCE) / 2
    if num_documents > 1:
        further = math.sqrt(num_documents / (num_documents - 1))
        tail = NormalDist().cdf(-further * _student_quantile(1 - tail, num_documents - 1))
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def share_interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of independent trials.

    Source: Wilson 1927 (JASA 22), which covers well for few trials and for shares near 0 and 1.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share = hits / count
    middle = share + z * z / (2 * count)
    width = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)


def p_value(means: Floats) -> float:
    """Return the two-sided p-value of a mean of 0, counting what was seen as one resample more."""
    fewer = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
    return min(1.0, 2 * (fewer + 1) / (means.size + 1))


def _student_quantile(share: float, degrees: int) -> float:
    """Return Student's quantile: exact for 1 and 2 degrees of freedom, within 1 % for more.

    Source: Abramowitz and Stegun 1964, 26.7.5.
    """
    if degrees == 1:
        return math.tan(math.pi * (share - 0.5))
    if degrees == 2:
        return (2 * share - 1) / math.sqrt(2 * share * (1 - share))
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + math.fsum(term / degrees**power for power, term in enumerate(terms, start=1))

"""Intervals cover the truth about as often as they say, and p-values are no smaller than chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmod_extend.evaluation.bootstrap import (
    Improvement,
    _student_quantile,
    compare,
    perplexity_interval,
    share_interval,
)
from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.score import ScoredText, score


def losses(nats: Sequence[float], documents: Sequence[int]) -> TokenLosses:
    return TokenLosses(
        np.asarray(nats, dtype=np.float64), np.asarray(documents), np.arange(len(nats))
    )


def simulate(num_documents: int, effect: float, seed: int) -> tuple[TokenLosses, TokenLosses]:
    """Return losses before and after; the gain differs by document, and by token."""
    random = np.random.default_rng(seed)
    sizes = random.integers(2, 12, num_documents)
    documents = np.repeat(np.arange(num_documents), sizes)
    gain = random.normal(effect, 0.5, num_documents)[documents]
    gain += random.normal(0, 0.5, documents.size)
    before = np.full(documents.size, 3.0)
    return losses(before, documents), losses(before - gain, documents)


def test_score_sums_up_nats_and_bytes() -> None:
    text = ScoredText(metric="m", signature="s", unk_rate=0.25, token_bytes=np.array([1, 2, 5]))
    measured = score(losses([1.0, 2.0, 3.0], [0, 0, 1]), text)
    assert measured.perplexity == pytest.approx(math.exp(2.0))
    assert measured.nats_per_token == pytest.approx(2.0)
    assert measured.bits_per_byte == pytest.approx(6.0 / math.log(2) / 8)
    assert (measured.num_scored_tokens, measured.num_documents) == (3, 2)
    assert (measured.metric, measured.signature, measured.unk_rate) == ("m", "s", 0.25)


@given(st.floats(-2, 2), st.integers(0, 1000))
def test_a_constant_gain_has_an_interval_of_no_width(gain: float, seed: int) -> None:
    before = losses([3.0, 2.5, 4.0, 1.0], [0, 1, 1, 2])
    after = losses([nats - gain for nats in (3.0, 2.5, 4.0, 1.0)], [0, 1, 1, 2])
    result = compare(before, after, seed=seed)
    assert result.ratio == pytest.approx(math.exp(gain))
    assert result.low == pytest.approx(result.high) == pytest.approx(result.ratio)


@pytest.mark.slow
@pytest.mark.parametrize("num_documents", [8, 20, 60, 200])
def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says(num_documents: int) -> None:
    results = [compare(*simulate(num_documents, 0.3, seed), seed=seed) for seed in range(200)]
    covered = sum(result.low <= math.exp(0.3) <= result.high for result in results)
    # 95 %, give or take three standard errors, and a little more for the fewest documents.
    assert 178 <= covered <= 199


@pytest.mark.parametrize("num_documents", [8, 60])
def test_a_score_s_interval_covers_the_true_perplexity(num_documents: int) -> None:
    covered = 0
    for seed in range(200):
        _, scored = simulate(num_documents, 1.0, seed)
        low, high = perplexity_interval(scored, seed=seed)
        covered += low <= math.exp(2.0) <= high
    assert 178 <= covered <= 199


@pytest.mark.slow
def test_where_nothing_differs_p_is_seldom_small() -> None:
    results: list[Improvement] = [
        compare(*simulate(60, 0.0, seed), seed=seed) for seed in range(300)
    ]
    small = sum(result.p_value is not None and result.p_value < 0.05 for result in results)
    assert 4 <= small <= 32


def test_a_clear_difference_has_the_smallest_p_and_none_at_all_has_one() -> None:
    before, after = simulate(60, 1.0, 0)
    assert compare(before, after).p_value == pytest.approx(2 / 1001)
    same = compare(before, before)
    assert (same.ratio, same.low, same.high, same.p_value) == (1.0, 1.0, 1.0, 1.0)


def test_different_tokens_cannot_be_paired() -> None:
    first, second = losses([1.0, 2.0], [0, 0]), losses([1.0, 2.0, 3.0], [0, 0, 1])
    with pytest.raises(ValueError, match="same scored tokens"):
        compare(first, second)


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (30, 2.042)]
)
def test_student_s_quantile_is_that_of_the_tables(degrees: int, quantile: float) -> None:
    assert _student_quantile(0.975, degrees) == pytest.approx(quantile, rel=0.01)


def test_student_s_quantile_becomes_the_normal_one() -> None:
    assert _student_quantile(0.975, 10**6) == pytest.approx(NormalDist().inv_cdf(0.975), rel=1e-5)


def test_the_interval_of_a_share_is_wilson_s() -> None:
    # Newcombe 1998 (Statistics in Medicine 17), table I, method 3.
    assert share_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert share_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    low, high = share_interval(6, 6)
    assert low == pytest.approx(0.6097, abs=5e-5) and high == 1.0

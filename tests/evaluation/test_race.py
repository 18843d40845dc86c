"""Who reads how much in the race of the adapters, and who falls when."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xmod_extend.evaluation.race import (
    NUM_FINALISTS,
    ROUND_TOKENS,
    num_in_doubt,
    plan_rounds,
    spread_order,
)


@given(st.integers(1, 2000))
def test_every_beginning_of_the_order_is_spread_over_the_text(count: int) -> None:
    order = spread_order(count)
    assert sorted(order) == list(range(count))
    for chosen in (2, 4, 8, 16):
        if chosen <= count:
            gaps = np.diff([*sorted(order[:chosen]), count])
            assert gaps.max() <= 2 * count / chosen + 1


@given(st.integers(1, 200), st.integers(1, 3000), st.sampled_from([32, 64, 128, 512]))
def test_each_round_is_larger_and_has_no_more_candidates(
    num_candidates: int, num_blocks: int, length: int
) -> None:
    rounds = plan_rounds(num_candidates, num_blocks, length)
    assert rounds[0].num_candidates == num_candidates
    for before, after in pairwise(rounds):
        assert after.num_candidates <= before.num_candidates
        assert before.num_blocks < after.num_blocks <= num_blocks


def test_81_adapters_read_a_tenth_of_what_they_read_with_the_whole_text_for_three_of_them() -> None:
    tokens, read, rounds = 0, 0, plan_rounds(81, 1024, 128)
    for each in rounds:
        tokens += each.num_candidates * 128 * (each.num_blocks - read)
        read = each.num_blocks
    assert tokens < 0.1 * (3 * 131_072 + 3 * 24_576)
    assert rounds[-1].num_candidates > NUM_FINALISTS
    assert 128 * read >= ROUND_TOKENS / 4


def test_who_is_behind_by_chance_stays_and_who_is_clearly_behind_falls() -> None:
    noise = np.random.default_rng(0).normal(size=(4, 400))
    nats = 5.0 + 0.1 * noise + np.array([0.0, 0.005, 0.5, 1.0])[:, None]
    assert num_in_doubt(nats) == 2
    assert num_in_doubt(nats[:1]) == 1


def test_who_reads_all_tokens_alike_stays() -> None:
    assert num_in_doubt(np.full((3, 10), 2.0)) == 3

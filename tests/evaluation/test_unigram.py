"""Token frequencies as the lowest rung: a distribution in which unseen tokens have their part."""

from __future__ import annotations

import numpy as np
import pytest

from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.unigram import unigram_losses


def scored(targets: list[int]) -> TokenLosses:
    return TokenLosses(np.zeros(len(targets)), np.arange(len(targets)), np.array(targets))


def shares(counts: list[int], special_ids: tuple[int, ...] = (0,)) -> np.ndarray:
    ordinary = [i for i in range(len(counts)) if i not in special_ids]
    losses = unigram_losses(scored(ordinary), np.array(counts), special_ids=special_ids)
    return np.exp(-losses.nats)


@pytest.mark.parametrize(
    "counts", [[9, 3, 1, 0, 0], [9, 3, 1, 2, 5], [7, 0, 0, 0, 0], [0, 5, 0, 0]]
)
def test_it_is_a_distribution_over_the_ordinary_tokens(counts: list[int]) -> None:
    found = shares(counts)
    assert found.sum() == pytest.approx(1)
    assert (found > 0).all()


def test_as_many_unseen_tokens_are_expected_as_there_are_different_ones() -> None:
    assert shares([9, 3, 1, 0, 0]).tolist() == pytest.approx([3 / 6, 1 / 6, 1 / 6, 1 / 6])


def test_tokens_and_documents_are_those_that_were_scored() -> None:
    before = scored([2, 1, 1])
    after = unigram_losses(before, np.array([0, 8, 2]), special_ids=(0,))
    assert np.array_equal(after.targets, before.targets)
    assert np.array_equal(after.documents, before.documents)
    assert after.nats[0] > after.nats[1] == after.nats[2]

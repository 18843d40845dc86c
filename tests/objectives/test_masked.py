"""Masks: 80/10/10, never a special token, and a function of (seed, counter) alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xmod_extend.objectives.masked import MaskingScheme
from xmod_extend.objectives.prediction import IGNORED

SPECIAL = (0, 1, 2, 3, 199)
SCHEME = MaskingScheme(
    mask_id=199, special_ids=SPECIAL, vocabulary_size=200, mlm_probability=0.15, seed=11
)


def text(seed: int = 0, shape: tuple[int, int] = (64, 128)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 199, shape)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**20), st.floats(0.01, 0.99))
def test_labels_restore_the_text(seed: int, counter: int, probability: float) -> None:
    scheme = replace(SCHEME, seed=seed, mlm_probability=probability)
    original = text(seed % 97, (4, 32))
    prediction = scheme.corrupt(original, counter)
    corrupted, labels = prediction.input_ids, prediction.labels

    assert np.array_equal(np.where(labels == IGNORED, corrupted, labels), original)
    assert not np.isin(labels, SPECIAL).any()
    assert not np.isin(corrupted[corrupted != original], SPECIAL[:-1]).any()
    assert (labels != IGNORED).any()


@given(st.integers(0, 2**20))
def test_the_same_counter_gives_the_same_masks(counter: int) -> None:
    original = text(1, (4, 32))
    first, second = SCHEME.corrupt(original, counter), SCHEME.corrupt(original, counter)
    other = SCHEME.corrupt(original, counter + 1)
    assert np.array_equal(first.input_ids, second.input_ids)
    assert np.array_equal(first.labels, second.labels)
    assert not np.array_equal(first.labels, other.labels)


def test_shares_are_80_10_10() -> None:
    original = text(2, (512, 128))
    prediction = SCHEME.corrupt(original, 0)
    corrupted, labels = prediction.input_ids, prediction.labels
    chosen = labels != IGNORED
    ordinary = ~np.isin(original, SPECIAL)
    masked = chosen & (corrupted == 199)
    kept = chosen & (corrupted == original)
    assert abs(chosen.sum() / ordinary.sum() - 0.15) < 0.005
    assert abs(masked.sum() / chosen.sum() - 0.8) < 0.02
    assert abs(kept.sum() / chosen.sum() - 0.1) < 0.02


def test_measuring_hides_the_tokens_that_training_would_choose() -> None:
    original = text(4, (64, 128))
    prediction = SCHEME.corrupt(original, 5)
    corrupted, labels = prediction.input_ids, prediction.labels
    prediction = SCHEME.hide(original, 5)
    hidden, same_labels = prediction.input_ids, prediction.labels
    assert np.array_equal(labels, same_labels)
    assert (hidden[labels != IGNORED] == 199).all()
    assert np.array_equal(hidden[labels == IGNORED], original[labels == IGNORED])
    assert not np.array_equal(hidden, corrupted)


def test_a_text_of_special_tokens_is_left_alone() -> None:
    original = np.full((2, 5), 2)
    prediction = SCHEME.corrupt(original, 3)
    corrupted, labels = prediction.input_ids, prediction.labels
    assert np.array_equal(corrupted, original)
    assert (labels == IGNORED).all()


def test_one_ordinary_token_is_always_scored() -> None:
    scheme = replace(SCHEME, mlm_probability=1e-9)
    prediction = scheme.corrupt(np.array([[0, 7, 2]]), 0)
    labels = prediction.labels
    assert labels.tolist() == [[IGNORED, 7, IGNORED]]

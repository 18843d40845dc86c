"""Scores, their intervals and signatures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmod_extend.evaluation.perplexity import (
    MaskedText,
    TokenLosses,
    compare,
    score,
    signature,
)
from xmod_extend.objectives.masked import MaskingScheme
from xmod_extend.objectives.prediction import IGNORED

SCHEME = MaskingScheme(
    mask_id=99, special_ids=(0, 1, 2, 3, 99), vocabulary_size=100, mlm_probability=0.15, seed=4
)


class Blocks:
    """`count` blocks of 8 tokens, two documents in each, and a tail of 5."""

    def __init__(self, count: int) -> None:
        self.ids = np.random.default_rng(0).integers(4, 99, (count, 8))
        self.ids[:, 0] = 0
        self.count = count

    def __len__(self) -> int:
        return self.count

    def get(self, indices: Sequence[int]) -> np.ndarray:
        return self.ids[np.asarray(indices)]

    def document_ids(self, indices: Sequence[int]) -> np.ndarray:
        rows = np.asarray(indices)[:, None] * 2 + (np.arange(8) > 3)
        rows[:, 0] = -1
        return rows

    def tail(self) -> np.ndarray:
        return np.full((1, 5), 7)

    def tail_document_ids(self) -> np.ndarray:
        return np.full((1, 5), 2 * self.count)


def losses(nats: Sequence[float], documents: Sequence[int]) -> TokenLosses:
    return TokenLosses(
        np.asarray(nats, dtype=np.float64), np.asarray(documents), np.arange(len(nats))
    )


def test_no_text_is_lost_and_batches_keep_the_order() -> None:
    text = MaskedText.from_blocks(Blocks(40), SCHEME)
    assert text.num_tokens == 40 * 8 + 5
    batches = list(text.batches())
    inputs = np.concatenate([ids.ravel() for ids, _, _ in batches])
    labels = np.concatenate([ids.ravel() for _, ids, _ in batches])
    original = np.concatenate([Blocks(40).ids.ravel(), np.full(5, 7)])
    assert np.array_equal(np.where(labels == IGNORED, inputs, labels), original)
    assert text.num_scored_tokens == int((labels != IGNORED).sum()) > 0


def test_a_sample_has_the_masks_of_the_whole() -> None:
    text = MaskedText.from_blocks(Blocks(40), SCHEME)
    whole = {block.input_ids.tobytes() + block.labels.tobytes() for block in text.blocks}
    sample = text.sample(80)
    assert len(sample.blocks) == 10
    assert all(b.input_ids.tobytes() + b.labels.tobytes() in whole for b in sample.blocks)
    shorter = MaskedText.from_blocks(Blocks(40), SCHEME, max_tokens=80)
    assert len(shorter.blocks) == 10
    assert all(b.input_ids.tobytes() + b.labels.tobytes() in whole for b in shorter.blocks)


def test_score_sums_up_nats_and_bytes() -> None:
    measured = score(
        losses([1.0, 2.0, 3.0], [0, 0, 1]), token_bytes=np.array([1, 2, 5]), signature="s"
    )
    assert measured.perplexity == pytest.approx(math.exp(2.0))
    assert measured.bits_per_byte == pytest.approx(6.0 / math.log(2) / 8)
    assert (measured.num_scored_tokens, measured.num_documents) == (3, 2)


@given(st.floats(-2, 2), st.integers(0, 1000))
def test_a_constant_gain_has_an_interval_of_no_width(gain: float, seed: int) -> None:
    before = losses([3.0, 2.5, 4.0, 1.0], [0, 1, 1, 2])
    after = losses([nats - gain for nats in (3.0, 2.5, 4.0, 1.0)], [0, 1, 1, 2])
    result = compare(before, after, seed=seed)
    assert result.ratio == pytest.approx(math.exp(gain))
    assert result.low == pytest.approx(result.high) == pytest.approx(result.ratio)


def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        documents = np.repeat(np.arange(60), 5)
        effect = np.repeat(random.normal(0.3, 0.5, 60), 5) + random.normal(0, 0.5, 300)
        before = losses(np.full(300, 3.0).tolist(), documents.tolist())
        after = losses((3.0 - effect).tolist(), documents.tolist())
        result = compare(before, after, seed=trial)
        covered += result.low <= math.exp(0.3) <= result.high
    assert 88 <= covered <= 99


def test_different_tokens_cannot_be_paired() -> None:
    first, second = losses([1.0, 2.0], [0, 0]), losses([1.0, 2.0, 3.0], [0, 0, 1])
    with pytest.raises(ValueError, match="same masked tokens"):
        compare(first, second, seed=0)


def test_the_signature_changes_with_all_that_the_score_depends_on() -> None:
    text = MaskedText.from_blocks(Blocks(40), SCHEME)
    fields = {
        "unk_id": 3,
        "text_sha256": "a" * 64,
        "tokenizer_sha256": "b" * 64,
        "max_length": 8,
        "precision": "fp32",
    }
    line = signature(text, SCHEME, **fields)
    changes = {
        "text_sha256": "c" * 64,
        "tokenizer_sha256": "d" * 64,
        "max_length": 9,
        "precision": "bf16",
    }
    for name, value in changes.items():
        assert signature(text, SCHEME, **(fields | {name: value})) != line
    assert signature(text.sample(80), SCHEME, **fields) != line
    other_ids = Blocks(40)
    other_ids.ids[0, 1] = 5 if other_ids.ids[0, 1] != 5 else 6
    other = MaskedText.from_blocks(other_ids, SCHEME)
    assert other.num_scored_tokens == text.num_scored_tokens
    assert signature(other, SCHEME, **fields) != line, "the ids themselves are in it"


def test_the_signature_says_what_is_hidden_and_what_is_left_out() -> None:
    blocks = Blocks(40)
    blocks.ids[:, 1:4] = 3
    text = MaskedText.from_blocks(blocks, SCHEME)
    line = signature(
        text, SCHEME, unk_id=3, text_sha256="", tokenizer_sha256="", max_length=8, precision="fp32"
    )
    fields = dict(part.split(":") for part in line.split("|"))
    assert fields["masked_perplexity"] == "v2" and fields["mask"] == "all"
    assert fields["scored_tokens"] == str(text.num_scored_tokens)
    # Of the 7 tokens behind each <s> 3 are unknown; the tail has 5 known ones.
    assert fields["unk"] == f"{120 / 285:.4f},excluded"


def test_every_target_is_hidden_and_none_is_unknown() -> None:
    blocks = Blocks(40)
    blocks.ids[:, 2] = 3
    for block in MaskedText.from_blocks(blocks, SCHEME).blocks:
        scored = block.labels != IGNORED
        assert (block.input_ids[scored] == 99).all()
        assert not (block.labels == 3).any()

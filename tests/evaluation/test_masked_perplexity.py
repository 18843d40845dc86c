"""Held-out text under fixed masks, and its signature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xmod_extend.evaluation.masked_perplexity import MaskedText, signature
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


def test_no_text_is_lost_and_batches_keep_the_order() -> None:
    text = MaskedText.from_blocks(Blocks(40), SCHEME)
    assert text.num_tokens == 40 * 8 + 5
    batches = list(text.batches(1024))
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

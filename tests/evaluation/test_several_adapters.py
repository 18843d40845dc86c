"""Several adapters on one text: what each of them loses, by whichever processes it is computed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from checkpoints import make_checkpoint

from xmod_extend.evaluation import several_adapters
from xmod_extend.evaluation.masked_perplexity import Block, MaskedText, masked_losses
from xmod_extend.evaluation.several_adapters import MOST_AT_ONCE, measure_each
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.slice import load_adapter, load_slice
from xmod_extend.objectives.masked import MaskingScheme

LANGUAGES = tuple(f"{a}{b}_XX" for a in "abc" for b in "abcd")


def masked_text(num_blocks: int) -> MaskedText:
    scheme = MaskingScheme(
        mask_id=119, special_ids=(0, 119), vocabulary_size=120, mlm_probability=0.3, seed=1
    )
    blocks = []
    tokens = np.random.default_rng(3).integers(4, 119, num_blocks * 32)
    # The last block is shorter, as the tail of a text is.
    for index, ids in enumerate(np.split(tokens, range(32, len(tokens), 32))):
        ids = ids[:20] if index == num_blocks - 1 else ids
        blocks.append(
            Block.from_prediction(scheme.hide(ids[None], index), np.full(len(ids), index))
        )
    return MaskedText(blocks)


@pytest.mark.parametrize("num_blocks", [1, 5, 70])
@pytest.mark.parametrize("pre_norm", [False, True])
def test_it_is_what_each_adapter_loses_alone_in_one_process_or_three(
    tmp_path: Path, num_blocks: int, pre_norm: bool
) -> None:
    folder = make_checkpoint(
        tmp_path / "base", languages=LANGUAGES, pre_norm=pre_norm, initializer_range=0.3
    )
    checkpoint = open_checkpoint(folder)
    model = load_slice(checkpoint, "quz_PE")
    text = masked_text(num_blocks)
    read: list[int] = []
    found = measure_each(model, checkpoint, LANGUAGES, text, on_read=read.append)
    assert found.shape == (len(LANGUAGES), text.num_scored_tokens)
    assert sum(read) == len(LANGUAGES) * text.num_tokens
    for language, nats in zip(LANGUAGES, found, strict=True):
        load_adapter(model, checkpoint, language)
        np.testing.assert_allclose(nats, masked_losses(model, text).nats, rtol=1e-5, atol=1e-5)
    # Each of them computes its part and leaves the others' at zero, for the sum.
    parts = []
    for rank in range(3):
        process: Any = SimpleNamespace(rank=rank, count=3, sum=lambda values: None)
        parts.append(measure_each(model, checkpoint, LANGUAGES, text, processes=process))
    assert all(part.any() for part in parts) or num_blocks < 70
    assert np.array_equal(sum(parts), found)


def test_no_more_adapters_are_in_memory_than_fit_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base", languages=LANGUAGES))
    together: list[int] = []

    def counting(*given: Any) -> Any:
        together.append(len(given[1]))
        return several_adapters.torch.zeros(len(given[1]), 1)

    monkeypatch.setattr(several_adapters, "token_losses_of_each", counting)
    model = load_slice(checkpoint, "quz_PE")
    measure_each(model, checkpoint, LANGUAGES, masked_text(1))
    assert together == [MOST_AT_ONCE, len(LANGUAGES) - MOST_AT_ONCE]
    together.clear()
    measure_each(model, checkpoint, LANGUAGES, masked_text(32))
    assert set(together) == {1}

"""The loss on masked positions is upstream's loss, in value and gradient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import make_checkpoint
from transformers import XmodForMaskedLM

from xmod_extend.model import loss as loss_module
from xmod_extend.model.adapter import adapter_set, adapter_slots
from xmod_extend.model.batch import Batch
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.loss import prediction_loss, token_losses
from xmod_extend.model.slice import load_slice
from xmod_extend.objectives.masked import MaskingScheme
from xmod_extend.objectives.prediction import IGNORED

SCHEME = MaskingScheme(
    mask_id=119, special_ids=(0, 1, 2, 3, 119), vocabulary_size=120, mlm_probability=0.3, seed=1
)
MASKED = SCHEME.corrupt(np.random.default_rng(0).integers(4, 119, (4, 20)), 0)
INPUTS, LABELS = torch.from_numpy(MASKED.input_ids), torch.from_numpy(MASKED.labels)
BATCH = Batch.from_prediction(MASKED)


def mean_loss(model: XmodForMaskedLM, **options: bool) -> torch.Tensor:
    return prediction_loss(model, BATCH, **options) / BATCH.targets.numel()


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("chunk", [1 << 25, 700, 1])
@pytest.mark.parametrize("pre_norm", [False, True])
def test_equals_upstreams_loss_and_gradient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pre_norm: bool, chunk: int, checkpointing: bool
) -> None:
    monkeypatch.setattr(loss_module, "CPU_CHUNK_LOGITS", chunk)
    monkeypatch.setattr(loss_module, "SMALLEST_CHUNK", 1)
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base", pre_norm=pre_norm))

    def upstream(model: object) -> torch.Tensor:
        lang_ids = torch.zeros(4, dtype=torch.long)
        return model(INPUTS, lang_ids=lang_ids, labels=LABELS).loss  # type: ignore[operator]

    results = []
    for compute in (upstream, lambda model: mean_loss(model, checkpointing=checkpointing)):
        model = load_slice(checkpoint, "en_XX")
        adapter_set(model).freeze_others()
        value = compute(model)
        (value * 3).backward()
        results.append((value.item(), {name: slot.grad for name, slot in adapter_slots(model)}))
    (expected, expected_gradients), (found, found_gradients) = results
    assert found == pytest.approx(expected, rel=1e-6)
    for name, gradient in expected_gradients.items():
        torch.testing.assert_close(found_gradients[name], gradient, rtol=1e-4, atol=1e-7)


def test_token_losses_are_those_of_the_labelled_positions_in_order(tmp_path: Path) -> None:
    model = load_slice(open_checkpoint(make_checkpoint(tmp_path / "base")), "de_DE")
    losses = token_losses(model, [BATCH])
    with torch.no_grad():
        logits = model(INPUTS, lang_ids=torch.zeros(4, dtype=torch.long)).logits
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), LABELS.flatten(), ignore_index=IGNORED, reduction="none"
    )[LABELS.flatten() != IGNORED]
    torch.testing.assert_close(losses, expected)
    assert losses.mean().item() == pytest.approx(mean_loss(model).item())

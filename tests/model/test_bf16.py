"""What is computed in bf16 on a processor is what fp32 computes, within bf16's rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import make_checkpoint

from xmod_extend.model import attention as attention_module
from xmod_extend.model import loss as loss_module
from xmod_extend.model.adapter import adapter_set, adapter_slots
from xmod_extend.model.batch import Batch
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.loss import prediction_loss
from xmod_extend.model.slice import Precision, load_slice
from xmod_extend.objectives.prediction import IGNORED, Attention, Prediction

WEIGHTS_IN_BF16 = Precision(name="bf16", storage=torch.bfloat16, compute=torch.float32)
ALL_IN_BF16 = Precision(name="bf16", storage=torch.bfloat16, compute=torch.bfloat16)
BLOCKS = np.random.default_rng(0).integers(4, 119, (4, 20))
IS_PREDICTED = np.random.default_rng(1).random(BLOCKS.shape) < 0.3


def loss_and_gradients(
    folder: Path, precision: Precision, attention: Attention, *, checkpointing: bool = False
) -> tuple[float, torch.Tensor]:
    """The mean loss and the adapter's gradient, (num_parameters,)."""
    model = load_slice(open_checkpoint(folder), "en_XX", precision=precision)
    adapter_set(model).freeze_others()
    labels = np.where(IS_PREDICTED, BLOCKS, IGNORED)
    batch = Batch.from_prediction(Prediction(BLOCKS, labels, attention=attention))
    loss = prediction_loss(model, batch, checkpointing=checkpointing) / batch.targets.numel()
    loss.backward()
    return loss.item(), torch.cat([slot.grad.flatten() for _, slot in adapter_slots(model)])


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("attention", ["bidirectional", "causal"])
@pytest.mark.parametrize("pre_norm", [False, True])
def test_loss_and_gradient_are_those_of_fp32(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pre_norm: bool,
    attention: Attention,
    checkpointing: bool,
) -> None:
    folder = make_checkpoint(tmp_path / "base", pre_norm=pre_norm)
    expected, gradient = loss_and_gradients(folder, WEIGHTS_IN_BF16, attention)
    errors = []
    for by_products in (True, False):
        monkeypatch.setattr(attention_module, "_prefers_products", lambda is_it=by_products: is_it)
        found, own = loss_and_gradients(folder, ALL_IN_BF16, attention, checkpointing=checkpointing)
        assert found == pytest.approx(expected, rel=2e-3)
        errors.append(float((own - gradient).norm() / gradient.norm()))
    assert errors[0] < 0.05
    # Chance makes one or the other the smaller.
    assert errors[0] < 1.25 * errors[1]


def test_how_much_of_the_vocabulary_is_worked_through_at_once_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_checkpoint(tmp_path / "base")
    expected, gradient = loss_and_gradients(folder, ALL_IN_BF16, "bidirectional")
    monkeypatch.setattr(loss_module, "SMALLEST_CHUNK", 1)
    monkeypatch.setattr(loss_module, "BF16_LARGEST_CHUNK", 7)
    found, own = loss_and_gradients(folder, ALL_IN_BF16, "bidirectional")
    assert found == pytest.approx(expected, rel=1e-3)
    assert float((own - gradient).norm() / gradient.norm()) < 0.02

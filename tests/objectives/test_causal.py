"""The seam carries another objective: left-to-right prediction, with upstream's values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import make_checkpoint
from transformers import XmodForCausalLM

from xmod_extend.model.adapter import adapter_set, adapter_slots
from xmod_extend.model.batch import Batch
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.dropout import Dropout
from xmod_extend.model.encoder import encode
from xmod_extend.model.loss import prediction_loss
from xmod_extend.model.slice import load_slice
from xmod_extend.objectives.prediction import IGNORED, Prediction
from xmod_extend.tokens.blocks import Ids

BLOCKS = np.random.default_rng(0).integers(4, 119, (3, 12))


def predict_next(blocks: Ids, step: int) -> Prediction:
    """Every token from those before it."""
    labels = np.full(blocks.shape, IGNORED)
    labels[:, :-1] = blocks[:, 1:]
    return Prediction(blocks, labels, attention="causal")


@pytest.mark.parametrize("pre_norm", [False, True])
def test_the_next_token_is_predicted_as_upstream_does(tmp_path: Path, pre_norm: bool) -> None:
    folder = make_checkpoint(tmp_path / "base", pre_norm=pre_norm)
    upstream = XmodForCausalLM.from_pretrained(folder, is_decoder=True).eval()
    upstream.set_default_language("en_XX")
    logits = upstream(torch.from_numpy(BLOCKS)).logits
    expected = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), torch.from_numpy(BLOCKS[:, 1:]).flatten()
    )
    expected.backward()
    gradients = {
        name.replace(".adapter_modules.en_XX.", "."): parameter.grad
        for name, parameter in upstream.named_parameters()
        if ".adapter_modules.en_XX." in name
    }

    model = load_slice(open_checkpoint(folder), "en_XX")
    adapter_set(model).freeze_others()
    batch = Batch.from_prediction(predict_next(BLOCKS, 0))
    loss = prediction_loss(model, batch) / batch.targets.numel()
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, slot in adapter_slots(model):
        layer, tensor = name.split(".", 1)
        gradient = gradients[f"roberta.encoder.layer.{layer}.output.{tensor}"]
        torch.testing.assert_close(slot.grad, gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("dropout", [None, Dropout(hidden=0.0, attention=0.2, key=(1, 2))])
def test_no_token_sees_what_comes_after_it(tmp_path: Path, dropout: Dropout | None) -> None:
    model = load_slice(open_checkpoint(make_checkpoint(tmp_path / "base")), "en_XX")
    changed = BLOCKS.copy()
    changed[:, 7:] += 1

    def hidden(blocks: Ids) -> torch.Tensor:
        ids = torch.from_numpy(blocks)
        return encode(model, ids, attention="causal", dropout=dropout).view(*ids.shape, -1)

    before, after = hidden(BLOCKS), hidden(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert not torch.equal(before[:, 7:], after[:, 7:])


def test_predicted_positions_alone_give_the_same_states(tmp_path: Path) -> None:
    model = load_slice(open_checkpoint(make_checkpoint(tmp_path / "base")), "en_XX")
    prediction = predict_next(BLOCKS, 0)
    prediction.labels[0, :5] = prediction.labels[2, 4:] = IGNORED
    batch = Batch.from_prediction(prediction)
    everywhere = encode(model, batch.input_ids, attention="causal")
    some = encode(model, batch.input_ids, batch.positions, attention="causal")
    torch.testing.assert_close(some, everywhere[batch.positions.flat])

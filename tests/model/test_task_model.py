"""A slice with a head computes as upstream's full model, and only what should be trained is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import XmodForSequenceClassification, XmodForTokenClassification

from xmod_extend.model.adapter import read_adapter, set_adapter
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.names import ADAPTER_NAME
from xmod_extend.model.task_model import load_task_slice, train_shared_weights, with_lora

LABELS = ("a", "b", "c")
IDS = torch.tensor([[0, 7, 8, 9, 2], [0, 11, 12, 2, 1]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])


@pytest.mark.parametrize("shape", ["base", "pre_norm_base"])
@pytest.mark.parametrize("is_word_task", [True, False])
def test_the_slice_is_upstreams_model_whatever_language_is_in_its_slot(
    request: pytest.FixtureRequest, shape: str, is_word_task: bool
) -> None:
    folder: Path = request.getfixturevalue(shape)
    checkpoint = open_checkpoint(folder)
    model = load_task_slice(checkpoint, "en_XX", LABELS, is_word_task=is_word_task, seed=3)
    kind = XmodForTokenClassification if is_word_task else XmodForSequenceClassification
    full = kind.from_pretrained(folder, num_labels=3).eval()
    full.classifier.load_state_dict(model.classifier.state_dict())
    for language in checkpoint.languages:
        set_adapter(model, read_adapter(checkpoint, language))
        with torch.no_grad():
            ours = model(IDS, attention_mask=MASK, lang_ids=torch.zeros(2, dtype=torch.long))
            number = checkpoint.languages.index(language)
            theirs = full(IDS, attention_mask=MASK, lang_ids=torch.tensor([number, number]))
        torch.testing.assert_close(ours.logits, theirs.logits)


@pytest.mark.parametrize("shape", ["base", "pre_norm_base"])
@pytest.mark.parametrize("is_word_task", [True, False])
def test_lora_is_on_every_shared_linear_layer_and_nowhere_else(
    request: pytest.FixtureRequest, shape: str, is_word_task: bool
) -> None:
    checkpoint = open_checkpoint(request.getfixturevalue(shape))
    slice_ = load_task_slice(checkpoint, "en_XX", LABELS, is_word_task=is_word_task, seed=0)
    model = with_lora(slice_, "base", rank=4, seed=0)
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    lora = {name for name in trained if "lora_" in name}
    # Two layers, six linear ones in each, two matrices for each of these.
    assert len(lora) == 2 * 6 * 2
    assert not any("adapter_modules" in name or "embeddings" in name for name in trained)
    heads = 1 if is_word_task else 2
    assert len(trained - lora) == 2 * heads
    assert all("classifier" in name for name in trained - lora)
    assert not any("classifier" in name for name in lora)


@pytest.mark.parametrize("shape", ["base", "pre_norm_base"])
def test_in_full_all_is_trained_but_embeddings_and_language_adapters(
    request: pytest.FixtureRequest, shape: str
) -> None:
    checkpoint = open_checkpoint(request.getfixturevalue(shape))
    model = load_task_slice(checkpoint, "de_DE", LABELS, is_word_task=True, seed=0)
    train_shared_weights(model)
    for name, parameter in model.named_parameters():
        is_language = ADAPTER_NAME.fullmatch(name) or ".adapter_layer_norm." in name
        assert parameter.requires_grad is not (bool(is_language) or "embeddings" in name), name


def test_the_head_and_lora_are_drawn_by_the_seed(base: Path) -> None:
    checkpoint = open_checkpoint(base)

    def drawn(seed: int) -> dict[str, torch.Tensor]:
        slice_ = load_task_slice(checkpoint, "en_XX", LABELS, is_word_task=True, seed=seed)
        model = with_lora(slice_, "base", rank=2, seed=seed)
        return {n: p for n, p in model.named_parameters() if p.requires_grad}

    first, again, other = drawn(1), drawn(1), drawn(2)
    for name, values in first.items():
        assert torch.equal(values, again[name])
        if values.abs().sum() > 0:
            assert not torch.equal(values, other[name])

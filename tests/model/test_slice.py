"""The slice computes what upstream's whole model computes, and trains nothing but its adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import LANGUAGES, make_checkpoint
from transformers import XmodForMaskedLM

from xmod_extend.model import encoder as encoder_module
from xmod_extend.model import loss as loss_module
from xmod_extend.model.adapter import (
    adapter_set,
    adapter_slots,
    full_names,
    mean_adapter,
    random_adapter,
    read_adapter,
    set_adapter,
)
from xmod_extend.model.batch import Batch
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.encoder import encode
from xmod_extend.model.loss import prediction_loss, token_losses
from xmod_extend.model.slice import (
    FP32,
    Precision,
    load_adapter,
    load_slice,
)
from xmod_extend.objectives.prediction import Prediction

INPUT_IDS = torch.randint(4, 119, (3, 12), generator=torch.Generator().manual_seed(0))
LABELS = torch.where(torch.arange(12) % 4 == 1, INPUT_IDS, -100)
BATCH = Batch.from_prediction(Prediction(INPUT_IDS.numpy(), LABELS.numpy()))


def logits(model: XmodForMaskedLM, language: int) -> torch.Tensor:
    with torch.no_grad():
        return model(
            INPUT_IDS,
            lang_ids=torch.full((3,), language),
            attention_mask=torch.ones_like(INPUT_IDS),
        ).logits


@pytest.mark.parametrize("pre_norm", [False, True])
@pytest.mark.parametrize("language", LANGUAGES)
def test_logits_are_bit_equal_to_the_whole_model(
    tmp_path: Path, language: str, pre_norm: bool
) -> None:
    folder = make_checkpoint(tmp_path / "base", pre_norm=pre_norm)
    whole = XmodForMaskedLM.from_pretrained(folder).eval()
    model = load_slice(open_checkpoint(folder), language)
    expected = logits(whole, LANGUAGES.index(language))

    assert torch.equal(logits(model, 0), expected)
    with torch.no_grad():
        hidden = encode(model, INPUT_IDS).view(*INPUT_IDS.shape, -1)
        assert torch.equal(model.lm_head(hidden), expected)


def test_load_adapter_replaces_the_slot(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base"))
    model = load_slice(checkpoint, "en_XX")
    load_adapter(model, checkpoint, "sw_KE")
    assert torch.equal(logits(model, 0), logits(load_slice(checkpoint, "sw_KE"), 0))


@pytest.mark.parametrize("pre_norm", [False, True])
def test_the_encoder_gives_upstreams_gradients(tmp_path: Path, pre_norm: bool) -> None:
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base", pre_norm=pre_norm))

    def gradients(direct: bool) -> dict[str, torch.Tensor]:
        model = load_slice(checkpoint, "en_XX")
        adapter_set(model).freeze_others()
        if direct:
            hidden = encode(model, INPUT_IDS)
        else:
            lang_ids = torch.zeros(3, dtype=torch.long)
            hidden = model.roberta(INPUT_IDS, lang_ids=lang_ids).last_hidden_state
        hidden.square().sum().backward()
        return {name: slot.grad for name, slot in adapter_slots(model)}

    upstream, ours = gradients(direct=False), gradients(direct=True)
    for name, gradient in upstream.items():
        assert torch.equal(gradient, ours[name]), name
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize("compute", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("pre_norm", [False, True])
def test_bf16_weights_train_the_fp32_adapter(
    tmp_path: Path, pre_norm: bool, compute: torch.dtype
) -> None:
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base", pre_norm=pre_norm))
    bf16 = Precision(name="bf16", storage=torch.bfloat16, compute=compute)
    results = []
    for precision in (FP32, bf16):
        model = load_slice(checkpoint, "en_XX", precision=precision)
        adapter_set(model).freeze_others()
        slots = [slot for _, slot in adapter_slots(model)]
        loss = prediction_loss(model, BATCH) / BATCH.targets.numel()
        loss.backward()
        assert all(slot.dtype == slot.grad.dtype == torch.float32 for slot in slots)
        results.append((loss.item(), torch.cat([slot.grad.flatten() for slot in slots])))
    (exact, exact_gradient), (rounded, rounded_gradient) = results
    assert model.lm_head.decoder.weight.dtype == torch.bfloat16
    assert rounded == pytest.approx(exact, rel=0.02)
    similarity = torch.cosine_similarity(exact_gradient, rounded_gradient, dim=0).item()
    assert similarity > 0.97


def test_bf16_weights_computed_in_fp32_are_the_rounded_weights_model(tmp_path: Path) -> None:
    """Keeping bf16 weights and casting them as they are used is exact but for that rounding."""
    folder = make_checkpoint(tmp_path / "base")
    whole = XmodForMaskedLM.from_pretrained(folder).eval()
    with torch.no_grad():
        for name, parameter in whole.named_parameters():
            if parameter.ndim > 1 and "adapter_modules" not in name:
                parameter.copy_(parameter.bfloat16().float())
    precision = Precision(name="bf16", storage=torch.bfloat16, compute=torch.float32)
    model = load_slice(open_checkpoint(folder), "en_XX", precision=precision)
    expected = torch.nn.functional.cross_entropy(
        logits(whole, 0).flatten(0, 1), LABELS.flatten(), reduction="none"
    )[LABELS.flatten() != -100]
    torch.testing.assert_close(token_losses(model, [BATCH]), expected)


@pytest.mark.parametrize("num_scored", [1, 9])
def test_weights_are_cast_a_few_at_a_time_in_the_same_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_scored: int
) -> None:
    """However few positions are scored, and so however many rows of the head would go together."""
    monkeypatch.setattr(loss_module, "SMALLEST_CHUNK", 4)
    monkeypatch.setattr(loss_module, "LARGEST_CPU_CHUNK", 16)
    labels = LABELS.numpy().copy()
    labels.flat[np.flatnonzero(labels != -100)[num_scored:]] = -100
    batch = Batch.from_prediction(Prediction(INPUT_IDS.numpy(), labels))
    precision = Precision(name="bf16", storage=torch.bfloat16, compute=torch.float32)
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base"))
    model = load_slice(checkpoint, "en_XX", precision=precision)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def cast_weight(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        found = encoder_module.cast_weight(weight, dtype)
        assert torch.equal(found, weight.to(dtype))
        seen.append((weight, found))
        return found

    monkeypatch.setattr(loss_module, "cast_weight", cast_weight)
    token_losses(model, [batch])
    rows = [len(weight) for weight, _ in seen]
    assert sum(rows) == len(model.lm_head.decoder.weight) and max(rows) <= 16
    assert len({found.data_ptr() for _, found in seen}) == 1


def test_only_the_adapter_is_trainable(tmp_path: Path) -> None:
    model = load_slice(open_checkpoint(make_checkpoint(tmp_path / "base")), "quz_PE")
    trained = adapter_set(model)
    trained.freeze_others()
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable == set(full_names(trained.get_values(), "quz_PE"))
    assert len(trainable) == 2 * 4


def test_random_adapter_is_the_seeds_and_upstreams_distribution(tmp_path: Path) -> None:
    model = load_slice(
        open_checkpoint(make_checkpoint(tmp_path / "base", hidden_size=128)), "quz_PE"
    )
    first, again, other = (random_adapter(model, seed=seed) for seed in (1, 1, 2))
    for name, values in first.items():
        assert torch.equal(values, again[name])
        if name.endswith("bias"):
            assert not values.any()
        else:
            assert not torch.equal(values, other[name])
            assert values.std().item() == pytest.approx(0.02, rel=0.1)


def test_mean_adapter_is_the_mean(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base"))
    adapters = [read_adapter(checkpoint, language) for language in LANGUAGES]
    mean = mean_adapter(checkpoint, LANGUAGES)
    for name, values in mean.items():
        expected = torch.stack([adapter[name] for adapter in adapters]).mean(0)
        torch.testing.assert_close(values, expected)
    model = load_slice(checkpoint, "quz_PE")
    set_adapter(model, mean)
    assert torch.equal(adapter_set(model).get_values()["1.dense2.weight"], mean["1.dense2.weight"])

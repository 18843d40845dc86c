"""The slice computes what upstream's whole model computes, and trains nothing but its adapter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checkpoints import LANGUAGES, make_checkpoint
from transformers import XmodForMaskedLM

from xmod_extend.model.adapter import (
    adapter_slots,
    full_names,
    get_adapter,
    mean_adapter,
    random_adapter,
    read_adapter,
    set_adapter,
)
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.slice import (
    freeze_all_but_adapter,
    load_adapter,
    load_slice,
    run_adapter_directly,
)

INPUT_IDS = torch.randint(4, 119, (3, 12), generator=torch.Generator().manual_seed(0))


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
    run_adapter_directly(model)
    assert torch.equal(logits(model, 0), expected)


def test_load_adapter_replaces_the_slot(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base"))
    model = load_slice(checkpoint, "en_XX")
    load_adapter(model, checkpoint, "sw_KE")
    assert torch.equal(logits(model, 0), logits(load_slice(checkpoint, "sw_KE"), 0))


@pytest.mark.parametrize("pre_norm", [False, True])
def test_direct_adapter_gives_the_gradients_of_upstreams_loop(
    tmp_path: Path, pre_norm: bool
) -> None:
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base", pre_norm=pre_norm))

    def gradients(direct: bool) -> dict[str, torch.Tensor]:
        model = load_slice(checkpoint, "en_XX").train()
        if direct:
            run_adapter_directly(model)
        freeze_all_but_adapter(model)
        torch.manual_seed(5)
        hidden = model.roberta(INPUT_IDS, lang_ids=torch.zeros(3, dtype=torch.long))
        hidden.last_hidden_state.square().sum().backward()
        return {name: slot.grad for name, slot in adapter_slots(model)}

    upstream, ours = gradients(direct=False), gradients(direct=True)
    for name, gradient in upstream.items():
        assert torch.equal(gradient, ours[name]), name
        assert gradient.abs().sum() > 0


def test_bf16_runs_forward_and_backward(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base"))
    model = load_slice(checkpoint, "en_XX", dtype=torch.bfloat16).train()
    run_adapter_directly(model)
    slots = freeze_all_but_adapter(model)
    hidden = model.roberta(INPUT_IDS, lang_ids=torch.zeros(3, dtype=torch.long))
    hidden.last_hidden_state.float().square().sum().backward()

    assert hidden.last_hidden_state.dtype == torch.bfloat16
    assert all(slot.dtype == slot.grad.dtype == torch.float32 for slot in slots)
    reference = load_slice(checkpoint, "en_XX").roberta(
        INPUT_IDS, lang_ids=torch.zeros(3, dtype=torch.long)
    )
    model.eval()
    approximate = model.roberta(INPUT_IDS, lang_ids=torch.zeros(3, dtype=torch.long))
    torch.testing.assert_close(
        approximate.last_hidden_state.float(), reference.last_hidden_state, rtol=0.05, atol=0.05
    )


def test_only_the_adapter_is_trainable(tmp_path: Path) -> None:
    model = load_slice(open_checkpoint(make_checkpoint(tmp_path / "base")), "quz_PE")
    freeze_all_but_adapter(model)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable == set(full_names(get_adapter(model), "quz_PE"))
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
    assert torch.equal(get_adapter(model)["1.dense2.weight"], mean["1.dense2.weight"])

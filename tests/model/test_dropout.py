"""Dropout: the configured rate, masks that depend on the key alone, and upstream's places."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checkpoints import make_checkpoint
from torch.nn import functional as F

from xmod_extend.model.adapter import adapter_set, adapter_slots
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.dropout import Dropout, draw_kept
from xmod_extend.model.encoder import encode
from xmod_extend.model.slice import load_slice

INPUT_IDS = torch.randint(4, 119, (3, 12), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_the_rate_is_the_configured_one(probability: float) -> None:
    count = 1_000_000
    dropped = count - int(draw_kept(torch.Size([count]), probability, (1, 2)).sum())
    # Six standard deviations of a binomial.
    assert abs(dropped / count - probability) < 6 * (probability * (1 - probability) / count) ** 0.5


def test_what_is_kept_is_scaled_and_has_its_gradient() -> None:
    values = torch.ones(7, 13, requires_grad=True)
    dropout = Dropout(hidden=0.2, attention=0.0, key=(3, 4))
    result = dropout.hidden(values, 5)
    result.sum().backward()
    assert set(result.unique().tolist()) == {0.0, 1.25}
    assert torch.equal(values.grad, result)
    assert dropout.attention(values, 5) is values


def test_a_mask_depends_on_the_key_and_the_place() -> None:
    def mask(key: tuple[int, ...], place: int) -> torch.Tensor:
        return Dropout(hidden=0.5, attention=0.5, key=key).hidden(torch.ones(200), place)

    assert torch.equal(mask((1, 2), 3), mask((1, 2), 3))
    assert not torch.equal(mask((1, 2), 3), mask((1, 2), 4))
    assert not torch.equal(mask((1, 2), 3), mask((1, 3), 3))


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("pre_norm", [False, True])
def test_it_drops_where_upstream_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pre_norm: bool, checkpointing: bool
) -> None:
    """With our masks in upstream's places, hidden states and gradients are upstream's."""
    rates = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3}
    folder = make_checkpoint(tmp_path / "base", pre_norm=pre_norm, **rates)
    checkpoint = open_checkpoint(folder)
    ours = Dropout(hidden=0.2, attention=0.3, key=(8, 9))

    def run(upstream: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
        model = load_slice(checkpoint, "en_XX")
        adapter_set(model).freeze_others()
        slots = [slot for _, slot in adapter_slots(model)]
        if upstream:
            model.train()
            model.set_attn_implementation("eager")
            # Upstream's places in the order of the calls: the embeddings, then a layer's four.
            places = iter(range(1 + 4 * 2))

            def drop(
                values: torch.Tensor, p: float, training: bool = True, *_: bool
            ) -> torch.Tensor:
                place = next(places)
                rated = ours.attention if place % 4 == 1 else ours.hidden
                assert training and p == (0.3 if place % 4 == 1 else 0.2)
                return rated(values, place)

            monkeypatch.setattr(F, "dropout", drop)
            lang_ids = torch.zeros(3, dtype=torch.long)
            hidden = model.roberta(INPUT_IDS, lang_ids=lang_ids).last_hidden_state.flatten(0, 1)
            monkeypatch.undo()
            assert next(places, None) is None
        else:
            hidden = encode(model, INPUT_IDS, dropout=ours, checkpointing=checkpointing)
        hidden.square().sum().backward()
        assert len(slots) == len(dict(adapter_slots(model)))
        return hidden, [slot.grad for slot in slots]

    expected, expected_gradients = run(upstream=True)
    found, found_gradients = run(upstream=False)
    torch.testing.assert_close(found, expected)
    for gradient, expected_gradient in zip(found_gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-5)

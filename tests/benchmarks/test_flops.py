"""The count of what a step needs, against hand-worked sums and against what PyTorch counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers import XmodConfig, XmodForMaskedLM

BENCHMARKS = Path(__file__).parents[2] / "scripts" / "benchmarks"
B, T, V = 4, 6, 50
CONFIG: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "adapter_reduction_factor": 4,
    "layer_norm_eps": 1e-5,
    "type_vocab_size": 1,
}


@pytest.fixture
def flops(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import flops

    return flops


def make_model(layers: int = 3) -> XmodForMaskedLM:
    """One language, its adapter trainable and nothing else."""
    config = XmodConfig(
        **(CONFIG | {"num_hidden_layers": layers}),
        languages=["en_XX"],
        default_language="en_XX",
        attn_implementation="eager",
    )
    model = XmodForMaskedLM(config).eval()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = ".adapter_modules." in name
    return model


def count(step: Any) -> int:
    """Operations of the matrix products in a forward and a backward pass."""
    with FlopCounterMode(display=False) as counter:
        step().backward()
    return counter.get_total_flops()


def total(flops: Any, *, num_masked: int, layers: int = 3) -> int:
    config = CONFIG | {"num_hidden_layers": layers}
    shape = flops.Shape.of(config, batch_size=B, max_length=T, num_masked=num_masked)
    return sum(product.flops for product in flops.needed_products(shape))


def test_a_step_worked_out_by_hand(flops: Any) -> None:
    shape = flops.Shape(
        layers=2,
        hidden=4,
        heads=2,
        feed_forward=8,
        bottleneck=2,
        vocabulary=10,
        sequences=2,
        tokens=3,
        masked=2,
    )
    first = 4 * 192 + 2 * 144 + 2 * 384  # q, k, v, o; q k' and p v; feed-forward; 6 rows
    last = 2 * 192 + 2 * 64 + 2 * 48 + 2 * 128  # k, v of 6 rows; the rest of 2
    assert flops.flops_by_part(flops.needed_products(shape)) == {
        "encoder forward": first + last,
        "adapter forward": 2 * 96 + 2 * 32,
        # Two weights' gradients and the inner activation's; only the last layer's input needs one.
        "adapter backward": 3 * 96 + 4 * 32,
        "encoder backward": 2 * 192 + 2 * 64 + 4 * 48 + 2 * 128,
        "LM head forward": 64 + 160,
        "LM head backward": 64 + 160,
    }


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_with_every_position_masked_it_is_what_autograd_does(flops: Any, layers: int) -> None:
    model = make_model(layers)
    ids = torch.randint(4, V, (B, T))
    counted = count(lambda: model(ids, attention_mask=torch.ones_like(ids), labels=ids).loss)
    assert counted == total(flops, num_masked=B * T, layers=layers)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("masked", [1, 2])
def test_with_few_positions_masked_it_is_a_last_layer_run_for_those(
    flops: Any, layers: int, masked: int
) -> None:
    model = make_model(layers)
    ids = torch.randint(4, V, (B, T))
    positions = torch.stack([torch.randperm(T)[:masked] for _ in range(B)])
    counted = count(lambda: masked_loss(model, ids, positions))
    assert counted == total(flops, num_masked=B * masked, layers=layers)


def masked_loss(model: XmodForMaskedLM, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Cross-entropy at `positions` (B, n), the last layer's other rows never computed."""
    encoder = model.roberta.encoder
    lang_ids = torch.zeros(B, dtype=torch.long)
    hidden = model.roberta.embeddings(ids)
    for layer in encoder.layer[:-1]:
        hidden = layer(hidden, lang_ids)
    last = encoder.layer[-1]
    rows = hidden.gather(1, positions[:, :, None].expand(-1, -1, hidden.shape[2]))
    attention = last.attention.self

    def heads(states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(2, (attention.num_attention_heads, -1)).transpose(1, 2)

    scores = heads(attention.query(rows)) @ heads(attention.key(hidden)).mT
    context = scores.softmax(-1) @ heads(attention.value(hidden))
    output = last.attention.output
    rows = output.LayerNorm(output(context.transpose(1, 2).flatten(2), rows))
    rows = last.output.LayerNorm(last.output(last.intermediate(rows), rows, lang_ids))
    logits = model.lm_head(rows)
    return F.cross_entropy(logits.flatten(0, 1), ids.gather(1, positions).flatten())


@pytest.mark.parametrize("num_masked", [1, 3, 5, B * T - 1])
def test_an_uneven_number_of_masks_costs_what_its_positions_cost(
    flops: Any, num_masked: int
) -> None:
    """Every further masked position costs the same, whatever sequence it is in."""
    one_more = total(flops, num_masked=num_masked + 1) - total(flops, num_masked=num_masked)
    assert one_more == total(flops, num_masked=2) - total(flops, num_masked=1)


def test_parts_add_up_and_no_product_is_empty(flops: Any) -> None:
    shape = flops.Shape.of(CONFIG, batch_size=B, max_length=T, num_masked=5)
    products = flops.needed_products(shape)
    assert sum(flops.flops_by_part(products).values()) == sum(p.flops for p in products)
    assert all(product.flops > 0 for product in products)


@pytest.fixture(autouse=True)
def same_numbers() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield

"""Attention by products has attention's values and gradients, as exact as the fused kernel's."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from xmod_extend.model import attention as attention_module
from xmod_extend.model.attention import attend_by_products

B, H, T, D = 3, 2, 128, 64
NAMES = ("context", "query", "key", "value")
MASKS = {
    "none": None,
    "causal": torch.ones(T, T, dtype=torch.bool).tril(),
    # Each sequence has a mask of its own, as the predicted positions of the last layer have.
    "own": torch.arange(T) <= torch.tensor([[9], [70], [127]]).view(B, 1, 1, 1).expand(B, 1, T, 1),
}

Tensors = tuple[torch.Tensor, ...]


def make_inputs(*, num_queries: int = T, spread: float = 1.0, common: float = 0.0) -> Tensors:
    """Query, key, value and the context's gradient in bf16, laid out as projections leave them.

    Args:
        spread: Standard deviation of the scores.
        common: How far from zero all of a head's values lie.
    """
    random = torch.Generator().manual_seed(0)

    def normal(length: int) -> torch.Tensor:
        return torch.randn(B, length, H, D, generator=random).transpose(1, 2)

    query, key, value, gradient = (normal(n) for n in (num_queries, T, T, num_queries))
    value = value + common * torch.randn(H, 1, D, generator=random)
    root = spread**0.5
    return tuple(values.bfloat16() for values in (query * root, key * root, value, gradient))


def run(attention: object, inputs: Tensors, mask: torch.Tensor | None) -> Tensors:
    """The context and the gradients of query, key and value."""
    *parts, gradient = inputs
    leaves = [part.clone().requires_grad_() for part in parts]
    context = attention(*leaves, mask)  # type: ignore[operator]
    context.backward(gradient)
    return (context.detach(), *(leaf.grad for leaf in leaves))


def fused(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def errors(found: Tensors, exact: Tensors) -> dict[str, float]:
    """Of each result, relative to its norm."""
    return {
        name: float((one.double() - other).norm() / other.norm())
        for name, one, other in zip(NAMES, found, exact, strict=True)
    }


@pytest.mark.parametrize("kept", [0, 4])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("spread", "common"), [(1.0, 0.0), (4.0, 0.0), (1.0, 4.0)])
def test_it_is_as_exact_as_the_fused_kernel(
    monkeypatch: pytest.MonkeyPatch, kept: int, mask: str, spread: float, common: float
) -> None:
    monkeypatch.setattr(attention_module, "KEPT_WEIGHTS_PER_ELEMENT", kept)
    inputs = make_inputs(spread=spread, common=common)
    exact = run(fused, tuple(values.double() for values in inputs), MASKS[mask])
    ours, theirs = (
        errors(run(attention, inputs, MASKS[mask]), exact)
        for attention in (attend_by_products, fused)
    )
    assert math.hypot(*ours.values()) <= 1.1 * math.hypot(*theirs.values())
    assert max(ours.values()) < 0.02


@pytest.mark.parametrize("weights", [1, 2 * T * T, 1 << 20])
def test_how_many_heads_are_worked_through_at_once_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, weights: int
) -> None:
    inputs = make_inputs()
    expected = run(attend_by_products, inputs, MASKS["own"])
    monkeypatch.setattr(attention_module, "WEIGHTS_AT_ONCE", weights)
    for found, values in zip(run(attend_by_products, inputs, MASKS["own"]), expected, strict=True):
        torch.testing.assert_close(found, values, rtol=2**-8, atol=1e-3)

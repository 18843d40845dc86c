"""Softmax attention, by PyTorch's fused kernel or, in bf16 on some processors, by plain products.

    B  sequences in a batch
    H  attention heads, each d wide
    Q  queries of a sequence
    T  keys of a sequence

PyTorch's fused attention leaves the bf16 instructions of a processor with AVX-512 unused. With 128
keys it takes more than twice the time of what is here, which the products of `torch.bmm` do; with
512, of which the weights are computed again for memory's sake, a tenth more. Those products round
what they return to bf16. So the scores, in which that would be felt, are multiplied in fp32 and
their softmax is fp32's: altogether, errors are within a tenth of the fused kernel's, and smaller
where scores lie far apart or values have much in common.

Some heads are worked through at a time, so that their weights stay in the processor's cache.

Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.2.1.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional as F

WEIGHTS_AT_ONCE = 1 << 20
"""Attention weights that are worked through at once, 4 MB in fp32. With fewer of long sequences the
products become too small."""
KEPT_WEIGHTS_PER_ELEMENT = 4
"""Attention weights for each element of a query, up to which they are kept for the backward pass:
they take as much memory as so many hidden states. With more keys they are computed again."""


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Return the values, weighted by softmax(query key' / sqrt(d)), (B, H, Q, d).

    Args:
        query: (B, H, Q, d).
        key: (B, H, T, d).
        value: (B, H, T, d).
        mask: Which keys a query sees, (Q, T) or (B, 1, Q, T); all of them if None.
    """
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and _prefers_products():
        return attend_by_products(query, key, value, mask)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def attend_by_products(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Return what `attend` does, of bf16 tensors on a processor, by plain products."""
    is_short = key.shape[2] <= KEPT_WEIGHTS_PER_ELEMENT * key.shape[3]
    has_backward = torch.is_grad_enabled() and query.requires_grad
    arguments = (query, key, value, mask, is_short and has_backward)
    context: torch.Tensor = _Attention.apply(*arguments)  # type: ignore[no-untyped-call]
    return context


@functools.cache
def _prefers_products() -> bool:
    """Return whether this processor has bf16 instructions that the fused kernel leaves unused.

    With AMX it has kernels of its own.
    """
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16")) and not capabilities.get("amx_bf16")


class _Attention(torch.autograd.Function):
    """Attention that keeps its weights, or else computes them again for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        keeps_weights: bool,
    ) -> torch.Tensor:
        context = _like_hidden(query)
        kept = query.new_empty(*query.shape[:3], key.shape[2]) if keeps_weights else None
        scores = _for_some_heads(query, key, torch.float32)
        passing = _for_some_heads(query, key, query.dtype)
        for some in _heads(query, key):
            weights = passing if kept is None else kept[some]
            weights = _weigh(query[some], key[some], _of_sequence(mask, some), scores, weights)
            context[some] = weights @ value[some]
        ctx.save_for_backward(query, key, value, mask, kept)
        return context

    @staticmethod
    def backward(
        ctx: Any, *outputs: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None, None]:
        query, key, value, mask, kept = ctx.saved_tensors
        query_gradient, key_gradient, value_gradient = map(_like_hidden, (query, key, value))
        scale = query.shape[3] ** -0.5
        scores = _for_some_heads(query, key, torch.float32)
        passing, buffer = (_for_some_heads(query, key, query.dtype) for _ in range(2))
        for some in _heads(query, key):
            if kept is None:
                of_sequence = _of_sequence(mask, some)
                weights = _weigh(query[some], key[some], of_sequence, scores, passing)
            else:
                weights = kept[some]
            gradient = outputs[0][some].contiguous()
            value_gradient[some] = weights.mT @ gradient
            through = torch.bmm(gradient, value[some].mT, out=buffer[: len(weights)])
            through = torch._softmax_backward_data(through, weights, 2, weights.dtype)
            query_gradient[some] = through @ (key[some] * scale)
            key_gradient[some] = through.mT @ (query[some] * scale)
        return query_gradient, key_gradient, value_gradient, None, None


def _weigh(
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    scores: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    """Return the attention weights of some heads, (heads, Q, T), in the memory of `weights`.

    `scores` is memory to work in.
    """
    scale = query.shape[2] ** -0.5
    scores = scores[: len(query)]
    torch.bmm(query.float().mul_(scale), key.float().mT, out=scores)
    if mask is not None:
        scores.masked_fill_(~mask, -torch.inf)
    return weights[: len(query)].copy_(torch.softmax(scores, dim=2, out=scores))


def _heads(query: torch.Tensor, key: torch.Tensor) -> Iterator[tuple[int, slice]]:
    """Yield a sequence and some of its heads, until all were worked through."""
    size = _num_heads_at_once(query, key)
    for sequence in range(query.shape[0]):
        for first in range(0, query.shape[1], size):
            yield sequence, slice(first, first + size)


def _num_heads_at_once(query: torch.Tensor, key: torch.Tensor) -> int:
    return min(query.shape[1], max(1, WEIGHTS_AT_ONCE // (query.shape[2] * key.shape[2])))


def _for_some_heads(query: torch.Tensor, key: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return memory for the weights that are worked through at once, (heads, Q, T).

    It is taken once a call: pieces of megabytes are zeroed by the system each time they are taken.
    """
    sizes = (_num_heads_at_once(query, key), query.shape[2], key.shape[2])
    return torch.empty(sizes, dtype=dtype)


def _like_hidden(parts: torch.Tensor) -> torch.Tensor:
    """Return memory as of `parts`, (B, H, Q, d), where a position's heads lie side by side."""
    return torch.empty_like(parts.transpose(1, 2)).transpose(1, 2)


def _of_sequence(mask: torch.Tensor | None, some: tuple[int, slice]) -> torch.Tensor | None:
    return mask[some[0]] if mask is not None and mask.ndim == 4 else mask

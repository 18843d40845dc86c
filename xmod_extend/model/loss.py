"""Cross-entropy of the predicted tokens over the whole vocabulary, computed only where a label is.

    B  sequences in a batch
    T  tokens in a sequence
    N  predicted positions: about 15 % of all in masked language modelling
    D  hidden size
    V  vocabulary size: 250,002 for xmod-base
    C  rows of the vocabulary in one chunk

The LM head is frozen, so nothing but the gradient with respect to its input is ever needed:
`softmax(f W') W - W[target]`. Both it and the loss come from one sweep over the vocabulary, a chunk
of rows at a time, with a running maximum: no more than a chunk's logits exist at once, they stay in
the processor's cache, and each is computed and exponentiated once.

Source: Milakov and Gimelshein 2018 (arXiv 1805.02867) for the running maximum; Dao et al. 2022
(arXiv 2205.14135), section 3.1, for a weighted sum under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from xmod_extend.model.batch import Batch
from xmod_extend.model.encoder import cast_weight, encode, encode_each, linear

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

    from xmod_extend.model.adapter import Adapter
    from xmod_extend.model.dropout import Dropout

CPU_CHUNK_LOGITS = 1 << 19
"""Logits of one chunk on a processor: 2 MB in fp32, about a second-level cache."""
BF16_CHUNK_LOGITS = 1 << 20
BF16_LARGEST_CHUNK = 3 << 10
"""The same of a processor that computes in bf16, whose products depend more on their shape."""
GPU_CHUNK_LOGITS = 1 << 26
"""Logits of one chunk elsewhere: 268 MB in fp32, few enough chunks to keep a GPU busy."""
WHOLE_ROWS = 128
"""What the rows of a chunk are a multiple of on a GPU and in bf16: for an odd number of them there
are only slow products in half precision."""
SMALLEST_CHUNK = 1 << 10
"""Rows of a chunk at the least: matrix products of fewer are slow."""
LARGEST_CPU_CHUNK = 1 << 12
"""Rows of a chunk on a processor at the most: where few positions are scored, they and not the
logits take the memory, 13 MB at xmod-base's width."""

DIVERGED_NATS = 100.0
"""A mean loss that no working model has: guessing among XLM-R's 250,002 tokens loses 12.4."""


def prediction_loss(
    model: XmodForMaskedLM,
    batch: Batch,
    *,
    dropout: Dropout | None = None,
    checkpointing: bool = False,
) -> torch.Tensor:
    """Return the cross-entropy in nats, summed over the batch's predicted positions.

    Of masked tokens, divided by N, it is the value of `XmodForMaskedLM(...).loss`, within rounding.

    Args:
        model: A one-language slice.
        dropout: See `encode`.
        checkpointing: See `encode`.
    """
    features = _features(model, batch, dropout=dropout, checkpointing=checkpointing)
    decoder = model.lm_head.decoder
    arguments = (features, decoder.weight, decoder.bias, batch.targets)
    total: torch.Tensor = _FrozenHeadCrossEntropy.apply(*arguments)  # type: ignore[no-untyped-call]
    return total


@torch.no_grad()
def token_losses(model: XmodForMaskedLM, batches: Sequence[Batch]) -> torch.Tensor:
    """Return the cross-entropy in nats of each predicted position, (N,), in their order.

    The encoder runs batch by batch, the head once over the positions of all: its weights, which are
    most of the model's, are read once.
    """
    features = torch.cat([_features(model, batch) for batch in batches])
    return _losses_at(model, features, torch.cat([batch.targets for batch in batches]))


@torch.no_grad()
def token_losses_of_each(
    model: XmodForMaskedLM, adapters: Sequence[Adapter], batches: Sequence[Batch]
) -> torch.Tensor:
    """Return `token_losses` with each of A adapters, (A, N), whatever is in the slot.

    They share the pass of a batch through the encoder, and the head is run once for all.
    """
    features = []
    for batch in batches:
        hidden = encode_each(
            model, batch.input_ids, adapters, batch.positions, attention=batch.attention
        )
        inputs = _decoder_input(model, hidden)
        features.append(inputs.view(len(adapters), -1, inputs.shape[-1]))
    targets = torch.cat([batch.targets for batch in batches]).repeat(len(adapters))
    together = torch.cat(features, dim=1).flatten(0, 1)
    return _losses_at(model, together, targets).view(len(adapters), -1)


@torch.no_grad()
def token_log_probabilities(model: XmodForMaskedLM, batch: Batch) -> torch.Tensor:
    """Return the log-probability of every token at each predicted position, (N, V), in fp32."""
    features = _features(model, batch)
    decoder = model.lm_head.decoder
    logits = F.linear(features, decoder.weight.to(features.dtype), decoder.bias.to(features.dtype))
    return torch.log_softmax(logits.float(), dim=-1)


def _features(
    model: XmodForMaskedLM,
    batch: Batch,
    *,
    dropout: Dropout | None = None,
    checkpointing: bool = False,
) -> torch.Tensor:
    """Return the decoder's input at the predicted positions, (N, D)."""
    hidden = encode(
        model,
        batch.input_ids,
        batch.positions,
        attention=batch.attention,
        dropout=dropout,
        checkpointing=checkpointing,
    )
    return _decoder_input(model, hidden)


def _decoder_input(model: XmodForMaskedLM, hidden: torch.Tensor) -> torch.Tensor:
    head = model.lm_head
    features: torch.Tensor = head.layer_norm(F.gelu(linear(head.dense, hidden)))
    return features


def _losses_at(
    model: XmodForMaskedLM, features: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Return the cross-entropy of `targets`, (N,), where the decoder reads `features`, (N, D)."""
    decoder = model.lm_head.decoder
    normaliser, _ = _sweep(features, decoder.weight, decoder.bias, with_mean=False)
    return normaliser - _target_logits(features, decoder.weight, decoder.bias, targets)


def _sweep(
    features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, with_mean: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Sweep once over the vocabulary.

    Args:
        features: (N, D), in the dtype to compute in.
        weight: (V, D), in the dtype it is stored in.
        bias: (V,).
        with_mean: Whether to compute the second result.

    Returns:
        The log of the summed exponentials of each position's logits, (N,), and the mean row of
        `weight` under each position's softmax, (N, D), both in fp32.
    """
    count, width = features.shape
    dtype, device = features.dtype, features.device
    highest = torch.full((count, 1), -torch.inf, device=device)
    total = torch.zeros((count, 1), device=device)
    mean = torch.zeros((count, width), device=device) if with_mean else None
    size = _chunk_size(count, dtype, device)
    for start in range(0, weight.shape[0], size):
        rows = cast_weight(weight[start : start + size], dtype)
        product = F.linear(features, rows, bias[start : start + size].to(dtype))
        before, highest = highest, torch.maximum(highest, product.amax(dim=1, keepdim=True))
        logits = _difference(product, highest).exp_()
        shrink = before.sub_(highest).exp_()
        total.mul_(shrink).add_(logits.sum(dim=1, keepdim=True))
        if mean is not None:
            mean.mul_(shrink)
            if dtype == torch.float32:
                mean.addmm_(logits, rows)
            else:
                mean.add_(product.copy_(logits) @ rows)
    normaliser = (highest + total.log()).squeeze(1)
    return normaliser, None if mean is None else mean.div_(total)


def _difference(logits: torch.Tensor, highest: torch.Tensor) -> torch.Tensor:
    """Return the logits less `highest`, in fp32, in the memory of the logits if they are."""
    if logits.dtype == torch.float32:
        return logits.sub_(highest)
    if logits.device.type == "cpu":
        # The difference of two dtypes takes four times as long as this: PyTorch goes through it
        # one by one.
        return logits.float().sub_(highest)
    return logits - highest


def _chunk_size(count: int, dtype: torch.dtype, device: torch.device) -> int:
    """Return how many rows of the vocabulary are worked through at once for `count` positions."""
    if device.type != "cpu":
        size = GPU_CHUNK_LOGITS // count // WHOLE_ROWS * WHOLE_ROWS
    elif dtype == torch.bfloat16:
        size = min(BF16_LARGEST_CHUNK, BF16_CHUNK_LOGITS // count // WHOLE_ROWS * WHOLE_ROWS)
    else:
        size = min(LARGEST_CPU_CHUNK, CPU_CHUNK_LOGITS // count)
    return max(SMALLEST_CHUNK, size)


def _target_logits(
    features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Return the logit of each target, (N,), in fp32."""
    rows = weight.index_select(0, targets).float()
    return (features.float() * rows).sum(dim=1) + bias.index_select(0, targets)


class _FrozenHeadCrossEntropy(torch.autograd.Function):
    """Summed cross-entropy of `features @ weight.T + bias`, with a gradient for `features` only."""

    @staticmethod
    def forward(
        ctx: Any,
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        targets: torch.Tensor,
    ) -> torch.Tensor:
        normaliser, mean = _sweep(features, weight, bias, with_mean=True)
        assert mean is not None
        mean -= weight.index_select(0, targets)
        ctx.save_for_backward(mean.to(features.dtype))
        return (normaliser - _target_logits(features, weight, bias, targets)).sum()

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0].to(gradient.dtype), None, None, None

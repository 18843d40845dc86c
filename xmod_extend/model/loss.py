"""Cross-entropy of the masked tokens, computed only where a label is.

    N  scored positions: about 15 % of all
    D  hidden size
    V  vocabulary size: 250,002 for xmod-base

The LM head is frozen, so nothing but the gradient with respect to its input is ever needed. It is
worked out in the forward pass, a chunk of positions at a time: no more than one chunk's logits
exist at once, and none is kept for the backward pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from xmod_extend.text.masking import IGNORED

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

CHUNK_LOGITS = 1 << 25
"""Most logits held at once: 134 MB in fp32."""
CHUNK_VOCABULARY = 1 << 14
"""Rows of the decoder cast at once, where it is not stored in the dtype that is computed in."""

SENSELESS_NATS = 100.0
"""A mean loss that no working model has: guessing among XLM-R's 250,002 tokens loses 12.4."""


def masked_lm_loss(
    model: XmodForMaskedLM, input_ids: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Mean cross-entropy in nats over the labelled positions of a batch without padding.

    The same value as `XmodForMaskedLM(...).loss`, within rounding.

    Args:
        model: A one-language slice.
        input_ids: (B, T), corrupted.
        labels: (B, T), `IGNORED` where nothing is scored.
    """
    features, targets = _scored_features(model, input_ids, labels)
    decoder = model.lm_head.decoder
    arguments = (features, decoder.weight, decoder.bias, targets)
    total: torch.Tensor = _FrozenHeadCrossEntropy.apply(*arguments)  # type: ignore[no-untyped-call]
    return total / targets.numel()


@torch.no_grad()
def masked_token_losses(
    model: XmodForMaskedLM, input_ids: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy in nats of each labelled position, (N,), in the order of `labels` flattened."""
    features, targets = _scored_features(model, input_ids, labels)
    decoder = model.lm_head.decoder
    losses = [
        F.cross_entropy(_logits(f, decoder.weight, decoder.bias), t, reduction="none")
        for f, t in zip(*_chunks(features, targets, decoder.weight.shape[0]), strict=True)
    ]
    return torch.cat(losses)


def _scored_features(
    model: XmodForMaskedLM, input_ids: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The decoder's input at the labelled positions, (N, D), and the labels there, (N,)."""
    lang_ids = torch.zeros(input_ids.shape[0], dtype=torch.long, device=input_ids.device)
    hidden = model.roberta(
        input_ids, lang_ids=lang_ids, attention_mask=torch.ones_like(input_ids)
    ).last_hidden_state
    scored = torch.nonzero(labels.reshape(-1) != IGNORED).squeeze(1)
    features = hidden.view(-1, hidden.shape[-1]).index_select(0, scored)
    head = model.lm_head
    features = head.layer_norm(F.gelu(head.dense(features)))
    return features, labels.reshape(-1).index_select(0, scored)


def _chunks(
    features: torch.Tensor, targets: torch.Tensor, vocabulary: int
) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    rows = max(1, CHUNK_LOGITS // vocabulary)
    return torch.split(features, rows), torch.split(targets, rows)


def _logits(features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """(N, V) in fp32, computed in the dtype of `features`, (N, D)."""
    dtype = features.dtype
    if weight.dtype == dtype:
        return F.linear(features, weight, bias.to(dtype)).float()
    logits = torch.empty(
        features.shape[0], weight.shape[0], dtype=torch.float32, device=features.device
    )
    for start in range(0, weight.shape[0], CHUNK_VOCABULARY):
        rows = slice(start, start + CHUNK_VOCABULARY)
        logits[:, rows] = F.linear(features, weight[rows].to(dtype), bias[rows].to(dtype))
    return logits


def _project_back(gradient: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """`gradient @ weight`, (N, V) @ (V, D), in the dtype of `gradient`."""
    dtype = gradient.dtype
    if weight.dtype == dtype:
        return gradient @ weight
    result = torch.zeros(
        gradient.shape[0], weight.shape[1], dtype=torch.float32, device=gradient.device
    )
    for start in range(0, weight.shape[0], CHUNK_VOCABULARY):
        rows = slice(start, start + CHUNK_VOCABULARY)
        result += gradient[:, rows] @ weight[rows].to(dtype)
    return result.to(dtype)


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
        total = torch.zeros((), dtype=torch.float32, device=features.device)
        gradients = []
        for chunk, target in zip(*_chunks(features, targets, weight.shape[0]), strict=True):
            logits = _logits(chunk, weight, bias)
            chosen = logits.gather(1, target[:, None])
            normaliser = logits.logsumexp(dim=1, keepdim=True)
            total += (normaliser - chosen).sum()
            # softmax - onehot, in place of the logits
            logits.sub_(normaliser).exp_()
            logits.scatter_add_(1, target[:, None], -torch.ones_like(chosen))
            gradients.append(_project_back(logits.to(chunk.dtype), weight))
        ctx.save_for_backward(torch.cat(gradients))
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0].to(gradient.dtype), None, None, None

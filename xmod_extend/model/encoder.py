"""The encoder's forward pass, computed only where the loss needs it.

    B  sequences in a batch
    T  tokens in a sequence
    D  hidden size
    H  attention heads
    N  predicted positions: about 15 % of B * T in masked language modelling
    P  most predicted positions of one sequence

It reads the modules of a one-language slice, so the weights, their names and the maths are
upstream's, in values and in gradients. What is left out:

- The other languages. Upstream gathers and scatters each language's rows with a boolean mask, which
  costs time, waits for the device, and fails under bf16.
- In the last layer, whatever does not reach a predicted position: keys and values are needed
  everywhere, but queries, the feed-forward block and the adapter only where a token is predicted.
- Below the first adapter, the backward pass: nothing there has a gradient.
- Gradients of frozen weights, and with them the inputs that would have to be kept.

Source: Pfeiffer et al. 2022 (arXiv 2205.06266), section 3.1, and Vaswani et al. 2017.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from xmod_extend.model.adapter import ADAPTER_TENSORS
from xmod_extend.model.attention import attend
from xmod_extend.model.batch import PredictedPositions

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM
    from transformers.models.xmod.modeling_xmod import (
        XmodAdapter,
        XmodLayer,
        XmodOutput,
        XmodSelfAttention,
    )

    from xmod_extend.model.dropout import Dropout
    from xmod_extend.model.trainable import Tensors
    from xmod_extend.objectives.prediction import Attention

_DROPOUTS_PER_LAYER = 4
"""Dropouts in a layer: attention weights, attention output, feed-forward output, adapter output."""


@dataclass(frozen=True)
class _Pass:
    """Arguments that the layers of one forward pass share."""

    num_sequences: int
    length: int
    attention: Attention
    dropout: Dropout | None


@dataclass(frozen=True)
class _Adapters:
    """The adapters of one layer that take the place of the one in the slot."""

    weights: Sequence[Tensors]
    """The tensors of each in this layer."""
    copies: int
    """How often each row that comes in is repeated: once for each adapter in the first layer."""


def encode(
    model: XmodForMaskedLM,
    input_ids: torch.Tensor,
    positions: PredictedPositions | None = None,
    *,
    attention: Attention = "bidirectional",
    dropout: Dropout | None = None,
    checkpointing: bool = False,
) -> torch.Tensor:
    """Return the last hidden states of a batch without padding.

    Args:
        model: A one-language slice.
        input_ids: (B, T).
        positions: Where hidden states are needed; everywhere if None.
        attention: Which tokens a position sees.
        dropout: None leaves every element as it is.
        checkpointing: Keeps only the layers' inputs for the backward pass and computes the rest
            again, for about a third more time.

    Returns:
        (N, D) at `positions`, else (B * T, D).
    """
    hidden = _embed(model, input_ids)
    if dropout is not None:
        hidden = dropout.hidden(hidden, 0)
    shared = _Pass(input_ids.shape[0], input_ids.shape[1], attention, dropout)
    layers = cast("list[XmodLayer]", model.roberta.encoder.layer)
    for number, layer in enumerate(layers):
        needed = positions if number == len(layers) - 1 else None
        arguments = (layer, hidden, needed, shared, 1 + _DROPOUTS_PER_LAYER * number)
        if checkpointing and hidden.requires_grad:
            hidden = cast(torch.Tensor, checkpoint(_run_layer, *arguments, use_reentrant=False))
        else:
            hidden = _run_layer(*arguments)
    if model.config.pre_norm:
        hidden = model.roberta.encoder.LayerNorm(hidden)
    return hidden


def encode_each(
    model: XmodForMaskedLM,
    input_ids: torch.Tensor,
    adapters: Sequence[Tensors],
    positions: PredictedPositions | None = None,
    *,
    attention: Attention = "bidirectional",
) -> torch.Tensor:
    """Return what `encode` does with each of A adapters, one below the other.

    They share a pass through the frozen weights, and below the first adapter all of it is computed
    once. What is in the slice's slot is not read.

    Args:
        adapters: By the names that `model.adapter` gives their tensors.

    Returns:
        (A * N, D) at `positions`, else (A * B * T, D).
    """
    hidden = _embed(model, input_ids)
    num_sequences, length = input_ids.shape
    layers = cast("list[XmodLayer]", model.roberta.encoder.layer)
    for number, layer in enumerate(layers):
        copies = len(adapters) if number == 0 else 1
        if number == 1:
            num_sequences *= len(adapters)
        needed = positions if number == len(layers) - 1 else None
        if needed is not None and number > 0:
            needed = needed.repeat(len(adapters), input_ids.numel())
        shared = _Pass(num_sequences, length, attention, None)
        own = [
            {name: adapter[f"{number}.{name}"] for name in ADAPTER_TENSORS} for adapter in adapters
        ]
        hidden = _run_layer(layer, hidden, needed, shared, 0, _Adapters(own, copies))
    if model.config.pre_norm:
        hidden = model.roberta.encoder.LayerNorm(hidden)
    return hidden


def _embed(model: XmodForMaskedLM, input_ids: torch.Tensor) -> torch.Tensor:
    """Return (B * T, D), in the dtype that the body computes in."""
    embeddings = model.roberta.embeddings
    length = input_ids.shape[1]
    # Without padding, positions count up from behind the padding's own.
    first = embeddings.padding_idx + 1
    norm = embeddings.LayerNorm
    dtype = norm.weight.dtype
    words = F.embedding(input_ids, embeddings.word_embeddings.weight).to(dtype)
    words = words + embeddings.token_type_embeddings.weight[0].to(dtype)
    words = words + embeddings.position_embeddings.weight[first : first + length].to(dtype)
    return cast(torch.Tensor, norm(words)).view(-1, words.shape[-1])


def _run_layer(
    layer: XmodLayer,
    hidden: torch.Tensor,
    positions: PredictedPositions | None,
    shared: _Pass,
    first_dropout: int,
    adapters: _Adapters | None = None,
) -> torch.Tensor:
    """Run one layer: (B * T, D) to the same, or to (N, D) at `positions`."""
    attention = layer.attention
    normed = attention.output.LayerNorm(hidden) if layer.pre_norm else hidden
    own_attention = cast("XmodSelfAttention", attention.self)
    context = _attend(own_attention, normed, positions, shared, first_dropout)
    context = linear(attention.output.dense, context)
    if shared.dropout is not None:
        context = shared.dropout.hidden(context, first_dropout + 1)
    residual = hidden if positions is None else hidden.index_select(0, positions.flat)
    attended = context + residual
    if not layer.pre_norm:
        attended = attention.output.LayerNorm(attended)
    return _feed_forward(layer, attended, shared.dropout, first_dropout, adapters)


def _attend(
    attention: XmodSelfAttention,
    hidden: torch.Tensor,
    positions: PredictedPositions | None,
    shared: _Pass,
    first_dropout: int,
) -> torch.Tensor:
    """Return self-attention's weighted values before the output projection."""

    def heads(values: torch.Tensor) -> torch.Tensor:
        """Return the values head by head, (B, H, length, D / H)."""
        size = attention.attention_head_size
        shape = (shared.num_sequences, -1, attention.num_attention_heads, size)
        return values.view(shape).transpose(1, 2)

    if positions is None:
        query = heads(linear(attention.query, hidden))
    else:
        asked = linear(attention.query, hidden.index_select(0, positions.flat))
        query = heads(asked.index_select(0, positions.position_of_slot))
    key = heads(linear(attention.key, hidden))
    value = heads(linear(attention.value, hidden))
    mask = _attention_mask(positions, shared, hidden.device)
    dropout = shared.dropout
    if dropout is None or dropout.attention_probability == 0.0:
        context = attend(query, key, value, mask)
    else:
        scores = query @ key.transpose(2, 3) * attention.scaling
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        context = dropout.attention(torch.softmax(scores, dim=-1), first_dropout) @ value
    context = context.transpose(1, 2).reshape(-1, hidden.shape[-1])
    return context if positions is None else context.index_select(0, positions.slot_of_position)


def _attention_mask(
    positions: PredictedPositions | None, shared: _Pass, device: torch.device
) -> torch.Tensor | None:
    """Return which keys each query may see, or None if all."""
    if shared.attention == "bidirectional":
        return None
    if positions is not None:
        return positions.causal_mask(shared.num_sequences, shared.length)
    return torch.ones(shared.length, shared.length, dtype=torch.bool, device=device).tril()


def _feed_forward(
    layer: XmodLayer,
    attended: torch.Tensor,
    dropout: Dropout | None,
    first_dropout: int,
    adapters: _Adapters | None,
) -> torch.Tensor:
    """Run the feed-forward block and the language adapter behind it."""
    output: XmodOutput = layer.output
    inner = output.LayerNorm(attended) if layer.pre_norm else attended
    inner = layer.intermediate.intermediate_act_fn(linear(layer.intermediate.dense, inner))
    inner = linear(output.dense, inner)
    if dropout is not None:
        inner = dropout.hidden(inner, first_dropout + 2)
    hidden = inner + attended
    residual = hidden
    own_layer_norm: nn.LayerNorm | None = output.adapter_layer_norm
    if own_layer_norm is not None:
        hidden = own_layer_norm(hidden)
    elif output.adapter_reuse_layer_norm:
        hidden = output.LayerNorm(hidden)
    if output.ln_before_adapter:
        residual = hidden
    if adapters is None:
        hidden = _adapt(output, hidden)
    else:
        residual = residual.repeat(adapters.copies, 1)
        hidden = _adapt_each(output, hidden.repeat(adapters.copies, 1), adapters.weights)
    if dropout is not None:
        hidden = dropout.hidden(hidden, first_dropout + 3)
    hidden = hidden + residual
    return hidden if layer.pre_norm else cast(torch.Tensor, output.LayerNorm(hidden))


def _adapt(output: XmodOutput, hidden: torch.Tensor) -> torch.Tensor:
    """Run the language adapter, its fp32 weights cast to the body's dtype as autocast would."""
    (adapter,) = cast("list[XmodAdapter]", output.adapter_modules.values())
    dtype = hidden.dtype

    def project(layer: nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
        return F.linear(inputs, layer.weight.to(dtype), layer.bias.to(dtype))

    return project(adapter.dense2, adapter.adapter_act_fn(project(adapter.dense1, hidden)))


def _adapt_each(
    output: XmodOutput, hidden: torch.Tensor, weights: Sequence[Tensors]
) -> torch.Tensor:
    """Run as many adapters as `weights` has, each on its part of the rows."""
    (slot,) = cast("list[XmodAdapter]", output.adapter_modules.values())

    def project(own: Tensors, name: str, inputs: torch.Tensor) -> torch.Tensor:
        weight, bias = (own[f"{name}.{kind}"].to(inputs) for kind in ("weight", "bias"))
        return F.linear(inputs, weight, bias)

    parts = hidden.chunk(len(weights))
    return torch.cat(
        [
            project(own, "dense2", slot.adapter_act_fn(project(own, "dense1", part)))
            for own, part in zip(weights, parts, strict=True)
        ]
    )


def linear(layer: nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
    """Run a frozen linear layer, whose weight may be stored in another dtype."""
    if layer.weight.dtype == inputs.dtype:
        return F.linear(inputs, layer.weight, layer.bias)
    arguments = (inputs, layer.weight, layer.bias)
    outputs: torch.Tensor = _FrozenLinear.apply(*arguments)  # type: ignore[no-untyped-call]
    return outputs


_scratch = threading.local()
"""Memory that `cast_weight` fills: a flat tensor a thread, as large as the largest weight."""


def cast_weight(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return a frozen weight in the dtype to compute in, valid until the next call.

    On a processor all weights go through the same memory. Taken and freed for each of them, it
    would leave holes among what is kept for the backward pass: 0.3 GB at xmod-base's shape.
    """
    if weight.dtype == dtype or weight.device.type != "cpu":
        return weight.to(dtype)
    flat: torch.Tensor | None = getattr(_scratch, "flat", None)
    if flat is None or flat.dtype != dtype or flat.numel() < weight.numel():
        flat = _scratch.flat = torch.empty(weight.numel(), dtype=dtype)
    return flat[: weight.numel()].view(weight.shape).copy_(weight)


class _FrozenLinear(torch.autograd.Function):
    """A linear layer that keeps its weight as it is stored for the backward pass, not as cast."""

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(weight)
        return F.linear(inputs, cast_weight(weight, inputs.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return outputs[0] @ cast_weight(weight, outputs[0].dtype), None, None

"""Dropout whose masks are a function of (seed, step, index), and cheap on a processor.

PyTorch draws a CPU mask one element at a time, which costs more than the products around it. Here
16 random bits decide an element, so that the rate is the configured one to within 1/65536, and one
64-bit draw decides four. On other devices PyTorch's own fused kernel is used.

Source: Srivastava et al. 2014 (JMLR 15), section 4; the scaling by 1 / (1 - p) is the usual
"inverted" form, as in PyTorch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

_LEVELS = 1 << 16


class Dropout:
    """The dropout of one forward pass.

    Args:
        hidden: Chance of an element of a hidden state to become zero.
        attention: Chance of an attention weight to become zero.
        key: What the masks depend on, such as (seed, step): the same key draws the same masks.
    """

    def __init__(self, *, hidden: float, attention: float, key: tuple[int, ...]) -> None:
        self.attention_probability = attention
        self._hidden = hidden
        self._key = key

    def hidden(self, values: torch.Tensor, index: int) -> torch.Tensor:
        """Drop elements of a hidden state.

        Args:
            index: Which of the model's dropouts this is; each has masks of its own. It is part of
                the key, so that a layer that is computed again, as in gradient checkpointing, draws
                the same mask.
        """
        return self._drop(values, self._hidden, index)

    def attention(self, weights: torch.Tensor, index: int) -> torch.Tensor:
        """Drop attention weights; `index` as in `hidden`."""
        return self._drop(weights, self.attention_probability, index)

    def _drop(self, values: torch.Tensor, probability: float, index: int) -> torch.Tensor:
        if probability == 0.0:
            return values
        if values.device.type != "cpu":
            return F.dropout(values, probability)
        keep = draw_kept(values.shape, probability, (*self._key, index))
        arguments = (values, keep, 1.0 / (1.0 - probability))
        dropped: torch.Tensor = _Drop.apply(*arguments)  # type: ignore[no-untyped-call]
        return dropped


def draw_kept(shape: torch.Size, probability: float, key: tuple[int, ...]) -> torch.Tensor:
    """Return an int8 mask on the CPU: 0 with the given probability, else 1."""
    size = math.prod(shape)
    random = np.random.Generator(np.random.SFC64(list(key)))
    bits = random.integers(0, 1 << 64, size=-(-size // 4), dtype=np.uint64).view(np.uint16)
    kept = bits[:size] >= round(probability * _LEVELS)
    return torch.from_numpy(kept.view(np.int8)).view(shape)


class _Drop(torch.autograd.Function):
    """`values * keep * scale`, keeping a byte an element for the backward pass."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, keep: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.save_for_backward(keep)
        ctx.scale = scale
        return values * keep.to(values.dtype).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (keep,) = ctx.saved_tensors
        return outputs[0] * keep.to(outputs[0].dtype).mul_(ctx.scale), None, None

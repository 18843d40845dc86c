"""A prediction, what a model reads and is to predict: the seam between tokens and model.

    B  sequences in a batch
    T  tokens in a sequence

An objective turns blocks of text into such a prediction. It is a function of (blocks, step), with
its seed inside, and of nothing that was drawn before: a resumed run and an uninterrupted one, or
one process and several, see the same. The encoder and the loss compute whatever it gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from xmod_extend.tokens.blocks import Ids

IGNORED = -100
"""Label where nothing is predicted: the default `ignore_index` of PyTorch's cross-entropy."""

Attention = Literal["bidirectional", "causal"]
"""The tokens that a position sees: all of its sequence, or those up to itself."""


@dataclass(frozen=True)
class Prediction:
    """A batch of sequences, without padding, and what the model is to predict of them."""

    input_ids: Ids
    """(B, T): what the model reads."""
    labels: Ids
    """(B, T): the id to predict from the hidden state at each position, or `IGNORED`."""
    attention: Attention = "bidirectional"

    @property
    def num_predicted(self) -> int:
        """Positions that predict something."""
        return int((self.labels != IGNORED).sum())

    def rows(self, rows: Ids) -> Prediction:
        """Return the sequences `rows` alone."""
        return Prediction(self.input_ids[rows], self.labels[rows], self.attention)


Objective = Callable[[Ids, int], Prediction]
"""Blocks, (B, T), and the optimiser step to what is predicted of them."""

"""A prediction as tensors on one device, with the indices by which only what it needs is computed.

B  sequences in a batch
T  tokens in a sequence
N  predicted positions: about 15 % of B * T in masked language modelling
P  most predicted positions of one sequence
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from xmod_extend.objectives.prediction import IGNORED, Attention, Prediction
from xmod_extend.tokens.blocks import Ids


@dataclass(frozen=True)
class PredictedPositions:
    """The labelled positions of a batch, as indices made on the host: no step waits for the device.

    The attention of the last layer needs as many queries from each sequence, so the N positions are
    also laid out in B rows of P slots; a slot too many repeats position 0 and is never read.
    """

    flat: torch.Tensor
    """(N,): positions in the batch flattened to B * T, ascending."""
    slot_of_position: torch.Tensor
    """(N,): each position's slot among B * P."""
    position_of_slot: torch.Tensor
    """(B * P,): which of the N positions is in each slot."""

    @classmethod
    def from_labels(cls, labels: Ids) -> PredictedPositions:
        """Return the labelled positions of `labels`, (B, T), of which there is at least one."""
        chosen = labels != IGNORED
        rows, columns = np.nonzero(chosen)
        counts = chosen.sum(axis=1)
        most = int(counts.max())
        rank = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        slots = rows * most + rank
        position_of_slot = np.zeros(len(labels) * most, dtype=np.int64)
        position_of_slot[slots] = np.arange(len(rows))
        flat = rows * labels.shape[1] + columns
        return cls(
            torch.from_numpy(flat), torch.from_numpy(slots), torch.from_numpy(position_of_slot)
        )

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> PredictedPositions:
        """Return the same indices, each through `function`."""
        return PredictedPositions(
            function(self.flat), function(self.slot_of_position), function(self.position_of_slot)
        )

    def repeat(self, count: int, num_tokens: int) -> PredictedPositions:
        """Return the positions of as many copies of the batch, of B * T tokens each."""

        def tile(indices: torch.Tensor, size: int) -> torch.Tensor:
            starts = torch.arange(count, device=indices.device) * size
            return (starts[:, None] + indices).flatten()

        return PredictedPositions(
            tile(self.flat, num_tokens),
            tile(self.slot_of_position, len(self.position_of_slot)),
            tile(self.position_of_slot, len(self.flat)),
        )

    def causal_mask(self, num_sequences: int, length: int) -> torch.Tensor:
        """Return which of `length` keys each slot may see from left to right, (B, 1, P, T)."""
        columns = (self.flat % length).index_select(0, self.position_of_slot)
        keys = torch.arange(length, device=columns.device)
        return keys <= columns.view(num_sequences, 1, -1, 1)


@dataclass(frozen=True)
class Batch:
    """A prediction as tensors on one device."""

    input_ids: torch.Tensor
    """(B, T), without padding."""
    positions: PredictedPositions
    targets: torch.Tensor
    """(N,): the ids to predict at the positions."""
    attention: Attention = "bidirectional"

    @classmethod
    def from_prediction(cls, prediction: Prediction) -> Batch:
        """Return the tensors, on the CPU, of a prediction with at least one label."""
        labels = prediction.labels
        return cls(
            torch.from_numpy(prediction.input_ids),
            PredictedPositions.from_labels(labels),
            torch.from_numpy(labels[labels != IGNORED]),
            prediction.attention,
        )

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; nothing waits for the copy where memory is pinned."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> Batch:
        """Return the batch in page-locked memory."""
        return self._map(torch.Tensor.pin_memory)

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        return Batch(
            function(self.input_ids),
            self.positions.map(function),
            function(self.targets),
            self.attention,
        )

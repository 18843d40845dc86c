"""Cross-entropies of the scored tokens of a text, from which every score is summed up.

N  scored tokens
D  documents
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from xmod_extend.model.batch import Batch
from xmod_extend.model.loss import token_losses
from xmod_extend.objectives.prediction import Prediction
from xmod_extend.tokens.blocks import Ids
from xmod_extend.training.processes import Processes

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

Floats = npt.NDArray[np.float64]

CPU_BATCH_TOKENS = 1024
"""Tokens in one forward pass on a processor, which more would only cost memory. It does not change
what is hidden."""
GPU_BATCH_TOKENS = 16_384
"""Tokens in one forward pass elsewhere."""
HEAD_POSITIONS = 64
"""Positions that the head predicts at a time, at the least: its weights are read for each time."""


@dataclass(frozen=True)
class TokenLosses:
    """Cross-entropy in nats of each scored token, with its document and its token id; each (N,).

    A document is a line of the text, counted from 0.
    """

    nats: Floats
    documents: Ids
    targets: Ids

    @property
    def mean_nats(self) -> float:
        return float(self.nats.mean())

    def by_document(self) -> DocumentLosses:
        """Sum up each document that has a scored token."""
        documents, index = np.unique(self.documents, return_inverse=True)
        return DocumentLosses(
            documents,
            np.bincount(index, weights=self.nats, minlength=documents.size).astype(np.float64),
            np.bincount(index, minlength=documents.size).astype(np.int64),
        )


@dataclass(frozen=True)
class DocumentLosses:
    """Sums over the scored tokens of each document; each (D,)."""

    documents: Ids
    """The documents, ascending."""
    nats: Floats
    num_tokens: Ids


def batch_tokens(model: XmodForMaskedLM) -> int:
    """Return how many tokens to score in one forward pass, by the model's device."""
    return CPU_BATCH_TOKENS if model.lm_head.bias.device.type == "cpu" else GPU_BATCH_TOKENS


def measure_nats(
    model: XmodForMaskedLM,
    predictions: Iterable[Prediction],
    *,
    processes: Processes | None = None,
    on_scored: Callable[[int], None] = lambda num_tokens: None,
) -> Floats:
    """Return the cross-entropy of what is predicted in a row of batches, in their order, (N,).

    Args:
        model: A slice; the adapter in its slot is what is scored.
        predictions: Batches, each of sequences of one length.
        processes: If there are several, each scores some groups of batches; the result is the
            same, to the bit, in all of them and whatever their number.
        on_scored: Called with the number of tokens scored so far, for a progress display.
    """
    device = model.lm_head.bias.device
    rank, count = (processes.rank, processes.count) if processes else (0, 1)
    nats = [torch.zeros(0, device=device)]
    done = 0
    for number, group in enumerate(group_predictions(predictions)):
        num_scored = sum(prediction.num_predicted for prediction in group)
        if number % count == rank and num_scored:
            batches = [Batch.from_prediction(one).to(device) for one in group if one.num_predicted]
            nats.append(token_losses(model, batches))
        else:
            nats.append(torch.zeros(num_scored, device=device))
        done += num_scored
        on_scored(done)
    summed = torch.cat(nats)
    if processes is not None:
        processes.sum(summed)
    return summed.cpu().double().numpy()


def group_predictions(predictions: Iterable[Prediction]) -> Iterator[list[Prediction]]:
    """Yield batches in a row that have enough positions together for the head."""
    group: list[Prediction] = []
    num_predicted = 0
    for prediction in predictions:
        group.append(prediction)
        num_predicted += prediction.num_predicted
        if num_predicted >= HEAD_POSITIONS:
            yield group
            group, num_predicted = [], 0
    if group:
        yield group

"""Cross-entropies of the scored tokens of a text, from which every score is summed up.

N  scored tokens
D  documents
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
        processes: If there are several, each scores some of the batches; the result is the same,
            to the bit, in all of them and whatever their number.
        on_scored: Called with the number of tokens scored so far, for a progress display.
    """
    device = model.lm_head.bias.device
    rank, count = (processes.rank, processes.count) if processes else (0, 1)
    nats = [torch.zeros(0, device=device)]
    done = 0
    for number, prediction in enumerate(predictions):
        num_scored = prediction.num_predicted
        if number % count == rank and num_scored:
            nats.append(token_losses(model, Batch.from_prediction(prediction).to(device)))
        else:
            nats.append(torch.zeros(num_scored, device=device))
        done += num_scored
        on_scored(done)
    summed = torch.cat(nats)
    if processes is not None:
        processes.sum(summed)
    return summed.cpu().double().numpy()

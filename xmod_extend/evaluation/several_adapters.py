"""Cross-entropies of several adapters on one text, to rank them by.

A  adapters
N  scored tokens
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from xmod_extend.evaluation.losses import Floats, batch_tokens, group_predictions
from xmod_extend.evaluation.masked_perplexity import MaskedText
from xmod_extend.model.adapter import Adapter, read_adapter
from xmod_extend.model.batch import Batch
from xmod_extend.model.loss import token_losses_of_each
from xmod_extend.objectives.prediction import Prediction
from xmod_extend.training.processes import Processes

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

    from xmod_extend.model.checkpoint import Checkpoint

MOST_AT_ONCE = 8
"""Adapters in memory at a time: 28 MB each at xmod-base's shape."""


def measure_each(
    model: XmodForMaskedLM,
    checkpoint: Checkpoint,
    languages: Sequence[str],
    text: MaskedText,
    *,
    processes: Processes | None = None,
    on_read: Callable[[int], None] = lambda num_tokens: None,
) -> Floats:
    """Return the cross-entropy in nats of each adapter at each scored token, (A, N).

    Where a text is short, several adapters share a forward pass. The values are those of
    `masked_losses`, within rounding.

    Args:
        model: A one-language slice of `checkpoint`.
        processes: If there are several, each scores some adapters or some parts of the text; the
            result is the same, to the bit, in all of them and whatever their number.
        on_read: Called with tokens that were read since the last call, times adapters.
    """
    device = model.lm_head.bias.device
    rank, count = (processes.rank, processes.count) if processes else (0, 1)
    batches = text.batches(batch_tokens(model))
    groups = list(group_predictions(Prediction(inputs, labels) for inputs, labels, _ in batches))
    fit = batch_tokens(model) // max(1, text.num_tokens)
    at_once = max(1, min(fit, MOST_AT_ONCE))
    found = torch.zeros(len(languages), text.num_scored_tokens, device=device)
    number = 0
    for first in range(0, len(languages), at_once):
        own, column = languages[first : first + at_once], 0
        adapters: list[Adapter] = []
        for group in groups:
            num_scored = sum(prediction.num_predicted for prediction in group)
            if number % count == rank and num_scored:
                adapters = adapters or [read_adapter(checkpoint, language) for language in own]
                scored = [
                    Batch.from_prediction(one).to(device) for one in group if one.num_predicted
                ]
                found[first : first + len(own), column : column + num_scored] = (
                    token_losses_of_each(model, adapters, scored)
                )
            number, column = number + 1, column + num_scored
            on_read(len(own) * sum(prediction.input_ids.size for prediction in group))
    if processes is not None:
        processes.sum(found)
    return found.cpu().double().numpy()

"""The tokens that an adapter thinks likeliest in a gap.

T  tokens of a text
G  gaps
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xmod_extend.model.batch import Batch
from xmod_extend.model.loss import token_log_probabilities
from xmod_extend.objectives.prediction import IGNORED, Prediction
from xmod_extend.tokens.blocks import Ids

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

NUM_GUESSES = 5


@dataclass(frozen=True)
class Guess:
    """A token and how likely it is there, from 0 to 1."""

    token_id: int
    probability: float


def top_guesses(
    model: XmodForMaskedLM, input_ids: Ids, gaps: Ids, *, count: int = NUM_GUESSES
) -> list[tuple[Guess, ...]]:
    """Return the likeliest tokens of each gap, the likeliest first.

    Args:
        model: A slice; the adapter in its slot guesses.
        input_ids: (T,), with `<s>` and `</s>`, and with `<mask>` at the gaps.
        gaps: (G,), ascending positions.
        count: How many tokens of each gap.
    """
    labels = np.full_like(input_ids, IGNORED)
    labels[gaps] = 0
    batch = Batch.from_prediction(Prediction(input_ids[None], labels[None]))
    found = token_log_probabilities(model, batch.to(model.lm_head.bias.device))
    logs, ids = found.topk(count, dim=-1)
    return [
        tuple(Guess(token_id, probability) for token_id, probability in zip(*row, strict=True))
        for row in zip(ids.tolist(), logs.exp().tolist(), strict=True)
    ]

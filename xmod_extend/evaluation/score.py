"""A score of a text: a figure with its unit, its interval and all that it depends on.

Source: Post 2018 (sacreBLEU) for the signature.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xmod_extend.evaluation.bootstrap import perplexity_interval
from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.tokens.blocks import Ids


@dataclass(frozen=True, kw_only=True)
class Score:
    """A perplexity with all that is needed to know what it means."""

    metric: str = "masked_perplexity"
    perplexity: float
    nats_per_token: float | None = None
    """The perplexity's logarithm; None in records of version 0.2, as whatever else may be None."""
    bits_per_byte: float
    """Bits for each byte that the scored tokens stand for."""
    num_scored_tokens: int
    num_documents: int
    unk_rate: float | None = None
    """Share of the tokens of the text that are unknown, and so were not scored."""
    low: float | None = None
    """The interval of the perplexity, 95 % of a bootstrap over documents."""
    high: float | None = None
    signature: str


@dataclass(frozen=True, kw_only=True)
class ScoredText:
    """What a score says of the text that it is of; the same for every adapter."""

    metric: str
    signature: str
    unk_rate: float
    token_bytes: Ids
    """(V,): UTF-8 bytes of each token of the vocabulary."""


def score(losses: TokenLosses, text: ScoredText) -> Score:
    """Sum up the losses of at least one token."""
    low, high = perplexity_interval(losses)
    num_bytes = text.token_bytes[losses.targets].sum()
    return Score(
        metric=text.metric,
        perplexity=math.exp(losses.mean_nats),
        nats_per_token=losses.mean_nats,
        bits_per_byte=float(losses.nats.sum() / math.log(2) / num_bytes),
        num_scored_tokens=losses.nats.size,
        num_documents=np.unique(losses.documents).size,
        unk_rate=text.unk_rate,
        low=low,
        high=high,
        signature=text.signature,
    )


def share_unknown(
    texts: Sequence[Ids], special_ids: Sequence[int], *, unk_id: int | None, mask_id: int
) -> float:
    """Return the share of unknown tokens among those of a text; what is hidden counts as known.

    Args:
        texts: Arrays of ids.
        special_ids: Ids that stand for no text, these two among them or not.
    """
    others = [i for i in special_ids if i not in (unk_id, mask_id)]
    ids = np.concatenate([*texts, np.zeros(0, np.int64)])
    ordinary = ids[~np.isin(ids, others)]
    return float(np.count_nonzero(ordinary == unk_id) / max(1, ordinary.size))


def format_signature(fields: Mapping[str, object]) -> str:
    """Return the fields of a signature in one line."""
    return "|".join(f"{name}:{value}" for name, value in fields.items())

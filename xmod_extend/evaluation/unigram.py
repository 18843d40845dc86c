"""The unigram distribution: guesses from how often each token occurs and nothing else.

The unigram distribution of the training text is the lowest rung of the ladder that a score stands
on: an adapter that predicts no better has learnt no more of the language than a word count.

Seen tokens keep their share, but for a part that goes to unseen ones in equal shares: as many
tokens as there are different ones, each of which was unseen once (Witten-Bell). Special tokens are
left out, as they are never predicted.

    V  tokens in the vocabulary

Source: Witten and Bell 1991 (IEEE Transactions on Information Theory 37), method C.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.tokens.blocks import Ids


def unigram_losses(
    scored: TokenLosses, token_counts: Ids, *, special_ids: Sequence[int]
) -> TokenLosses:
    """Return the cross-entropy of `scored`'s tokens by their frequencies in the training text.

    Args:
        scored: The losses of any adapter on the held-out text.
        token_counts: (V,): how often the training text has each token.
        special_ids: Of tokens that are never predicted.
    """
    counts = token_counts.astype(np.float64)
    ordinary = np.ones(counts.size, dtype=bool)
    ordinary[list(special_ids)] = False
    counts[~ordinary] = 0
    seen = int(np.count_nonzero(counts))
    unseen = int(ordinary.sum()) - seen
    if unseen and seen:
        shares = np.where(counts > 0, counts, seen / unseen) / (counts.sum() + seen)
    else:  # nothing was held back for tokens that do not exist
        shares = np.where(counts > 0, counts, 1.0) / max(counts.sum(), unseen)
    return TokenLosses(-np.log(shares[scored.targets]), scored.documents, scored.targets)

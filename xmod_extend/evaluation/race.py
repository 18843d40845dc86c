"""The race of candidates over parts of a text: how much each reads, and which of them fall when.

By successive halving, in two steps: from round to round each candidate reads 1.4 times as much, and
there are 1.4 times fewer of them. A round's part holds the parts before it, so that nothing is read
twice, and all candidates are compared on the same tokens. One that is behind beyond doubt falls
earlier.

    A  candidates
    N  scored tokens

Source: Jamieson and Talwalkar 2016 (arXiv 1502.07943), successive halving.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from xmod_extend.evaluation.losses import Floats

ROUND_TOKENS = 10_240
"""Tokens that all candidates together read in the first round; in each one after it 0.3 times as
many, and the finalists have read a quarter as many each."""
GROWTH = math.sqrt(2)
"""How many times as much each candidate has read after the next round."""
NUM_FINALISTS = 3
"""The race ends when no more are left."""
CERTAIN = 3.0
"""Standard errors of the paired difference by which one that falls early is behind the first."""


@dataclass(frozen=True)
class Round:
    """One round: how many candidates are in it at most, and how many blocks each has read then."""

    num_candidates: int
    num_blocks: int


def plan_rounds(num_candidates: int, num_blocks: int, length: int) -> list[Round]:
    """Return the rounds of a race in which nobody falls early.

    Args:
        num_blocks: Blocks of the whole text, which the last round may come to.
        length: Tokens of a block.
    """
    rounds: list[Round] = []
    remaining, blocks = num_candidates, max(1, ROUND_TOKENS // num_candidates // length)
    while True:
        blocks = min(blocks, num_blocks)
        rounds.append(Round(remaining, blocks))
        kept = max(NUM_FINALISTS, math.ceil(ROUND_TOKENS / (GROWTH * blocks * length)))
        remaining = min(remaining, kept)
        if remaining <= NUM_FINALISTS or blocks == num_blocks:
            return rounds
        blocks = max(blocks + 1, round(GROWTH * blocks))


def spread_order(count: int) -> list[int]:
    """Return the numbers below `count` so that those up to any place are spread over all.

    (van der Corput's sequence: the bits of a counter in reverse.)
    """
    bits = max(1, (count - 1).bit_length())
    reverse = (int(f"{i:0{bits}b}"[::-1], 2) for i in range(1 << bits))
    return list(dict.fromkeys(number * count >> bits for number in reverse))


def num_in_doubt(nats: Floats) -> int:
    """Return how many of the candidates may be the best one, the first among them.

    Args:
        nats: (A, N), the lowest mean first.
    """
    behind = nats - nats[0]
    errors = behind.std(axis=1) / math.sqrt(max(1, nats.shape[1] - 1))
    return int(np.flatnonzero(behind.mean(axis=1) <= CERTAIN * errors).max()) + 1

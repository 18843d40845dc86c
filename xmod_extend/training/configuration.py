"""Settings of one training run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from xmod_extend.errors import UsageError

MAX_STEPS = 1_000_000_000
"""More is a slip of the hand."""
MEASURED_LR = 8e-3
MEASURED_WIDTH = 192
MEASURED_TOKENS = 800_000
STEPS_AT_MEASURED_TOKENS = 1000
FEWEST_DEFAULT_STEPS = 1000
MOST_DEFAULT_STEPS = 4000


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings of one training run; wrong values raise `UsageError` where the object is made."""

    num_steps: int
    """Number of optimiser steps."""
    batch_size: int
    """Packed sequences per optimiser step."""
    lr: float
    """Peak learning rate; the optimiser is `training.soap.Soap`."""
    seed: int
    """Decides the order of the blocks, the masks and the dropout."""
    num_validations: int = 10
    """How often the held-out text is scored, at even distances; the best state is kept."""
    warmup_fraction: float = 0.1
    """Share of the steps in which the learning rate rises linearly from 0; then it falls to 0."""
    weight_decay: float = 0.01
    adam_beta1: float = 0.9
    adam_beta2: float = 0.98
    adam_epsilon: float = 1e-6
    num_adam_steps: int = 10
    """Steps before SOAP's first basis; with more than there are steps it is AdamW."""
    dropout: bool = False
    """Whether the base's dropout is on in the frozen body."""
    clip_norm: float = 1.0
    """Largest norm of the adapter's gradient."""
    accumulation: int = 1
    """Micro-batches that each process's share of a batch is worked through in, to save memory."""
    gradient_checkpointing: bool = False
    """Whether layers are computed again for the backward pass instead of kept."""

    def __post_init__(self) -> None:
        _require(self.num_steps >= 1, "The number of steps", self.num_steps, "at least 1")
        _require(
            self.num_steps <= MAX_STEPS,
            "The number of steps",
            f"{self.num_steps:,}",
            f"at most {MAX_STEPS:,}; use fewer --epochs",
        )
        _require(self.batch_size >= 1, "--batch-size", self.batch_size, "at least 1")
        _require(self.accumulation >= 1, "--accumulation", self.accumulation, "at least 1")
        _require(0 < self.lr < float("inf"), "--lr", self.lr, "above 0")
        _require(0 <= self.seed < 2**32, "--seed", self.seed, "from 0 to 4294967295")

    def lr_at(self, step: int) -> float:
        """Return the learning rate of step `step`, counted from 0: linear warm-up and decay."""
        warmup = max(1, round(self.warmup_fraction * self.num_steps))
        if step < warmup:
            return self.lr * (step + 1) / warmup
        return self.lr * (self.num_steps - step) / max(1, self.num_steps - warmup)


def _require(holds: bool, name: str, value: object, needed: str) -> None:
    if not holds:
        raise UsageError(f"{name} is {value}; it must be {needed}.")


def default_lr(hidden_size: int) -> float:
    """Return the peak learning rate for a base of this width, inversely proportional to it.

    The rate at width 192 was measured (see docs/numbers.md); the rule for other widths is that of
    Yang et al. 2022 (arXiv 2203.03466), table 3, for Adam and hidden weights. It gives xmod-base
    2e-3 and xmod-large-prenorm 1.5e-3.
    """
    return MEASURED_LR * MEASURED_WIDTH / hidden_size


def default_num_steps(num_tokens: int) -> int:
    """Return the optimiser steps for a training text of this many tokens.

    They grow with the square root of the text: a small text is read many times over, which without
    dropout goes on helping, and a large one need not be read to its end.
    """
    steps = round(STEPS_AT_MEASURED_TOKENS * math.sqrt(num_tokens / MEASURED_TOKENS))
    return min(max(steps, FEWEST_DEFAULT_STEPS), MOST_DEFAULT_STEPS)

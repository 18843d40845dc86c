"""The options of training, and how transformers' batch becomes the global one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from xmod_extend.errors import UsageError
from xmod_extend.options import OptionGroup, at_least, at_most, flag, option, positive
from xmod_extend.training.configuration import MAX_STEPS

Precision = Literal["auto", "fp32", "bf16", "fp16"]
INITS = ("random", "nearest", "mean")
MAX_BATCH_SIZE = 65_536
MAX_EPOCHS = 1e6
MAX_LR = 1e30
"""What is above these is a slip of the hand; it would end in a full memory or an overflow."""
DEFAULT_BATCH_SIZE = 16
PER_PROCESS = {
    "batch_size": "per_device_train_batch_size",
    "accumulation": "gradient_accumulation_steps",
}
"""Options that mean something else under their name in transformers: there a batch is one process's
and accumulation multiplies it, here a batch is shared by all processes and accumulation divides it.
"""


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(OptionGroup):
    """The training of the new adapter."""

    PANEL = "Training"

    init: str = option(
        "What the new adapter starts from: random values, the nearest existing adapter, the mean "
        "of all, or the adapter of one language.",
        default="random",
        rules=[
            (
                lambda init: init in INITS or bool(re.fullmatch(r"from:\S+", init)),
                "random, nearest, mean or from:CODE",
            )
        ],
        metavar="|".join([*INITS, "from:CODE"]),
    )
    max_steps: int | None = option(
        "Number of optimiser steps.",
        default=None,
        default_text="by the size of the corpus",
        rules=[at_least(1), at_most(MAX_STEPS)],
    )
    epochs: float | None = option(
        "Passes over the corpus, instead of a number of steps.",
        default=None,
        default_text="none",
        rules=[positive(MAX_EPOCHS)],
        alias="num_train_epochs",
    )
    batch_size: int = option(
        "Packed sequences per optimiser step, in all processes together.",
        default=DEFAULT_BATCH_SIZE,
        rules=[at_least(1), at_most(MAX_BATCH_SIZE)],
        alias=PER_PROCESS["batch_size"],
    )
    max_length: int | None = option(
        "Tokens per sequence.",
        default=None,
        default_text="128, or what the base can read if that is less",
        rules=[at_least(8, "tokens")],
        alias="max_seq_length",
    )
    lr: float | None = option(
        "Peak learning rate.",
        default=None,
        default_text="by the width of the base",
        rules=[positive(MAX_LR)],
        alias="learning_rate",
    )
    mlm_probability: float = option(
        "Share of the tokens that is masked in training; measuring always masks 0.15.",
        default=0.3,
        rules=[(lambda share: 0 < share < 1, "between 0 and 1")],
    )
    dropout: bool = option(
        "Train with the base's dropout; without it, training is faster and better.",
        default=False,
    )
    precision: Precision = option(
        "Precision of the frozen weights; auto is bf16 where the hardware computes in it.",
        default="auto",
    )
    seed: int = option(
        "Decides the start values, the order, the masks and the dropout.",
        default=0,
        rules=[(lambda seed: 0 <= seed < 2**32, f"from 0 to {2**32 - 1}")],
    )
    accumulation: int = option(
        "Parts that a batch is worked through in: less memory, the same result within rounding.",
        default=1,
        rules=[at_least(1), at_most(MAX_BATCH_SIZE)],
        alias=PER_PROCESS["accumulation"],
    )
    gradient_checkpointing: bool = option(
        "Compute the layers again for the backward pass: less memory, more time.", default=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_steps is not None and self.epochs is not None:
            raise UsageError(
                "--max-steps and --epochs are both given.", hint="Give one of the two."
            )

    def describe_batch(self) -> str | None:
        """Return how a batch is divided, in a few words; None if it is worked through whole."""
        processes = started_processes()
        text = f"global batch of {self.batch_size:,} sequences"
        if processes > 1:
            text += f", shared by {processes} processes"
        if self.accumulation > 1:
            text += f", worked through in {self.accumulation:,} parts"
        return text if processes > 1 or self.accumulation > 1 else None


def started_processes() -> int:
    """Return how many processes torchrun or accelerate started to train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def with_global_batch(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with transformers' batch made global: size x processes x accumulation.

    Each process then works through its share in as many parts as it would have accumulated. A run
    that is resumed by another number of processes so has another batch, and is refused as such.

    Raises:
        UsageError: The two ways to count a batch are mixed, or the global batch is too large.
    """
    theirs = {name: options.get(name) for name in PER_PROCESS.values()}
    rest = {name: value for name, value in options.items() if name not in theirs}
    named = [name for name, value in theirs.items() if value is not None]
    if not named:
        return rest
    ours = [name for name in PER_PROCESS if rest.get(name) is not None]
    if ours:
        raise UsageError(
            f"{flag(ours[0])} and {flag(named[0])} are both given, but the first is about the "
            "batch of all processes and the second about the batch of one.",
            hint="Give --batch-size and --accumulation, or --per-device-train-batch-size and "
            "--gradient-accumulation-steps.",
        )
    size, steps = theirs.values()
    size, steps, processes = size or DEFAULT_BATCH_SIZE, steps or 1, started_processes()
    batch = size * processes * steps
    if batch > MAX_BATCH_SIZE:
        raise UsageError(
            f"{size:,} sequences x {processes} processes x {steps:,} accumulation steps are a "
            f"global batch of {batch:,}; it must be at most {MAX_BATCH_SIZE:,}.",
            hint="Give a smaller --per-device-train-batch-size or --gradient-accumulation-steps.",
        )
    return rest | {"batch_size": batch, "accumulation": steps}

"""The options of training."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from xmod_extend.errors import UsageError
from xmod_extend.options import OptionGroup, at_least, at_most, option, positive
from xmod_extend.training.configuration import MAX_STEPS

Precision = Literal["auto", "fp32", "bf16", "fp16"]
INITS = ("random", "nearest", "mean")
MAX_BATCH_SIZE = 65_536
MAX_EPOCHS = 1e6
MAX_LR = 1e30
"""What is above these is a slip of the hand; it would end in a full memory or an overflow."""


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(OptionGroup):
    """How the new adapter is trained."""

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
        default=16,
        rules=[at_least(1), at_most(MAX_BATCH_SIZE)],
        alias="per_device_train_batch_size",
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
        alias="gradient_accumulation_steps",
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

"""Fine-tuning of a task: AdamW on batches of labelled rows, and the labels that come of it.

The model is upstream's, with one language, so that its forward pass runs one adapter. Without
autocast, under which upstream's adapters fail.

Source: the optimiser and its schedule are those of transformers' Trainer by default, with a
warm-up.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from xmod_extend.errors import TrainingError
from xmod_extend.tokens.labelled import LabelledRows, RowBatch
from xmod_extend.training.history import StepReport

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LambdaLR

CLIP_NORM = 1.0
LORA_LR, FULL_LR = 3e-3, 3e-4
"""Learning rates for a hidden size of 192, at which they were measured."""
MEASURED_HIDDEN_SIZE = 192
SMALL_EPOCHS = 3
ENOUGH_STEPS, LEAST_STEPS = 400, 200
"""From 200 steps on, what was learnt transfers no better: scripts/benchmarks/RESULTS.md."""
SCORING_TOKENS = 4096
"""Tokens with padding in one forward pass without gradients."""


@dataclass(frozen=True, kw_only=True)
class FineTuningConfig:
    """How a task is learnt."""

    lr: float
    num_steps: int
    batch_size: int
    """Rows in a batch."""
    seed: int
    """Decides the order of the rows and the dropout."""
    warmup_fraction: float = 0.1
    weight_decay: float = 0.01


def default_task_lr(*, is_full: bool, hidden_size: int) -> float:
    """Return the learning rate where none is given: lower in a wider model."""
    return (FULL_LR if is_full else LORA_LR) * MEASURED_HIDDEN_SIZE / hidden_size


def default_task_steps(num_rows: int, batch_size: int) -> int:
    """Return the optimiser steps where none are given: an epoch at least, more of a small text."""
    epoch = math.ceil(num_rows / batch_size)
    return max(epoch, min(SMALL_EPOCHS * epoch, ENOUGH_STEPS), LEAST_STEPS)


def fine_tune(
    model: nn.Module,
    rows: LabelledRows,
    config: FineTuningConfig,
    *,
    device: torch.device,
    on_step: Callable[[StepReport], None],
) -> None:
    """Train what of the model has gradients, with a linear warm-up and decay of the rate.

    Raises:
        TrainingError: The loss is no number any more.
    """
    from transformers import get_linear_schedule_with_warmup

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.lr, weight_decay=config.weight_decay)
    schedule: LambdaLR = get_linear_schedule_with_warmup(  # type: ignore[no-untyped-call]
        optimizer, round(config.warmup_fraction * config.num_steps), config.num_steps
    )
    torch.manual_seed(config.seed)
    model.train()
    started, num_tokens = time.perf_counter(), 0
    batches = islice(rows.training_batches(config.batch_size, config.seed), config.num_steps)
    for step, batch in enumerate(batches, start=1):
        loss = model(**_inputs(batch, device, with_labels=True)).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, CLIP_NORM)
        if not torch.isfinite(norm):
            raise TrainingError(
                f"Fine-tuning diverged: the gradient was {float(norm)} at step {step}.",
                hint=f"Try a lower learning rate, such as --lr {config.lr / 10:g}.",
            )
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        num_tokens += int(batch.attention_mask.sum())
        on_step(
            StepReport(
                step=step,
                num_steps=config.num_steps,
                loss=float(loss.detach()),
                lr=float(schedule.get_last_lr()[0]),
                num_tokens=num_tokens,
                seconds=time.perf_counter() - started,
            )
        )
    model.train(False)


@torch.no_grad()
def predict(model: nn.Module, rows: LabelledRows, *, device: torch.device) -> list[Sequence[int]]:
    """Return the ids of the labels that the model gives each row, at the row's places."""
    model.train(False)
    predicted: list[Sequence[int]] = [()] * len(rows.rows)
    for batch in rows.scoring_batches(SCORING_TOKENS):
        best = model(**_inputs(batch, device, with_labels=False)).logits.argmax(-1).cpu()
        for place, number in enumerate(batch.rows):
            own = best[place]
            predicted[number] = (
                own[rows.rows[number].places].tolist() if rows.are_of_words else [int(own)]
            )
    return predicted


def _inputs(batch: RowBatch, device: torch.device, *, with_labels: bool) -> dict[str, Any]:
    """Return the arguments of a forward pass."""
    inputs: dict[str, Any] = {
        "input_ids": torch.from_numpy(batch.input_ids).to(device),
        "attention_mask": torch.from_numpy(batch.attention_mask).to(device),
        # The slice's only language.
        "lang_ids": torch.zeros(len(batch.rows), dtype=torch.long, device=device),
    }
    if with_labels:
        inputs["labels"] = torch.from_numpy(batch.labels).to(device)
    return inputs

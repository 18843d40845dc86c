"""What every contender shares: its arguments, the masks of those without their own, its report.

A contender runs in an environment of its own, so this needs nothing but PyTorch and NumPy.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

LANGUAGE = "quz_PE"
LEARNING_RATE = 1e-4
IGNORED = -100
FIRST_ORDINARY_ID = 4
"""Behind `<s> <pad> </s> <unk>`; `<mask>` is the last of the vocabulary. See XLM-R's tokenizer."""
MLM_PROBABILITY = 0.15
PRECISIONS = ("fp32", "bf16", "bf16-weights", "fp16")
"""bf16 is autocast, or what a contender has instead; bf16-weights keeps all of an upstream model in
bf16; fp16 is ours alone, since the others would need a loss scaler."""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--blocks", type=Path, required=True, help="token ids (steps x B, T), .npy")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--precision", choices=PRECISIONS, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--dropout", choices=("own", "on", "off"), required=True)
    parser.add_argument("--threads", type=int, required=True)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    return given


@dataclass
class Report:
    """What a contender says of itself; the driver measures it from outside as well."""

    versions: dict[str, str]
    trainable_parameters: int = 0
    losses: list[float] = field(default_factory=list)
    masked_tokens: list[int] = field(default_factory=list)
    """Of each step."""
    cpu_seconds: list[float] = field(default_factory=list)
    """This process's clock at the start and after each step."""
    wall_seconds: list[float] = field(default_factory=list)

    def tick(self) -> None:
        """Notes the time; on a GPU, whoever reads a loss before has waited for the step."""
        self.cpu_seconds.append(time.process_time())
        self.wall_seconds.append(time.perf_counter())

    def write(self) -> None:
        """Prints the report as the last line of stdout."""
        cuda = torch.cuda.is_available()
        device = {"gpu": torch.cuda.get_device_name()} if cuda else {}
        peak = {"peak_gpu_bytes": torch.cuda.max_memory_allocated()} if cuda else {}
        print(json.dumps(vars(self) | device | peak))


def batches(given: argparse.Namespace) -> Iterator[torch.Tensor]:
    """The token ids (B, T) of each step."""
    blocks = np.load(given.blocks)
    for step in range(given.steps):
        yield torch.from_numpy(blocks[step * given.batch_size : (step + 1) * given.batch_size])


def mask_tokens(ids: torch.Tensor, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Corrupted ids and labels, both (B, T), by the rule of `DataCollatorForLanguageModeling`."""
    mask_id = vocabulary - 1
    ordinary = (ids >= FIRST_ORDINARY_ID) & (ids != mask_id)
    chosen = ordinary & (torch.rand(ids.shape) < MLM_PROBABILITY)
    fate = torch.rand(ids.shape)
    anything = torch.randint(FIRST_ORDINARY_ID, mask_id, ids.shape)
    corrupted = torch.where(chosen & (fate < 0.8), mask_id, ids)
    corrupted = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), anything, corrupted)
    return corrupted, torch.where(chosen, ids, IGNORED)


def run_plain_loop(
    given: argparse.Namespace,
    model: torch.nn.Module,
    forward: Callable[[torch.Tensor, torch.Tensor], Any],
    report: Report,
) -> None:
    """The loop that a user of PyTorch would write around an upstream model.

    Args:
        model: In the state it trains in; what is to be trained requires a gradient.
        forward: From ids and labels to an output with a `loss`.
    """
    device = torch.device(given.device)
    model.to(device)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    report.trainable_parameters = sum(parameter.numel() for parameter in parameters)
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE)
    report.tick()
    for ids in batches(given):
        inputs, labels = mask_tokens(ids, model.config.vocab_size)
        is_mixed = given.precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=is_mixed):
            loss = forward(inputs.to(device), labels.to(device)).loss
        loss.backward()
        if any(parameter.grad is None for parameter in parameters):
            raise RuntimeError("a trainable parameter has no gradient")
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        report.losses.append(loss.item())
        report.masked_tokens.append(int((labels != IGNORED).sum()))
        report.tick()
    report.write()


def dropout_rates(given: argparse.Namespace) -> dict[str, float]:
    """What to change in an upstream config: nothing, unless dropout is to be off."""
    if given.dropout != "off":
        return {}
    return {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

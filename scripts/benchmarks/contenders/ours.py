"""Adds a language with xmod-extend: its slice and its training loop, on given tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
from accelerate import Accelerator
from harness import (
    FIRST_ORDINARY_ID,
    LANGUAGE,
    LEARNING_RATE,
    MLM_PROBABILITY,
    Report,
    parse_arguments,
)
from transformers import XmodForMaskedLM

from xmod_extend.model.adapter import adapter_set
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.slice import load_slice
from xmod_extend.objectives.masked import MaskingScheme
from xmod_extend.objectives.prediction import Prediction
from xmod_extend.training.configuration import TrainingConfig
from xmod_extend.training.device import choose_precision
from xmod_extend.training.loop import train
from xmod_extend.training.processes import Processes

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenBlocks:
    """A training text that is already cut into blocks, (steps x B, T)."""

    ids: Ids

    def batches(self, batch_size: int, seed: int, start_step: int = 0) -> Iterator[Ids]:
        for start in range(start_step * batch_size, len(self.ids), batch_size):
            yield self.ids[start : start + batch_size]


@dataclass(frozen=True, kw_only=True)
class CountingScheme(MaskingScheme):
    """Notes how many tokens each step's masks hide."""

    counts: list[int]

    def corrupt(self, input_ids: Ids, counter: int) -> Prediction:
        prediction = super().corrupt(input_ids, counter)
        self.counts.append(prediction.num_predicted)
        return prediction


def run_training(
    model: XmodForMaskedLM,
    blocks: TokenBlocks,
    config: TrainingConfig,
    processes: Processes,
    report: Report,
) -> None:
    """The one call of the product's loop: all steps, nothing scored on held-out text."""
    vocabulary = model.config.vocab_size
    scheme = CountingScheme(
        mask_id=vocabulary - 1,
        special_ids=(*range(FIRST_ORDINARY_ID), vocabulary - 1),
        vocabulary_size=vocabulary,
        mlm_probability=MLM_PROBABILITY,
        seed=0,
        counts=report.masked_tokens,
    )
    report.tick()
    result = train(
        model,
        adapter_set(model),
        blocks,
        scheme.corrupt,
        config,
        processes=processes,
        validate=lambda: 0.0,
        on_step=lambda done: (report.losses.append(done.loss), report.tick()),
    )
    if result.stopped:
        raise RuntimeError(result.stopped)


def main() -> None:
    given = parse_arguments()
    processes = Processes(Accelerator(cpu=given.device == "cpu", mixed_precision="no"))
    precision = choose_precision(given.precision, processes.device)
    checkpoint = open_checkpoint(given.base)
    model = load_slice(checkpoint, LANGUAGE, precision=precision).to(processes.device)
    trained = adapter_set(model)
    trained.initialise()
    config = TrainingConfig(
        num_steps=given.steps,
        batch_size=given.batch_size,
        lr=LEARNING_RATE,
        seed=0,
        num_validations=1,
        dropout=given.dropout == "on",
    )
    packages = ("torch", "transformers", "accelerate", "xmod-extend")
    report = Report({package: version(package) for package in packages})
    report.trainable_parameters = trained.num_parameters
    run_training(model, TokenBlocks(np.load(given.blocks)), config, processes, report)
    report.write()


if __name__ == "__main__":
    main()

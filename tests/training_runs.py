"""Small training runs for the tests: everything they depend on is in the arguments."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from xmod_extend.model.adapter import adapter_set, random_adapter, set_adapter
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.slice import FP32, Precision, load_slice
from xmod_extend.objectives.masked import MaskingScheme
from xmod_extend.training.configuration import TrainingConfig
from xmod_extend.training.history import StepReport
from xmod_extend.training.loop import Saving, TrainingResult, train
from xmod_extend.training.processes import Processes
from xmod_extend.training.state import StateFolder

SCHEME = MaskingScheme(
    mask_id=119, special_ids=(0, 1, 2, 3, 119), vocabulary_size=120, mlm_probability=0.15, seed=7
)


class RandomBlocks:
    """Random ids in the shape that packed text has."""

    max_length = 16

    def batches(self, batch_size: int, seed: int, start_step: int = 0) -> Iterator[np.ndarray]:
        for step in itertools.count(start_step):
            random = np.random.default_rng([seed, step])
            blocks = random.integers(4, 119, size=(batch_size, self.max_length))
            blocks[:, 0] = 0
            yield blocks


def configure(num_steps: int = 12, **changes: Any) -> TrainingConfig:
    values = {"batch_size": 4, "lr": 1e-2, "seed": 3, "num_validations": 4}
    return TrainingConfig(num_steps=num_steps, **(values | changes))


def run_training(
    base: Path,
    config: TrainingConfig,
    *,
    folder: Path | None = None,
    precision: Precision = FP32,
    every_seconds: float = 0.0,
    processes: Processes | None = None,
    on_step: Callable[[StepReport], None] = lambda report: None,
    before_validation: Callable[[], None] = lambda: None,
    **more: Any,
) -> TrainingResult:
    """Trains on random ids from a fixed start, and goes on from the newest state in `folder`.

    The held-out loss is made up of the adapter's own values, so that it tells states apart.
    """
    model = load_slice(open_checkpoint(base), "quz_PE", precision=precision)
    set_adapter(model, random_adapter(model, seed=1))
    processes = processes or Processes(Accelerator(cpu=True))
    model.to(processes.device)  # type: ignore[arg-type]
    slot = dict(model.named_parameters())[
        "roberta.encoder.layer.0.output.adapter_modules.quz_PE.dense1.weight"
    ]
    saving = None
    if folder is not None:
        states = StateFolder(folder, {"lr": config.lr, "steps": config.num_steps})
        saved = states.load_newest()
        states.begin()
        saving = Saving(folder=states, every_seconds=every_seconds, resume_from=saved)

    def validate() -> float:
        before_validation()
        # Goes up and down, so that the best state is not always the last.
        return 1.0 + float(slot.detach().cpu().double().sum().sin())

    return train(
        model,
        adapter_set(model),
        RandomBlocks(),
        SCHEME.corrupt,
        config,
        processes=processes,
        validate=validate,
        saving=saving,
        on_step=on_step,
        **more,
    )


def adapter_bytes(result: TrainingResult) -> bytes:
    return b"".join(values.numpy().tobytes() for values in result.tensors.values())

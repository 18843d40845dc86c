"""The training loop: masked language modelling that moves one adapter and nothing else.

Each step is a function of (seed, step): its blocks, masks and dropout come from generators seeded
with both, so nothing that was drawn before matters.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import torch

from xmod_extend.errors import TrainingError
from xmod_extend.model.adapter import Adapter, get_adapter
from xmod_extend.model.loss import SENSELESS_NATS, masked_lm_loss
from xmod_extend.model.slice import freeze_all_but_adapter
from xmod_extend.text.masking import MaskingScheme
from xmod_extend.training.configuration import TrainingConfig, default_lr

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import XmodForMaskedLM

Ids = npt.NDArray[np.int64]


class Blocks(Protocol):
    """What a training text offers; `text.packing.PackedBlocks` is one."""

    def num_blocks(self, offset: int = 0) -> int: ...
    def get(self, indices: Ids, offset: int = 0) -> Ids: ...
    @property
    def max_length(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What a progress display may show after an optimiser step."""

    step: int
    num_steps: int
    loss: float
    """Mean cross-entropy in nats of this step's masked tokens."""
    lr: float
    num_tokens: int
    """Tokens trained on since the start."""
    seconds: float
    """Time spent training since the start, validations left out."""


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The state of the run at one validation."""

    step: int
    train_loss: float
    """Mean over the steps since the validation before, in nats."""
    held_out_loss: float
    """In nats, on the validation sample."""
    lr: float


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """The best adapter that validation met, and how the run went."""

    adapter: Adapter
    best_step: int
    steps_done: int
    curve: tuple[CurvePoint, ...]
    num_tokens: int
    num_epochs: float
    seconds: float
    """Training alone, validations left out."""
    stopped: str | None
    """Why the run ended before its last step, or None."""


def train(
    model: XmodForMaskedLM,
    blocks: Blocks,
    scheme: MaskingScheme,
    config: TrainingConfig,
    *,
    accelerator: Accelerator,
    validate: Callable[[], float],
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_validation: Callable[[CurvePoint], None] = lambda point: None,
) -> TrainingResult:
    """Trains the adapter in the slice's slot; the result holds the best state of it.

    Args:
        model: From `load_training_slice`; its slot holds the start values.
        blocks: Packed training text with at least one full block.
        validate: Returns the held-out loss of the adapter as it is; lower is better.

    Raises:
        TrainingError: If the loss was not finite before the first validation, so that no adapter
            is worth keeping. After that, the best one is kept and `stopped` says what happened.
    """
    stepper = _Stepper(model, scheme, config, accelerator)
    history, clock = _History(model), _Clock()
    stopped: str | None = None
    num_tokens = steps_done = 0
    validation_steps = _validation_steps(config)
    for step, batch in enumerate(_batches(blocks, config)):
        loss = stepper.run(step, batch)
        if not math.isfinite(loss):
            stopped = f"the training loss was {loss} at step {step + 1} (lr {config.lr:g})"
            break
        num_tokens += batch.size
        steps_done = step + 1
        history.train_losses.append(loss)
        on_step(
            StepReport(
                step=steps_done,
                num_steps=config.num_steps,
                loss=loss,
                lr=config.lr_at(step),
                num_tokens=num_tokens,
                seconds=clock.seconds(),
            )
        )
        if steps_done in validation_steps:
            with clock.paused():
                held_out_loss = validate()
            if not held_out_loss < SENSELESS_NATS:
                stopped = f"the held-out loss was {held_out_loss} at step {steps_done}"
                break
            on_validation(history.add(steps_done, held_out_loss, config.lr_at(step)))
    if history.best is None:
        raise TrainingError(
            f"Training stopped: {stopped}, before any adapter was worth keeping.",
            hint=f"Try a lower learning rate, such as --lr {_lower_lr(config, model):g}.",
        )
    return TrainingResult(
        adapter=history.best,
        best_step=history.best_step,
        steps_done=steps_done,
        curve=tuple(history.curve),
        num_tokens=num_tokens,
        num_epochs=num_tokens / max(1, blocks.num_blocks() * blocks.max_length),
        seconds=clock.seconds(),
        stopped=stopped,
    )


def seconds_per_step(
    model: XmodForMaskedLM,
    blocks: Blocks,
    scheme: MaskingScheme,
    config: TrainingConfig,
    *,
    accelerator: Accelerator,
) -> float:
    """Times one training step after a first one; the slot's values are lost."""
    stepper = _Stepper(model, scheme, config, accelerator)
    batches = _batches(blocks, replace(config, num_steps=2))
    stepper.run(0, next(batches))
    clock = _Clock()
    stepper.run(1, next(batches))
    return clock.seconds()


class _Stepper:
    """One optimiser step at a time; what it does depends on (seed, step) and the batch alone."""

    def __init__(
        self,
        model: XmodForMaskedLM,
        scheme: MaskingScheme,
        config: TrainingConfig,
        accelerator: Accelerator,
    ) -> None:
        self._model, self._scheme, self._config = model, scheme, config
        self._accelerator = accelerator
        self._parameters = freeze_all_but_adapter(model)
        self._optimizer = accelerator.prepare(
            torch.optim.AdamW(
                self._parameters,
                lr=config.lr,
                betas=(config.adam_beta1, config.adam_beta2),
                eps=config.adam_epsilon,
                weight_decay=config.weight_decay,
            )
        )

    def run(self, step: int, batch: Ids) -> float:
        """Trains on `batch` (B, T); returns the loss, and moves nothing if that is not finite."""
        inputs, labels = self._scheme.corrupt(batch, step)
        # Dropout draws from the global generator: seeded here, it depends on this step alone.
        torch.manual_seed(_mix(self._config.seed, step))
        # Nothing but dropout differs between the two modes.
        self._model.train(self._config.dropout)
        device = self._accelerator.device
        loss = masked_lm_loss(
            self._model, torch.from_numpy(inputs).to(device), torch.from_numpy(labels).to(device)
        )
        value = loss.item()
        if not math.isfinite(value):
            return value
        self._accelerator.backward(loss)
        if step == 0:
            assert all(parameter.grad is not None for parameter in self._parameters)
        self._accelerator.clip_grad_norm_(self._parameters, self._config.clip_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.lr_at(step)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return value


class _History:
    """The validations so far, and a copy of the adapter that did best, on the CPU."""

    def __init__(self, model: XmodForMaskedLM) -> None:
        self.curve: list[CurvePoint] = []
        self.train_losses: list[float] = []
        """Since the last validation."""
        self.best: Adapter | None = None
        self.best_step = 0
        self._model = model
        self._lowest = math.inf

    def add(self, step: int, held_out_loss: float, lr: float) -> CurvePoint:
        """Notes a validation, and the adapter as it is now if it is the best yet."""
        mean = sum(self.train_losses) / len(self.train_losses)
        self.train_losses.clear()
        point = CurvePoint(step=step, train_loss=mean, held_out_loss=held_out_loss, lr=lr)
        self.curve.append(point)
        if held_out_loss < self._lowest:
            self._lowest, self.best_step = held_out_loss, step
            self.best = get_adapter(self._model)
        return point


class _Clock:
    """Seconds of training, with validations taken out."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self._start

    def paused(self) -> _Pause:
        return _Pause(self)

    def skip(self, seconds: float) -> None:
        self._start += seconds


class _Pause:
    def __init__(self, clock: _Clock) -> None:
        self._clock = clock

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self._clock.skip(time.perf_counter() - self._began)


def _batches(blocks: Blocks, config: TrainingConfig) -> Iterator[Ids]:
    """Yields `num_steps` batches (B, T): every epoch in a new order, and cut at other places."""
    epoch, position = -1, 0
    order = np.empty(0, dtype=np.int64)
    offset = 0
    for _ in range(config.num_steps):
        rows: list[Ids] = []
        needed = config.batch_size
        while needed:
            if position == len(order):
                epoch, position = epoch + 1, 0
                random = np.random.default_rng([config.seed, epoch])
                offset = int(random.integers(blocks.max_length - 1))
                if blocks.num_blocks(offset) == 0:
                    offset = 0
                order = random.permutation(blocks.num_blocks(offset))
            taken = order[position : position + needed]
            rows.append(blocks.get(taken, offset))
            position += len(taken)
            needed -= len(taken)
        yield np.concatenate(rows)


def _lower_lr(config: TrainingConfig, model: XmodForMaskedLM) -> float:
    return min(config.lr / 10, default_lr(model.config.hidden_size))


def _validation_steps(config: TrainingConfig) -> frozenset[int]:
    """Steps after which to validate: evenly spaced, the last step always among them."""
    count = min(config.num_validations, config.num_steps)
    return frozenset(round(config.num_steps * (i + 1) / count) for i in range(count))


def _mix(seed: int, step: int) -> int:
    """One 64-bit seed from two numbers."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])

"""The training loop: masked language modelling that moves one adapter and nothing else.

Each step is a function of (seed, step): its blocks, masks and dropout come from generators seeded
with both, so nothing that was drawn before matters, and a resumed run goes on to the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import torch

from xmod_extend.errors import TrainingError
from xmod_extend.model.adapter import Adapter, get_adapter
from xmod_extend.model.loss import SENSELESS_NATS
from xmod_extend.objectives.masked import MaskingScheme
from xmod_extend.training.configuration import TrainingConfig, default_lr
from xmod_extend.training.history import CurvePoint, History, StepReport
from xmod_extend.training.processes import LostProcessError, Processes
from xmod_extend.training.signals import Signals
from xmod_extend.training.state import SavedState, StateFolder
from xmod_extend.training.step import LOSS, STOP, StepInput, Stepper

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

Ids = npt.NDArray[np.int64]

ASKED_TO_STOP = "it was asked to stop"
"""What `TrainingResult.stopped` says of a run that was ended early on purpose."""
STEPS_BETWEEN_LOOKS = 10
"""Steps that a device other than the CPU is given before the host looks at their losses."""


class Blocks(Protocol):
    """What a training text offers; `text.packing.PackedBlocks` is one."""

    def batches(self, batch_size: int, seed: int, start_step: int = 0) -> Iterator[Ids]: ...


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """The best adapter that validation met, and how the run went."""

    adapter: Adapter
    best_step: int
    steps_done: int
    curve: tuple[CurvePoint, ...]
    num_tokens: int
    seconds: float
    """Training alone, validations left out."""
    stopped: str | None
    """Why the run ended before its last step, or None."""
    resumed_at: int | None = None
    """The step that a saved state was taken up at, if one was."""


@dataclass(kw_only=True)
class Saving:
    """Where and how often the state is saved; only the first process does."""

    folder: StateFolder
    every_seconds: float
    resume_from: SavedState | None = None
    """Let go of when it was taken up: it is as large as what it fills."""


def train(
    model: XmodForMaskedLM,
    blocks: Blocks,
    scheme: MaskingScheme,
    config: TrainingConfig,
    *,
    processes: Processes,
    validate: Callable[[], float],
    saving: Saving | None = None,
    signals: Signals | None = None,
    is_asked_to_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_validation: Callable[[CurvePoint], None] = lambda point: None,
) -> TrainingResult:
    """Train the adapter in the slice's slot; the result holds the best state of it.

    Args:
        model: From `load_slice`, on the processes' device; its slot holds the start values.
        blocks: Training text with at least one full block.
        validate: Returns the held-out loss of the adapter as it is; lower is better. The same in
            all processes.
        saving: None saves nothing.
        signals: If one of them arrives, the step is finished, the state saved, and the signal
            handed on to whoever would have had it.
        is_asked_to_stop: Asked after every step whether training shall end as if it was done: the
            adapter is validated, and the best one kept.

    Raises:
        TrainingError: If the loss was not finite before the first validation, so that no adapter
            is worth keeping. After that, the best one is kept and `stopped` says what happened.
        LostProcessError: Another process ended; the last whole step's state is saved.
    """
    run = _Run(Stepper(model, scheme, config, processes), config, processes, saving)
    resumed_at = run.resume()
    validation_steps = _validation_steps(config)
    stopped: str | None = None
    has_signal = False

    def signal_arrived() -> bool:
        return signals is not None and signals.arrived

    try:
        if run.history.steps_done in validation_steps and not run.history.is_validated:
            # Another process was lost before it was.
            stopped = run.validate(validate, on_validation)
        first_step = config.num_steps if stopped else run.history.steps_done
        clock = time.perf_counter()
        for given in _inputs(run.stepper, blocks, config, first_step, processes):
            run.step(given, wants_to_stop=signal_arrived() or is_asked_to_stop())
            is_validation = run.steps_run in validation_steps
            if not run.looks(is_validation):
                continue
            now = time.perf_counter()
            run.history.seconds += now - clock
            stopped = run.look(on_step)
            if not stopped and is_validation:
                stopped = run.validate(validate, on_validation)
            if stopped or run.asked_to_stop:
                break
            run.save_now_and_then()
            clock = time.perf_counter()
        if stopped is None:
            run.save()
        # All processes know that they are to stop, but not each of them why.
        has_signal = run.asked_to_stop and any(processes.gather(signal_arrived()))
        if run.asked_to_stop and not (stopped or has_signal or run.is_done):
            # Behind the save: who goes on from there has no validation in a place of its own.
            stopped = run.validate_if_new(validate, on_validation) or ASKED_TO_STOP
    except LostProcessError:
        # Steps that nobody looked at yet have moved the adapter as well.
        if run.look(on_step) is None:
            run.save()
        raise
    if signals is not None and has_signal:
        signals.hand_on()
    return run.result(model, stopped, resumed_at)


def seconds_per_step(
    model: XmodForMaskedLM,
    blocks: Blocks,
    scheme: MaskingScheme,
    config: TrainingConfig,
    *,
    processes: Processes,
) -> float:
    """Time one training step after a first one; the slot's values are lost."""
    stepper = Stepper(model, scheme, config, processes)
    batches = blocks.batches(config.batch_size, config.seed)
    stepper.run(stepper.prepare(0, next(batches))).tolist()
    start = time.perf_counter()
    stepper.run(stepper.prepare(1, next(batches))).tolist()
    return time.perf_counter() - start


class _Run:
    """A run between its first and last step: its history, best adapter and saved states.

    Steps are run without a look at their losses, which would make the host wait for the device.
    Every so many steps, and where something is decided, it looks at all of them at once.
    """

    def __init__(
        self,
        stepper: Stepper,
        config: TrainingConfig,
        processes: Processes,
        saving: Saving | None,
    ) -> None:
        self.stepper = stepper
        self.history = History(num_processes=processes.count)
        """Of the steps that were looked at."""
        self.asked_to_stop = False
        self._config, self._processes, self._saving = config, processes, saving
        self._best: torch.Tensor | None = None
        self._unseen: list[tuple[StepInput, torch.Tensor]] = []
        self._last_save = time.monotonic()

    @property
    def is_done(self) -> bool:
        return self.history.steps_done == self._config.num_steps

    @property
    def steps_run(self) -> int:
        return self.history.steps_done + len(self._unseen)

    def resume(self) -> int | None:
        """Go back to a saved state, if one is given; returns its step."""
        if self._saving is None or self._saving.resume_from is None:
            return None
        state, self._saving.resume_from = self._saving.resume_from, None
        self.history = state.history
        self.history.num_processes = self._processes.count
        self.stepper.load_state(state.tensors, state.counts)
        if self.history.best_step is not None:
            self._best = state.tensors.get("best", state.tensors["adapter"]).clone()
        return self.history.steps_done

    def step(self, given: StepInput, *, wants_to_stop: bool) -> None:
        self._unseen.append((given, self.stepper.run(given, wants_to_stop=wants_to_stop)))

    def looks(self, is_validation: bool) -> bool:
        """Return whether the host looks at the losses after this step."""
        often = self._processes.device.type == "cpu"
        return often or is_validation or self.steps_run % STEPS_BETWEEN_LOOKS == 0

    def look(self, on_step: Callable[[StepReport], None]) -> str | None:
        """Take up what the steps since the last look gave; a sentence if a loss is not finite."""
        if not self._unseen:
            return None
        outcomes = torch.stack([outcome for _, outcome in self._unseen]).tolist()
        unseen, self._unseen = self._unseen, []
        stopped, reports = None, []
        for (given, _), outcome in zip(unseen, outcomes, strict=True):
            if not math.isfinite(outcome[LOSS]):
                loss, lr = outcome[LOSS], self._config.lr
                stopped = f"the training loss was {loss} at step {given.step + 1} (lr {lr:g})"
                break
            self.asked_to_stop |= outcome[STOP] > 0
            self.history.steps_done += 1
            self.history.num_tokens += given.num_tokens
            self.history.train_losses.append(outcome[LOSS])
            reports.append(
                StepReport(
                    step=self.history.steps_done,
                    num_steps=self._config.num_steps,
                    loss=outcome[LOSS],
                    lr=self._config.lr_at(given.step),
                    num_tokens=self.history.num_tokens,
                    seconds=self.history.seconds,
                )
            )
        # Once the history tells of every step that moved the adapter: what hears of one may raise.
        for report in reports:
            on_step(report)
        return stopped

    def validate(
        self, validate: Callable[[], float], on_validation: Callable[[CurvePoint], None]
    ) -> str | None:
        """Score the adapter and keep a copy of the best; a sentence if the score is senseless."""
        loss = validate()
        if not loss < SENSELESS_NATS:
            return f"the held-out loss was {loss} at step {self.history.steps_done}"
        if self.history.add_validation(loss, self._config.lr_at(self.history.steps_done - 1)):
            if self._best is None:
                self._best = torch.empty_like(self.stepper.adapter)
            self._best.copy_(self.stepper.adapter)
        on_validation(self.history.curve[-1])
        return None

    def validate_if_new(
        self, validate: Callable[[], float], on_validation: Callable[[CurvePoint], None]
    ) -> str | None:
        """Validate unless the adapter was, as it is now."""
        return None if self.history.is_validated else self.validate(validate, on_validation)

    def save_now_and_then(self) -> None:
        """Save if the last time is long enough ago."""
        if self._saving is None or not self._processes.is_main:
            return
        if time.monotonic() - self._last_save >= self._saving.every_seconds:
            self.save()

    def save(self) -> None:
        """Save the state after the last step, which must have been looked at."""
        assert not self._unseen, "the adapter is ahead of the history"
        if self._saving is None or not self._processes.is_main or not self.history.steps_done:
            return
        tensors = {name: values.cpu() for name, values in self.stepper.state().items()}
        if self._best is not None and self.history.best_step != self.history.steps_done:
            tensors["best"] = self._best.cpu()
        self._saving.folder.save(tensors, self.history, self.stepper.counts())
        self._last_save = time.monotonic()

    def result(
        self, model: XmodForMaskedLM, stopped: str | None, resumed_at: int | None
    ) -> TrainingResult:
        history, config = self.history, self._config
        if self._best is None or history.best_step is None:
            lower = min(config.lr / 10, default_lr(model.config.hidden_size))
            raise TrainingError(
                f"Training stopped: {stopped}, before any adapter was worth keeping.",
                hint=f"Try a lower learning rate, such as --lr {lower:g}.",
            )
        self.stepper.adapter.copy_(self._best)
        return TrainingResult(
            adapter=get_adapter(model),
            best_step=history.best_step,
            steps_done=history.steps_done,
            curve=tuple(history.curve),
            num_tokens=history.num_tokens,
            seconds=history.seconds,
            stopped=stopped,
            resumed_at=resumed_at,
        )


def _inputs(
    stepper: Stepper, blocks: Blocks, config: TrainingConfig, start: int, processes: Processes
) -> Iterator[StepInput]:
    """Yield the inputs of the steps from `start` on, the next one prepared while a GPU works."""
    batches = blocks.batches(config.batch_size, config.seed, start)
    steps = range(start, config.num_steps)
    if processes.device.type == "cpu":
        yield from (stepper.prepare(step, next(batches)) for step in steps)
        return
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = [
            pool.submit(lambda step: stepper.prepare(step, next(batches)), s) for s in steps[:1]
        ]
        for step in steps:
            given = ahead.pop().result()
            if step + 1 < config.num_steps:
                ahead.append(
                    pool.submit(lambda step: stepper.prepare(step, next(batches)), step + 1)
                )
            yield given


def _validation_steps(config: TrainingConfig) -> frozenset[int]:
    """Steps after which to validate: evenly spaced, the last step always among them."""
    count = min(config.num_validations, config.num_steps)
    return frozenset(round(config.num_steps * (i + 1) / count) for i in range(count))

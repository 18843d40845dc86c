"""The training loop: steps that move a trainable set and nothing else.

Each step is a function of (seed, step): its blocks, masks and dropout come from generators seeded
with both, so nothing that was drawn before matters, and a resumed run goes on to the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from xmod_extend.errors import TrainingError
from xmod_extend.model.loss import DIVERGED_NATS
from xmod_extend.model.trainable import Tensors, TrainableSet
from xmod_extend.objectives.prediction import Objective
from xmod_extend.tokens.blocks import Blocks, Ids
from xmod_extend.training.configuration import TrainingConfig, default_lr
from xmod_extend.training.device import deterministic_kernels
from xmod_extend.training.history import CurvePoint, History, StepReport
from xmod_extend.training.processes import LostProcessError, Processes
from xmod_extend.training.signals import Signals
from xmod_extend.training.state import SavedState, StateFolder
from xmod_extend.training.step import LOSS, STOP, StepInput, Stepper

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

ASKED_TO_STOP = "it was asked to stop"
"""`TrainingResult.stopped` of a run that was ended early on purpose."""
STEPS_BETWEEN_LOOKS = 10
"""Steps that a device other than the CPU does before the host looks at their losses."""


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """The best values that validation met, and how the run went."""

    tensors: Tensors
    best_step: int
    steps_done: int
    curve: tuple[CurvePoint, ...]
    num_tokens: int
    seconds: float
    """Training alone, validations left out."""
    stopped: str | None
    """Why the run ended before its last step, or None."""
    resumed_at: int | None = None
    """The step of the saved state that training went on from, if there was one."""


@dataclass(kw_only=True)
class Saving:
    """The folder for saved states, and how often to save; only the first process does."""

    folder: StateFolder
    every_seconds: float
    resume_from: SavedState | None = None
    """Let go of as soon as it is read: it is as large as what it fills."""


def train(
    model: XmodForMaskedLM,
    trained: TrainableSet,
    blocks: Blocks,
    objective: Objective,
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
    """Train a set of a slice's tensors; the result holds the best state of it.

    Args:
        model: From `load_slice`, on the processes' device.
        trained: Holds the start values.
        blocks: Training text with at least one full block.
        objective: What is predicted of the blocks.
        validate: Returns the held-out loss of the values as they are; lower is better. The same in
            all processes.
        saving: None saves nothing.
        signals: If one of them arrives, the step is finished, the state saved, and the signal
            handed on to whoever would have had it.
        is_asked_to_stop: Asked after every step whether training shall end as if it was done: the
            values are validated, and the best ones kept.

    Raises:
        TrainingError: If the loss was not finite before the first validation, so that no values
            are worth keeping. After that, the best ones are kept and `stopped` says what happened.
        LostProcessError: Another process ended; the last whole step's state is saved.
    """
    stepper = Stepper(model, trained, objective, config, processes)
    calls = _Calls(validate, on_step, on_validation, is_asked_to_stop, signals)
    run = _Run(stepper, trained, config, processes, saving, calls)
    resumed_at = run.resume()
    try:
        with deterministic_kernels(processes.device):
            stopped = run.train(blocks)
    except LostProcessError:
        # Steps that nobody looked at yet have moved the values as well.
        if run.look() is None:
            run.save()
        raise
    if signals is not None and run.has_signal:
        signals.hand_on()
    return run.result(default_lr(model.config.hidden_size), stopped, resumed_at)


def seconds_per_step(
    model: XmodForMaskedLM,
    trained: TrainableSet,
    batch: Ids,
    objective: Objective,
    config: TrainingConfig,
    *,
    processes: Processes,
) -> float:
    """Work out what a training step takes; the values are lost.

    Where a step works through its batch in several parts, as it does on a processor, one part is
    timed, and what is done once a step.

    Args:
        batch: (B, T), of the size that is trained on; what the tokens are makes no difference.
    """
    stepper = Stepper(model, trained, objective, config, processes)

    def seconds(step_input: StepInput) -> float:
        start = time.perf_counter()
        stepper.run(step_input).tolist()
        return time.perf_counter() - start

    with deterministic_kernels(processes.device):
        # The first time of anything takes longer.
        first = batch[: processes.count] if processes.device.type == "cpu" else batch
        seconds(stepper.prepare(1, first))
        whole = stepper.prepare(2, batch)
        part = seconds(replace(whole, micro_batches=whole.micro_batches[:1]))
        # Also where there is one part: another process may have two, and their sums meet.
        once = seconds(replace(whole, micro_batches=()))
    for _, parameter in trained:
        parameter.grad = None
    more_parts = max(0, len(whole.micro_batches) - 1)
    return part + more_parts * max(0.0, part - once)


@dataclass(frozen=True)
class _Calls:
    """The functions that training calls on its way."""

    validate: Callable[[], float]
    on_step: Callable[[StepReport], None]
    on_validation: Callable[[CurvePoint], None]
    is_asked_to_stop: Callable[[], bool]
    signals: Signals | None

    @property
    def has_signal(self) -> bool:
        """Whether this process was told to end."""
        return self.signals is not None and self.signals.arrived


class _Run:
    """A run between its first and last step: its history, best values and saved states.

    Steps are run without a look at their losses, which would make the host wait for the device.
    Every so many steps, and where something is decided, it looks at all of them at once.
    """

    def __init__(
        self,
        stepper: Stepper,
        trained: TrainableSet,
        config: TrainingConfig,
        processes: Processes,
        saving: Saving | None,
        calls: _Calls,
    ) -> None:
        self.history = History(num_processes=processes.count)
        """History of the steps that were looked at."""
        self.has_signal = False
        """Whether a signal ended the run, in any process."""
        self._stepper, self._trained, self._config = stepper, trained, config
        self._processes, self._saving, self._calls = processes, saving, calls
        self._asked_to_stop = False
        self._best: torch.Tensor | None = None
        self._unseen: list[tuple[StepInput, torch.Tensor]] = []
        self._last_save = time.monotonic()

    def resume(self) -> int | None:
        """Go back to a saved state, if there is one to go on from; return its step."""
        if self._saving is None or self._saving.resume_from is None:
            return None
        state, self._saving.resume_from = self._saving.resume_from, None
        self.history = state.history
        self.history.num_processes = self._processes.count
        self._stepper.load_state(state.tensors, state.counts)
        if self.history.best_step is not None:
            self._best = state.tensors.get("best", state.tensors["values"]).clone()
        return self.history.steps_done

    def train(self, blocks: Blocks) -> str | None:
        """Run all steps that are left; return why it ended before the last one, if it did."""
        validation_steps, stopped = _validation_steps(self._config), None
        if self.history.steps_done in validation_steps and not self.history.is_validated:
            # Another process was lost before it was.
            stopped = self._validate()
        first_step = self._config.num_steps if stopped else self.history.steps_done
        clock = time.perf_counter()
        for batch in _inputs(self._stepper, blocks, self._config, first_step, self._processes):
            wants_to_stop = self._calls.has_signal or self._calls.is_asked_to_stop()
            outcome = self._stepper.run(batch, wants_to_stop=wants_to_stop)
            self._unseen.append((batch, outcome))
            is_validation = self._steps_run in validation_steps
            if not (is_validation or self._is_time_to_look()):
                continue
            now = time.perf_counter()
            self.history.seconds += now - clock
            stopped = self.look()
            if not stopped and is_validation:
                stopped = self._validate()
            if stopped or self._asked_to_stop:
                break
            self._save_now_and_then()
            clock = time.perf_counter()
        if stopped is None:
            self.save()
        return self._stop_as_asked(stopped)

    def look(self) -> str | None:
        """Add to the history what the steps since the last look gave.

        Returns:
            A sentence if a loss is not finite.
        """
        if not self._unseen:
            return None
        outcomes = torch.stack([outcome for _, outcome in self._unseen]).tolist()
        unseen, self._unseen = self._unseen, []
        stopped, reports = None, []
        for (batch, _), outcome in zip(unseen, outcomes, strict=True):
            if not math.isfinite(outcome[LOSS]):
                loss, lr = outcome[LOSS], self._config.lr
                stopped = f"the training loss was {loss} at step {batch.step + 1} (lr {lr:g})"
                break
            self._asked_to_stop |= outcome[STOP] > 0
            self.history.steps_done += 1
            self.history.num_tokens += batch.num_tokens
            self.history.train_losses.append(outcome[LOSS])
            reports.append(
                StepReport(
                    step=self.history.steps_done,
                    num_steps=self._config.num_steps,
                    loss=outcome[LOSS],
                    lr=self._config.lr_at(batch.step),
                    num_tokens=self.history.num_tokens,
                    seconds=self.history.seconds,
                )
            )
        # Once the history tells of every step that moved the values: what hears of one may raise.
        for report in reports:
            self._calls.on_step(report)
        return stopped

    def save(self) -> None:
        """Save the state after the last step, which must have been looked at."""
        assert not self._unseen, "the values are ahead of the history"
        if self._saving is None or not self._processes.is_main or not self.history.steps_done:
            return
        tensors = {name: values.cpu() for name, values in self._stepper.state().items()}
        if self._best is not None and self.history.best_step != self.history.steps_done:
            tensors["best"] = self._best.cpu()
        self._saving.folder.save(tensors, self.history, self._stepper.counts())
        self._last_save = time.monotonic()

    def result(
        self, usual_lr: float, stopped: str | None, resumed_at: int | None
    ) -> TrainingResult:
        """Return the best values, which are left in the slice.

        Raises:
            TrainingError: None were worth keeping; the hint is a learning rate below `usual_lr`.
        """
        history = self.history
        if self._best is None or history.best_step is None:
            lower = min(self._config.lr / 10, usual_lr)
            raise TrainingError(
                f"Training stopped: {stopped}, before any adapter was worth keeping.",
                hint=f"Try a lower learning rate, such as --lr {lower:g}.",
            )
        self._stepper.values.copy_(self._best)
        return TrainingResult(
            tensors=self._trained.get_values(),
            best_step=history.best_step,
            steps_done=history.steps_done,
            curve=tuple(history.curve),
            num_tokens=history.num_tokens,
            seconds=history.seconds,
            stopped=stopped,
            resumed_at=resumed_at,
        )

    @property
    def _steps_run(self) -> int:
        return self.history.steps_done + len(self._unseen)

    def _is_time_to_look(self) -> bool:
        on_cpu = self._processes.device.type == "cpu"
        return on_cpu or self._steps_run % STEPS_BETWEEN_LOOKS == 0

    def _validate(self) -> str | None:
        """Score the values and keep a copy of the best; return a sentence if they diverged."""
        loss = self._calls.validate()
        if not loss < DIVERGED_NATS:
            return f"the held-out loss was {loss} at step {self.history.steps_done}"
        if self.history.add_validation(loss, self._config.lr_at(self.history.steps_done - 1)):
            if self._best is None:
                self._best = torch.empty_like(self._stepper.values)
            self._best.copy_(self._stepper.values)
        self._calls.on_validation(self.history.curve[-1])
        return None

    def _stop_as_asked(self, stopped: str | None) -> str | None:
        """Find out who asked to stop, if anybody did; return why the run ended early."""
        if not self._asked_to_stop:
            return stopped
        # All processes know that they are to stop, but not each of them why.
        self.has_signal = any(self._processes.gather(self._calls.has_signal))
        if stopped or self.has_signal or self.history.steps_done == self._config.num_steps:
            return stopped
        # Behind the save: who goes on from there does not validate at this step.
        failed = None if self.history.is_validated else self._validate()
        return failed or ASKED_TO_STOP

    def _save_now_and_then(self) -> None:
        if self._saving is None or not self._processes.is_main:
            return
        if time.monotonic() - self._last_save >= self._saving.every_seconds:
            self.save()


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
            batch = ahead.pop().result()
            if step + 1 < config.num_steps:
                ahead.append(
                    pool.submit(lambda step: stepper.prepare(step, next(batches)), step + 1)
                )
            yield batch


def _validation_steps(config: TrainingConfig) -> frozenset[int]:
    """Return the steps after which to validate: evenly spaced, the last step always among them."""
    count = min(config.num_validations, config.num_steps)
    return frozenset(round(config.num_steps * (i + 1) / count) for i in range(count))

"""The training of one job: what it starts from, goes on from, and tells of itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmod_extend.evaluation.masked_perplexity import masked_losses
from xmod_extend.evaluation.probe import Ranking
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.job import Job, training_config
from xmod_extend.model.adapter import adapter_set
from xmod_extend.model.memory import give_back_memory
from xmod_extend.model.trainable import TrainableSet
from xmod_extend.objectives.prediction import Objective
from xmod_extend.report.metrics import Metrics, Tracker, logs_folder
from xmod_extend.training.configuration import TrainingConfig
from xmod_extend.training.history import CurvePoint, StepReport
from xmod_extend.training.loop import ASKED_TO_STOP, Saving, TrainingResult, train
from xmod_extend.training.signals import Signals, held_signals
from xmod_extend.training.state import SavedState, StateFolder

VALIDATION_TOKENS = 16_384
"""Held-out tokens scored at each validation; the final score is of all of them."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A training run's result, with what it was started from and how it was set."""

    init: str
    """`random`, `mean` or `from:CODE`; `nearest` is resolved."""
    config: TrainingConfig
    trainable: TrainableSet
    result: TrainingResult


def state_to_resume(job: Job, states: StateFolder) -> SavedState | None:
    """Return the state to go on from; what another run left is removed if that was asked for."""
    saved = None
    if job.options.resume:
        states.refuse_another_run()
        saved = states.load_newest()
    if job.processes.is_main:
        if not job.options.resume:
            states.clear()
        states.begin()
    if not job.options.resume:
        return None
    job.processes.require_same(None if saved is None else saved.history.steps_done, states.path)
    if saved is None:
        job.callback.on_note(f"there is no saved state in {states.path}: starting at step 1")
    else:
        job.callback.on_note(f"going on from the state saved after step {saved.history.steps_done}")
        before, now = saved.history.num_processes, job.processes.count
        if before != now:
            job.callback.on_note(
                f"{before} processes saved it and {now} go on: the result is the same but for the "
                "rounding of sums"
            )
    return saved


@contextmanager
def open_metrics(job: Job, path: Path, *, last_step: int) -> Iterator[Metrics | None]:
    """Yield what writes the figures of a training; None in all processes but the first."""
    if not job.processes.is_main:
        yield None
        return
    tracker = None
    if job.options.report_to is not None:
        logs = logs_folder(job.output_plan.output)
        if job.options.report_to == "tensorboard":
            job.callback.on_note(f"figures for TensorBoard go to {logs}")
        tracker = Tracker(
            job.options.report_to,
            job.language.code,
            options=job.options.to_json(),
            logs=logs,
            last_step=last_step,
            warn=job.callback.on_warning,
        )
    with Metrics(path, last_step=last_step, tracker=tracker) as metrics:
        yield metrics


def training_objective(job: Job) -> Objective:
    """Return masked language modelling as the options ask for it."""
    options = job.options
    scheme = job.text.masking_scheme(mlm_probability=options.mlm_probability, seed=options.seed)
    return scheme.corrupt


def train_adapter(
    job: Job,
    ranking: Ranking,
    saving: Saving | None = None,
    metrics: Metrics | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
) -> Trained:
    """Train the new language's adapter as the options say.

    Args:
        saving: Where the state is saved, if it is.
        metrics: Hears of each step, as the job's callback does.
        changes: Fields of `TrainingConfig` that no option sets, for measuring what they do.
    """
    config = dataclasses.replace(training_config(job), **(changes or {}))
    init = job.options.init
    if init == "nearest":
        init = f"from:{ranking.best.language}"
    trainable = adapter_set(job.model, job.checkpoint, init=init, seed=job.options.seed)
    trainable.initialise()
    job.callback.on_stage(
        f"Training {config.num_steps:,} steps of {config.batch_size} x {job.text.max_length} "
        f"tokens from {init}, peak lr {config.lr:g}, {job.precision} on {job.processes.device.type}"
        + (f" in {job.processes.count} processes" if job.processes.count > 1 else "")
    )
    sample = job.text.held_out.sample(VALIDATION_TOKENS)
    callbacks: list[Callback | Metrics] = [job.callback, *filter(None, [metrics])]
    with held_signals() as signals:
        guarded = _GuardedCallbacks(callbacks, signals)
        result = train(
            job.model,
            trainable,
            job.text.train,
            training_objective(job),
            config,
            processes=job.processes,
            validate=lambda: masked_losses(job.model, sample, processes=job.processes).mean_nats,
            saving=saving,
            signals=signals,
            is_asked_to_stop=lambda: job.callback.stop_requested,
            on_step=guarded.on_step,
            on_validation=guarded.on_validation,
        )
    # It was for this training alone: the callback may hear of another one.
    job.callback.stop_requested = False
    give_back_memory()
    _tell_an_early_end(job, config, result)
    return Trained(init=init, config=config, trainable=trainable, result=result)


def _tell_an_early_end(job: Job, config: TrainingConfig, result: TrainingResult) -> None:
    if result.stopped == ASKED_TO_STOP:
        job.callback.on_note(
            f"Training ended after step {result.steps_done:,} of {config.num_steps:,}, as asked; "
            f"the adapter of step {result.best_step:,} is kept"
        )
    elif result.stopped:
        job.callback.on_warning(
            f"Training stopped early: {result.stopped}; the adapter of step {result.best_step} is "
            "kept. A lower --lr may help."
        )


class _GuardedCallbacks:
    """Passes on what happens in training; an error of who hears it ends the run, its state saved.

    Without that, a slip in a notebook's own callback would cost the hours since the last state.
    """

    def __init__(self, callbacks: Sequence[Callback | Metrics], signals: Signals) -> None:
        self._callbacks, self._signals = callbacks, signals

    def on_step(self, report: StepReport) -> None:
        for callback in self._callbacks:
            with self._holding_errors():
                callback.on_step(report)

    def on_validation(self, point: CurvePoint) -> None:
        for callback in self._callbacks:
            with self._holding_errors():
                callback.on_validation(point)

    @contextmanager
    def _holding_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            error.add_note("It ended training; what was trained is saved: resume=True goes on.")
            self._signals.hold_error(error)

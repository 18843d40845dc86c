"""The main job: add a language to an X-MOD and prove that nothing else changed.

    options -> base, language and output checked -> text -> tokens -> slice -> probe
            -> training -> evaluation -> graft and verification -> run record

Whatever can be refused is refused as early as it can be known: the cheap checks come before the
text is read, the text before a base is downloaded, and disk space before training.
"""

from __future__ import annotations

import dataclasses
import datetime
import inspect
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmod_extend.errors import TrainingError
from xmod_extend.evaluation.perplexity import compare, evaluate
from xmod_extend.evaluation.probe import (
    ProbeResult,
    coverage_warnings,
    planned_tokens,
    probe_adapters,
)
from xmod_extend.evaluation.unigram import unigram_losses
from xmod_extend.evaluation.verdict import advise, describe_result, needs_advice
from xmod_extend.files.atomic import write_atomically
from xmod_extend.files.run_folder import METRICS_NAME, PROBE_NAME, hold_run_folder
from xmod_extend.jobs.callbacks import Callback, choose_callback
from xmod_extend.jobs.checks import Request, check_request, keeping_what_is_saved
from xmod_extend.jobs.job import Job, identity, load_job, training_config
from xmod_extend.jobs.options import AddOptions, merge_options
from xmod_extend.jobs.output import TrainedLanguage, write_extended
from xmod_extend.model.adapter import (
    Adapter,
    mean_adapter,
    random_adapter,
    read_adapter,
    set_adapter,
)
from xmod_extend.model.global_state import own_global_state
from xmod_extend.model.memory import give_back_memory
from xmod_extend.model.slice import free_slice
from xmod_extend.report.metrics import Metrics, Tracker, logs_folder
from xmod_extend.report.record import (
    BaseRecord,
    EvaluationRecord,
    PlanRecord,
    RunRecord,
    TrainingRecord,
    package_versions,
)
from xmod_extend.training.configuration import TrainingConfig, default_lr, default_num_steps
from xmod_extend.training.history import CurvePoint, StepReport
from xmod_extend.training.loop import (
    ASKED_TO_STOP,
    Saving,
    TrainingResult,
    seconds_per_step,
    train,
)
from xmod_extend.training.processes import LostProcessError
from xmod_extend.training.signals import Signals, entered_whole, held_signals
from xmod_extend.training.state import SavedState, StateFolder

VALIDATION_TOKENS = 16_384
"""Of the held-out text, scored at each validation; the final score is of all of it."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A training run's result, with what it was started from and how it was set."""

    init: str
    """`random`, `mean` or `from:CODE`; `nearest` is resolved."""
    config: TrainingConfig
    result: TrainingResult


def add_language(
    *, callback: Callback | None = None, progress: bool = True, **options: Any
) -> RunRecord:
    """Add a language to an X-MOD and write the extended checkpoint.

    The options are the fields of `AddOptions`, which the command line and a YAML file share:
    `add_language(lang="quz_PE", corpus="data/quechua.txt", base="tiny")`.

    Args:
        callback: Hears of the run's progress, in place of the display, and may end training.
        progress: Whether progress and warnings are shown if there is no callback.

    Returns:
        The run record, which is also in the output's run.json.

    Raises:
        XmodExtendError: What cannot be done, as one of the classes in `xmod_extend.errors`.
    """
    with choose_callback(callback, progress) as callback:
        return run_add(check_request(merge_options(None, options), callback), callback)


# A notebook's completion and help() show the options by name.
add_language.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        *inspect.signature(AddOptions).parameters.values(),
        *list(inspect.signature(add_language).parameters.values())[:2],
    ]
)


@own_global_state()
def run_add(request: Request, callback: Callback) -> RunRecord:
    """`add_language` for a request that is already checked."""
    if request.options.plan:
        return plan_language(load_job(request, callback))
    with (
        keeping_what_is_saved(request.output),
        entered_whole(hold_run_folder(request.output, callback.on_note)) as run,
    ):
        job = load_job(request, callback)
        states = StateFolder(run.path, identity(job))
        trained = train_language(job, states)
        job.processes.end()
        if not job.processes.is_main:
            return trained.record
        free_slice(job.model)
        (record,) = write_extended(
            job.checkpoint, request, [trained], job.text.tokenizer.files, callback
        )
        run.clear()
        return record


def plan_language(job: Job) -> RunRecord:
    """Return what training would be; nothing is trained or written."""
    probe = probe_base(job)
    return _record(job, probe, plan=_plan(job))


def train_language(job: Job, states: StateFolder) -> TrainedLanguage:
    """Train and scores the language's adapter, its states saved in a folder."""
    try:
        return _train_and_score(job, states)
    except TrainingError as error:
        if job.processes.is_main and not isinstance(error, LostProcessError):
            # To go on from a state of it would only end there again.
            states.clear()
        raise


def _train_and_score(job: Job, states: StateFolder) -> TrainedLanguage:
    saved = _take_up(job, states)
    last_step = 0 if saved is None else saved.history.steps_done
    probe = _probe_once(job, states)
    saving = Saving(folder=states, every_seconds=60 * job.options.save_minutes, resume_from=saved)
    del saved
    path = states.path / METRICS_NAME
    if job.processes.is_main:
        with _metrics(job, path, last_step) as metrics:
            trained = train_adapter(job, probe, saving, metrics)
    else:
        trained = train_adapter(job, probe, saving)
    evaluation = evaluate_adapter(job, probe, trained)
    return TrainedLanguage(
        adapter=trained.result.adapter,
        record=_record(job, probe, training=_training_record(job, trained), evaluation=evaluation),
        metrics=path.read_text(encoding="utf-8") if job.processes.is_main else "",
    )


def _metrics(job: Job, path: Path, last_step: int) -> Metrics:
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
    return Metrics(path, last_step=last_step, tracker=tracker)


def _take_up(job: Job, states: StateFolder) -> SavedState | None:
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


def _probe_once(job: Job, states: StateFolder) -> ProbeResult:
    """Return the probe of the base, from the run's folder if it was done before an interruption."""
    path = states.path / PROBE_NAME
    if job.options.resume:
        with suppress(OSError, ValueError):
            return ProbeResult.from_bytes(path.read_bytes())
    probe = probe_base(job)
    if job.processes.is_main:
        write_atomically(path, probe.to_bytes())
    return probe


def probe_base(job: Job) -> ProbeResult:
    """Rank the existing adapters on the held-out text."""
    languages = job.checkpoint.languages
    planned = planned_tokens(job.text.held_out, len(languages))
    job.callback.on_stage(f"Probing {len(languages)} existing adapters on the held-out text")
    probe = probe_adapters(
        job.model,
        job.checkpoint,
        job.text.held_out,
        processes=job.processes,
        sign=lambda text: job.text.signature(job.precision, text),
        on_score=lambda candidate: job.callback.on_candidate(candidate, planned),
    )
    give_back_memory()
    best = probe.best
    job.callback.on_note(
        f"best existing adapter: {best.language}, perplexity {best.perplexity:,.1f}"
    )
    for warning in coverage_warnings(probe):
        job.callback.on_warning(warning)
    return probe


def _initial_adapter(job: Job, probe: ProbeResult) -> tuple[str, Adapter]:
    """Return what the new adapter starts from, with `nearest` resolved."""
    init = job.options.init
    if init == "random":
        return init, random_adapter(job.model, seed=job.options.seed)
    if init == "mean":
        return init, mean_adapter(job.checkpoint, job.checkpoint.languages)
    donor = probe.best.language if init == "nearest" else init.removeprefix("from:")
    return f"from:{donor}", read_adapter(job.checkpoint, donor)


def train_adapter(
    job: Job,
    probe: ProbeResult,
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
    init, adapter = _initial_adapter(job, probe)
    set_adapter(job.model, adapter)
    del adapter
    job.callback.on_stage(
        f"Training {config.num_steps:,} steps of {config.batch_size} x {job.text.max_length} "
        f"tokens from {init}, peak lr {config.lr:g}, {job.precision} on {job.processes.device.type}"
        + (f" in {job.processes.count} processes" if job.processes.count > 1 else "")
    )
    sample = job.text.held_out.sample(VALIDATION_TOKENS)
    callbacks: list[Callback | Metrics] = [job.callback, *filter(None, [metrics])]
    with held_signals() as signals:
        telling = _Telling(callbacks, signals)
        result = train(
            job.model,
            job.text.train,
            job.text.masking_scheme(
                mlm_probability=job.options.mlm_probability, seed=job.options.seed
            ),
            config,
            processes=job.processes,
            validate=lambda: evaluate(job.model, sample, processes=job.processes).mean_nats,
            saving=saving,
            signals=signals,
            is_asked_to_stop=lambda: job.callback.stop_requested,
            on_step=telling.on_step,
            on_validation=telling.on_validation,
        )
    # It was for this training alone: the callback may hear of another one.
    job.callback.stop_requested = False
    give_back_memory()
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
    return Trained(init=init, config=config, result=result)


class _Telling:
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


def evaluate_adapter(job: Job, probe: ProbeResult, trained: Trained) -> EvaluationRecord:
    """Score the new adapter on all of the held-out text, against the best existing one."""
    job.callback.on_stage("Scoring the held-out text")
    set_adapter(job.model, trained.result.adapter)
    losses = evaluate(job.model, job.text.held_out, processes=job.processes)
    before, after = job.signed_score(probe.best_losses), job.signed_score(losses)
    gain = compare(probe.best_losses, losses, seed=job.options.seed)
    if gain.ratio <= 1 and trained.result.stopped not in (None, ASKED_TO_STOP):
        raise TrainingError(
            f"Training stopped early ({trained.result.stopped}), and its best adapter has a "
            f"held-out perplexity of {after.perplexity:,.1f}, no better than "
            f"{probe.best.language}'s {before.perplexity:,.1f}; nothing was written.",
            hint="Try a lower --lr.",
        )
    counts = job.text.train.token_counts(job.text.token_bytes.size)
    guesses = unigram_losses(losses, counts, special_ids=job.text.evaluation_scheme.special_ids)
    over_unigram = compare(guesses, losses, seed=job.options.seed)
    unreadable = job.text.report.unreadable
    verdict = describe_result(
        best_existing=probe.best.language,
        over_existing=gain,
        over_unigram=over_unigram,
        unreadable=unreadable,
        words_hit=_words_hit(job),
    )
    advice = ""
    if unreadable is None and needs_advice(gain, over_unigram):
        advice = _advise(job, trained)
    if unreadable or advice:
        job.callback.on_warning(f"{verdict} {advice}".rstrip())
    return EvaluationRecord(
        best_existing=probe.best.language,
        before=before,
        after=after,
        improvement=gain,
        unigram=job.signed_score(guesses),
        improvement_over_unigram=over_unigram,
        verdict=verdict,
        advice=advice,
    )


def _advise(job: Job, trained: Trained) -> str:
    config, report = trained.config, job.text.report
    return advise(
        lr=config.lr,
        default_lr=default_lr(job.model.config.hidden_size),
        num_steps=trained.result.steps_done,
        default_num_steps=default_num_steps(job.text.train.num_tokens),
        best_step=trained.result.best_step,
        text_bytes=report.train_bytes,
        words_hit=_words_hit(job),
    )


def _words_hit(job: Job) -> float:
    coverage = job.text.report.coverage
    return coverage.words_hit if coverage is not None else 0.0


def _plan(job: Job) -> PlanRecord:
    job.callback.on_stage("Timing a training step")
    config = training_config(job)
    scheme = job.text.masking_scheme(mlm_probability=job.options.mlm_probability, seed=0)
    seconds = seconds_per_step(job.model, job.text.train, scheme, config, processes=job.processes)
    num_tokens = config.num_steps * config.batch_size * job.text.max_length
    return PlanRecord(
        num_steps=config.num_steps,
        num_tokens=num_tokens,
        num_epochs=job.text.train.num_epochs(num_tokens),
        lr=config.lr,
        seconds_per_step=seconds,
        estimated_seconds=seconds * config.num_steps,
        output=str(job.output_plan.output),
        output_bytes=job.output_plan.needed_bytes,
    )


def _training_record(job: Job, trained: Trained) -> TrainingRecord:
    config, result = trained.config, trained.result
    return TrainingRecord(
        init=trained.init,
        num_parameters=sum(tensor.numel() for tensor in result.adapter.values()),
        num_steps=config.num_steps,
        steps_done=result.steps_done,
        best_step=result.best_step,
        batch_size=config.batch_size,
        max_length=job.text.max_length,
        lr=config.lr,
        warmup_fraction=config.warmup_fraction,
        weight_decay=config.weight_decay,
        adam_beta2=config.adam_beta2,
        clip_norm=config.clip_norm,
        mlm_probability=job.options.mlm_probability,
        dropout=config.dropout,
        precision=job.precision,
        device=job.processes.device.type,
        num_tokens=result.num_tokens,
        num_epochs=job.text.train.num_epochs(result.num_tokens),
        seconds=result.seconds,
        curve=result.curve,
        stopped=result.stopped,
        adam_beta1=config.adam_beta1,
        adam_epsilon=config.adam_epsilon,
        first_basis=config.first_basis,
        accumulation=config.accumulation,
        num_processes=job.processes.count,
    )


def _record(job: Job, probe: ProbeResult, **parts: Any) -> RunRecord:
    checkpoint = job.checkpoint
    return RunRecord(
        language=job.language.code,
        language_name=job.language.name,
        bcp47=job.language.bcp47,
        base=BaseRecord(
            name=job.base.name,
            source=job.base.base,
            commit=job.base.commit,
            languages=tuple(checkpoint.languages),
            num_parameters=checkpoint.num_parameters,
            files=job.base_files,
        ),
        options=job.options.to_json(),
        corpus=job.text.report,
        tokenizer=job.text.tokenizer.source,
        tokenizer_sha256=job.text.tokenizer.sha256,
        probe=probe.candidates,
        warnings=(*job.text.report.warnings, *coverage_warnings(probe)),
        versions=package_versions(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds=time.perf_counter() - job.started,
        **parts,
    )

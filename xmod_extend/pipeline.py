"""The main job: add a language to an X-MOD and prove that nothing else changed.

    options -> base, language and output checked -> text -> tokens -> slice -> probe
            -> training -> evaluation -> graft and verification -> run record

Whatever can be refused is refused as early as it can be known: the cheap checks come before the
text is read, the text before a base is downloaded, and disk space before training.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib
import inspect
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmod_extend.errors import CheckFailedError, TrainingError
from xmod_extend.evaluation.perplexity import Score, TokenLosses, compare, evaluate, score
from xmod_extend.evaluation.probe import (
    ProbeResult,
    coverage_warnings,
    num_scorings,
    probe_adapters,
)
from xmod_extend.evaluation.verify import verify_checkpoint
from xmod_extend.languages import Language
from xmod_extend.model.adapter import (
    Adapter,
    full_names,
    mean_adapter,
    random_adapter,
    read_adapter,
    set_adapter,
)
from xmod_extend.model.base import BaseReference
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.graft import OutputPlan, plan_output, write_extended
from xmod_extend.model.slice import load_slice
from xmod_extend.options import AddOptions, merge_options
from xmod_extend.preflight import Request, check_request
from xmod_extend.preparation import PreparedText, prepare_text
from xmod_extend.progress import Observer
from xmod_extend.report.record import (
    BaseRecord,
    EvaluationRecord,
    PlanRecord,
    RunRecord,
    TrainingRecord,
    VerificationRecord,
    package_versions,
)
from xmod_extend.sharing.card import model_card
from xmod_extend.text.corpus import Corpus, read_corpus
from xmod_extend.text.streaming import StreamedCorpus, stream_corpus
from xmod_extend.training.configuration import TrainingConfig, default_lr, default_num_steps
from xmod_extend.training.device import choose_precision, make_processes
from xmod_extend.training.loop import Saving, TrainingResult, seconds_per_step, train
from xmod_extend.training.processes import Processes
from xmod_extend.training.signals import held_signals
from xmod_extend.training.state import (
    SavedState,
    StateFolder,
    run_folder,
    write_atomically,
)

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

VALIDATION_TOKENS = 16_384
"""Of the held-out text, scored at each validation; the final score is of all of it."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that is ready before the first adapter is scored."""

    options: AddOptions
    observer: Observer
    base: BaseReference
    checkpoint: Checkpoint
    language: Language
    output_plan: OutputPlan
    text: PreparedText
    processes: Processes
    precision: str
    model: XmodForMaskedLM
    """The slice, whose slot belongs to the new language."""
    started: float

    @functools.cached_property
    def base_files(self) -> dict[str, str]:
        """Name of each of the base's weight files to the SHA-256 of its bytes."""
        return {file.name: _sha256(file) for file in self.checkpoint.files}

    def signed_score(self, losses: TokenLosses) -> Score:
        signature = self.text.signature(self.precision)
        return score(losses, token_bytes=self.text.token_bytes, signature=signature)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A training run's result, with what it was started from and how it was set."""

    init: str
    """`random`, `mean` or `from:CODE`; `nearest` is resolved."""
    config: TrainingConfig
    result: TrainingResult


def add_language(*, observer: Observer | None = None, **options: Any) -> RunRecord:
    """Adds a language to an X-MOD and writes the extended checkpoint.

    The options are the fields of `AddOptions`, which the command line and a YAML file share:
    `add_language(lang="quz_PE", corpus="data/quechua.txt", base="tiny")`.

    Args:
        observer: Hears of the run's progress; nothing is shown without one.

    Returns:
        The run record, which is also in the output's run.json.

    Raises:
        XmodExtendError: What cannot be done, as one of the classes in `xmod_extend.errors`.
    """
    observer = observer or Observer()
    return run_add(check_request(merge_options(None, options), observer), observer)


# A notebook's completion and help() show the options by name.
add_language.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        *inspect.signature(AddOptions).parameters.values(),
        *list(inspect.signature(add_language).parameters.values())[:1],
    ]
)


def run_add(request: Request, observer: Observer) -> RunRecord:
    """`add_language` for a request that is already checked."""
    job = load_job(request, observer)
    if request.options.plan:
        probe = probe_base(job)
        return _record(job, probe, plan=_plan(job))
    states = StateFolder(run_folder(request.output), _identity(job))
    try:
        saved = _take_up(job, states)
        probe = _probe_once(job, states)
        saving = Saving(
            folder=states, every_seconds=60 * job.options.save_minutes, resume_from=saved
        )
        trained = train_adapter(job, probe, saving)
        evaluation = evaluate_adapter(job, probe, trained)
        job.processes.end()
        record = _write(job, probe, trained, evaluation)
    except BaseException:
        if job.processes.is_main:
            states.remove_if_stateless()
        raise
    if job.processes.is_main:
        states.remove()
    return record


def _write(
    job: Job, probe: ProbeResult, trained: Trained, evaluation: EvaluationRecord
) -> RunRecord:
    """Writes and verifies the extended checkpoint; the first process does, for all."""
    parts = {"training": _training_record(job, trained), "evaluation": evaluation}
    if not job.processes.is_main:
        return _record(job, probe, **parts)
    # Verification loads what was written; two slices at once would double the memory.
    job.model.to("meta")  # type: ignore[arg-type]
    job.observer.on_stage("Writing and verifying the checkpoint")
    record: RunRecord | None = None

    def document(folder: Path) -> Mapping[str, str]:
        # Called before the folder gets its name: what is not verified never appears there.
        nonlocal record
        record = _record(
            job,
            probe,
            **parts,
            verification=_verify(job, folder),
            output=str(job.output_plan.output),
        )
        return {"run.json": record.to_json(), "README.md": model_card(record)}

    write_extended(
        job.checkpoint,
        job.output_plan.output,
        language=job.language.code,
        adapter=full_names(trained.result.adapter, job.language.code),
        documents=document,
        tokenizer_files=job.text.tokenizer.files,
        force=job.options.force,
    )
    assert record is not None
    return record


def _identity(job: Job) -> dict[str, Any]:
    """What a saved state must have been made from, under the names that a user knows."""
    config = dataclasses.asdict(_training_config(job))
    spelled = {
        "num_steps": "the number of steps",
        "batch_size": "--batch-size",
        "lr": "--lr",
        "seed": "--seed",
        "dropout": "--dropout",
        "accumulation": "--accumulation",
        "gradient_checkpointing": "--gradient-checkpointing",
    }
    report = job.text.report
    texts = f"{report.train_sha256} {report.held_out_sha256}".encode()
    weights = " ".join(sorted(job.base_files.values())).encode()
    return {
        "base": hashlib.sha256(weights).hexdigest(),
        "corpus": hashlib.sha256(texts).hexdigest(),
        "tokenizer": job.text.tokenizer.sha256,
        "--lang": job.language.code,
        "--init": job.options.init,
        "--max-length": job.text.max_length,
        "--mlm-probability": job.options.mlm_probability,
        "--precision": job.precision,
        "the kind of device": job.processes.device.type,
    } | {spelled.get(name, name): value for name, value in config.items()}


def _take_up(job: Job, states: StateFolder) -> SavedState | None:
    """The state to go on from; what another run left is removed if that was asked for."""
    if not job.options.resume:
        if job.processes.is_main:
            states.remove()
        return None
    saved = states.load_newest()
    if saved is None:
        job.observer.on_note(f"there is no saved state in {states.path}: starting at step 1")
    else:
        job.observer.on_note(f"going on from the state saved after step {saved.history.steps_done}")
        before, now = saved.history.num_processes, job.processes.count
        if before != now:
            job.observer.on_note(
                f"{before} processes saved it and {now} go on: the result is the same but for the "
                "rounding of sums"
            )
    return saved


def _probe_once(job: Job, states: StateFolder) -> ProbeResult:
    """The probe of the base, from the run's folder if it was done before an interruption."""
    path = states.path / "probe.safetensors"
    if job.options.resume:
        with suppress(OSError, ValueError):
            return ProbeResult.from_bytes(path.read_bytes())
    probe = probe_base(job)
    if job.processes.is_main:
        states.make()
        write_atomically(path, probe.to_bytes())
    return probe


def prepare(options: AddOptions, observer: Observer) -> Job:
    """Checks everything that can be checked, reads the text and loads the slice."""
    return load_job(check_request(options, observer), observer)


def load_job(request: Request, observer: Observer) -> Job:
    """Reads the text and loads the slice."""
    started = time.perf_counter()
    options, base, language = request.options, request.base, request.language
    observer.on_stage("Reading the corpus")
    read = stream_corpus if options.streaming else read_corpus
    corpus: Corpus | StreamedCorpus = read(
        options.corpus,
        held_out=options.held_out,
        text_field=options.text_field,
        encoding_errors=options.encoding_errors,
    )
    checkpoint = open_checkpoint(base.fetch())
    output_plan = plan_output(
        checkpoint, request.output, language=language.code, force=options.force
    )
    text = prepare_text(corpus, checkpoint, max_length=options.max_length, observer=observer)
    report = text.report
    observer.on_note(
        f"{report.kept_lines:,} of {report.lines:,} lines kept "
        f"({report.duplicate_lines:,} duplicates, {report.empty_lines:,} empty); "
        f"{report.train_lines:,} to train on, {report.held_out_lines:,} held out"
    )
    observer.on_note(
        f"{report.tokens:,} tokens, {report.fertility or 0:.2f} a word, "
        f"{report.unk_rate or 0:.2%} unknown"
    )
    for warning in report.warnings:
        observer.on_warning(warning)

    observer.on_stage("Loading the shared weights")
    processes = make_processes()
    precision = choose_precision(options.precision, processes.device)
    model = load_slice(checkpoint, language.code, precision=precision)
    return Job(
        options=options,
        observer=observer,
        base=base,
        checkpoint=checkpoint,
        language=language,
        output_plan=output_plan,
        text=text,
        processes=processes,
        precision=precision.name,
        model=model.to(processes.device),  # type: ignore[arg-type]
        started=started,
    )


def probe_base(job: Job) -> ProbeResult:
    """Ranks the existing adapters on the held-out text."""
    languages = job.checkpoint.languages
    scorings = num_scorings(len(languages))
    job.observer.on_stage(f"Probing {len(languages)} existing adapters on the held-out text")
    probe = probe_adapters(
        job.model,
        job.checkpoint,
        job.text.held_out,
        processes=job.processes,
        on_score=lambda candidate: job.observer.on_candidate(candidate, scorings),
    )
    best = probe.best
    job.observer.on_note(
        f"best existing adapter: {best.language}, perplexity {best.perplexity:,.1f}"
    )
    for warning in coverage_warnings(probe):
        job.observer.on_warning(warning)
    return probe


def _training_config(job: Job) -> TrainingConfig:
    options, text = job.options, job.text
    steps = options.max_steps
    if options.epochs is not None:
        steps = max(1, round(options.epochs * len(text.train) / options.batch_size))
    return TrainingConfig(
        num_steps=steps or default_num_steps(text.train.num_tokens),
        batch_size=options.batch_size,
        lr=options.lr or default_lr(job.model.config.hidden_size),
        seed=options.seed,
        dropout=options.dropout,
        accumulation=options.accumulation,
        gradient_checkpointing=options.gradient_checkpointing,
    )


def _initial_adapter(job: Job, probe: ProbeResult) -> tuple[str, Adapter]:
    """What the new adapter starts from, with `nearest` resolved."""
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
    *,
    changes: Mapping[str, Any] | None = None,
) -> Trained:
    """Trains the new language's adapter as the options say.

    Args:
        saving: Where the state is saved, if it is.
        changes: Fields of `TrainingConfig` that no option sets, for measuring what they do.
    """
    config = dataclasses.replace(_training_config(job), **(changes or {}))
    init, adapter = _initial_adapter(job, probe)
    set_adapter(job.model, adapter)
    job.observer.on_stage(
        f"Training {config.num_steps:,} steps of {config.batch_size} x {job.text.max_length} "
        f"tokens from {init}, peak lr {config.lr:g}, {job.precision} on {job.processes.device.type}"
        + (f" in {job.processes.count} processes" if job.processes.count > 1 else "")
    )
    sample = job.text.held_out.sample(VALIDATION_TOKENS)
    with held_signals() as signals:
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
            on_step=job.observer.on_step,
            on_validation=job.observer.on_validation,
        )
    if result.stopped:
        job.observer.on_warning(
            f"Training stopped early: {result.stopped}; the adapter of step {result.best_step} is "
            "kept. A lower --lr may help."
        )
    return Trained(init=init, config=config, result=result)


def evaluate_adapter(job: Job, probe: ProbeResult, trained: Trained) -> EvaluationRecord:
    """Scores the new adapter on all of the held-out text, against the best existing one."""
    job.observer.on_stage("Scoring the held-out text")
    set_adapter(job.model, trained.result.adapter)
    losses = evaluate(job.model, job.text.held_out, processes=job.processes)
    before, after = job.signed_score(probe.best_losses), job.signed_score(losses)
    gain = compare(probe.best_losses, losses, seed=job.options.seed)
    if gain.ratio <= 1 and trained.result.stopped:
        raise TrainingError(
            f"Training stopped early ({trained.result.stopped}), and its best adapter has a "
            f"held-out perplexity of {after.perplexity:,.1f}, no better than "
            f"{probe.best.language}'s {before.perplexity:,.1f}; nothing was written.",
            hint="Try a lower --lr.",
        )
    if gain.low <= 1:
        job.observer.on_warning(
            f"The new adapter is not clearly better than {probe.best.language}: perplexity "
            f"{after.perplexity:,.1f} against {before.perplexity:,.1f} on the held-out text; more "
            "text or more steps may help."
        )
    return EvaluationRecord(
        best_existing=probe.best.language, before=before, after=after, improvement=gain
    )


def _verify(job: Job, folder: Path) -> VerificationRecord:
    """Compares what was written with the base, before it gets its name."""
    result = verify_checkpoint(folder, job.checkpoint.path)
    if result.differences or result.added_languages != (job.language.code,):
        raise CheckFailedError(
            f"The checkpoint that was written differs from its base: "
            f"{'; '.join(result.differences[:3]) or result.added_languages}; it was removed.",
            hint="The disk may be damaged; please report it if it happens again.",
        )
    return VerificationRecord(
        identical=True,
        tensors_compared=result.tensors_compared,
        languages_compared=len(result.languages_compared),
        differences=result.differences,
    )


def _plan(job: Job) -> PlanRecord:
    job.observer.on_stage("Timing a training step")
    config = _training_config(job)
    scheme = job.text.masking_scheme(mlm_probability=job.options.mlm_probability, seed=0)
    seconds = seconds_per_step(job.model, job.text.train, scheme, config, processes=job.processes)
    num_tokens = config.num_steps * config.batch_size * job.text.max_length
    return PlanRecord(
        num_steps=config.num_steps,
        num_tokens=num_tokens,
        num_epochs=num_tokens / (len(job.text.train) * job.text.max_length),
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
        num_epochs=result.num_tokens / (len(job.text.train) * job.text.max_length),
        seconds=result.seconds,
        curve=result.curve,
        stopped=result.stopped,
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


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

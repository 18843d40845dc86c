"""One language's run, with all that is ready before the first adapter is scored.

The base is opened and its slice loaded once, also where several languages are added: they have the
slot one after another.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.masked_perplexity import METRIC_VERSION
from xmod_extend.evaluation.score import Score, score
from xmod_extend.files.hashing import FileHashes
from xmod_extend.files.run_folder import run_folder
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.checks import Request, check_request, keeping_what_is_saved
from xmod_extend.jobs.options import AddOptions
from xmod_extend.jobs.prepared_text import PreparedText, prepare_text, read_text
from xmod_extend.languages import Language
from xmod_extend.model.base import BaseReference
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.extension import extended_contents, planned_adapter
from xmod_extend.model.memory import give_back_memory
from xmod_extend.model.slice import load_slice, rename_slot
from xmod_extend.model.upstream import check_usable
from xmod_extend.model.weights import open_weights
from xmod_extend.model.writer import DiskUse, OutputPlan, plan_output
from xmod_extend.text.cache import forget_refused_text
from xmod_extend.text.corpus import Corpus
from xmod_extend.training.configuration import TrainingConfig, default_lr, default_num_steps
from xmod_extend.training.device import choose_precision, make_processes
from xmod_extend.training.processes import Processes
from xmod_extend.training.state import NUM_KEPT, state_bytes

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM


@dataclass(frozen=True, kw_only=True)
class LoadedBase:
    """The base, loaded for as many languages as are added to it."""

    base: BaseReference
    checkpoint: Checkpoint
    output_plan: OutputPlan
    processes: Processes
    precision: str
    model: XmodForMaskedLM
    """The slice, whose slot takes the adapter that is worked on."""
    base_files: dict[str, str]
    """Name of each of the base's weight files to the SHA-256 of its bytes."""


@dataclass(frozen=True, kw_only=True)
class Job(LoadedBase):
    """All that is ready before the first adapter is scored."""

    options: AddOptions
    callback: Callback
    language: Language
    text: PreparedText
    started: float

    def signed_score(self, losses: TokenLosses) -> Score:
        """Return the score of the held-out text."""
        return score(losses, self.text.scored_text(self.precision))


def prepare(options: AddOptions, callback: Callback) -> Job:
    """Check everything that can be checked, read the text and load the slice."""
    return load_job(check_request(options, callback), callback)


@forget_refused_text()
def load_job(request: Request, callback: Callback) -> Job:
    """Read the text and load the slice, in an order that refuses what it can early."""
    started = time.perf_counter()
    check_usable(request.base.load_config())
    with FileHashes() as hashes:
        local = request.base.path
        if local is not None:
            # While the text is read; a text that is refused waits for no hash.
            hashes.begin(lambda: [file.path for file in open_weights(local).files])
        corpus = read_text(request.options, callback)
        checkpoint, output_plan = open_base([request])
        hashes.begin(lambda: checkpoint.files)
        text = _prepare(corpus, checkpoint, request, callback)
        loaded = load_base(request, checkpoint, output_plan, callback, hashes)
    return _job(loaded, request, text, callback, started)


@forget_refused_text()
def next_job(loaded: LoadedBase, request: Request, callback: Callback) -> Job:
    """Read the text of a language for a base that is loaded already."""
    started = time.perf_counter()
    corpus = read_text(request.options, callback)
    text = _prepare(corpus, loaded.checkpoint, request, callback)
    rename_slot(loaded.model, request.language.code)
    return _job(loaded, request, text, callback, started)


def open_base(requests: Sequence[Request], *, jobs: int = 1) -> tuple[Checkpoint, OutputPlan]:
    """Open the base, downloaded if need be, and find out if the output can be written."""
    first = requests[0]
    checkpoint = open_checkpoint(first.base.fetch())
    codes = [request.language.code for request in requests]
    adapters = {code: planned_adapter(checkpoint, code) for code in codes}
    with keeping_what_is_saved(first.output):
        return checkpoint, plan_output(
            first.output,
            extended_contents(checkpoint, adapters),
            force=first.options.force,
            others=_plan_states(checkpoint, first.output, len(codes), jobs),
        )


def _plan_states(checkpoint: Checkpoint, output: Path, num_languages: int, jobs: int) -> DiskUse:
    names = checkpoint.adapter_names(checkpoint.languages[0])
    shapes = [checkpoint.info(name).shape for name in names]
    state, adapter = state_bytes(shapes), 4 * sum(map(math.prod, shapes))
    # A state is written before the oldest of those that are kept is removed.
    training = min(jobs, num_languages) * (NUM_KEPT + 1) * state
    if num_languages == 1:
        return DiskUse(
            folder=run_folder(output), before_bytes=training, writing_bytes=NUM_KEPT * state
        )
    finished = num_languages * adapter
    return DiskUse(
        folder=run_folder(output), before_bytes=training + finished, writing_bytes=finished
    )


def load_base(
    request: Request,
    checkpoint: Checkpoint,
    output_plan: OutputPlan,
    callback: Callback,
    hashes: FileHashes | None = None,
) -> LoadedBase:
    """Load the slice.

    Args:
        hashes: Of the base's files, begun before.
    """
    if hashes is None:
        with FileHashes() as hashes:
            hashes.begin(lambda: checkpoint.files)
            return load_base(request, checkpoint, output_plan, callback, hashes)
    callback.on_stage("Loading the shared weights")
    processes = make_processes()
    precision = choose_precision(request.options.precision, processes.device)
    model = load_slice(checkpoint, request.language.code, precision=precision)
    names = [file.name for file in checkpoint.files]
    return LoadedBase(
        base=request.base,
        checkpoint=checkpoint,
        output_plan=output_plan,
        processes=processes,
        precision=precision.name,
        model=model.to(processes.device),  # type: ignore[arg-type]
        base_files=dict(zip(names, hashes.of(checkpoint.files), strict=True)),
    )


def _job(
    loaded: LoadedBase, request: Request, text: PreparedText, callback: Callback, started: float
) -> Job:
    return Job(
        **vars(loaded),
        options=request.options,
        callback=callback,
        language=request.language,
        text=text,
        started=started,
    )


def _prepare(
    corpus: Corpus, checkpoint: Checkpoint, request: Request, callback: Callback
) -> PreparedText:
    text = prepare_text(
        corpus,
        checkpoint,
        max_length=request.options.max_length,
        callback=callback,
        accept_unreadable=request.forced,
    )
    # The tokenizer's: XLM-R's takes 0.4 GB.
    give_back_memory()
    report = text.report
    callback.on_note(
        f"{report.kept_lines:,} of {report.lines:,} lines kept "
        f"({report.duplicate_lines:,} duplicates, {report.empty_lines:,} empty); "
        f"{report.train_lines:,} to train on, {report.held_out_lines:,} held out"
    )
    callback.on_note(
        f"{report.tokens:,} tokens, {report.fertility or 0:.2f} a word, "
        f"{report.unk_rate or 0:.2%} unknown"
    )
    for warning in (*report.notes, *report.warnings):
        callback.on_warning(warning)
    return text


def training_config(job: Job) -> TrainingConfig:
    """Return the training that the options ask for, its defaults filled in."""
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


def identity(job: Job) -> dict[str, Any]:
    """Return what a saved state must have been made from, under the names that a user knows."""
    config = dataclasses.asdict(training_config(job))
    spelled = {
        "num_steps": "the number of steps",
        "batch_size": "--batch-size",
        "lr": "--lr",
        "seed": "--seed",
        "dropout": "--dropout",
        "accumulation": "--accumulation",
        "gradient_checkpointing": "--gradient-checkpointing",
    }
    weights = " ".join(sorted(job.base_files.values())).encode()
    return {
        "base": hashlib.sha256(weights).hexdigest(),
        "corpus": job.text.fingerprint,
        "tokenizer": job.text.tokenizer.sha256,
        "--lang": job.language.code,
        "--init": job.options.init,
        "--max-length": job.text.max_length,
        "--mlm-probability": job.options.mlm_probability,
        "--precision": job.precision,
        "the kind of device": job.processes.device.type,
        "the version of the metric": METRIC_VERSION,
    } | {spelled.get(name, name): value for name, value in config.items()}

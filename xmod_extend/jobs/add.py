"""The main job: add a language to an X-MOD and prove that nothing else changed.

    options -> base, language and output checked -> text -> tokens -> slice -> probe
            -> training -> evaluation -> checkpoint written and verified -> run record

Whatever can be refused is refused as early as it can be known: the cheap checks come before the
text is read, the text before a base is downloaded, and disk space before training.
"""

from __future__ import annotations

import inspect
from typing import Any

from xmod_extend.errors import TrainingError
from xmod_extend.files.run_folder import METRICS_NAME, lock_run_folder
from xmod_extend.jobs.callbacks import Callback, choose_callback
from xmod_extend.jobs.checks import Request, check_request, keeping_what_is_saved
from xmod_extend.jobs.estimate import estimate_run
from xmod_extend.jobs.job import Job, identity, load_job, training_config
from xmod_extend.jobs.learning_curve import draw_learning_curve
from xmod_extend.jobs.options import AddOptions, merge_options
from xmod_extend.jobs.output import TrainedLanguage, write_extended
from xmod_extend.jobs.push import publish_added
from xmod_extend.jobs.records import make_record, plan_record, training_record
from xmod_extend.jobs.scoring import (
    rank_existing,
    saved_ranking,
    score_adapter,
    score_existing,
)
from xmod_extend.jobs.training import open_metrics, state_to_resume, train_adapter
from xmod_extend.model.global_state import own_global_state
from xmod_extend.model.slice import free_slice
from xmod_extend.report.record import RunRecord
from xmod_extend.training.loop import Saving
from xmod_extend.training.processes import LostProcessError
from xmod_extend.training.signals import entered_whole
from xmod_extend.training.state import StateFolder


def add_language(
    *, callback: Callback | None = None, progress: bool = True, **options: Any
) -> RunRecord:
    """Add a language to an X-MOD and write the extended checkpoint.

    The options are the fields of `AddOptions`, which the command line and a YAML file share:
    `add_language(lang="quz_PE", corpus="data/quechua.txt", base="tiny")`. Names of transformers'
    scripts, such as `learning_rate`, are understood too.

    Args:
        callback: Hears of the run's progress, in place of the display, and may end training.
        progress: Whether progress and warnings are shown if there is no callback.

    Returns:
        The run record, which is also in the output's run.json.

    Raises:
        XmodExtendError: What cannot be done, as one of the classes in `xmod_extend.errors`.
    """
    with choose_callback(callback, progress) as callback:
        request = check_request(merge_options(None, options), callback)
        record = run_add(request, callback)
        if not request.options.plan:
            publish_added(request.options, request.output, callback)
        return record


# A notebook's completion and help() show the options by name.
add_language.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        *inspect.signature(AddOptions).parameters.values(),
        *list(inspect.signature(add_language).parameters.values())[:2],
    ]
)


@own_global_state()
def run_add(request: Request, callback: Callback) -> RunRecord:
    """Do `add_language` for a request that is already checked."""
    if request.options.plan:
        return plan_language(load_job(request, callback))
    # One process at a time writes an output; what it goes on from lies in OUTPUT.run.
    with (
        keeping_what_is_saved(request.output),
        entered_whole(lock_run_folder(request.output, callback.on_note)) as run,
    ):
        # The text is read, cut into tokens and packed; the slice holds the shared weights and one
        # empty slot, so that the other languages are never in memory.
        job = load_job(request, callback)
        trained = train_language(job, StateFolder(run.path, identity(job)))
        # All processes hold the same adapter; the first one writes it.
        job.processes.end()
        if not job.processes.is_main:
            return trained.record
        # Verification loads slices of its own.
        free_slice(job.model)
        # The base's own files and one more; nothing is seen at the output until it is verified.
        tokenizer_files = job.text.tokenizer.files
        (record,) = write_extended(job.checkpoint, request, [trained], tokenizer_files, callback)
        run.clear()
        return record


def plan_language(job: Job) -> RunRecord:
    """Return what training would be; nothing is trained or written."""
    plan = plan_record(job, estimate_run(job))
    return make_record(job, rank_existing(job), plan=plan)


def train_language(job: Job, states: StateFolder) -> TrainedLanguage:
    """Train and score the language's adapter, its states saved in a folder."""
    try:
        return _train_and_score(job, states)
    except TrainingError as error:
        if job.processes.is_main and not isinstance(error, LostProcessError):
            # To go on from a state of it would only end there again.
            states.clear()
        raise


def _train_and_score(job: Job, states: StateFolder) -> TrainedLanguage:
    options = job.options
    # A run that was interrupted goes on to the same bits.
    saved = state_to_resume(job, states)
    steps_done = 0 if saved is None else saved.history.steps_done
    ranking = saved_ranking(job, states)
    # Who would not wait so long can stop before anything else is computed.
    if steps_done < training_config(job).num_steps:
        estimate_run(job, steps_done=steps_done, is_ranked=ranking is not None)
    # Every existing adapter is scored on parts of the held-out text under one fixed mask: the best
    # of them is what the base offers today.
    ranking = ranking or rank_existing(job, states)
    if options.init == "nearest":
        # Only the whole text tells which one that is.
        ranking = score_existing(job, ranking, states)
    # Masked language modelling moves the adapter alone; every shared weight is frozen.
    every_seconds = 60 * options.save_minutes
    saving = Saving(folder=states, every_seconds=every_seconds, resume_from=saved)
    del saved
    metrics_file = states.path / METRICS_NAME
    with open_metrics(job, metrics_file, last_step=steps_done) as metrics:
        trained = train_adapter(job, ranking, saving, metrics)
    # The best adapter that validation met is scored on all of the held-out text, beside the best
    # existing one, which is "before", and the token frequencies of the training text.
    probe = score_existing(job, ranking, states)
    evaluation = score_adapter(job, probe, trained)
    training = training_record(job, trained)
    tensors = trained.trainable.named_for_checkpoint(trained.result.tensors)
    # On request, what half of the text would have given; the adapter is kept as it is.
    curve = draw_learning_curve(job, probe, trained, states) if options.learning_curve else None
    return TrainedLanguage(
        tensors=tensors,
        record=make_record(
            job, probe, training=training, evaluation=evaluation, learning_curve=curve
        ),
        metrics=metrics_file.read_text(encoding="utf-8") if job.processes.is_main else "",
    )

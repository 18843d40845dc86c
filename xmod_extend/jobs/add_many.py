"""Several languages added to one base at once.

The shared weights are frozen, so that no language knows of another: each is trained as if it were
alone, one after another or in processes side by side, and all are written into one checkpoint.

    OUTPUT.run/CODE/    the states of a language; its adapter and record when it is finished

A language that fails takes nothing from the others, and a resumed run trains only what is missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xmod_extend.arguments import PathOrName, as_int, as_path
from xmod_extend.errors import LanguagesFailedError, TrainingError, UsageError
from xmod_extend.files.run_folder import METRICS_NAME, lock_run_folder, run_folder
from xmod_extend.jobs.add import plan_language, train_language
from xmod_extend.jobs.callbacks import Callback, choose_callback
from xmod_extend.jobs.checks import (
    Request,
    check_requests,
    keeping_what_is_saved,
    note_written_by,
)
from xmod_extend.jobs.job import Job, LoadedBase, identity, load_base, next_job, open_base
from xmod_extend.jobs.options import named_options
from xmod_extend.jobs.output import TrainedLanguage, write_extended
from xmod_extend.jobs.parallel import run_side_by_side, sentence_of
from xmod_extend.jobs.plan_file import combine_options, read_plan_file
from xmod_extend.jobs.push import publish_added
from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.model.global_state import own_global_state
from xmod_extend.model.slice import free_slice
from xmod_extend.report.record import RunRecord
from xmod_extend.tokens.tokenizer import find_tokenizer, find_tokenizer_files
from xmod_extend.training.options import started_processes
from xmod_extend.training.processes import LostProcessError
from xmod_extend.training.signals import entered_whole
from xmod_extend.training.state import StateFolder, read_finished


def add_languages(
    *,
    plan_file: PathOrName | None = None,
    languages: Sequence[Mapping[str, Any]] | None = None,
    jobs: int = 1,
    callback: Callback | None = None,
    progress: bool = True,
    **options: Any,
) -> tuple[RunRecord, ...]:
    """Add several languages to an X-MOD and write one extended checkpoint.

    `add_languages(languages=[{"lang": "quz_PE", "corpus": "quz.txt"}, ...], base="tiny")`

    Args:
        plan_file: YAML file with the options for all at its top, and below `languages` a list of
            mappings, each with `lang`, `corpus` and the options of one language alone.
        languages: Such a list, instead of the file.
        jobs: Languages that are trained at a time, each in a process of its own with its share of
            the threads. In a script, the call must then be behind `if __name__ == "__main__":`.
        callback: Hears of the run's progress, in place of the display, and may end training.
        progress: Whether progress and warnings are shown if there is no callback.
        options: For all languages, as in `add_language`: they come before what the file says, and
            after what an entry of `languages` says.

    Returns:
        The run records, in the order of the list.

    Raises:
        LanguagesFailedError: Some languages could not be added. The others are written; their
            records are the error's `records`. With `resume=True` only what is missing is trained.
        XmodExtendError: What cannot be done at all, as in `add_language`.
    """
    if (plan_file is None) == (languages is None):
        raise UsageError("Give either plan_file or languages.")
    check_jobs(jobs)
    common = named_options(options)
    if plan_file is not None:
        entries = read_plan_file(as_path("plan_file", plan_file), common)
    else:
        entries = combine_options(languages, common, {}, where="`languages`")
    with choose_callback(callback, progress) as callback:
        requests = check_requests(entries, callback)
        records = run_add_many(requests, callback, jobs=int(jobs))
        if not requests[0].options.plan:
            publish_added(requests[0].options, requests[0].output, callback)
        return records


@own_global_state()
def run_add_many(
    requests: Sequence[Request], callback: Callback, *, jobs: int = 1
) -> tuple[RunRecord, ...]:
    """Do `add_languages` for requests that are already checked."""
    check_jobs(jobs)
    first = requests[0]
    if first.options.plan:
        loaded = load_base(first, *open_base(requests, jobs=jobs), callback)
        return tuple(plan_language(next_job(loaded, request, callback)) for request in requests)
    is_main = os.environ.get("RANK", "0") == "0"
    with (
        keeping_what_is_saved(first.output),
        entered_whole(lock_run_folder(first.output, callback.on_note)) as run,
    ):
        checkpoint, output_plan = open_base(requests, jobs=jobs)
        if is_main and not first.options.resume:
            run.clear()
        if jobs > 1:
            trained, failures = _side_by_side(requests, callback, jobs)
        else:
            loaded = load_base(first, checkpoint, output_plan, callback)
            trained, failures = _one_after_another(loaded, requests, callback)
        records = tuple(language.record for language in trained)
        if is_main and trained:
            records = _write(checkpoint, first, trained, callback)
            if failures:
                note_written_by(run.path, first.output)
        if failures:
            raise _failed(failures, records, first.output)
        if is_main:
            run.clear()
        return records


def check_jobs(jobs: int) -> None:
    """Refuse a number of processes that cannot be.

    Raises:
        UsageError: It is none, or torchrun has started processes already.
    """
    if as_int("--jobs", jobs) < 1:
        raise UsageError(f"--jobs is {jobs}; it must be at least 1.")
    if jobs > 1 and started_processes() > 1:
        raise UsageError(
            f"--jobs is {jobs} in a run that has several processes for each language.",
            hint="Leave --jobs out, or start one process.",
        )


def _one_after_another(
    loaded: LoadedBase, requests: Sequence[Request], callback: Callback
) -> tuple[list[TrainedLanguage], dict[str, str]]:
    trained, failures = [], {}
    for request in requests:
        code = request.language.code
        try:
            job = _agreed_job(loaded, request, _Named(callback, code))
            trained.append(_train_one(job, request))
        except LostProcessError:
            raise
        except Exception as error:  # whatever it is, the other languages have no part in it
            if loaded.processes.count > 1 and not isinstance(error, TrainingError):
                # The others may be summing this language's gradients, and must not be left there
                # with the next one's. What training says of itself is from sums, the same in all.
                raise
            failures[code] = sentence_of(error)
            callback.on_warning(f"{code} failed: {failures[code]}")
    loaded.processes.end()
    free_slice(loaded.model)
    return trained, failures


def _side_by_side(
    requests: Sequence[Request], callback: Callback, jobs: int
) -> tuple[list[TrainedLanguage], dict[str, str]]:
    import torch

    failures = run_side_by_side(
        requests,
        train_alone,
        jobs=jobs,
        num_threads=max(1, torch.get_num_threads() // jobs),
        callback=callback,
    )
    for code, sentence in failures.items():
        callback.on_warning(f"{code} failed: {sentence}")
    finished = [request for request in requests if request.language.code not in failures]
    return [_read_trained(_folder(request)) for request in finished], failures


def train_alone(request: Request, callback: Callback) -> None:
    """Train one of several languages in a process of its own, and leave it in its folder."""
    checkpoint, output_plan = open_base([request])
    loaded = load_base(request, checkpoint, output_plan, callback)
    _train_one(next_job(loaded, request, callback), request)


def _agreed_job(loaded: LoadedBase, request: Request, callback: Callback) -> Job:
    """Return the language's job once every process of this run has it, or an error in all of them.

    Raises:
        TrainingError: Some process has none, such as for lack of a file.
    """
    job, problem = None, None
    try:
        job = next_job(loaded, request, callback)
    except Exception as error:
        if loaded.processes.count == 1:
            raise
        problem = sentence_of(error)
    problems = loaded.processes.gather(problem)
    for rank, sentence in enumerate(problems):
        if sentence is not None:
            where = "" if None not in problems else f"In process {rank} of {len(problems)}: "
            raise TrainingError(f"{where}{sentence}")
    assert job is not None
    return job


def _train_one(job: Job, request: Request) -> TrainedLanguage:
    states = StateFolder(_folder(request), identity(job))
    is_finished = request.options.resume and states.is_finished()
    job.processes.require_same(is_finished, states.path)
    if is_finished:
        job.callback.on_note(f"{request.language.code} is trained already")
        return _read_trained(states.path)
    trained = train_language(job, states)
    if job.processes.is_main:
        states.finish(trained.tensors, trained.record.to_json())
    return trained


def _folder(request: Request) -> Path:
    return run_folder(request.output) / request.language.code


def _read_trained(folder: Path) -> TrainedLanguage:
    tensors, record = read_finished(folder)
    return TrainedLanguage(
        tensors=tensors,
        record=RunRecord.from_dict(json.loads(record)),
        metrics=(folder / METRICS_NAME).read_text(encoding="utf-8"),
    )


def _write(
    checkpoint: Checkpoint,
    first: Request,
    trained: Sequence[TrainedLanguage],
    callback: Callback,
) -> tuple[RunRecord, ...]:
    folder = find_tokenizer(checkpoint.path, vocab_size=checkpoint.config["vocab_size"])
    files = find_tokenizer_files(folder)
    records = write_extended(checkpoint, first, trained, files, callback)
    return tuple(records)


def _failed(
    failures: Mapping[str, str], records: Sequence[RunRecord], output: Path
) -> LanguagesFailedError:
    done = ", ".join(record.language for record in records)
    reasons = " ".join(f"{code}: {sentence}" for code, sentence in failures.items())
    what = f"{output} has {done}" if records else "nothing was written"
    return LanguagesFailedError(
        f"{len(failures)} of {len(failures) + len(records)} languages failed; {what}. {reasons}",
        failures=failures,
        records=records,
        hint="Put that right and use --resume: only what is missing is trained.",
    )


class _Named(Callback):
    """Says which language a stage or a warning is about."""

    def __init__(self, callback: Callback, code: str) -> None:
        self._callback, self._code = callback, code
        self.on_note = callback.on_note  # type: ignore[method-assign]
        self.on_candidate = callback.on_candidate  # type: ignore[method-assign]
        self.on_scored = callback.on_scored  # type: ignore[method-assign]
        self.on_step = callback.on_step  # type: ignore[method-assign]
        self.on_validation = callback.on_validation  # type: ignore[method-assign]

    @property
    def stop_requested(self) -> bool:
        return self._callback.stop_requested

    @stop_requested.setter
    def stop_requested(self, value: bool) -> None:
        self._callback.stop_requested = value

    def on_stage(self, name: str) -> None:
        self._callback.on_stage(f"{self._code}: {name}")

    def on_warning(self, text: str) -> None:
        self._callback.on_warning(f"{self._code}: {text}")

"""Zero-shot transfer of a task: learnt in one language, scored in another that was never labelled.

    languages, output and labelled files checked -> leaks -> best other adapter
        -> for each seed: a slice with a new head, fine-tuned with the source's adapter
        -> the target's adapter, and those it is compared with, put into the slot and scored

Source: Pfeiffer et al. 2022 (arXiv 2205.06266), section 3.3, and transformers' documentation of
X-MOD: embeddings and language adapters are frozen while the task is learnt.
"""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmod_extend.arguments import PathOrName
from xmod_extend.errors import UsageError
from xmod_extend.evaluation.classification import ClassCounts
from xmod_extend.files.output_folder import new_folder
from xmod_extend.jobs.callbacks import Callback, choose_callback
from xmod_extend.jobs.prepared_task import PreparedTask, prepare_task
from xmod_extend.jobs.task_scoring import (
    DEV,
    CountsByState,
    find_gains,
    report_leaks,
    score_states,
    sum_up,
)
from xmod_extend.jobs.transfer_options import TransferOptions
from xmod_extend.jobs.transfer_request import TransferRequest, check_transfer
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.global_state import own_global_state
from xmod_extend.model.slice import free_slice
from xmod_extend.model.task_files import RESULT_NAME, task_bytes, task_file_names, write_task
from xmod_extend.model.task_model import load_task_slice, train_shared_weights, with_lora
from xmod_extend.model.writer import check_output
from xmod_extend.report.transfer import TaskTraining, TransferResult, advise, describe_intervals
from xmod_extend.report.versions import package_versions
from xmod_extend.training.device import make_processes
from xmod_extend.training.fine_tuning import (
    FineTuningConfig,
    default_task_lr,
    default_task_steps,
    fine_tune,
)

if TYPE_CHECKING:
    from torch import nn

    from xmod_extend.model.task_model import TaskModel


def transfer(
    checkpoint: PathOrName,
    *,
    source: str,
    target: str,
    callback: Callback | None = None,
    progress: bool = True,
    **options: Any,
) -> TransferResult:
    """Learn a task in one language and score it in another, each read with its own adapter.

    The options are the fields of `TransferOptions`: `transfer("out/x", source="en_XX",
    target="quz_PE", train="en.conllu", test="quz.conllu", merge="NOUN,ADJ")`.

    Args:
        checkpoint: Folder or Hub id of an X-MOD that has both languages.
        source: Code of the language that the task is learnt in.
        target: Code of the language that it is scored in.
        callback: Hears of the progress, in place of the display.
        progress: Whether progress and warnings are shown if there is no callback.

    Raises:
        XmodExtendError: What cannot be done, as one of the classes in `xmod_extend.errors`.
    """
    chosen = TransferOptions.from_values(**options)
    with choose_callback(callback, progress) as callback:
        request = check_transfer(
            checkpoint, source=source, target=target, options=chosen, callback=callback
        )
        return run_transfer(request, callback)


# A notebook's completion and help() show the options by name.
_OWN = list(inspect.signature(transfer).parameters.values())
transfer.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [*_OWN[:3], *inspect.signature(TransferOptions).parameters.values(), *_OWN[3:5]]
)


@own_global_state()
def run_transfer(request: TransferRequest, callback: Callback) -> TransferResult:
    """Do `transfer` for a request that is already checked."""
    processes = make_processes()
    if processes.count > 1:
        raise UsageError(
            f"transfer was started in {processes.count} processes.", hint="Start it in one."
        )
    checkpoint = open_checkpoint(request.base.fetch())
    _check_room(request, checkpoint)
    task = prepare_task(request, checkpoint, processes.device, callback)
    config = _configure(task)
    counts: dict[str, list[ClassCounts]] = {}
    started = time.perf_counter()
    with _new_output(task) as folder:
        for seed in range(request.options.seeds):
            model, slice_ = _learn(task, replace(config, seed=seed), callback)
            if seed == 0:
                training = _training_record(task, config, model)
                if folder is not None:
                    write_task(folder, model, checkpoint, task.labels)
            callback.on_stage(f"Scoring {request.test.name} with each adapter")
            for state, found in score_states(task, model, slice_, seed).items():
                counts.setdefault(state, []).append(found)
            # The next seed begins with the checkpoint's own weights, without two in memory.
            free_slice(slice_)
        seconds = (time.perf_counter() - started) / request.options.seeds
        result = _result(task, counts, replace(training, seconds=seconds))
        if folder is not None:
            text = json.dumps(result.to_dict(), indent=1, ensure_ascii=False) + "\n"
            (folder / RESULT_NAME).write_text(text, "utf-8", errors="backslashreplace")
    return result


def _configure(task: PreparedTask) -> FineTuningConfig:
    options = task.request.options
    return FineTuningConfig(
        lr=options.lr or default_task_lr(is_full=options.full, hidden_size=_hidden_size(task)),
        num_steps=options.max_steps or default_task_steps(len(task.train.rows), options.batch_size),
        batch_size=options.batch_size,
        seed=0,
    )


def _learn(
    task: PreparedTask, config: FineTuningConfig, callback: Callback
) -> tuple[nn.Module, TaskModel]:
    """Return a trained model, and the slice inside of it, which has the slot."""
    request, options = task.request, task.request.options
    callback.on_stage(
        f"Learning the task in {request.source} ({config.seed + 1} of {options.seeds})"
    )
    slice_ = load_task_slice(
        task.checkpoint,
        request.source,
        task.labels,
        is_word_task=task.is_word_task,
        seed=config.seed,
    )
    model: nn.Module = slice_
    if options.full:
        train_shared_weights(slice_)
    else:
        model = with_lora(
            slice_,
            request.base.repo_id or str(task.checkpoint.path),
            rank=options.lora_rank,
            seed=config.seed,
        )
    model.to(task.device)
    fine_tune(model, task.train, config, device=task.device, on_step=callback.on_step)
    return model, slice_


def _hidden_size(task: PreparedTask) -> int:
    return int(task.checkpoint.config["hidden_size"])


def _check_room(request: TransferRequest, checkpoint: Checkpoint) -> None:
    """Find out before the work whether what is learnt can be saved after it."""
    options = request.options
    if options.output is not None:
        check_output(
            options.output,
            force=options.force,
            source=checkpoint.path,
            needed_bytes=task_bytes(checkpoint, is_full=options.full),
        )


@contextmanager
def _new_output(task: PreparedTask) -> Iterator[Path | None]:
    """Yield a folder that gets its name at the end, or None if nothing is to be saved."""
    options = task.request.options
    if options.output is None:
        yield None
        return
    names = task_file_names(task.checkpoint, is_full=options.full)
    with new_folder(options.output, names=names, force=options.force) as folder:
        yield folder


def _training_record(
    task: PreparedTask, config: FineTuningConfig, model: nn.Module
) -> TaskTraining:
    options = task.request.options
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return TaskTraining(
        method="full" if options.full else "lora",
        num_parameters=sum(parameter.numel() for parameter in trained),
        num_steps=config.num_steps,
        batch_size=config.batch_size,
        lr=config.lr,
        lora_rank=None if options.full else options.lora_rank,
        max_length=task.request.max_length,
        num_tokens=task.train.num_tokens,
        precision="fp32",
        device=task.device.type,
        seconds=0.0,
    )


def _result(task: PreparedTask, counts: CountsByState, training: TaskTraining) -> TransferResult:
    request, options = task.request, task.request.options
    scores, gains = sum_up(task, counts), find_gains(task, counts)
    return TransferResult(
        checkpoint=request.base.base,
        source=request.source,
        target=request.target,
        task=request.train.task,
        train=request.train.name,
        test=request.test.name,
        num_train=len(request.train.examples),
        num_test=len(request.test.examples),
        labels=request.classes,
        seeds=tuple(range(options.seeds)),
        scores=tuple(score for state, score in scores.items() if state != DEV),
        gains=gains,
        dev=scores.get(DEV),
        leaks=report_leaks(task, counts),
        training=training,
        advice=advise(gains),
        intervals=describe_intervals(len(request.test.examples), options.seeds),
        signature=task.signature(training),
        warnings=task.warnings,
        output=None if options.output is None else str(options.output),
        versions=package_versions() | {"peft": metadata.version("peft")},
    )

"""Figures of a run while it goes on: metrics.jsonl always, and a tracker if one was asked for.

    {"step": 7, "loss": 4.31, "lr": 0.0014, "num_tokens": 28672, "seconds": 3.9}
    {"step": 7, "train_loss": 4.6, "held_out_loss": 4.2, "lr": 0.0014}

One object a line: the first kind after every optimiser step, the second at every validation.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from xmod_extend.errors import UsageError
from xmod_extend.files.atomic import write_atomically
from xmod_extend.training.history import CurvePoint, StepReport

if TYPE_CHECKING:
    from accelerate import Accelerator

PROJECT = "xmod-extend"


def logs_folder(output: Path) -> Path:
    """Return where TensorBoard finds the runs that write `output`."""
    return output.with_name(output.name + ".logs")


def check_tracker(name: str | None) -> None:
    """Refuse a tracker whose package is not installed.

    Raises:
        UsageError: It is not.
    """
    if name is not None and importlib.util.find_spec(name) is None:
        raise UsageError(
            f"--report-to is {name}, and that package is not installed.",
            hint=f"Install it: pip install {name}",
        )


class Metrics:
    """The open metrics.jsonl of one run; leaving the block closes it and ends the tracker.

    Args:
        path: The file, in a folder that exists.
        last_step: The step that the run is resumed at, or 0; lines of later steps are removed.
        tracker: Gets the same figures.
    """

    def __init__(self, path: Path, *, last_step: int = 0, tracker: Tracker | None = None) -> None:
        kept = _lines_up_to(path, last_step) if last_step else []
        write_atomically(path, b"".join(kept))
        # Each line is handed to the system at once, so that `tail -f` shows it.
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._tracker = tracker

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if self._tracker is not None:
            self._tracker.end()

    def on_step(self, report: StepReport) -> None:
        """Write the figures of an optimiser step."""
        values = dataclasses.asdict(report)
        del values["num_steps"]
        self._write(values)
        if self._tracker is not None:
            rate = report.num_tokens / max(report.seconds, 1e-9)
            figures = {"loss": report.loss, "lr": report.lr, "tokens_per_second": rate}
            self._tracker.log(figures, report.step)

    def on_validation(self, point: CurvePoint) -> None:
        """Write the figures of a validation."""
        self._write(dataclasses.asdict(point))
        if self._tracker is not None:
            self._tracker.log({"held_out_loss": point.held_out_loss}, point.step)

    def _write(self, values: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(values) + "\n")


class Tracker:
    """One of accelerate's trackers, which must not end a run that is worth hours.

    Args:
        name: `tensorboard`, `trackio` or `wandb`.
        run: The run's name in the tracker: the language's code.
        options: The options of the run, for a tracker that shows them.
        logs: Folder of TensorBoard's files.
        last_step: The step that the run is resumed at, or 0.
        warn: Called once if the tracker fails; the run goes on without it.
    """

    def __init__(
        self,
        name: str,
        run: str,
        *,
        options: Mapping[str, Any],
        logs: Path,
        last_step: int,
        warn: Callable[[str], None],
    ) -> None:
        self._name, self._warn = name, warn
        self._accelerator: Accelerator | None = None
        self._try(lambda: self._start(run, options, logs, last_step))

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Send figures of one optimiser step."""
        accelerator = self._accelerator
        if accelerator is not None:
            self._try(lambda: accelerator.log(dict(figures), step=step))

    def end(self) -> None:
        """Let the tracker send what it has not sent yet."""
        accelerator, self._accelerator = self._accelerator, None
        # `end_training` would end the processes, which still have to evaluate.
        for tracker in accelerator.trackers if accelerator is not None else ():
            self._try(_finish_trackio if tracker.name == "trackio" else tracker.finish)

    def _start(self, run: str, options: Mapping[str, Any], logs: Path, last_step: int) -> None:
        import torch
        from accelerate import Accelerator
        from accelerate.utils import ProjectConfiguration

        # It shares the state of the one that training asked for its device, and of any that the
        # caller made, and so must agree with both.
        accelerator = Accelerator(
            cpu=not torch.accelerator.is_available(),
            log_with=self._name,
            project_config=ProjectConfiguration(logging_dir=str(logs)),
        )
        if self._name == "tensorboard":
            # Hides what an earlier run of this name logged for the steps that come.
            purge = {"tensorboard": {"purge_step": last_step + 1}}
            accelerator.init_trackers(run, init_kwargs=purge)
        else:
            named = {self._name: {"name": run}}
            accelerator.init_trackers(PROJECT, config=dict(options), init_kwargs=named)
        if not accelerator.trackers:
            raise RuntimeError(f"accelerate does not find {self._name}")
        self._accelerator = accelerator

    def _try(self, action: Callable[[], object]) -> None:
        try:
            # What a tracker prints is not a result, and so does not go to stdout.
            with redirect_stdout(sys.stderr):
                action()
        except Exception as error:  # trackers raise the errors of many libraries
            self._accelerator = None
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            self._warn(f"{self._name} failed ({reason}); the run goes on without it.")


def _finish_trackio() -> None:
    """End trackio's run, which accelerate leaves open: trackio would end it at exit, and print."""
    importlib.import_module("trackio").finish()


def _lines_up_to(path: Path, last_step: int) -> list[bytes]:
    """Return the whole lines of an interrupted run up to a step."""
    kept = []
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
        try:
            if line.endswith(b"\n") and json.loads(line)["step"] <= last_step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue
    return kept

"""All output of the program: results on stdout, everything else on stderr."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from xmod_extend.cli.streams import discard_output
from xmod_extend.cli.visible import visible, visible_json
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.report.durations import duration

if TYPE_CHECKING:
    from xmod_extend.evaluation.probe import Candidate
    from xmod_extend.training.history import CurvePoint, StepReport

LOG_EVERY_SECONDS = 30.0
JSON_SCHEMA_VERSION = 1
UNLIMITED_WIDTH = 1_000_000


class Output:
    """Printer for people, for scripts (`quiet`) or for programs (`as_json`).

    Args:
        as_json: stdout gets one JSON object and nothing else.
        quiet: stderr gets warnings and errors only, stdout only what a script needs.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.is_first = os.environ.get("RANK", "0") == "0"
        """Whether this is the first of the processes that train together: it alone prints."""
        self.as_json = as_json
        self.quiet = quiet or not self.is_first
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A path may hold bytes, and a name letters, that the terminal's encoding lacks.
                stream.reconfigure(errors="backslashreplace")
        # Neither console wraps: it would break paths. `wrap` does, at words, for a terminal.
        self.err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
        # Results hold paths and texts of users: brackets and colons in them mean nothing.
        # What goes to a file or another program has lines as long as they are.
        width = None if sys.stdout is not None and sys.stdout.isatty() else UNLIMITED_WIDTH
        self.out = _Results(highlight=False, markup=False, emoji=False, width=width)

    def result(self, value: Any, line: str, *lines: str | Table, effect: str | None = None) -> None:
        """Print the command's result.

        Args:
            value: Printed as JSON if that was asked for.
            line: The one line that a quiet command prints.
            lines: What people see.
            effect: What the command did besides printing. If printing fails, this is said on
                stderr, and the command has not failed.

        Raises:
            OSError: The result cannot be printed, and the command has no other effect.
        """
        if not self.is_first:
            return
        try:
            if self.as_json:
                print(visible_json(to_json(value)))
            elif self.quiet:
                print(visible(line))
            else:
                for shown in lines:
                    if isinstance(shown, str):
                        self.out.print(wrap(shown, self.out), soft_wrap=True)
                    else:
                        self.out.print(shown)
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError as error:
            discard_output(sys.stdout)
            # A reader such as `head` has seen enough; the command itself is done.
            if isinstance(error, BrokenPipeError):
                return
            if effect is None:
                raise
            self.warning(f"The result could not be printed ({error.strerror}); {effect}")

    def note(self, text: str) -> None:
        if not self.quiet:
            self._tell("", "", text)

    def warning(self, text: str) -> None:
        if self.is_first:
            self._tell("warning: ", "yellow", sentence(text))

    def error(self, message: str, hint: str | None) -> None:
        self._tell("error: ", "bold red", sentence(message))
        if hint:
            self._tell("hint: ", "bold", sentence(hint))

    def _tell(self, label: str, style: str, text: str) -> None:
        line = Text(wrap(label + visible(text), self.err))
        line.stylize(style, 0, len(label.strip()))
        self.err.print(line)


class _Results(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        """Render a text, also of a table's cell, that steers no terminal."""
        return super().render_str(visible(text), **options)

    def on_broken_pipe(self) -> None:
        """Raise the error, where rich would end the program."""
        raise BrokenPipeError


class Display(Callback):
    """Progress of a run on stderr: a bar on a terminal, a log line now and then elsewhere."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = time.monotonic()
        self._best = ""

    def on_stage(self, name: str) -> None:
        self.close()
        self._best = ""
        self._output.note(f"{name} ...")

    def on_note(self, text: str) -> None:
        self._output.note(f"  {text}")

    def on_warning(self, text: str) -> None:
        self._output.warning(text)

    def on_candidate(self, candidate: Candidate, num_tokens: int) -> None:
        self._best = f"{candidate.language} {candidate.perplexity:,.1f}"

    def on_scored(self, done: int, total: int) -> None:
        if self._live:
            self._show(self._best or "tokens", done, total)
        elif time.monotonic() - self._last_line >= LOG_EVERY_SECONDS:
            best = self._best and f": {self._best}"
            self._line(f"{done:,} of {total:,} tokens scored{best}")

    def on_step(self, report: StepReport) -> None:
        rate = report.num_tokens / max(report.seconds, 1e-9)
        text = f"loss {report.loss:.3f}  {rate:,.0f} tokens/s"
        if self._live:
            self._show(text, report.step, report.num_steps)
        elif time.monotonic() - self._last_line >= LOG_EVERY_SECONDS:
            left = report.seconds / report.step * (report.num_steps - report.step)
            self._line(f"step {report.step}/{report.num_steps}  {text}  {duration(left)} left")

    def on_validation(self, point: CurvePoint) -> None:
        # Above the bar, where there is one: it stays when the bar is taken away.
        self._line(
            f"step {point.step}  train loss {point.train_loss:.3f}  "
            f"held-out loss {point.held_out_loss:.3f}"
        )

    def close(self) -> None:
        """Take the bar away; safe to call at any time."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None

    @property
    def _live(self) -> bool:
        return self._output.err.is_terminal and not self._output.quiet

    def _line(self, text: str) -> None:
        self._last_line = time.monotonic()
        self._output.note(f"  {text}")

    def _show(self, text: str, done: int, total: int) -> None:
        if self._bar is None or self._task is None:
            columns = (
                BarColumn(bar_width=24),
                TextColumn("{task.completed:.0f}/{task.total}"),
                TimeRemainingColumn(compact=True),
                # Last, because a narrow terminal cuts the end.
                TextColumn("{task.description}"),
            )
            self._bar = Progress(*columns, console=self._output.err, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=total)
        self._bar.update(self._task, completed=done, total=total, description=escape(visible(text)))


def to_json(value: Any) -> str:
    """Return one JSON object with its `schema_version` first, or a list of such objects."""
    if isinstance(value, list):
        return f"[{', '.join(to_json(item) for item in value)}]"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return json.dumps(
        {"schema_version": JSON_SCHEMA_VERSION} | value,
        ensure_ascii=encoding.lower().replace("-", "") != "utf8",
        default=_plain,
    )


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def wrap(text: str, console: Console) -> str:
    """Return the text wrapped at words for a terminal; elsewhere it stays as it is.

    A path, and a command in backticks, stays whole, so that it can be copied.
    """
    if not console.is_terminal:
        return text
    whole = re.sub(r"`[^`]*`", lambda quoted: quoted[0].replace(" ", "\0"), text)
    indent = text[: len(text) - len(text.lstrip())]
    lines = [
        line
        for paragraph in whole.splitlines()
        for line in textwrap.wrap(
            paragraph,
            console.width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]
    return "\n".join(lines).replace("\0", " ")


def sentence(text: str) -> str:
    """Return the text with a full stop; a code or path at its start keeps its spelling."""
    text = text.strip()
    return text if text.endswith((".", "?", "!", "`")) else text + "."

"""Callbacks that follow a run: a caller's own, or progress bars in a notebook."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from xmod_extend.arguments import as_bool, wrong_type

if TYPE_CHECKING:
    from xmod_extend.evaluation.probe import Candidate
    from xmod_extend.training.history import CurvePoint, StepReport


class Callback:
    """Base of all callbacks, which does nothing: override the methods of interest.

    A method may also decide that enough was trained:

        class Enough(Callback):
            def on_validation(self, point):
                if point.held_out_loss < 3.0:
                    self.request_stop()
    """

    stop_requested = False

    def request_stop(self) -> None:
        """End the training that is going on as if it was done: the best adapter is written.

        Training ends after the next step, and this may be called from another thread. Where several
        languages are added, the next one is trained as usual.
        """
        self.stop_requested = True

    def on_stage(self, name: str) -> None:
        """React to the beginning of a stage, such as `Reading the corpus`."""

    def on_note(self, text: str) -> None:
        """React to something worth knowing."""

    def on_warning(self, text: str) -> None:
        """React to something that may make the result less useful."""

    def on_candidate(self, candidate: Candidate, num_tokens: int) -> None:
        """React to the score of an existing adapter, the best one last; the adapters read
        `num_tokens` tokens in all, which `on_scored` counts."""

    def on_scored(self, done: int, total: int) -> None:
        """React to tokens that were scored, `done` of `total` so far."""

    def on_step(self, report: StepReport) -> None:
        """React to an optimiser step."""

    def on_validation(self, point: CurvePoint) -> None:
        """React to a score of the held-out sample."""


class ProgressBars(Callback):
    """Progress of a run in a notebook or a terminal, with tqdm's bars: what Python callers see.

    A result never depends on who looks at it: what cannot be shown is left out.
    """

    def __init__(self) -> None:
        with warnings.catch_warnings():
            # A notebook without widgets gets plain bars, and tqdm complains.
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm

        self._kind = tqdm
        is_notebook = _is_in_kernel() or any("notebook" in kind.__module__ for kind in tqdm.__mro__)
        # A notebook shows stderr as if something was wrong.
        self._stream = sys.stdout if is_notebook else sys.stderr
        self._bar: Any = None
        self._best = ""

    def on_stage(self, name: str) -> None:
        self.close()
        self._best = ""
        self._write(f"{name} ...")

    def on_note(self, text: str) -> None:
        self._write(f"  {text}")

    def on_warning(self, text: str) -> None:
        self._write(f"warning: {text}")

    def on_candidate(self, candidate: Candidate, num_tokens: int) -> None:
        self._best = f"{candidate.language} {candidate.perplexity:,.1f}"

    def on_scored(self, done: int, total: int) -> None:
        self._advance(done, total, self._best or "tokens")

    def on_step(self, report: StepReport) -> None:
        self._advance(report.step, report.num_steps, f"loss {report.loss:.3f}")

    def on_validation(self, point: CurvePoint) -> None:
        self._write(
            f"  step {point.step}  train loss {point.train_loss:.3f}  "
            f"held-out loss {point.held_out_loss:.3f}"
        )

    def close(self) -> None:
        """End the bar, if there is one."""
        bar, self._bar = self._bar, None
        if bar is not None:
            with suppress(OSError, ValueError):
                bar.close()

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._kind.write(text, file=self._stream)

    def _advance(self, done: int, total: int, text: str) -> None:
        """Move the bar on to `done`."""
        with suppress(OSError, ValueError):
            if self._bar is None:
                # None leaves the bar out where there is neither a terminal nor a notebook.
                self._bar = self._kind(total=total, disable=None, leave=False, file=self._stream)
            self._bar.total = total
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(done - self._bar.n)


def _is_in_kernel() -> bool:
    """Return whether this is a notebook's kernel, with widgets or without."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


@contextmanager
def choose_callback(callback: Callback | None, progress: bool) -> Iterator[Callback]:
    """Yield the caller's callback, or else progress bars if `progress` is true.

    Raises:
        UsageError: The callback is none, such as a class instead of one of its objects.
    """
    shows_progress = as_bool("progress", progress)
    if callback is not None:
        if not isinstance(callback, Callback):
            raise wrong_type("callback", callback, "xmod_extend.Callback")
        yield callback
        return
    # Of several processes, the first one speaks.
    is_first = os.environ.get("RANK", "0") == "0"
    if not (shows_progress and is_first and sys.stderr is not None and sys.stdout is not None):
        yield Callback()
        return
    bars = ProgressBars()
    try:
        yield bars
    finally:
        bars.close()

"""The same work for several languages, each in a process of its own, some at a time.

A process that dies, whatever of, takes nothing from the others. What it has to say comes through a
pipe, whose end tells that it is gone.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from types import FrameType
from typing import cast

from xmod_extend.errors import XmodExtendError
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.checks import Request
from xmod_extend.training.history import CurvePoint, StepReport

Work = Callable[[Request, Callback], object]


def sentence_of(error: Exception) -> str:
    """Return why a language failed, in a sentence or two."""
    if isinstance(error, XmodExtendError):
        return " ".join(filter(None, [error.message, error.hint]))
    reason = " ".join(str(error).split())[:300].rstrip(".")
    return f"Unexpected {type(error).__name__}: {reason or 'no message'}."


def run_side_by_side(
    requests: Sequence[Request], work: Work, *, jobs: int, num_threads: int, callback: Callback
) -> dict[str, str]:
    """Do `work` for each request, `jobs` of them at a time.

    An interrupt ends all of them: each finishes its step and saves its state before this returns.

    Args:
        work: A function of a module, so that another process can find it.
        num_threads: Threads that each process computes with.

    Returns:
        Code of each language that failed, to a sentence that says why.
    """
    waiting = list(requests)
    running: dict[Connection, tuple[str, SpawnProcess, Event]] = {}
    outcomes: dict[str, str | None] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                request = waiting.pop(0)
                pipe, process, stop = _start(request, work, num_threads)
                running[pipe] = (request.language.code, process, stop)
            for ready in wait(list(running)):
                pipe = cast("Connection", ready)
                code, process, _ = running[pipe]
                try:
                    kind, text = pipe.recv()
                except (EOFError, OSError):
                    del running[pipe]
                    process.join()
                    outcomes.setdefault(code, _how_it_ended(process))
                    continue
                if kind in ("done", "failed"):
                    outcomes[code] = text
                _pass_on(kind, f"{code}: {text}", callback)
            if callback.stop_requested:
                callback.stop_requested = False
                for _, _, stop in running.values():
                    stop.set()
    finally:
        for _, process, _ in running.values():
            process.terminate()
        for _, process, _ in running.values():
            process.join()
    return {code: text for code, text in outcomes.items() if text is not None}


def _start(
    request: Request, work: Work, num_threads: int
) -> tuple[Connection, SpawnProcess, Event]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    stop = context.Event()
    arguments = (sender, stop, work, request, num_threads)
    process = context.Process(target=_work, args=arguments, daemon=True)
    with _deaf_to_the_terminal():
        process.start()
    sender.close()
    return receiver, process, stop


@contextmanager
def _deaf_to_the_terminal() -> Iterator[None]:
    """Keep from processes that are started what a terminal sends to all: Ctrl-C and its end.

    This process alone hears it, and stops the others.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(events: Connection, stop: Event, work: Work, request: Request, num_threads: int) -> None:
    import torch

    # Training holds it back until its state is saved; elsewhere it is raised where the work stands.
    signal.signal(signal.SIGTERM, _raise_exit)
    torch.set_num_threads(num_threads)
    try:
        work(request, _Teller(events, stop))
    except Exception as error:
        events.send(("failed", sentence_of(error)))
    else:
        events.send(("done", None))


def _raise_exit(number: int, frame: FrameType | None) -> None:
    # A second one must not interrupt the cleaning up.
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


class _Teller(Callback):
    """Tells the process that started this one; when that is gone, telling ends this one too."""

    def __init__(self, events: Connection, stop: Event) -> None:
        self._events, self._stop = events, stop

    @property
    def stop_requested(self) -> bool:
        return self._stop.is_set()

    @stop_requested.setter
    def stop_requested(self, value: bool) -> None:
        (self._stop.set if value else self._stop.clear)()

    def on_stage(self, name: str) -> None:
        self._events.send(("note", f"{name} ..."))

    def on_note(self, text: str) -> None:
        self._events.send(("note", text))

    def on_warning(self, text: str) -> None:
        self._events.send(("warning", text))

    def on_step(self, report: StepReport) -> None:
        self._events.send(("step", str(report.step)))

    def on_validation(self, point: CurvePoint) -> None:
        text = f"train loss {point.train_loss:.3f}  held-out loss {point.held_out_loss:.3f}"
        self._events.send(("note", f"step {point.step}  {text}"))


def _pass_on(kind: str, text: str, callback: Callback) -> None:
    if kind == "note":
        callback.on_note(text)
    elif kind == "warning":
        callback.on_warning(text)


def _how_it_ended(process: SpawnProcess) -> str:
    code = process.exitcode or 0
    if code < 0:
        return (
            f"Its process was ended by {signal.Signals(-code).name}; the machine may have been out "
            "of memory."
        )
    return f"Its process ended with exit code {code}."

"""Ctrl-C, SIGTERM and SIGHUP during training: the step is finished and the state saved first.

So it is with an error of a caller's own function that hears of the steps: it ends the run, but no
work is lost to it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import FrameType
from typing import Any, TypeVar

Entered = TypeVar("Entered")

HELD = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    # A closed terminal is no signal on every system.
    if hasattr(signal, name)
)
_Handler = Callable[[int, FrameType | None], Any] | int | None


class Signals:
    """Signals that are held back: the number of the one that arrived, or an error."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._error: Exception | None = None
        self._handlers: dict[int, _Handler] = {}

    @property
    def arrived(self) -> bool:
        return self._number is not None or self._error is not None

    def hold_error(self, error: Exception) -> None:
        """Hold an error back as a signal is; of several, the first counts."""
        self._error = self._error or error

    def hand_on(self) -> None:
        """Deliver the signal that arrived, if one did, to whoever would have had it.

        Raises:
            Exception: The error that was held back, if one was.
        """
        self.release()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if self._number is not None:
            number, self._number = self._number, None
            signal.raise_signal(number)
        elif self._handlers:
            # Another process had it; all of them stop alike.
            signal.raise_signal(signal.SIGTERM)

    def hold(self) -> None:
        """Begin to hold back; Python allows that in the main thread only."""
        if threading.current_thread() is threading.main_thread():
            for number in HELD:
                if signal.getsignal(number) is signal.SIG_IGN:
                    # As under nohup: what is ignored does not stop anything.
                    continue
                self._handlers[number] = signal.signal(number, self._note)

    def release(self) -> None:
        """Put back the handlers that were there before."""
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._number is not None and number == signal.SIGINT:
            # A second Ctrl-C is somebody who does not want to wait for the step's end.
            self.release()
            signal.raise_signal(number)
        self._number = number


@contextmanager
def held_signals() -> Iterator[Signals]:
    """Hold signals back in a block, and deliver behind it what nobody handed on."""
    signals = Signals()
    signals.hold()
    try:
        yield signals
    finally:
        signals.release()
    if signals.arrived:
        signals.hand_on()


@contextmanager
def entered_whole(context: AbstractContextManager[Entered]) -> Iterator[Entered]:
    """Enter a context wholly or not at all: a signal that arrives meanwhile is raised inside.

    So what the context makes is also removed by it.
    """
    with ExitStack() as stack:
        with held_signals():
            entered = stack.enter_context(context)
        yield entered

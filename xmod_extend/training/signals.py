"""Ctrl-C and SIGTERM during training: the step is finished and the state saved first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_Handler = Callable[[int, FrameType | None], Any] | int | None


class Signals:
    """What arrived while signals were held back."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._handlers: dict[int, _Handler] = {}

    @property
    def arrived(self) -> bool:
        return self._number is not None

    def hand_on(self) -> None:
        """Delivers the signal that arrived, if one did, to whoever would have had it."""
        self.release()
        if self._number is not None:
            number, self._number = self._number, None
            signal.raise_signal(number)
        elif self._handlers:
            # Another process had it; all of them stop alike.
            signal.raise_signal(signal.SIGTERM)

    def hold(self) -> None:
        """Begins to hold back; Python allows that in the main thread only."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is signal.SIG_IGN:
                    # As under nohup: what is ignored does not stop anything.
                    continue
                self._handlers[number] = signal.signal(number, self._note)

    def release(self) -> None:
        """Puts back the handlers that were there before."""
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
    """Holds signals back in a block, and delivers behind it what nobody handed on."""
    signals = Signals()
    signals.hold()
    try:
        yield signals
    finally:
        signals.release()
    if signals.arrived:
        signals.hand_on()

"""What arrives during training is held back, and handed on to whoever would have had it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from xmod_extend.training.signals import HELD, entered_whole, held_signals


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The signals that reached the handlers of whoever called training."""
    numbers: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: numbers.append(number))
        for number in HELD
    }
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", HELD)
def test_a_signal_is_heard_when_the_block_ends(heard: list[int], number: signal.Signals) -> None:
    with held_signals() as signals:
        assert not signals.arrived
        signal.raise_signal(number)
        assert signals.arrived and not heard
    assert heard == [number]


def test_a_closed_terminal_is_such_a_signal() -> None:
    assert signal.SIGHUP in HELD


@pytest.mark.parametrize("number", HELD)
def test_what_is_ignored_stays_ignored(heard: list[int], number: signal.Signals) -> None:
    """As SIGHUP is under nohup."""
    signal.signal(number, signal.SIG_IGN)
    with held_signals() as signals:
        signal.raise_signal(number)
        assert not signals.arrived
        assert signal.getsignal(number) is signal.SIG_IGN
    assert not heard


def test_an_error_is_held_as_a_signal_is() -> None:
    with pytest.raises(ValueError, match="first"), held_signals() as signals:
        signals.hold_error(ValueError("first"))
        signals.hold_error(ValueError("second"))
        assert signals.arrived


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own handler of Ctrl-C, which a process in the background may start without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_context_that_a_signal_interrupts_is_left_again() -> None:
    events = []

    @contextmanager
    def context() -> Iterator[str]:
        signal.raise_signal(signal.SIGINT)
        events.append("made")
        try:
            yield "entered"
        finally:
            events.append("removed")

    with pytest.raises(KeyboardInterrupt), entered_whole(context()):
        events.append("used")
    assert events == ["made", "removed"]

    with entered_whole(held_signals()) as entered:
        assert not entered.arrived

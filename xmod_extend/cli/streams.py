"""stdout and stderr that do not decide what becomes of the work.

A run of hours must not end because a log is full, a terminal was closed or a reader went away.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


def require_descriptors() -> None:
    """Open whichever of stdin, stdout and stderr is closed as nothing.

    The next file that is opened would get its number, and a library's message would go into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one


@contextmanager
def patient_stderr() -> Iterator[None]:
    """Within the block, a stderr that cannot be written is written to no more, without an error."""
    before = sys.stderr
    sys.stderr = before if before is None else _Patient(before)
    try:
        yield
    finally:
        sys.stderr = before


def give_up(stream: TextIO) -> None:
    """Send what is left in a stream's buffer, and all that is still to come, to nowhere.

    Python would try again at its end, and exit with 120.
    """
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class _Patient:
    """A text stream whose failures are swallowed; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._giving_up():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._giving_up():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):  # a full disk, a terminal that is gone; a closed stream
            give_up(self._stream)

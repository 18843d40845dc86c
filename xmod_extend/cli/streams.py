"""Output streams whose failures do not end the work.

A run of hours must not end because a log is full, a terminal was closed or a reader went away.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


def require_descriptors() -> None:
    """Open stdin, stdout and stderr as the null device where they are closed.

    The next file that is opened would get its number, and a library's message would go into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one


@contextmanager
def tolerant_stderr() -> Iterator[None]:
    """Yield with a stderr that raises nothing: after a failure, all that is written is dropped."""
    before = sys.stderr
    sys.stderr = before if before is None else _TolerantStream(before)
    try:
        yield
    finally:
        sys.stderr = before


def discard_output(stream: TextIO) -> None:
    """Discard what is left in a stream's buffer, and all that is still to come.

    Python would try again at its end, and exit with 120.
    """
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class _TolerantStream:
    """A text stream whose failures are swallowed; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._tolerating():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._tolerating():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _tolerating(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):  # a full disk, a terminal that is gone; a closed stream
            discard_output(self._stream)

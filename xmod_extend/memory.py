"""Freed memory goes back to the system before the next large thing is loaded."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress


def give_back_memory() -> None:
    """Hands freed memory to the operating system, with glibc; elsewhere it does nothing.

    glibc keeps what is freed between two pieces that are still in use. After a training step that
    is up to a gigabyte, on top of which the next slice would lie.
    """
    if sys.platform == "linux":
        # Another C library has no such function.
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)

"""Freed memory goes back to the system before the next large thing is loaded."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress


def give_back_memory() -> None:
    """Hand what nothing refers to any more to the operating system.

    Python keeps what refers to itself for a while, and glibc what is freed between two pieces that
    are still in use: after a training step that is up to a gigabyte, on top of which the next slice
    would lie. With another C library only Python's part is done.
    """
    gc.collect()
    if sys.platform == "linux":
        # Another C library has no such function.
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)

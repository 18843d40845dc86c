"""Runs a process and measures it from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in one unit of `ru_maxrss`: see getrusage(2)."""


@dataclass(frozen=True, kw_only=True)
class ProcessReport:
    """What the operating system says of a finished process and the children it waited for."""

    cpu_seconds: float
    """User and system time."""
    wall_seconds: float
    peak_rss_bytes: int
    """Most memory resident at once. Pages of mapped files count."""
    stdout: str


class ProcessFailedError(Exception):
    """A process did not end with 0; the message is the end of what it wrote to stderr."""


def measure(command: Sequence[str], environment: Mapping[str, str]) -> ProcessReport:
    """Runs `command` to its end.

    Raises:
        ProcessFailedError: If it could not be started or did not exit with 0.
    """
    # Files, not pipes: nobody has to read while the process runs, so this one costs nothing.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        try:
            process = subprocess.Popen(command, stdout=out, stderr=err, env=dict(environment))
        except OSError as error:
            raise ProcessFailedError(str(error)) from error
        _, status, usage = os.wait4(process.pid, 0)
        wall_seconds = time.perf_counter() - began
        # Popen did not see it end.
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            last = err.read().decode(errors="replace").strip().splitlines()[-1:]
            raise ProcessFailedError(f"exit {process.returncode}: {''.join(last)[:400]}")
        return ProcessReport(
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            wall_seconds=wall_seconds,
            peak_rss_bytes=usage.ru_maxrss * RSS_UNIT,
            stdout=out.read().decode(errors="replace"),
        )

"""Waiting for a Hub that is busy, where its client does not wait by itself.

The client repeats uploads and lists of files. Who is logged in, what a repository is, its creation
and the commit it asks once: a limit on requests at the end of a long upload would lose it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TypeVar

from xmod_extend.hub.failures import causes, status_of

Tell = Callable[[str], None]
Result = TypeVar("Result")

WAITS_SECONDS = (1, 2, 4, 8)
LONGEST_WAIT_SECONDS = 300
"""Whoever has to wait longer is better told so."""
PATIENT_SECONDS = 20
"""A call that took this long has waited by itself, as some do in newer versions of the client."""
BUSY = (408, 429, 500, 502, 503, 504)


def patiently(call: Callable[[], Result], tell: Tell = lambda _: None) -> Result:
    """Call, and again after a while as long as the Hub is busy; the last error is raised.

    Args:
        tell: Called with what is waited for.
    """
    for wait in WAITS_SECONDS:
        started = time.monotonic()
        try:
            return call()
        except Exception as error:  # the client raises the errors of the HTTP library below it
            seconds = seconds_to_wait(error, wait)
            if seconds is None or time.monotonic() - started > PATIENT_SECONDS:
                raise
            tell(f"the Hub is busy; trying again in {seconds} seconds")
            time.sleep(seconds)
    return call()


def seconds_to_wait(error: Exception, otherwise: int) -> int | None:
    """Return how long the Hub asks to wait, or None if waiting does not help.

    Args:
        otherwise: The time where it does not say.
    """
    if status_of(error) not in BUSY:
        return None
    asked = retry_after(error)
    if asked is None:
        return otherwise
    return asked if asked <= LONGEST_WAIT_SECONDS else None


def retry_after(error: BaseException) -> int | None:
    """Return after how many seconds the Hub takes requests again, if it says so."""
    for cause in causes(error):
        headers = getattr(getattr(cause, "response", None), "headers", {})
        seconds = str(headers.get("retry-after", "")).strip()
        if seconds.isdigit():
            return int(seconds)
        # Such as `"api";r=0;t=55`: none remains, and the window ends in 55 seconds.
        limit = re.search(r"\br\s*=\s*0\s*;\s*t\s*=\s*(\d+)", str(headers.get("ratelimit", "")))
        if limit:
            return int(limit[1])
    return None

"""The one map from an exception to a message and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from xmod_extend.cli.output import Output
from xmod_extend.errors import UsageError, XmodExtendError

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
EXIT_UNEXPECTED = 1
DEBUG_VARIABLE = "XMOD_EXTEND_DEBUG"


class Terminated(BaseException):
    """SIGTERM, raised where the program stands so that everything is cleaned up on the way out."""


@contextmanager
def error_boundary(output: Output) -> Iterator[None]:
    """Turns whatever a command raises into one or two lines on stderr and an exit code."""
    previous = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        yield
    except BaseException as error:
        if isinstance(error, SystemExit) or os.environ.get(DEBUG_VARIABLE):
            if not isinstance(error, SystemExit):
                traceback.print_exc()
                raise SystemExit(exit_code(error)) from error
            raise
        _explain(output, error)
        raise SystemExit(exit_code(error)) from error
    finally:
        signal.signal(signal.SIGTERM, previous)


def exit_code(error: BaseException) -> int:
    """The exit code that the documentation promises for an error."""
    if isinstance(error, XmodExtendError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    if isinstance(error, Terminated):
        return EXIT_TERMINATED
    if _is_about_disk(error):
        return UsageError.exit_code
    return EXIT_UNEXPECTED


def _explain(output: Output, error: BaseException) -> None:
    if isinstance(error, XmodExtendError):
        output.error(error.message, error.hint)
    elif isinstance(error, KeyboardInterrupt | Terminated):
        output.error("Interrupted; nothing was written.", None)
    elif _is_about_disk(error):
        output.error(
            f"A file could not be written: {error}.",
            "Free some space, or name another --output or cache folder (HF_HOME, TMPDIR).",
        )
    else:
        reason = " ".join(str(error).split())[:300]
        output.error(
            f"Unexpected {type(error).__name__}: {reason or 'no message'}.",
            f"Set {DEBUG_VARIABLE}=1 to see where it happened, and please report it.",
        )


def _is_about_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (
        errno.ENOSPC,
        errno.EROFS,
        errno.EDQUOT,
        errno.EACCES,
    )


def _raise_terminated(signum: int, frame: FrameType | None) -> None:
    raise Terminated

"""The one map from an exception to a message and an exit code."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TypeGuard

from xmod_extend.cli.output import Output
from xmod_extend.errors import (
    CheckFailedError,
    CorpusError,
    LanguageError,
    ModelError,
    UsageError,
    XmodExtendError,
)
from xmod_extend.files.run_folder import (
    begun_languages,
    run_folder,
    saved_states,
    step_of,
    what_is_saved,
)

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
EXIT_UNEXPECTED = 1
DEBUG_VARIABLE = "XMOD_EXTEND_DEBUG"
NEARLY_FULL_BYTES = 8_000_000
"""A disk with less free space counts as full: removing the file that did not fit has freed some."""
SURE_TO_RECUR = (ModelError, LanguageError, CorpusError, CheckFailedError)
"""Errors that a resumed run would only meet again."""


END_SIGNALS = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
"""Signals that end a run: a request, and the loss of the terminal, of which Windows has none."""


class Terminated(BaseException):
    """SIGTERM or SIGHUP as an exception, so that all is cleaned up on the way out."""


class Boundary:
    """The state of a command, as far as the explanation of an error needs it."""

    def __init__(self) -> None:
        self._output: Path | None = None
        self._before: int | None = None
        self._step_before: int | None = None

    def watch(self, output: Path) -> None:
        """Name the folder that the command writes, so that an interrupt can say if it did."""
        self._output = output
        self._before = self._identity()
        self._step_before = self.saved_step

    @property
    def has_progressed(self) -> bool:
        """Whether a state was saved since `watch`."""
        return self.saved_step not in (None, self._step_before)

    @property
    def written(self) -> list[Path]:
        """The folder that the command writes, in a list; empty before it is known."""
        return [] if self._output is None else [self._output]

    @property
    def saved_step(self) -> int | None:
        """The optimiser step of the run's newest saved state; None if there is no state."""
        states = [] if self._output is None else saved_states(run_folder(self._output))
        return step_of(states[-1]) if states else None

    @property
    def has_begun_languages(self) -> bool:
        """Whether a run of several languages has saved anything."""
        return self._output is not None and bool(begun_languages(run_folder(self._output)))

    @property
    def has_saved(self) -> bool:
        """Whether there is something that `--resume` goes on from."""
        return self._output is not None and what_is_saved(self._output) is not None

    @property
    def what_was_written(self) -> str:
        """What became of the output, as the end of a sentence about an interrupt."""
        if self._output is None:
            return ""
        if self._identity() not in (None, self._before):
            return f"; {self._output} was complete by then"
        saved = what_is_saved(self._output)
        if saved is not None:
            return f"; {self._output} was not written, but {saved}"
        return "; nothing was written"

    def _identity(self) -> int | None:
        assert self._output is not None
        try:
            return self._output.expanduser().stat().st_ino
        except OSError:
            return None


@contextmanager
def error_boundary(output: Output) -> Iterator[Boundary]:
    """Turn whatever a command raises into one or two lines on stderr and an exit code."""
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, *END_SIGNALS)}
    for number in END_SIGNALS:
        # Under nohup a lost connection is ignored, and stays so.
        if previous[number] is not signal.SIG_IGN or number == signal.SIGTERM:
            signal.signal(number, _raise_terminated)
    boundary = Boundary()
    try:
        _require_current_folder()
        yield boundary
    except SystemExit:
        raise
    except BaseException as error:
        for number in previous:
            # torchrun ends the others as soon as one failed, and people press Ctrl-C twice:
            # what arrives now must not cut the explanation in two.
            signal.signal(number, signal.SIG_IGN)
        if os.environ.get(DEBUG_VARIABLE):
            traceback.print_exc()
        else:
            _explain(output, error, boundary)
        raise SystemExit(exit_code(error)) from error
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _require_current_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise UsageError(
            "The current folder does not exist any more.", hint="Change to another folder."
        ) from error


def exit_code(error: BaseException) -> int:
    """Return the exit code that the documentation promises for an error."""
    if isinstance(error, XmodExtendError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    if isinstance(error, Terminated):
        return EXIT_TERMINATED
    if _is_about_disk(error):
        return UsageError.exit_code
    return EXIT_UNEXPECTED


def _explain(output: Output, error: BaseException, boundary: Boundary) -> None:
    if not output.is_first and exit_code(error) != EXIT_UNEXPECTED:
        # All processes refuse alike, and the first one says it for all.
        return
    if isinstance(error, XmodExtendError):
        helps = boundary.has_progressed and not isinstance(error, SURE_TO_RECUR)
        advice = _how_to_resume(boundary) if helps else None
        output.error(error.message, _joined(error.hint, advice))
    elif isinstance(error, KeyboardInterrupt | Terminated):
        word = "Interrupted" if isinstance(error, KeyboardInterrupt) else "Terminated"
        output.error(f"{word}{boundary.what_was_written}.", _how_to_resume(boundary))
    elif _is_about_disk(error):
        path = error.filename or " or ".join(_full_folders(boundary))
        path = f" ({path})" if path else ""
        output.error(
            f"A file could not be read or written: {error.strerror}{path}.",
            _joined(
                "Check its permissions and the free space, or name another "
                # Another output would start at step 1.
                f"{'cache' if boundary.has_saved else '--output or cache'} folder (HF_HOME, "
                "TMPDIR).",
                _how_to_resume(boundary),
            ),
        )
    elif _is_about_memory(error):
        output.error(
            "There is not enough memory.",
            # With another batch a saved state would be refused.
            _joined("End other programs first.", _how_to_resume(boundary))
            if boundary.has_saved
            else "Use a smaller --batch-size or a smaller --max-length.",
        )
    else:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        output.error(
            f"Unexpected {type(error).__name__}: {reason or 'no message'}.",
            _joined(
                f"Set {DEBUG_VARIABLE}=1 to see where it happened, and please report it.",
                _how_to_resume(boundary),
            ),
        )


def _joined(hint: str | None, more: str | None) -> str | None:
    return " ".join(filter(None, [hint, more])) or None


def _how_to_resume(boundary: Boundary) -> str | None:
    """Return advice with the command that resumes the run; None if nothing was saved."""
    if boundary.saved_step is None and not boundary.has_begun_languages:
        return None
    command = ["xmod-extend", *sys.argv[1:]]
    processes = os.environ.get("LOCAL_WORLD_SIZE")
    if processes is not None:
        command[:1] = ["torchrun", f"--nproc-per-node={processes}", "-m", "xmod_extend"]
    if "--resume" not in command:
        command.append("--resume")
    step = "" if boundary.saved_step is None else f" from step {boundary.saved_step:,}"
    return f"`{shlex.join(command)}` goes on{step}."


def _full_folders(boundary: Boundary) -> list[str]:
    """Return the folders on a full disk that something is written to; an error may name none."""
    hub_cache = os.environ.get("HF_HOME", "~/.cache/huggingface")
    caches = [os.environ.get("HF_DATASETS_CACHE", hub_cache), tempfile.gettempdir()]
    full = []
    for folder in [*boundary.written, *map(Path, caches)]:
        path = folder.expanduser().absolute()
        existing = next((parent for parent in (path, *path.parents) if parent.exists()), path)
        with suppress(OSError):
            if shutil.disk_usage(existing).free < NEARLY_FULL_BYTES and str(existing) not in full:
                full.append(str(existing))
    return full


def _is_about_disk(error: BaseException) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and error.errno in (
        errno.ENOSPC,
        errno.EROFS,
        errno.EDQUOT,
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.EFBIG,
        errno.EMFILE,
        errno.ENFILE,
        getattr(errno, "ESTALE", None),
    )


def _is_about_memory(error: BaseException) -> bool:
    # torch's own class cannot be named without importing torch; on the CPU it raises another.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _raise_terminated(signum: int, frame: FrameType | None) -> None:
    # A second one must not interrupt the cleaning up.
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise Terminated

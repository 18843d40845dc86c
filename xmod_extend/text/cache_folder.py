"""Where prepared text is kept, and how much of it."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from xmod_extend.errors import CorpusError, UsageError

LIMIT_VARIABLE = "XMOD_EXTEND_CACHE_BYTES"
DEFAULT_LIMIT_BYTES = 20_000_000_000


def choose_cache_dir(cache_dir: Path | None) -> tuple[Path, str | None]:
    """Return a folder for prepared text that can be written.

    Args:
        cache_dir: The folder; one in `datasets`' own cache (HF_DATASETS_CACHE) if None.

    Returns:
        The folder, and a sentence of warning if it is a temporary one because the other cannot be
        written. A temporary folder is removed when the process ends.

    Raises:
        UsageError: The cache's bound is no number.
    """
    import datasets

    limit_bytes()  # A slip in it is said before the text is read.
    folder = cache_dir or Path(datasets.config.HF_DATASETS_CACHE) / "xmod_extend"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return _temporary_cache_dir(), (
            f"The cache folder {folder} cannot be written ({error.strerror or error}), so the text "
            "is prepared in a temporary folder and anew in every run."
        )
    return folder, None


def limit_bytes() -> int:
    """Return how large the cache may be.

    Raises:
        UsageError: The environment variable that says so is no number.
    """
    text = os.environ.get(LIMIT_VARIABLE, "")
    try:
        return max(0, int(float(text))) if text else DEFAULT_LIMIT_BYTES
    except (ValueError, OverflowError):
        raise UsageError(
            f"{LIMIT_VARIABLE} is {text!r}, which is not a number of bytes.",
            hint=f"Give it a number, such as {DEFAULT_LIMIT_BYTES} or 2e10, or unset it.",
        ) from None


@contextlib.contextmanager
def explain_full_disk(folder: Path | str) -> Iterator[None]:
    """Turn what the system says when prepared text cannot be written into our own error.

    Raises:
        CorpusError: In the place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise CorpusError(
            f"The prepared text cannot be written to {folder}: {error.strerror or error}.",
            hint="Free some space, or set HF_DATASETS_CACHE to a folder on another disk.",
        ) from error


@cache
def _temporary_cache_dir() -> Path:
    with explain_full_disk("a temporary folder"):
        folder = Path(tempfile.mkdtemp(prefix="xmod-extend-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder

"""Where prepared text is kept between runs, and how `datasets` is kept quiet."""

from __future__ import annotations

import atexit
import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from xmod_extend.errors import CorpusError


@contextlib.contextmanager
def quiet_datasets() -> Iterator[None]:
    """No progress bars and no log lines from `datasets` inside the block.

    A user's HF_DATASETS_DISABLE_PROGRESS_BARS has priority; what was set before is restored.
    """
    import datasets

    logger = logging.getLogger("datasets")
    level = logger.level
    shown = (
        datasets.config.HF_DATASETS_DISABLE_PROGRESS_BARS is None
        and not datasets.are_progress_bars_disabled()
    )
    logger.setLevel(logging.ERROR)
    if shown:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if shown:
            datasets.enable_progress_bars()


@contextlib.contextmanager
def explain_full_disk() -> Iterator[None]:
    """Turn what the system says when prepared text cannot be written into our own error.

    Raises:
        CorpusError: In the place of an OSError, also of one that `datasets` wrapped.
    """
    from datasets.exceptions import DatasetGenerationError

    try:
        yield
    except (OSError, DatasetGenerationError) as error:
        cause = error.__cause__ if isinstance(error, DatasetGenerationError) else error
        if isinstance(cause, CorpusError):
            raise cause from None
        if not isinstance(cause, OSError):
            raise
        raise CorpusError(
            f"The prepared text cannot be written: {cause.strerror or cause}.",
            hint="Free some space, or set HF_DATASETS_CACHE to a folder on another disk.",
        ) from error


def choose_cache_dir(cache_dir: Path | None) -> tuple[Path, str | None]:
    """A folder for prepared text that can be written.

    Args:
        cache_dir: The folder wanted; `datasets`' own cache (HF_DATASETS_CACHE) if None.

    Returns:
        The folder, and a sentence of warning if it is a temporary one because the folder wanted
        cannot be written. A temporary folder is removed when the process ends.
    """
    import datasets

    wanted = cache_dir or Path(datasets.config.HF_DATASETS_CACHE) / "xmod_extend"
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=wanted):
            pass
    except OSError as error:
        return _temporary_cache_dir(), (
            f"The cache folder {wanted} cannot be written ({error.strerror or error}), so the text "
            "is prepared in a temporary folder and anew in every run."
        )
    return wanted, None


@cache
def _temporary_cache_dir() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="xmod-extend-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder

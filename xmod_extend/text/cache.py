"""Where prepared text is kept between runs, and how `datasets` is kept quiet.

An entry is a folder that gets its name once it is whole and on the disk, with a record that covers
its files' content. What differs from its record, however that came, is removed and made anew.

    corpus-KEY/                      an entry: KEY stands for all that it was made from
        train.arrow                  a file of its maker
        train.arrow.sums             the checksums of its pieces
        entry.json                   the record, and the mark by which a folder is known as ours
    corpus-KEY.lock                  held by the process that makes it; empty, and left behind
    corpus-KEY.RANDOM.unfinished/    an entry that is being made; what a killed process left
                                     is removed when another one makes an entry
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import xxhash

from xmod_extend.errors import CorpusError
from xmod_extend.text.checked_files import CheckedFile, digest_sums, write_sums

_logger = logging.getLogger(__name__)

_RECORD = "entry.json"
_UNFINISHED = ".unfinished"
_OWN_SUFFIXES = frozenset({".arrow", ".bin", ".sums"})


@dataclass(frozen=True)
class Entry:
    """A folder of the cache that is whole."""

    folder: Path
    facts: dict[str, Any]
    """What its maker found out, as JSON keeps it."""


def find_entry(folder: Path) -> Entry | None:
    """Return the entry, if there is one and all of its content is what was written.

    All of it is read: of a gigabyte the checksums take a tenth of a second.
    """
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        if record.pop("digest") != _digest(record) or record["name"] != folder.name:
            return None
        for name, (size, digest) in record["files"].items():
            file = CheckedFile(folder / name)
            if file.size != size or digest_sums(file.path) != digest:
                return None
            file.check()
        return Entry(folder, record["facts"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    except CorpusError:
        # Whatever is wrong with it, it can be made again.
        return None


def find_or_make_entry(folder: Path, make: Callable[[Path], dict[str, Any]]) -> Entry:
    """Return the entry as it is in the cache, or made now; of several processes one makes it.

    Args:
        folder: Where it is or shall be.
        make: Writes the entry's files into the folder that it is given and returns its facts.

    Raises:
        CorpusError: `make` raised it, the disk is full or the cache cannot be written, or something
            that is not of the cache has the entry's name.
    """
    from filelock import FileLock

    # Without the lock, so that a whole entry can be used where nothing can be written.
    found = find_entry(folder)
    if found is not None:
        return found
    with explain_full_disk(folder.parent), FileLock(f"{folder}.lock"):
        found = find_entry(folder)
        if found is not None:
            return found
        _remove_leftovers(folder)
        _remove_damaged(folder)
        unfinished = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}{_UNFINISHED}")
        try:
            unfinished.mkdir()
            (unfinished / _RECORD).touch()
            record = _seal(unfinished, make(unfinished), name=folder.name)
            unfinished.rename(folder)
            _sync_folder(folder.parent)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        return Entry(folder, record["facts"])


def _seal(folder: Path, facts: dict[str, Any], *, name: str) -> dict[str, Any]:
    """Bring an entry's files to the disk, and write its record."""
    files = sorted(file for file in folder.iterdir() if file.name != _RECORD)
    made = {file.name: [file.stat().st_size, write_sums(file)] for file in files}
    # As it will be read: JSON knows no tuples.
    record: dict[str, Any] = json.loads(json.dumps({"name": name, "files": made, "facts": facts}))
    with (folder / _RECORD).open("w", encoding="utf-8") as file:
        json.dump(record | {"digest": _digest(record)}, file)
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(folder)
    return record


def _digest(record: dict[str, Any]) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(record, sort_keys=True).encode())


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk; not every system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_damaged(folder: Path) -> None:
    """Remove an entry that is not whole.

    Raises:
        CorpusError: It is none of ours.
    """
    if not os.path.lexists(folder):
        return
    if not _is_own(folder):
        raise CorpusError(
            f"{folder} is not a whole entry of the cache, and holds what is not of the cache.",
            hint="Move it away, or set HF_DATASETS_CACHE to another folder.",
        )
    _logger.warning("The prepared text in %s is damaged or of another version: made anew.", folder)
    # Renamed first: killed meanwhile, this process leaves what the next one can remove.
    doomed = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}{_UNFINISHED}")
    folder.rename(doomed)
    _remove(doomed)


def _remove_leftovers(entry: Path) -> None:
    """Remove what processes left that were killed while they made this entry or others.

    Args:
        entry: Whose lock is held by this process.
    """
    from filelock import FileLock, Timeout

    for folder in entry.parent.glob(f"*.*{_UNFINISHED}"):
        name = folder.name.split(".")[0]
        lock = FileLock(folder.with_name(f"{name}.lock"), timeout=0)
        held = contextlib.nullcontext() if name == entry.name else lock
        with contextlib.suppress(OSError, Timeout, RuntimeError), held:
            if _is_own(folder):
                _remove(folder)


def _is_own(folder: Path) -> bool:
    """Return whether a folder carries the mark of an entry, or is empty, and holds
    nothing foreign."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    files = [file for file in folder.iterdir() if file.name != _RECORD]
    marked = (folder / _RECORD).is_file() or not files
    return marked and all(file.is_file() and file.suffix in _OWN_SUFFIXES for file in files)


def _remove(folder: Path) -> None:
    """Remove a folder of ours, its mark last."""
    for file in sorted(folder.iterdir(), key=lambda file: file.name == _RECORD):
        file.unlink()
    folder.rmdir()


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


def choose_cache_dir(cache_dir: Path | None) -> tuple[Path, str | None]:
    """Return a folder for prepared text that can be written.

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
    with explain_full_disk("a temporary folder"):
        folder = Path(tempfile.mkdtemp(prefix="xmod-extend-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder

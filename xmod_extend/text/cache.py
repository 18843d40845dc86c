"""Prepared text that is kept between runs: for how long, and how it is trusted.

An entry is a folder that gets its name once it is whole and on the disk, with a record that covers
its files' content. What differs from its record, however that came, is removed and made anew.

    corpus-KEY/                      an entry: KEY stands for all that it was made from
        train.arrow                  a file of its maker
        train.arrow.sums             the checksums of its pieces
        entry.json                   the record, and the mark by which a folder is known as ours;
                                     its time is that of the last use, and who uses the entry
                                     keeps it open, with a shared lock
    corpus-KEY.lock                  held by the process that makes it; empty, and left behind
    corpus-KEY.RANDOM.unfinished/    an entry that is being made; what a killed process left
                                     is removed when another one makes an entry

Before an entry is made, those that were used longest ago make room for it, but none in use.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from xmod_extend.errors import CorpusError
from xmod_extend.files.atomic import atomic_folder
from xmod_extend.text.cache_folder import choose_cache_dir, explain_full_disk, limit_bytes
from xmod_extend.text.checked_files import CheckedFile, digest_sums, write_sums

_logger = logging.getLogger(__name__)

_RECORD = "entry.json"
_UNFINISHED = ".unfinished"
_OWN_SUFFIXES = frozenset({".arrow", ".bin", ".sums"})


class _Hold:
    """Keeps an entry from being removed by other processes while it lives."""

    def __init__(self, handle: int) -> None:
        self.release = weakref.finalize(self, os.close, handle)


@dataclass(frozen=True)
class Entry:
    """A folder of the cache that is whole, and in use as long as this object lives."""

    folder: Path
    facts: dict[str, Any]
    """What its maker found out, as JSON keeps it."""
    hold: _Hold | None = field(default=None, compare=False, repr=False)


_watchers: list[list[Entry]] = []
"""Who wants to know which entries are used."""


class CacheUsage(NamedTuple):
    """How large the cache is."""

    folder: Path
    num_bytes: int
    limit_bytes: int


def find_entry(folder: Path) -> Entry | None:
    """Return the entry, if there is one and all of its content is what was written.

    All of it is read: of a gigabyte the checksums take a tenth of a second.
    """
    hold = _take_hold(folder)
    if hold is None:
        return None
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        if record.pop("digest") != _digest(record) or record["name"] != folder.name:
            return None
        for name, (size, digest) in record["files"].items():
            file = CheckedFile(folder / name)
            if file.size != size or digest_sums(file.path) != digest:
                return None
            file.check()
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    except CorpusError:
        # Whatever is wrong with it, it can be made again.
        return None
    with contextlib.suppress(OSError):
        os.utime(folder / _RECORD)
    return _use(Entry(folder, record["facts"], hold))


def find_or_make_entry(
    folder: Path, make: Callable[[Path], dict[str, Any]], *, num_bytes: int = 0
) -> Entry:
    """Return the entry as it is in the cache, or made now; of several processes one makes it.

    Args:
        folder: Where it is or shall be.
        make: Writes the entry's files into the folder that it is given and returns its facts.
        num_bytes: About what they will take, for which room is made.

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
        make_room(folder.parent, num_bytes)
        with atomic_folder(folder, _unfinished(folder)) as unfinished:
            (unfinished / _RECORD).touch()
            record = _seal(unfinished, make(unfinished), name=folder.name)
            hold = None if sys.platform == "win32" else _take_hold(unfinished)
        hold = hold or _take_hold(folder)
        entry = _use(Entry(folder, record["facts"], hold))
        make_room(folder.parent)
        return entry


def make_room(root: Path, num_bytes: int = 0) -> None:
    """Remove the entries that were used longest ago until so many bytes more are in the bound.

    What a process uses stays, even if the bound is then exceeded.
    """
    entries = sorted(_entries(root))
    excess = sum(size for _, size, _ in entries) + num_bytes - limit_bytes()
    for _, size, folder in entries:
        if excess <= 0:
            return
        if _remove_unused(folder):
            excess -= size


def measure_cache() -> CacheUsage:
    """Return where prepared text is kept, and how much there is of it."""
    root, _ = choose_cache_dir(None)
    return CacheUsage(root, sum(size for _, size, _ in _entries(root)), limit_bytes())


@contextlib.contextmanager
def forget_refused_text() -> Iterator[None]:
    """Remove what was used of the cache inside the block if the text is refused there."""
    used: list[Entry] = []
    _watchers.append(used)
    try:
        yield
    except CorpusError:
        for entry in used:
            if entry.hold is not None:
                entry.hold.release()
        for entry in used:
            _remove_unused(entry.folder)
        raise
    finally:
        _watchers.pop()


def _use(entry: Entry) -> Entry:
    for used in _watchers:
        used.append(entry)
    return entry


def _seal(folder: Path, facts: dict[str, Any], *, name: str) -> dict[str, Any]:
    """Write the checksums of an entry's files and its record, and return the record."""
    files = sorted(file for file in folder.iterdir() if file.name != _RECORD)
    made = {file.name: [file.stat().st_size, write_sums(file)] for file in files}
    # As it will be read: JSON knows no tuples.
    record: dict[str, Any] = json.loads(json.dumps({"name": name, "files": made, "facts": facts}))
    content = json.dumps(record | {"digest": _digest(record)})
    (folder / _RECORD).write_text(content, encoding="utf-8")
    return record


def _digest(record: dict[str, Any]) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(record, sort_keys=True).encode())


if sys.platform == "win32":

    def _lock(handle: int, *, shared: bool) -> bool:
        # A folder in which a file is open cannot be renamed there: that it is open is the lock.
        return shared

else:
    import fcntl

    def _lock(handle: int, *, shared: bool) -> bool:
        """Lock an open file, waiting for a shared lock; return whether it was possible."""
        try:
            fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def _take_hold(folder: Path) -> _Hold | None:
    """Take hold of an entry, or return None if it is not there."""
    path = folder / _RECORD
    try:
        handle = os.open(path, os.O_RDONLY)
        hold = _Hold(handle)
        # Where files cannot be locked, nothing is removed either.
        _lock(handle, shared=True)
        # While the lock was waited for, the entry may have been removed.
        return hold if os.path.samestat(os.fstat(handle), path.stat()) else None
    except OSError:
        return None


def _remove_unused(folder: Path) -> bool:
    """Remove an entry, unless a process uses it; return whether it is gone."""
    doomed = _unfinished(folder)
    try:
        if sys.platform == "win32":
            folder.rename(doomed)
        else:
            handle = os.open(folder / _RECORD, os.O_RDONLY)
            try:
                if not _lock(handle, shared=False):
                    return False
                folder.rename(doomed)
            finally:
                os.close(handle)
        _remove(doomed)
    except OSError:
        return False
    return True


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
    doomed = _unfinished(folder)
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


def _unfinished(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.{secrets.token_hex(4)}{_UNFINISHED}")


def _entries(root: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield the time of each entry's last use, its size in bytes, and its folder."""
    for record in root.glob(f"*/{_RECORD}"):
        folder = record.parent
        # Another process may remove it meanwhile.
        with contextlib.suppress(OSError):
            if folder.suffix != _UNFINISHED and _is_own(folder):
                size = sum(file.stat().st_size for file in folder.iterdir())
                yield record.stat().st_mtime, size, folder


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

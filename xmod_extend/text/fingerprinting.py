"""What a text is known by in the cache: its files' bytes, not their names or dates.

Hashing 10 GB takes half a minute, so a large file's digest is remembered under what the system says
of the file: its place, inode, size, and the times of its last change (mtime) and of the last change
of its entry (ctime). A program can set the mtime back; the ctime is the kernel's own, which moves
with every write. The memory is not trusted where that does not hold: a file that was changed within
the last seconds is not remembered, for a second change may fall into the same tick of the clock.
What is left is a clock that was set back, and file systems without times of their own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from xmod_extend.errors import CorpusError
from xmod_extend.files.atomic import write_atomically
from xmod_extend.text.cleaning import CLEANING_VERSION
from xmod_extend.text.sources import Source

LARGE_BYTES = 64 << 20
"""Smaller files are hashed every time: it takes less than a quarter of a second."""

_LAYOUT_VERSION = 4
_SETTLED_SECONDS = 2.0


def fingerprint_sources(sources: Sequence[Source], *, cache_dir: Path) -> str:
    """Return 32 hexadecimal digits that stand for the cleaned text of the files.

    Raises:
        CorpusError: A file cannot be read.
    """
    # All sources of a text are read in the same way.
    options = [sources[0].text_field, sources[0].encoding_errors]
    parts: list[object] = [_LAYOUT_VERSION, CLEANING_VERSION, *options]
    for source in sources:
        try:
            digest = _digest_file(source.path, cache_dir)
        except OSError as error:
            raise CorpusError(
                f"{source.name} cannot be read: {error.strerror or error}."
            ) from error
        parts.append([source.format, source.compression, digest])
    return combine(*parts)


def combine(*parts: object) -> str:
    """Return 32 hexadecimal digits that stand for all of the parts, which JSON can hold."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _digest_file(path: Path, cache_dir: Path) -> str:
    # As strong as SHA-256, and twice as fast without special hardware.
    started = time.time()
    status = path.stat()
    state = _state(path, status)
    memory = cache_dir / f"digest-{combine(str(path.resolve()))}.json"
    if status.st_size >= LARGE_BYTES and (known := _recall(memory, state)):
        return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()
    changed = max(status.st_mtime, status.st_ctime)
    settled = changed + _SETTLED_SECONDS < started and state == _state(path, path.stat())
    if status.st_size >= LARGE_BYTES and settled:
        _remember(memory, state, digest)
    return digest


def _state(path: Path, status: os.stat_result) -> list[object]:
    return [
        str(path.resolve()),
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    ]


def _recall(memory: Path, state: list[object]) -> str | None:
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
        digest = str(known["digest"])
        whole = known["check"] == combine(known["state"], digest)
        return digest if whole and known["state"] == state else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _remember(memory: Path, state: list[object], digest: str) -> None:
    known = {"state": state, "digest": digest, "check": combine(state, digest)}
    # Without it the file is hashed again next time.
    with contextlib.suppress(OSError):
        write_atomically(memory, json.dumps(known).encode())

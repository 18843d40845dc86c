"""Cleaned lines on disk: prepared once, then memory-mapped, so that a corpus may exceed memory."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from xmod_extend.errors import CorpusError, UsageError
from xmod_extend.text.cache import explain_full_disk, quiet_datasets
from xmod_extend.text.cleaning import CLEANING_VERSION, clean_line, cut_line
from xmod_extend.text.reading import EncodingErrors, Part, read_lines
from xmod_extend.text.sources import Source

if TYPE_CHECKING:
    import datasets

_LAYOUT_VERSION = 1


def prepare_lines(
    sources: Sequence[Source],
    *,
    text_field: str,
    encoding_errors: EncodingErrors,
    cache_dir: Path,
) -> datasets.Dataset:
    """Read and clean every line of the sources, or find the result of an earlier run.

    Returns:
        One row a line, empty lines as empty text: `text`, its `digest` (64 bits of BLAKE2b as a
        signed integer) and `part` (see `reading.Part`).

    Raises:
        CorpusError: A source cannot be read, or the disk is full.
        UsageError: `encoding_errors` is not one of its values.
    """
    from filelock import FileLock

    if encoding_errors not in get_args(EncodingErrors):
        raise UsageError(
            f"{encoding_errors!r} is no way to treat bytes that are not UTF-8.",
            hint=f"Choose {' or '.join(get_args(EncodingErrors))}.",
        )
    fingerprint = _fingerprint(sources, text_field, encoding_errors)
    entry = cache_dir / f"lines-{fingerprint}"
    # `datasets` locks the writing of an entry; this lock also covers replacing a damaged one.
    with FileLock(f"{entry}.lock"), quiet_datasets():
        if entry.exists():
            found = _load_intact(entry, fingerprint)
            if found is not None:
                return found
            shutil.rmtree(entry)
        with explain_full_disk():
            return _from_generator(
                entry, fingerprint, lambda: _rows(sources, text_field, encoding_errors)
            )


def _fingerprint(
    sources: Sequence[Source], text_field: str, encoding_errors: EncodingErrors
) -> str:
    """Of the files' bytes, not of their names or dates."""
    parts: list[object] = [_LAYOUT_VERSION, CLEANING_VERSION, text_field, encoding_errors]
    for source in sources:
        try:
            with source.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CorpusError(
                f"{source.name} cannot be read: {error.strerror or error}."
            ) from error
        parts.append([source.format, source.is_compressed, digest])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _rows(
    sources: Sequence[Source], text_field: str, encoding_errors: EncodingErrors
) -> Iterator[dict[str, Any]]:
    is_empty = True
    for source in sources:
        for line in read_lines(source, text_field=text_field, encoding_errors=encoding_errors):
            is_empty = False
            pieces = cut_line(clean_line(line.text))
            part = line.part
            if part is Part.WHOLE and len(pieces) > 1:
                part = Part.FIRST
            for piece in pieces:
                if part is Part.FURTHER and not piece:
                    continue
                digest = hashlib.blake2b(piece.encode(), digest_size=8).digest()
                yield {
                    "text": piece,
                    "digest": int.from_bytes(digest, "little", signed=True),
                    "part": int(part),
                }
                if part is Part.FIRST:
                    part = Part.FURTHER
    if is_empty:
        # `datasets` cannot open what it made of no rows.
        names = ", ".join(source.name for source in sources[:3])
        raise CorpusError(
            f"There is no text in {names}{', …' if len(sources) > 3 else ''}: no line at all.",
            hint="Give UTF-8 text, one sentence or paragraph a line.",
        )


def _from_generator(entry: Path, fingerprint: str, rows: Any) -> datasets.Dataset:
    import datasets

    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "digest": datasets.Value("int64"),
            "part": datasets.Value("int8"),
        }
    )
    return datasets.Dataset.from_generator(
        rows, features=features, cache_dir=str(entry), fingerprint=fingerprint
    )


def _load_intact(entry: Path, fingerprint: str) -> datasets.Dataset | None:
    """The entry, if it was finished and no row is missing.

    `datasets` writes into a folder of another name and renames it at the end, so that a killed
    process leaves no entry. It does not notice a file that lost its end afterwards: an Arrow stream
    that stops between two batches looks complete.
    """

    def nothing() -> Iterator[dict[str, Any]]:
        # Called only where `datasets` finds no finished entry.
        yield from ()

    try:
        lines = _from_generator(entry, fingerprint, nothing)
    except Exception:
        # Whatever is wrong with it, it can be prepared again.
        return None
    # An entry that was made of nothing just now is as good as none.
    complete = len(lines) > 0 and lines.info.splits["train"].num_examples == len(lines)
    return lines if complete else None

"""Where prepared text is kept between runs, and how `datasets` is kept quiet.

An entry is a folder that gets its name once it is whole, with a record of its files' sizes: neither
a killed process nor a file that lost its end is taken for a result. Its Arrow files are read from
their beginning to their end without mapping them (mapped pages count as resident memory), and
mapped only to be read here and there.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import mmap
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xmod_extend.errors import CorpusError

if TYPE_CHECKING:
    import datasets

Offsets = npt.NDArray[np.int32]
_RECORD = "entry.json"
PIECE_BYTES = 1 << 20
"""Of text that is worked on at a time."""
BATCH_BYTES = 16 << 20
"""Of an Arrow record batch: opening a mapped file touches a page or more of each."""
BATCHES_MAPPED = 64
"""Looked at before their pages are given back."""


@dataclass(frozen=True)
class Entry:
    """A folder of the cache that is whole."""

    folder: Path
    facts: dict[str, Any]
    """What its maker found out, as JSON keeps it."""


def find_entry(folder: Path) -> Entry | None:
    """The entry, if there is one and each of its files has the size that it was written with."""
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        sizes = {name: (folder / name).stat().st_size for name in record["sizes"]}
        return Entry(folder, record["facts"]) if sizes == record["sizes"] else None
    except (OSError, ValueError, KeyError, TypeError):
        # Whatever is wrong with it, it can be made again.
        return None


def find_or_make_entry(folder: Path, make: Callable[[Path], dict[str, Any]]) -> Entry:
    """The entry as it is in the cache, or made now; of several processes one makes it.

    Args:
        folder: Where it is or shall be.
        make: Writes the entry's files into the folder that it is given and returns its facts.

    Raises:
        CorpusError: `make` raised it, or the disk is full.
    """
    from filelock import FileLock

    with FileLock(f"{folder}.lock"):
        found = find_entry(folder)
        if found is not None:
            return found
        unfinished = folder.with_name(folder.name + ".unfinished")
        for old in (folder, unfinished):
            shutil.rmtree(old, ignore_errors=True)
        try:
            with explain_full_disk():
                unfinished.mkdir()
                facts = make(unfinished)
                sizes = {file.name: file.stat().st_size for file in unfinished.iterdir()}
                record = json.dumps({"facts": facts, "sizes": sizes})
                (unfinished / _RECORD).write_text(record, encoding="utf-8")
                unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        return Entry(folder, facts)


class ArrowFile:
    """Writes one column to an Arrow stream, in record batches of at least `BATCH_BYTES`."""

    def __init__(self, path: Path, field: Any) -> None:
        import pyarrow as pa

        self._schema = pa.schema([field])
        self._file = pa.OSFile(str(path), "wb")
        self._stream = pa.ipc.new_stream(self._file, self._schema)
        self._arrays: list[Any] = []

    def __enter__(self) -> ArrowFile:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._flush()
            self._stream.close()
        finally:
            self._file.close()

    def write(self, array: Any) -> None:
        self._arrays.append(array)
        if sum(each.nbytes for each in self._arrays) >= BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._arrays:
            column = pa.concat_arrays(self._arrays)
            self._stream.write_batch(pa.record_batch([column], schema=self._schema))
            self._arrays.clear()


def read_arrow(path: Path) -> Iterator[Any]:
    """The only column's arrays, one record batch after another, without mapping the file."""
    import pyarrow as pa

    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        for batch in stream:
            yield batch.column(0)


def open_mapped(path: Path) -> tuple[mmap.mmap, Any]:
    """An Arrow stream as a table that lies in the file, mapped into memory, and the mapping."""
    import pyarrow as pa

    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    batches = []
    with pa.ipc.open_stream(pa.py_buffer(mapping)) as stream:
        for batch in stream:
            batches.append(batch)
            # A look at a record batch's head maps up to a megabyte around it.
            if len(batches) % BATCHES_MAPPED == 0:
                release_pages(mapping)
        table = pa.Table.from_batches(batches, schema=stream.schema)
    release_pages(mapping)
    return mapping, table


def release_pages(mapping: mmap.mmap) -> None:
    """Unmap a mapped file's pages for now; what is needed again comes from the system's cache."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def map_arrow(path: Path, *, fingerprint: str) -> datasets.Dataset:
    """The file as a data set, mapped into memory."""
    import datasets

    with quiet_datasets():
        table = datasets.table.MemoryMappedTable(open_mapped(path)[1], str(path))
        return datasets.Dataset(table, fingerprint=fingerprint)


def encode_lines(column: Any) -> Iterator[bytes]:
    """Texts as a file has them, each with a \\n, in pieces of whole lines of about 1 MiB."""
    import pyarrow.compute as pc

    with_ends = pc.binary_join_element_wise(column, "", "\n")
    buffer = with_ends.buffers()[2]
    if buffer is None:
        return
    offsets: Offsets = np.frombuffer(with_ends.buffers()[1], dtype=np.int32)
    offsets = offsets[with_ends.offset : with_ends.offset + len(with_ends) + 1]
    start = int(offsets[0])
    while start < offsets[-1]:
        last = min(int(np.searchsorted(offsets, start + PIECE_BYTES)), len(with_ends))
        end = int(offsets[last])
        yield buffer.slice(start, end - start).to_pybytes()
        start = end


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
        CorpusError: In the place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise CorpusError(
            f"The prepared text cannot be written: {error.strerror or error}.",
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

"""Lines of text on the disk: one column of an Arrow stream, in record batches.

An Arrow file is read from its beginning to its end without being mapped into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xmod_extend.text.checked_files import CheckedFile

Offsets = npt.NDArray[np.int32]
PIECE_BYTES = 1 << 20
"""Bytes of text that are worked on at a time."""
BATCH_BYTES = 16 << 20
"""Bytes of an Arrow record batch."""


class ArrowFile:
    """Writes one column to an Arrow stream, in record batches of at least `BATCH_BYTES`."""

    def __init__(self, path: Path, field: Any) -> None:
        import pyarrow as pa

        self._schema = pa.schema([field])
        # Python opens it: Arrow knows no names but UTF-8, and an ASCII locale has others.
        self._file = path.open("wb")
        self._stream = pa.ipc.new_stream(self._file, self._schema)
        self._arrays: list[Any] = []

    def __enter__(self) -> ArrowFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            if kind is None:
                self._flush()
                self._stream.close()
        finally:
            self._file.close()

    def write(self, array: Any) -> None:
        self._arrays.append(array)
        if sum(array.nbytes for array in self._arrays) >= BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._arrays:
            column = pa.concat_arrays(self._arrays)
            self._stream.write_batch(pa.record_batch([column], schema=self._schema))
            self._arrays.clear()


def read_arrow(path: Path) -> Iterator[Any]:
    """Yield the only column's arrays, one record batch after another.

    Raises:
        CorpusError: The file is not what was written.
    """
    import pyarrow as pa

    with CheckedFile(path).stream() as file, pa.ipc.open_stream(file) as stream:
        for batch in stream:
            yield batch.column(0)


def encode_lines(column: Any) -> Iterator[bytes]:
    """Yield texts as a file has them, each with a \\n, in pieces of whole lines of about 1 MiB."""
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

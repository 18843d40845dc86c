"""A file with a row for each scored sentence, for a spreadsheet or a notebook."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmod_extend.errors import UsageError
from xmod_extend.files.atomic import write_atomically

if TYPE_CHECKING:
    from xmod_extend.report.evaluation import Comparison, Evaluation

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


def check_sentence_file(path: Path | None) -> None:
    """Refuse a file that cannot be written, before anything is scored.

    Raises:
        UsageError: It has another suffix, is there already, or its folder is not.
    """
    if path is None:
        return
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"Unsupported file type {path.suffix!r} for the sentences.",
            hint=f"Give a name that ends in {', '.join(SUFFIXES)}.",
        )
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} exists already.", hint="Give another name, or remove it.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"The folder {path.parent} does not exist.", hint="Make it first.")


def write_sentence_file(path: Path, result: Evaluation | Comparison) -> None:
    """Write a row for each sentence and metric, under a column `metric`.

    Raises:
        UsageError: The file cannot be written, or was made by somebody since `check_sentence_file`.
    """
    check_sentence_file(path)
    from xmod_extend.report.evaluation import Evaluation

    first = result if isinstance(result, Evaluation) else result.before
    names = [score.metric for score in first.scores]
    rows = [{"metric": name} | row for name in names for row in result.rows(name)]
    try:
        write_atomically(path, b"".join(_encode(path.suffix.lower(), rows)))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}.") from error


def _encode(suffix: str, rows: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    if suffix == ".jsonl":
        yield from (json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
    elif suffix == ".parquet":
        yield _parquet(rows)
    else:
        yield _delimited(rows, "\t" if suffix == ".tsv" else ",").encode()


def _delimited(rows: Iterable[dict[str, Any]], delimiter: str) -> str:
    text = io.StringIO(newline="")
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(text, list(row), delimiter=delimiter)
            writer.writeheader()
        writer.writerow(row)
    return text.getvalue()


def _parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows)), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content

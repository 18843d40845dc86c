"""The column that holds the text: of a .csv or .tsv file, a Parquet table or an Arrow stream."""

from __future__ import annotations

import contextlib
import csv
import difflib
import shlex
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from xmod_extend.errors import CorpusError

_DELIMITERS = ",;\t|"
_LONGEST_FIELD = 64 << 20
_SHOWN = 40
_ROWS_A_BATCH = 1_000


def read_delimited_column(
    name: str, lines: Iterator[str], column: str, *, delimiter: str | None
) -> Iterator[str]:
    """Yield the column's text, row by row; a row that is too short has none.

    The first row has the names of the columns. Where there is no such row, a column is named by its
    number from 1. With tabs between the fields quotation marks are a part of the text; else a field
    between them may hold delimiters and line ends.

    Args:
        name: The file's, for messages.
        lines: Its lines with their ends.
        column: The name of a column, or its number.
        delimiter: Between the fields; whichever is most frequent in the first line if None.

    Raises:
        CorpusError: There is no such column, or a row has more fields than there are columns.
    """
    first = next(lines, None)
    if first is None:
        return
    delimiter = delimiter or max(_DELIMITERS, key=first.count)
    reader = csv.reader(
        chain([first], lines),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL,
        # Else a quotation mark that is not closed would make one text of all that follows.
        strict=True,
    )
    names = _next_row(name, reader)
    if names is None:
        return
    index, has_header = _find_column(name, names, column)
    rows = iter(lambda: _next_row(name, reader), None)
    for row in rows if has_header else chain([names], rows):
        if len(row) > len(names):
            raise CorpusError(
                f"{name}:{reader.line_num} has {len(row)} fields, but the first row has "
                f"{len(names)}.",
                hint="Put quotation marks around fields that hold the separator, or write the text "
                "alone to a .txt file.",
            )
        yield row[index] if index < len(row) else ""


def read_arrow_column(
    path: Path, name: str, column: str, *, kind: Literal["parquet", "arrow"]
) -> Iterator[list[str]]:
    """Yield the column's text, some rows at a time; a null is an empty text.

    Raises:
        CorpusError: There is no such column, it holds no strings, or the file is damaged.
    """
    import pyarrow as pa

    number = 0
    try:
        for values in _column_batches(path, name, column, kind):
            rows = [value or "" for value in values.to_pylist()]
            yield rows
            number += len(rows)
    except pa.ArrowException as error:
        raise CorpusError(
            f"{name} is damaged or no {kind} file: {str(error).splitlines()[0].rstrip('.')}.",
            hint="Download or write it again.",
        ) from error
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{name}: row {number + 1} or one of the next is not valid UTF-8.",
            hint="Write the table again with valid text.",
        ) from error


def missing_field(
    where: str,
    field: str,
    found: Sequence[str],
    *,
    hint: str = "",
    option: str = "--text-field",
    what: str = "text",
) -> CorpusError:
    """Return the error for text that lacks the field or column `field`.

    Args:
        where: The record or file.
        field: What was asked for.
        found: What there is instead.
        hint: What else can be done, where no name is near.
        option: What names the field.
        what: What the field holds.
    """
    shown = ", ".join(map(repr, found[:8])) + (", …" if len(found) > 8 else "")
    near = difflib.get_close_matches(field, found, n=1)
    return CorpusError(
        f"{where} has no field {field!r} (found {shown or 'none'}).",
        hint=f"Did you mean {option} {shlex.quote(near[0])}?"
        if near
        else hint or f"Name the field that holds the {what} with {option}.",
    )


def _refuse_repeated(where: str, column: str, names: Sequence[str]) -> None:
    """Refuse a table in which the name of a column does not say which one is meant."""
    if names.count(column) > 1:
        raise CorpusError(
            f"{where} has {names.count(column)} columns named {column!r}.",
            hint="Give each another name, or choose another column with --text-field.",
        )


def _find_column(name: str, names: list[str], column: str) -> tuple[int, bool]:
    """Return the column's index, and whether the first row has the names of the columns."""
    _refuse_repeated(name, column, names)
    if column in names:
        return names.index(column), True
    if column.isdecimal() and 1 <= int(column) <= len(names):
        return int(column) - 1, False
    shown = [text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…" for text in names]
    hint = (
        "Name the column that holds the text with --text-field, or its number, counted from 1, if "
        "the file has no row of names."
    )
    raise missing_field(name, column, shown, hint=hint)


def _next_row(name: str, reader: Iterator[list[str]]) -> list[str] | None:
    """Return the next row that is not an empty line, or None at the end."""
    try:
        with _long_fields():
            return next((row for row in reader if row), None)
    except csv.Error as error:
        line = getattr(reader, "line_num", 0)
        raise CorpusError(
            f"{name} is not a valid table: {error} before line {line + 1:,}.",
            hint="Perhaps a quotation mark is not closed; write the table again, or the text alone "
            "to a .txt file.",
        ) from error


@contextlib.contextmanager
def _long_fields() -> Iterator[None]:
    """Let a field be a whole document: the limit is the csv module's own, for all its users."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _column_batches(path: Path, name: str, column: str, kind: str) -> Iterator[Any]:
    """Yield the text column's values, a record batch at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Python opens the file: Arrow knows no names but UTF-8.
    with path.open("rb") as file:
        if kind == "parquet":
            with pq.ParquetFile(file) as table:
                _check_column(name, column, table.schema_arrow)
                for batch in table.iter_batches(batch_size=_ROWS_A_BATCH, columns=[column]):
                    yield batch.column(column)
        else:
            with pa.ipc.open_stream(file) as stream:
                _check_column(name, column, stream.schema)
                for batch in stream:
                    yield batch.column(column)


def _check_column(name: str, column: str, schema: Any) -> None:
    import pyarrow.types as types

    if column not in schema.names:
        raise missing_field(name, column, list(schema.names))
    _refuse_repeated(name, column, schema.names)
    kind = schema.field(column).type
    if types.is_dictionary(kind):
        kind = kind.value_type
    are_strings = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
    if not any(holds(kind) for holds in are_strings):
        raise CorpusError(
            f"{name}: the column {column!r} does not hold strings but {kind}.",
            hint="Choose the column that holds the text with --text-field.",
        )

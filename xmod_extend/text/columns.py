"""Tables as plain text: the column that holds the text of a .csv or .tsv file."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator
from itertools import chain

from xmod_extend.errors import CorpusError
from xmod_extend.text.fields import missing_field, repeated_column

_DELIMITERS = ",;\t|"
_LONGEST_FIELD = 64 << 20
_SHOWN = 40


def read_column(
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


def _find_column(name: str, names: list[str], column: str) -> tuple[int, bool]:
    """Return the column's place, and whether the first row has the names of the columns."""
    if names.count(column) > 1:
        raise repeated_column(name, column, names.count(column))
    if column in names:
        return names.index(column), True
    if column.isdecimal() and 1 <= int(column) <= len(names):
        return int(column) - 1, False
    shown = [each if len(each) <= _SHOWN else f"{each[:_SHOWN]}…" for each in names]
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

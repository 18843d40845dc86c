"""Reading text out of files, in bounded memory however large a file or a line is."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import zlib
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, BinaryIO, NamedTuple, cast

from xmod_extend.errors import CorpusError
from xmod_extend.text.columns import read_column
from xmod_extend.text.fields import missing_field, repeated_column
from xmod_extend.text.options import EncodingErrors
from xmod_extend.text.sniffing import (
    HEAD_BYTES,
    explain_undecodable,
    refuse_if_no_text,
    refuse_if_other,
)
from xmod_extend.text.sources import Source

_BLOCK_BYTES = 1 << 20
_MAX_LINE_BYTES = 1 << 20
_MAX_RECORD_BYTES = 64 << 20
_ROWS_A_BLOCK = 1_000


class Part(IntEnum):
    """What a piece of text is of the line it comes from."""

    WHOLE = 0
    FIRST = 1
    """The first of several pieces of one line."""
    FURTHER = 2


class RawLine(NamedTuple):
    """A line of text, a JSON record's field or a table row, as it stands in the file."""

    text: str
    number: int
    """Of the line, record or row in its file, from 1."""
    part: Part


class RawBlock(NamedTuple):
    """Whole lines of a source, about 1 MiB of them, or a piece of a line that is longer."""

    source: Source
    content: bytes | list[str]
    """As in the file, or the rows of a table."""
    number: int
    """Of the first line."""
    offset: int
    """Bytes of the (decompressed) file before the content."""
    part: Part
    """Of the first line; all others are whole."""


def read_lines(
    source: Source, *, text_field: str = "text", encoding_errors: EncodingErrors = "strict"
) -> Iterator[RawLine]:
    """Yield every line of a source, in order, uncleaned; empty ones too.

    Plain text is split at \n, \r\n and \r only. A record of JSON lines or of a table is one
    line, whatever it contains, and a null is an empty one. The first line of a .csv or .tsv file
    names its columns; a number as `text_field` takes that column of a file without such a line. A
    line over 1 MiB comes in pieces that end at white space where there is any.

    Args:
        source: What to read.
        text_field: The field or column with the text, where there are several.
        encoding_errors: `replace` puts U+FFFD where bytes are not UTF-8, instead of refusing them.

    Raises:
        CorpusError: The content is not what the name promises; the file and line are named.
    """
    for block in read_blocks(source, text_field=text_field, encoding_errors=encoding_errors):
        part = block.part
        lines = split_block(block, text_field=text_field, encoding_errors=encoding_errors)
        for number, line in enumerate(lines, block.number):
            yield RawLine(line, number, part)
            part = Part.WHOLE


def read_blocks(
    source: Source, *, text_field: str = "text", encoding_errors: EncodingErrors = "strict"
) -> Iterator[RawBlock]:
    """Yield the source in blocks, which `split_block` makes lines of; this is the cheap half of the
    work.

    The arguments and errors are those of `read_lines`.
    """
    try:
        with source.path.open("rb") as file:
            refuse_if_other(source.name, file.read(HEAD_BYTES))
        if source.format in ("parquet", "arrow"):
            yield from _table_blocks(source, text_field)
            return
        with _open(source) as stream:
            refuse_if_no_text(source.name, source.path, stream.read(HEAD_BYTES))
        with _open(source) as stream:
            if source.format == "text":
                yield from _text_blocks(source, stream)
            elif source.format == "jsonl":
                yield from _jsonl_blocks(source, stream)
            else:
                yield from _delimited_blocks(source, stream, text_field, encoding_errors)
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise _damaged(source, error) from error
    except OSError as error:
        # What bz2 and Zstandard say of damaged data comes without a number of the system's.
        if source.compression is not None and error.errno is None:
            raise _damaged(source, error) from error
        raise CorpusError(f"{source.name} cannot be read: {error.strerror or error}.") from error


def split_block(block: RawBlock, *, text_field: str, encoding_errors: EncodingErrors) -> list[str]:
    """Return the lines of a block without their ends, uncleaned.

    The arguments and errors are those of `read_lines`.
    """
    if isinstance(block.content, list):
        return block.content
    if block.source.format == "jsonl":
        return _split_jsonl(block, block.content, text_field, encoding_errors)
    try:
        text = block.content.decode("utf-8", encoding_errors)
    except UnicodeDecodeError as error:
        before = (block.content[: error.start] + b"x").splitlines()
        number = block.number + len(before) - 1
        raise _undecodable(block.source, error, number, block.offset) from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not lines[-1]:
        del lines[-1]
    return lines


def _undecodable(
    source: Source, error: UnicodeDecodeError, number: int, offset: int
) -> CorpusError:
    return explain_undecodable(source.name, source.path, error, number, offset)


def _damaged(source: Source, error: Exception) -> CorpusError:
    return CorpusError(
        f"{source.name} is damaged or incomplete {source.compression} data: {_first_line(error)}.",
        hint="Download or compress it again.",
    )


def _open(source: Source) -> BinaryIO:
    match source.compression:
        case "gzip":
            return cast(BinaryIO, gzip.open(source.path, "rb"))
        case "bz2":
            return cast(BinaryIO, bz2.open(source.path, "rb"))
        case "xz":
            return cast(BinaryIO, lzma.open(source.path, "rb"))
        case "zstd":
            return cast(BinaryIO, io.BufferedReader(_ZstdFile(source), _BLOCK_BYTES))
        case None:
            return source.path.open("rb")


class _ZstdFile(io.RawIOBase):
    """Zstandard data, decompressed by Arrow."""

    def __init__(self, source: Source) -> None:
        import pyarrow as pa

        # Python opens it, here and below: Arrow knows no names but UTF-8.
        self._file = source.path.open("rb")
        self._stream = pa.CompressedInputStream(self._file, "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._stream.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._file.close()
        super().close()


def _text_blocks(source: Source, stream: BinaryIO) -> Iterator[RawBlock]:
    """Blocks that end at a line's end; bytes know no others than \\n, \\r\\n and \\r."""
    number, offset, part, rest = 1, 0, Part.WHOLE, b""
    while block := stream.read(_BLOCK_BYTES):
        rest += block
        # A \r at the end stays in the rest: a \n may follow.
        end = 1 + max(rest.rfind(b"\n"), rest.rfind(b"\r", 0, len(rest) - 1))
        if end:
            content, rest = rest[:end], rest[end:]
            yield RawBlock(source, content, number, offset, Part.FURTHER if part else Part.WHOLE)
            number, offset, part = number + _count_lines(content), offset + end, Part.WHOLE
        if len(rest) > _MAX_LINE_BYTES and not rest.endswith(b"\r"):
            cut = _place_to_cut(rest)
            part = Part.FURTHER if part else Part.FIRST
            yield RawBlock(source, rest[:cut], number, offset, part)
            rest, offset = rest[cut:], offset + cut
    if rest:
        yield RawBlock(source, rest, number, offset, Part.FURTHER if part else Part.WHOLE)


def _count_lines(content: bytes) -> int:
    return len(content.splitlines()) if b"\r" in content else content.count(b"\n")


def _place_to_cut(line: bytes) -> int:
    """Behind the last blank, else between the last two characters of the UTF-8."""
    blank = max(line.rfind(b" "), line.rfind(b"\t"))
    if blank > 0:
        return blank + 1
    cut = len(line) - 1
    while cut > len(line) - 4 and line[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut


def _jsonl_blocks(source: Source, stream: BinaryIO) -> Iterator[RawBlock]:
    number, offset = 1, 0
    records: list[bytes] = []
    size = 0
    while line := stream.readline(_MAX_RECORD_BYTES):
        if len(line) == _MAX_RECORD_BYTES:
            raise CorpusError(
                f"{source.name}:{number + len(records)} is a record of more than "
                f"{_MAX_RECORD_BYTES >> 20} MiB.",
                hint="Write one JSON object a line, each with one document.",
            )
        records.append(line)
        size += len(line)
        if size >= _BLOCK_BYTES:
            yield RawBlock(source, b"".join(records), number, offset, Part.WHOLE)
            number, offset = number + len(records), offset + size
            records, size = [], 0
    if records:
        yield RawBlock(source, b"".join(records), number, offset, Part.WHOLE)


def _split_jsonl(block: RawBlock, content: bytes, field: str, errors: EncodingErrors) -> list[str]:
    lines: list[str] = []
    offset = block.offset
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n"), block.number):
        try:
            text = line.decode("utf-8", errors)
        except UnicodeDecodeError as error:
            raise _undecodable(block.source, error, number, offset) from error
        offset += len(line) + 1
        text = text.removeprefix("\ufeff").strip()
        lines.append(_field_of(block.source, number, text, field) if text else "")
    return lines


def _delimited_blocks(
    source: Source, stream: BinaryIO, field: str, errors: EncodingErrors
) -> Iterator[RawBlock]:
    """Yield the text column of a .csv or .tsv file, a thousand rows at a time."""
    lines = _decoded_lines(source, stream, errors)
    delimiter = "\t" if source.format == "tsv" else None
    texts = read_column(source.name, lines, field, delimiter=delimiter)
    number = 1
    while rows := list(itertools.islice(texts, _ROWS_A_BLOCK)):
        yield RawBlock(source, rows, number, 0, Part.WHOLE)
        number += len(rows)


def _decoded_lines(source: Source, stream: BinaryIO, errors: EncodingErrors) -> Iterator[str]:
    offset = 0
    for number, line in enumerate(iter(lambda: stream.readline(_MAX_RECORD_BYTES), b""), 1):
        if len(line) == _MAX_RECORD_BYTES:
            raise CorpusError(
                f"{source.name}:{number} is a row of more than {_MAX_RECORD_BYTES >> 20} MiB.",
                hint="Write one document a row.",
            )
        try:
            text = line.decode("utf-8", errors)
        except UnicodeDecodeError as error:
            raise _undecodable(source, error, number, offset) from error
        offset += len(line)
        yield text.removeprefix("\ufeff") if number == 1 else text


def _field_of(source: Source, number: int, text: str, field: str) -> str:
    where = f"{source.name}:{number}"
    try:
        # As floats, numbers of thousands of digits are read too; what they are does not matter.
        record = json.loads(text, parse_int=float)
    except (ValueError, RecursionError) as error:
        # The decoder's own "line 1" is not the file's.
        found = "it is nested too deeply"
        if isinstance(error, json.JSONDecodeError):
            found = f"{error.msg.removesuffix(' at')} at character {error.pos + 1:,}"
        raise CorpusError(
            f"{where} is not valid JSON: {found}.",
            hint="A .jsonl file has one JSON object a line; name plain text .txt.",
        ) from error
    if not isinstance(record, dict):
        raise CorpusError(
            f"{where} is JSON but no object (found {_json_type(record)}).",
            hint=f'Each line should look like {{"{field}": "…"}}; name plain text .txt.',
        )
    if field not in record:
        raise missing_field(where, field, list(record))
    value = record[field]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise CorpusError(
            f"{where}: the field {field!r} is no string (found {_json_type(value)}).",
            hint="Choose the field that holds the text with --text-field.",
        )
    return value


def _json_type(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")


def _table_blocks(source: Source, column: str) -> Iterator[RawBlock]:
    import pyarrow as pa

    number = 0
    try:
        for values in _column_batches(source, column):
            rows = [value or "" for value in values.to_pylist()]
            yield RawBlock(source, rows, number + 1, 0, Part.WHOLE)
            number += len(rows)
    except pa.ArrowException as error:
        raise CorpusError(
            f"{source.name} is damaged or no {source.format} file: {_first_line(error)}.",
            hint="Download or write it again.",
        ) from error
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{source.name}: row {number + 1} or one of the next is not valid UTF-8.",
            hint="Write the table again with valid text.",
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")


def _column_batches(source: Source, column: str) -> Iterator[Any]:
    """Yield the text column's values, a record batch at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if source.format == "parquet":
        with source.path.open("rb") as file, pq.ParquetFile(file) as table:
            _check_column(source, column, table.schema_arrow)
            for batch in table.iter_batches(batch_size=1_000, columns=[column]):
                yield batch.column(column)
        return
    with source.path.open("rb") as file, pa.ipc.open_stream(file) as stream:
        _check_column(source, column, stream.schema)
        for batch in stream:
            yield batch.column(column)


def _check_column(source: Source, column: str, schema: Any) -> None:
    import pyarrow as pa

    if column not in schema.names:
        raise missing_field(source.name, column, list(schema.names))
    if schema.names.count(column) > 1:
        count = schema.names.count(column)
        raise repeated_column(source.name, column, count)
    kind = schema.field(column).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_null(kind)
    ):
        raise CorpusError(
            f"{source.name}: the column {column!r} does not hold strings but {kind}.",
            hint="Choose the column that holds the text with --text-field.",
        )

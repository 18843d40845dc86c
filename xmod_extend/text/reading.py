"""Reading text out of sources, in bounded memory however large a file or a line is."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import BinaryIO, NamedTuple, cast

from xmod_extend.errors import CorpusError
from xmod_extend.text.columns import missing_field, read_arrow_column, read_delimited_column
from xmod_extend.text.hub import HubAddress, stream_training_split
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


class Piece(IntEnum):
    """What a piece of text is of the line it comes from."""

    WHOLE = 0
    FIRST = 1
    """The first of several pieces of one line."""
    FURTHER = 2


class RawBlock(NamedTuple):
    """Whole lines of a source, about 1 MiB of them, or a piece of a line that is longer."""

    source: Source
    content: bytes | list[str]
    """As in the file, or the rows of a table."""
    number: int
    """Number of the first line, from 1."""
    offset: int
    """Bytes of the (decompressed) file before the content."""
    piece: Piece
    """What the first line is; all others are whole."""


def read_blocks(source: Source) -> Iterator[RawBlock]:
    """Yield the source in blocks, which `split_block` makes lines of; this is the cheap half of the
    work.

    Raises:
        CorpusError: The content is not what the name promises; the file and line are named.
        HubError: A data set cannot be had over the network.
    """
    if isinstance(source.location, HubAddress):
        rows = stream_training_split(source.location, column=source.text_field)
        yield from _row_blocks(source, rows)
        return
    with _explained(source):
        with source.path.open("rb") as file:
            refuse_if_other(source.name, file.read(HEAD_BYTES))
        if source.format in ("parquet", "arrow"):
            yield from _row_blocks(
                source,
                read_arrow_column(source.path, source.name, source.text_field, kind=source.format),
            )
            return
        with _open(source) as stream:
            refuse_if_no_text(source.name, source.path, stream.read(HEAD_BYTES))
        with _open(source) as stream:
            if source.format == "text":
                yield from _text_blocks(source, stream)
            elif source.format == "jsonl":
                yield from _jsonl_blocks(source, stream)
            else:
                yield from _delimited_blocks(source, stream)


def read_content(source: Source) -> bytes:
    """Return all of a file, decompressed; for files that are small, such as those of a task.

    Raises:
        CorpusError: It cannot be read, is damaged, or is something other than text.
    """
    with _explained(source):
        with source.path.open("rb") as file:
            refuse_if_other(source.name, file.read(HEAD_BYTES))
        with _open(source) as stream:
            content = stream.read()
        if source.format != "parquet":
            refuse_if_no_text(source.name, source.path, content[:HEAD_BYTES])
        return content


@contextmanager
def _explained(source: Source) -> Iterator[None]:
    """Turn what is raised while a file is read into an error about the source."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise _damaged(source, error) from error
    except OSError as error:
        # What bz2 and Zstandard say of damaged data comes without a number of the system's.
        if source.compression is not None and error.errno is None:
            raise _damaged(source, error) from error
        raise CorpusError(f"{source.name} cannot be read: {error.strerror or error}.") from error


def split_block(block: RawBlock) -> list[str]:
    """Return the lines of a block without their ends, uncleaned; empty ones too.

    Plain text is split at \n, \r\n and \r only. A record of JSON lines or of a table is one line,
    whatever it contains, and a null is an empty one. A line over 1 MiB comes in pieces, a block
    each, that end at white space where there is any.

    Raises:
        CorpusError: The content is not what the name promises; the file and line are named.
    """
    if isinstance(block.content, list):
        return block.content
    if block.source.format == "jsonl":
        return _split_jsonl(block, block.content)
    try:
        text = block.content.decode("utf-8", block.source.encoding_errors)
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
    reason = str(error).splitlines()[0].rstrip(".")
    return CorpusError(
        f"{source.name} is damaged or incomplete {source.compression} data: {reason}.",
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
            import pyarrow as pa

            # Python opens the file: Arrow knows no names but UTF-8.
            stream = pa.CompressedInputStream(source.path.open("rb"), "zstd")
            return cast(BinaryIO, io.BufferedReader(stream, _BLOCK_BYTES))
        case None:
            return source.path.open("rb")


def _row_blocks(source: Source, batches: Iterable[list[str]]) -> Iterator[RawBlock]:
    """Yield blocks of rows that are text already."""
    number = 1
    for rows in batches:
        yield RawBlock(source, rows, number, 0, Piece.WHOLE)
        number += len(rows)


def _text_blocks(source: Source, stream: BinaryIO) -> Iterator[RawBlock]:
    """Yield blocks that end at a line's end; bytes know no others than \\n, \\r\\n and \\r."""
    number, offset, piece, rest = 1, 0, Piece.WHOLE, b""
    while block := stream.read(_BLOCK_BYTES):
        rest += block
        # A \r at the end stays in the rest: a \n may follow.
        end = 1 + max(rest.rfind(b"\n"), rest.rfind(b"\r", 0, len(rest) - 1))
        if end:
            content, rest = rest[:end], rest[end:]
            yield RawBlock(source, content, number, offset, Piece.FURTHER if piece else Piece.WHOLE)
            number, offset, piece = number + _count_lines(content), offset + end, Piece.WHOLE
        if len(rest) > _MAX_LINE_BYTES and not rest.endswith(b"\r"):
            cut = _find_cut(rest)
            piece = Piece.FURTHER if piece else Piece.FIRST
            yield RawBlock(source, rest[:cut], number, offset, piece)
            rest, offset = rest[cut:], offset + cut
    if rest:
        yield RawBlock(source, rest, number, offset, Piece.FURTHER if piece else Piece.WHOLE)


def _count_lines(content: bytes) -> int:
    return len(content.splitlines()) if b"\r" in content else content.count(b"\n")


def _find_cut(line: bytes) -> int:
    """Return where to cut a line: behind the last blank, else between its last two characters."""
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
    for line in _bounded_lines(
        source, stream, "record", "Write one JSON object a line, each with one document."
    ):
        records.append(line)
        size += len(line)
        if size >= _BLOCK_BYTES:
            yield RawBlock(source, b"".join(records), number, offset, Piece.WHOLE)
            number, offset = number + len(records), offset + size
            records, size = [], 0
    if records:
        yield RawBlock(source, b"".join(records), number, offset, Piece.WHOLE)


def _delimited_blocks(source: Source, stream: BinaryIO) -> Iterator[RawBlock]:
    """Yield the text column of a .csv or .tsv file."""
    lines = _decoded_lines(source, stream)
    delimiter = "\t" if source.format == "tsv" else None
    texts = read_delimited_column(source.name, lines, source.text_field, delimiter=delimiter)
    batches = iter(lambda: list(itertools.islice(texts, _ROWS_A_BLOCK)), [])
    yield from _row_blocks(source, batches)


def _decoded_lines(source: Source, stream: BinaryIO) -> Iterator[str]:
    offset = 0
    lines = _bounded_lines(source, stream, "row", "Write one document a row.")
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8", source.encoding_errors)
        except UnicodeDecodeError as error:
            raise _undecodable(source, error, number, offset) from error
        offset += len(line)
        yield text.removeprefix("\ufeff") if number == 1 else text


def _bounded_lines(source: Source, stream: BinaryIO, what: str, hint: str) -> Iterator[bytes]:
    """Yield the lines of a file that has one document a line."""
    for number, line in enumerate(iter(lambda: stream.readline(_MAX_RECORD_BYTES), b""), 1):
        if len(line) == _MAX_RECORD_BYTES:
            raise CorpusError(
                f"{source.name}:{number} is a {what} of more than {_MAX_RECORD_BYTES >> 20} MiB.",
                hint=hint,
            )
        yield line


def _split_jsonl(block: RawBlock, content: bytes) -> list[str]:
    lines: list[str] = []
    offset = block.offset
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n"), block.number):
        try:
            text = line.decode("utf-8", block.source.encoding_errors)
        except UnicodeDecodeError as error:
            raise _undecodable(block.source, error, number, offset) from error
        offset += len(line) + 1
        text = text.removeprefix("\ufeff").strip()
        lines.append(_field_of(block.source, number, text) if text else "")
    return lines


def _field_of(source: Source, number: int, text: str) -> str:
    where, field = f"{source.name}:{number}", source.text_field
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
            f"{where} is JSON but not an object (found {_json_type(record)}).",
            hint=f'Each line should look like {{"{field}": "…"}}; name plain text .txt.',
        )
    if field not in record:
        raise missing_field(where, field, list(record))
    value = record[field]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise CorpusError(
            f"{where}: the field {field!r} is not a string (found {_json_type(value)}).",
            hint="Choose the field that holds the text with --text-field.",
        )
    return value


def _json_type(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")

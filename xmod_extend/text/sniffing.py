"""Telling text from what only has a text file's name, and saying what it is instead."""

from __future__ import annotations

import codecs
import contextlib
import re
import shlex

from xmod_extend.errors import CorpusError
from xmod_extend.text.sources import Source

# Byte-order marks; UTF-32's little-endian one begins with UTF-16's, so it is tried first.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)

_MAGIC = (
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"\x1f\x8b", "gzip data without the suffix .gz"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\x00", "xz data"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old office document"),
    (b"{\\rtf", "a Rich Text document"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x7fELF", "an ELF program"),
    (b"PAR1", "a Parquet table without the suffix .parquet"),
    (b"ARROW1", "an Arrow file"),
)

# bzip2's and GIF's marks are also three or four letters: only binary content makes them marks.
_MAYBE_TEXT = (b"BZh", b"GIF8", b"PAR1", b"ARROW1")

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_HTML_PAGE = re.compile(
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html[\s>])", re.I | re.S
)

_BINARY_RUN = re.compile(rb"[\x00-\x08\x0e-\x1a]{2}")

_ENCODINGS = ("CP1252", "CP1250", "CP1254", "CP1251", "CP1253", "CP1256")
"""Of one byte a letter: western, central European, Turkish, Cyrillic, Greek, Arabic."""
_NUM_READINGS = 3

_CONTROLS = bytes(sorted(set(range(32)) - set(b"\t\n\v\f\r\x1b")))


def refuse_if_no_text(source: Source, head: bytes) -> None:
    """Refuse a file whose first bytes show that it is no UTF-8 text.

    Args:
        source: The file, for the message.
        head: Its first bytes, 64 KiB or all of it, decompressed.

    Raises:
        CorpusError: The message says what the file is instead.
    """
    if head.startswith(_LFS_POINTER):
        raise CorpusError(
            f"{source.name} is a Git LFS pointer, not the text itself.",
            hint="Fetch the text with `git lfs pull`.",
        )
    if _HTML_PAGE.match(head):
        raise CorpusError(
            f"{source.name} is an HTML page, perhaps one that tells of a failed download.",
            hint="Look into it; if the page is what you want, extract its text first.",
        )
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            raise _wrong_encoding(source, f"{encoding} by its byte-order mark", encoding)
    is_binary = _looks_binary(head)
    for magic, kind in _MAGIC:
        if head.startswith(magic) and (is_binary or magic not in _MAYBE_TEXT):
            raise CorpusError(
                f"{source.name} is no text but {kind}.",
                hint="Extract its text to a UTF-8 .txt file, one sentence or paragraph a line.",
            )
    if wide := _wide_encoding(head):
        raise _wrong_encoding(source, f"{wide} by its pattern of zero bytes", wide)
    if is_binary:
        raise CorpusError(
            f"{source.name} is no text but binary data of an unknown kind.",
            hint="Give UTF-8 text, one sentence or paragraph a line.",
        )


def _looks_binary(head: bytes) -> bool:
    """Zero bytes together with more than 1 % of control bytes; a stray one is cleaned away."""
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return b"\0" in head and controls * 100 > len(head)


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 without its mark: every other byte of mostly ASCII text is zero."""
    half = len(head) // 2
    if half < 8:
        return None
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) > 0.6 * half and min(even, odd) < 0.1 * half:
        return "UTF-16LE" if odd > even else "UTF-16BE"
    return None


def _wrong_encoding(source: Source, found: str, encoding: str) -> CorpusError:
    return CorpusError(
        f"{source.name} is not UTF-8 but {found}.",
        hint=f"Convert it: {_conversion(source, encoding)}.",
    )


def _conversion(source: Source, encoding: str) -> str:
    """The command that converts a file, to a name that nothing has yet."""
    if source.compression is not None:
        return f"unpack it, then `iconv -f {encoding} -t UTF-8 FILE > utf8-FILE`"
    path = source.path
    return (
        f"`iconv -f {encoding} -t UTF-8 {shlex.quote(str(path))} > "
        f"{shlex.quote(str(path.with_name('utf8-' + path.name)))}`"
    )


def explain_undecodable(
    source: Source, error: UnicodeDecodeError, number: int, offset: int
) -> CorpusError:
    """Say where text stops being UTF-8, and what it may be instead.

    Args:
        source: The file.
        error: What decoding a line or a block raised.
        number: The line's number in the file, from 1.
        offset: How many bytes precede what was decoded in the (decompressed) file.
    """
    byte = error.object[error.start]
    message = (
        f"{source.name} is not valid UTF-8: line {number:,} has the byte 0x{byte:02x} at offset "
        f"{offset + error.start:,} of the file."
    )
    line = _line_around(error.object, error.start)
    readings = _readings(line, error.object)
    if not readings:
        return CorpusError(
            message,
            hint="Find out its encoding and convert it with iconv; --encoding-errors replace puts "
            "U+FFFD in the place of each such byte, which loses letters.",
        )
    spelled = "; ".join(f"{encoding}: {reading!r}" for encoding, reading in readings.items())
    return CorpusError(
        message,
        hint=f"Which of these is right? {spelled}. Convert it from that encoding, for example "
        f"{_conversion(source, next(iter(readings)))}.",
    )


def _readings(line: bytes, content: bytes) -> dict[str, str]:
    """How a line reads in the encodings that it may be in, the likelier ones first.

    Whoever speaks the language sees at a glance which one is right; a program that does not know
    the language can only guess.
    """
    if _BINARY_RUN.search(content):
        return {}
    encodings = list(_ENCODINGS)
    if sum(byte >= 0x80 for byte in line) * 2 > len(line):
        # Hardly a letter of such a line is Latin.
        encodings = encodings[3:] + encodings[:3]
    readings: dict[str, str] = {}
    for encoding in encodings:
        with contextlib.suppress(UnicodeDecodeError):
            reading = line.decode(encoding).strip()
            if reading.isprintable() and reading not in readings.values():
                readings[encoding] = reading
    return dict(list(readings.items())[:_NUM_READINGS])


def _line_around(content: bytes, position: int) -> bytes:
    """The line that a byte stands in, or some 60 bytes around it."""
    start = max(content.rfind(b"\n", 0, position) + 1, position - 30)
    end = content.find(b"\n", position)
    return content[start : min(end if end >= 0 else len(content), position + 30)]

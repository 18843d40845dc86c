"""Telling text from what only has a text file's name, and saying what it is instead."""

from __future__ import annotations

import codecs
import re
import shlex
from pathlib import Path

from xmod_extend.errors import CorpusError
from xmod_extend.text.charsets import guess_charsets

HEAD_BYTES = 1 << 16
"""As much of a file's beginning is looked at."""

# Byte-order marks; UTF-32's little-endian one begins with UTF-16's, so it is tried first.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)

_MAGIC = (
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an office document, or a model's weights"),
    (b"\x80\x02}q", "a pickle, such as a model's weights"),
    (b"\x80\x02\x8a\x0al\xfc\x9c", "a pickle of a model's weights"),
    (b"\x1f\x8b", "gzip data without the suffix .gz"),
    (b"BZh", "bzip2 data without the suffix .bz2"),
    (b"\xfd7zXZ\x00", "xz data without the suffix .xz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data without the suffix .zst"),
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

_NUM_READINGS = 3
_EXTRACT = "Extract its text to a UTF-8 .txt file, one sentence or paragraph a line."
_NAME_TEXT = "Give a file of text as the corpus; a model is given with --base."

# bzip2's and GIF's marks are also three or four letters: only binary content makes them marks.
_MAYBE_TEXT = (b"BZh", b"GIF8", b"PAR1", b"ARROW1")

_CONTROLS = bytes(sorted(set(range(32)) - set(b"\t\n\v\f\r\x1b")))


# Of what a file may be whatever its suffix says.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""How a file begins that Git LFS left in another's place."""
_SAFETENSORS = re.compile(rb".{6}\x00\x00\{\s*\"", re.DOTALL)
_HTML = re.compile(
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.I | re.S
)
_XML = re.compile(rb"\s*<\?xml\b")
_TITLE = re.compile(rb"<title[^>]*>\s*(.*?)\s*</title", re.IGNORECASE | re.DOTALL)


def refuse_if_other(name: str, head: bytes) -> None:
    """Refuse a file that is not what any suffix promises: a pointer, a web page, a model.

    Args:
        name: The file's, for the message.
        head: Its first bytes, `HEAD_BYTES` or all of it, as they are on the disk.

    Raises:
        CorpusError: The message says what the file is instead.
    """
    if head.startswith(LFS_POINTER):
        raise CorpusError(
            f"{name} is a Git LFS pointer, not the text itself.",
            hint="Fetch the text with `git lfs pull`.",
        )
    if _SAFETENSORS.match(head):
        raise CorpusError(f"{name} holds a model's weights, not text.", hint=_NAME_TEXT)
    page = head.removeprefix(codecs.BOM_UTF8)
    if _HTML.match(page):
        found = _TITLE.search(page)
        title = found[1].decode("utf-8", "replace")[:60].strip() if found else ""
        about = f" with the title {' '.join(title.split())!r}" if title else ""
        raise CorpusError(
            f"{name} is an HTML page{about}, perhaps one that tells of a failed download.",
            hint="Look into it; if the page is what you want, extract its text first.",
        )
    if _XML.match(page):
        raise CorpusError(f"{name} is an XML document, not plain text.", hint=_EXTRACT)


def refuse_if_no_text(name: str, path: Path, head: bytes) -> None:
    """Refuse a file whose first bytes show that it is no UTF-8 text.

    Args:
        name: The file's, for the message.
        path: Where it is, for the command that converts it.
        head: Its first bytes, `HEAD_BYTES` or all of it, decompressed.

    Raises:
        CorpusError: The message says what the file is instead.
    """
    refuse_if_other(name, head)
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            raise _wrong_encoding(name, path, f"{encoding} by its byte-order mark", encoding)
    is_binary = _looks_binary(head)
    for magic, kind in _MAGIC:
        if head.startswith(magic) and (is_binary or magic not in _MAYBE_TEXT):
            raise CorpusError(f"{name} is {kind}, not text.", hint=_EXTRACT)
    if wide := _wide_encoding(head):
        raise _wrong_encoding(name, path, f"{wide} by its pattern of zero bytes", wide)
    if is_binary and b"<unk>" in head[:64]:
        raise CorpusError(f"{name} is a SentencePiece model, not text.", hint=_NAME_TEXT)
    if is_binary:
        raise CorpusError(
            f"{name} holds binary data of an unknown format, not text.",
            hint="Give UTF-8 text, one sentence or paragraph a line.",
        )


def looks_like_text(head: bytes) -> bool:
    """Return whether a file without a suffix may be a text: UTF-8, and nothing that is refused."""
    try:
        refuse_if_no_text("", Path(), head)
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except (CorpusError, UnicodeDecodeError):
        return False
    return bool(head.strip())


def _looks_binary(head: bytes) -> bool:
    """Return whether there is a zero byte among more than 1 % of control bytes, not just one."""
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return b"\0" in head and controls * 100 > len(head)


def _wide_encoding(head: bytes) -> str | None:
    """Return which UTF-16 it is without a mark: every other byte of mostly ASCII text is zero."""
    half = len(head) // 2
    if half < 8:
        return None
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) > 0.6 * half and min(even, odd) < 0.1 * half:
        return "UTF-16LE" if odd > even else "UTF-16BE"
    return None


def _wrong_encoding(name: str, path: Path, found: str, encoding: str) -> CorpusError:
    return CorpusError(
        f"{name} is not UTF-8 but {found}.",
        hint=f"Convert it with `{conversion(path, encoding)}` and give the new file.",
    )


def conversion(path: Path, encoding: str) -> str:
    """Return the command that writes a copy of a file in UTF-8."""
    stem, dot, suffix = path.name.partition(".")
    target = path.with_name(f"{stem}-utf8{dot}{suffix}")
    unpack = _UNPACKERS.get(path.suffix.lower())
    if unpack is None:
        return f"iconv -f {encoding} -t UTF-8 {_quote(path)} > {_quote(target)}"
    target = target.with_suffix("")
    return f"{unpack} {_quote(path)} | iconv -f {encoding} -t UTF-8 > {_quote(target)}"


_UNPACKERS = {".gz": "gzip -dc", ".bz2": "bzip2 -dc", ".xz": "xz -dc", ".zst": "zstd -dc"}


def _quote(path: Path) -> str:
    # A name that begins with a hyphen would be an option.
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))


def explain_undecodable(
    name: str, path: Path, error: UnicodeDecodeError, number: int, offset: int
) -> CorpusError:
    """Say where text stops being UTF-8, which encoding it may be in, and how to convert it.

    Args:
        name: The file's.
        path: Where it is.
        error: What decoding a part of it raised.
        number: The line's number in the file, from 1.
        offset: How many bytes precede the part in the (decompressed) file.
    """
    byte = error.object[error.start]
    message = (
        f"{name} is not valid UTF-8: line {number:,} has the byte 0x{byte:02x} at offset "
        f"{offset + error.start:,} of the file"
    )
    if _is_mostly_utf8(error.object):
        return CorpusError(
            f"{message}, while most of the text around it is UTF-8.",
            hint="Mend that place, or put U+FFFD there with --encoding-errors replace.",
        )
    readings = _readings(_line_around(error.object, error.start), _undecodable_lines(error.object))
    if not readings:
        return CorpusError(
            f"{message}; which encoding it has cannot be told from its bytes.",
            hint="Find out its encoding and convert it with iconv; --encoding-errors replace puts "
            "U+FFFD in the place of each such byte, which loses letters.",
        )
    best = next(iter(readings))
    spelled = "; ".join(f"{name}: {reading!r}" for name, reading in readings.items())
    right = "Which of these is right?" if len(readings) > 1 else "This looks right:"
    return CorpusError(
        f"{message}.",
        hint=f"{right} {spelled}. Convert it from that encoding with `{conversion(path, best)}` "
        "and give the new file.",
    )


def _readings(line: bytes, sample: bytes) -> dict[str, str]:
    """Return how a line reads in the encodings that the sample may be in, the likelier ones first.

    Where several fit, whoever speaks the language sees at a glance which one is right.
    """
    readings: dict[str, str] = {}
    for name in guess_charsets(sample):
        # A line that is cut may end within a letter of two bytes.
        reading = line.decode(name, "ignore").strip()
        if reading not in readings.values():
            readings[name] = reading
    return dict(list(readings.items())[:_NUM_READINGS])


def _undecodable_lines(content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join(line for line in lines if "\ufffd" in line.decode("utf-8", "replace"))


def _line_around(content: bytes, position: int) -> bytes:
    """Return the line that a byte stands in, or some 60 bytes around it."""
    start = max(content.rfind(b"\n", 0, position) + 1, position - 30)
    end = content.find(b"\n", position)
    return content[start : min(end if end >= 0 else len(content), position + 30)]


def _is_mostly_utf8(content: bytes) -> bool:
    """Return whether many more characters beyond ASCII are valid than are not."""
    text = content.decode("utf-8", "replace")
    invalid = text.count("\ufffd")
    return sum(character > "\x7f" for character in text) - invalid > 3 * invalid

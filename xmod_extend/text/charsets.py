"""Guessing the encoding of text that is not UTF-8, to name the command that converts it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import regex


class Charset(NamedTuple):
    """An encoding that a text may be in."""

    name: str
    """As iconv and Python both know it."""
    region: str
    script: str


# Of encodings that fit equally well the first is taken: those that leave more bytes without a
# character come before others of like letters.
_SINGLE_BYTE = (
    Charset("CP1252", "Western European", "Latin"),
    Charset("CP1250", "Central European", "Latin"),
    Charset("CP1254", "Turkish", "Latin"),
    Charset("CP1257", "Baltic", "Latin"),
    Charset("ISO-8859-2", "Central European", "Latin"),
    Charset("MACINTOSH", "Western European, of an old Macintosh", "Latin"),
    Charset("CP850", "Western European, of DOS", "Latin"),
    Charset("CP1255", "Hebrew", "Hebrew"),
    Charset("CP1253", "Greek", "Greek"),
    Charset("CP1251", "Cyrillic", "Cyrillic"),
    Charset("KOI8-R", "Cyrillic", "Cyrillic"),
    Charset("ISO-8859-5", "Cyrillic", "Cyrillic"),
    Charset("CP866", "Cyrillic, of DOS", "Cyrillic"),
    Charset("CP1256", "Arabic", "Arabic"),
    Charset("CP874", "Thai", "Thai"),
)
_MULTI_BYTE = (
    Charset("CP932", "Japanese, Shift_JIS", "Hiragana"),
    Charset("EUC-JP", "Japanese", "Hiragana"),
    Charset("CP949", "Korean", "Hangul"),
    Charset("GB18030", "Chinese", "Han"),
    Charset("BIG5", "Chinese, traditional", "Han"),
)
_COMMON_HAN = frozenset(
    "的一是不了在人有我他這这中大来上国國個个到说說们們為为和你地出道也時时年得就那要下"
)

_GOOD_FIT = 0.9
_NEARLY_AS_GOOD = 0.01
_SAMPLE_BYTES = 1 << 18
_WORD = regex.compile(r"[^\W\d_]+")
_SIGN_BETWEEN_LETTERS = regex.compile(r"(?<=\p{L})[«»“”„…–—°§№€](?=\p{L})")
_MARK_ON_NOTHING = regex.compile(r"(?<![\p{L}\p{M}])\p{M}")
_NO_TEXT = regex.compile(r"[^\p{L}\p{M}\x00-\x7f\xa0«»‹›“”„‘’‚–—…·•¿¡§°ªº№€]")


def guess_charsets(content: bytes) -> list[Charset]:
    """Return the encodings that text which is not UTF-8 may well be in, the likeliest first; often
    none.

    Only bytes are looked at, no words: what two encodings of one script both make letters of, they
    both fit.
    """
    sample = content[: content.rfind(b"\n", 0, _SAMPLE_BYTES) + 1] or content[:_SAMPLE_BYTES]
    is_latin = _share_of_high_letters(sample) < 0.5
    if not is_latin:
        for charset, text in _decoded(sample, _MULTI_BYTE):
            if _is_east_asian(text, charset.script):
                return [charset]
    fits = [
        (_fit(text, charset), charset)
        for charset, text in _decoded(sample, _SINGLE_BYTE)
        if (charset.script == "Latin") == is_latin
    ]
    best = max((fit for fit, _ in fits), default=0.0)
    if best >= _GOOD_FIT:
        # Sorting keeps the order of equal ones.
        near = [pair for pair in fits if pair[0] >= best - _NEARLY_AS_GOOD]
        return [charset for _, charset in sorted(near, key=lambda pair: -pair[0])]
    return []


def _decoded(sample: bytes, charsets: tuple[Charset, ...]) -> Iterator[tuple[Charset, str]]:
    for charset in charsets:
        try:
            yield charset, sample.decode(charset.name)
        except UnicodeDecodeError:
            continue


def _share_of_high_letters(sample: bytes) -> float:
    """Of letters: Latin alphabets take most of theirs from ASCII, others none."""
    ascii_letters = sum(bytes([byte]).isalpha() for byte in sample)
    high = sum(byte > 127 for byte in sample)
    return high / max(1, ascii_letters + high)


def _fit(text: str, charset: Charset) -> float:
    """Return the share of the characters beyond ASCII that stand where a writer would put them.

    A letter does if it is of the script that the encoding is for, and no capital inside a word; a
    sign does if it is one of those that texts have, and not between letters.
    """
    high = sum(character > "\x7f" for character in text)
    patterns = (_SIGN_BETWEEN_LETTERS, _MARK_ON_NOTHING, _NO_TEXT)
    wrong = sum(len(pattern.findall(text)) for pattern in patterns)
    of_script = regex.compile(rf"\p{{Script={charset.script}}}")
    for word in _WORD.findall(text):
        if word.isascii():
            continue
        for place, letter in enumerate(word):
            is_inner_capital = place > 0 and letter.isupper()
            if letter > "\x7f" and (is_inner_capital or not of_script.match(letter)):
                wrong += 1
    return 1 - wrong / max(1, high)


def _is_east_asian(text: str, script: str) -> bool:
    high = [character for character in text if character > "\x7f"]
    if script == "Han":
        return sum(character in _COMMON_HAN for character in high) > 0.08 * len(high)
    members = regex.compile(rf"\p{{Script={script}}}")
    least = 0.7 if script == "Hangul" else 0.25
    return sum(bool(members.match(character)) for character in high) > least * len(high)

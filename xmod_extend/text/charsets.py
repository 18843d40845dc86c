"""Guessing the encoding of text that is not UTF-8, to name the command that converts it."""

from __future__ import annotations

from collections.abc import Iterator

import regex

# Each encoding, as iconv and Python both know it, with its script. Of those that fit equally well
# the first is taken: what leaves more bytes without a letter comes before others of like letters.
_SINGLE_BYTE = {
    "CP1252": "Latin", "CP1250": "Latin", "CP1254": "Latin", "CP1257": "Latin",
    "ISO-8859-2": "Latin", "MACINTOSH": "Latin", "CP850": "Latin", "CP1255": "Hebrew",
    "CP1253": "Greek", "CP1251": "Cyrillic", "KOI8-R": "Cyrillic", "ISO-8859-5": "Cyrillic",
    "CP866": "Cyrillic", "CP1256": "Arabic", "CP874": "Thai",
}  # fmt: skip
_MULTI_BYTE = {
    "CP932": "Hiragana", "EUC-JP": "Hiragana", "CP949": "Hangul", "GB18030": "Han", "BIG5": "Han",
}  # fmt: skip
_COMMON_HAN = frozenset(
    "的一是不了在人有我他這这中大来上国國個个到说說们們為为和你地出道也時时年得就那要下"
)

_GOOD_FIT = 0.9
_NEARLY_AS_GOOD = 0.01
_SAMPLE_BYTES = 1 << 18
_ASCII_LETTER = regex.compile(rb"[A-Za-z]")
_HIGH_BYTES = bytes(range(128, 256))
_HIGH = regex.compile(r"[^\x00-\x7f]")
_WORD = regex.compile(r"[^\W\d_]+")
_SIGN_BETWEEN_LETTERS = regex.compile(r"(?<=\p{L})[«»“”„…–—°§№€](?=\p{L})")
_MARK_ON_NOTHING = regex.compile(r"(?<![\p{L}\p{M}])\p{M}")
_NO_TEXT = regex.compile(r"[^\p{L}\p{M}\x00-\x7f\xa0«»‹›“”„‘’‚–—…·•¿¡§°ªº№€]")


def guess_charsets(content: bytes) -> list[str]:
    """Return the encodings that text which is not UTF-8 may well be in, the likeliest first; often
    none.

    Only bytes are looked at, no words: what two encodings of one script both make letters of, they
    both fit.
    """
    sample = content[: content.rfind(b"\n", 0, _SAMPLE_BYTES) + 1] or content[:_SAMPLE_BYTES]
    is_latin = _share_of_high_letters(sample) < 0.5
    if not is_latin:
        for name, script, text in _decoded(sample, _MULTI_BYTE):
            if _is_east_asian(text, script):
                return [name]
    fits = {
        name: _fit(text, script)
        for name, script, text in _decoded(sample, _SINGLE_BYTE)
        if (script == "Latin") == is_latin
    }
    best = max(fits.values(), default=0.0)
    if best < _GOOD_FIT:
        return []
    # Sorting keeps the order of equal ones.
    near = [name for name, fit in fits.items() if fit >= best - _NEARLY_AS_GOOD]
    return sorted(near, key=lambda name: -fits[name])


def _decoded(sample: bytes, charsets: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield the encodings that the sample may be in, their scripts, and how it reads."""
    for name, script in charsets.items():
        try:
            yield name, script, sample.decode(name)
        except UnicodeDecodeError:
            continue


def _share_of_high_letters(sample: bytes) -> float:
    """Return the share of letters beyond ASCII: of Latin alphabets few are, of others all."""
    ascii_letters = len(_ASCII_LETTER.findall(sample))
    high = len(sample) - len(sample.translate(None, _HIGH_BYTES))
    return high / max(1, ascii_letters + high)


def _fit(text: str, script: str) -> float:
    """Return the share of the characters beyond ASCII that stand where a writer would put them.

    A letter does if it is of the script that the encoding is for, and no capital inside a word; a
    sign does if it is one of those that texts have, and not between letters.
    """
    patterns = (_SIGN_BETWEEN_LETTERS, _MARK_ON_NOTHING, _NO_TEXT)
    wrong = sum(len(pattern.findall(text)) for pattern in patterns)
    of_script = regex.compile(rf"\p{{Script={script}}}")
    for word in _WORD.findall(text):
        if word.isascii():
            continue
        for position, letter in enumerate(word):
            is_inner_capital = position > 0 and letter.isupper()
            if letter > "\x7f" and (is_inner_capital or not of_script.match(letter)):
                wrong += 1
    return 1 - wrong / max(1, len(_HIGH.findall(text)))


def _is_east_asian(text: str, script: str) -> bool:
    high = _HIGH.findall(text)
    if script == "Han":
        return sum(character in _COMMON_HAN for character in high) > 0.08 * len(high)
    members = regex.compile(rf"\p{{Script={script}}}")
    least = 0.7 if script == "Hangul" else 0.25
    return sum(bool(members.match(character)) for character in high) > least * len(high)

"""Counting characters, words and scripts, exactly and at the speed of numpy.

What a character is, is looked up once for each different one; texts have few different ones.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import regex

from xmod_extend.text.cleaning import REPLACEMENT

# What a character does to words; from _SIGN on, to the syllables that are counted as words.
(
    _BREAK, _IN_WORD, _WORD, _JOINER, _TRANSPARENT, _UNKNOWN,
    _SIGN, _CONSONANT, _BEFORE, _STACKER, _KILLER,
) = range(11)  # fmt: skip

_SYLLABIC = (
    "Thai", "Lao", "Khmer", "Myanmar", "Tai_Le", "New_Tai_Lue", "Tai_Tham", "Tai_Viet",
)  # fmt: skip
"""Scripts written without spaces between words, whose letters form syllables."""

_UNSPACED = ("Han", "Hiragana", "Katakana", "Bopomofo", *_SYLLABIC)
"""Scripts written without spaces between words."""

_SCRIPTS = (
    "Latin", "Cyrillic", "Arabic", "Devanagari", "Greek", "Hebrew", "Ethiopic", "Armenian",
    "Georgian", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada",
    "Malayalam", "Sinhala", "Tibetan", "Hangul", "Mongolian", "Canadian_Aboriginal", "Cherokee",
    "Tifinagh", "Thaana", "Nko", "Adlam", "Vai", "Ol_Chiki", "Syriac", "Javanese", "Balinese",
    "Sundanese", "Buginese", "Meetei_Mayek", "Cham", "Lisu", "Yi", "Bamum", "Osage", "Limbu",
    "Lepcha", "Saurashtra", "Chakma", "Kayah_Li", "Hanifi_Rohingya", "Miao", "Newa", "Warang_Citi",
    "Mro", "Wancho", "Tagalog", "Hanunoo", "Buhid", "Tagbanwa", "Rejang", "Batak", "Medefaidrin",
    "Coptic", "Gothic", "Glagolitic", "Runic", "Ogham",
    *_UNSPACED,
)  # fmt: skip

_LETTER = regex.compile(r"\p{L}")
_NO_SCRIPT = regex.compile(r"[\p{Script=Common}\p{Script=Inherited}]")


def _compile_class(scripts: Iterable[str], members: str) -> regex.Pattern[str]:
    names = "".join(rf"\p{{Script={name}}}" for name in scripts)
    return regex.compile(rf"[[{names}]&&{members}]", regex.V1)


_UNSPACED_LETTER = _compile_class(_UNSPACED, r"\p{L}")

# By Unicode's properties (UAX #44, IndicSyllabicCategory.txt); the first that fits.
_SYLLABLE_ROLES = (
    (_STACKER, _compile_class(_SYLLABIC, r"\p{InSC=Invisible_Stacker}")),
    (_KILLER, _compile_class(_SYLLABIC, r"[\p{InSC=Pure_Killer}\p{InSC=Consonant_Killer}]")),
    (_BEFORE, _compile_class(_SYLLABIC, r"\p{Logical_Order_Exception}")),
    # In Thai and Lao some vowels are letters, as is the sign of repetition.
    (_SIGN, _compile_class(_SYLLABIC, r"[\p{InSC=Vowel_Dependent}\p{Lm}]")),
    (_CONSONANT, _compile_class(_SYLLABIC, r"\p{L}")),
)

# Inside a word, as in ch'usaq, l·l and ג׳.
_JOINERS = "'’·׳״"
_JOINER_CODES = np.array([ord(joiner) for joiner in _JOINERS], dtype=np.uint32)

_ZERO_WIDTH_SPACE = "\u200b"
"""Ends a word, as in Khmer, although Unicode counts it among the signs of format."""


# By code point; filled as characters turn up.
_ROLES = np.full(0x110000, _UNKNOWN, dtype=np.uint8)


@dataclass
class TextStatistics:
    """What was counted in one side of a corpus."""

    lines: int = 0
    bytes: int = 0
    """In UTF-8, without line ends."""
    characters: int = 0
    words: int = 0
    """Words as `count_words` defines them."""
    replaced_characters: int = 0
    sha256: str = ""
    """SHA-256 of the lines in their order, each with a \\n: what a file of them has."""
    letters_by_script: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: TextStatistics) -> TextStatistics:
        """Return the figures of both texts; a hash of both there is none."""
        letters = Counter(self.letters_by_script) + Counter(other.letters_by_script)
        return TextStatistics(
            lines=self.lines + other.lines,
            bytes=self.bytes + other.bytes,
            characters=self.characters + other.characters,
            words=self.words + other.words,
            replaced_characters=self.replaced_characters + other.replaced_characters,
            letters_by_script=dict(letters.most_common()),
        )

    @property
    def scripts(self) -> dict[str, float]:
        """Each script's share of the letters, the largest first."""
        letters = sum(self.letters_by_script.values())
        return {name: count / letters for name, count in self.letters_by_script.items()}


def count_words(text: str) -> int:
    """Return the number of words.

    A word is a run of letters, digits and their marks, with single apostrophes and the like inside.
    Where words are written without spaces, only a dictionary knows where they end. There a smaller
    unit that can be seen counts as a word: in Chinese and Japanese the letter, in Thai, Lao, Khmer,
    Burmese and their relatives the written syllable. That is a letter with its marks and vowels,
    also those written before it, with the letters stacked below it and those that a sign makes
    silent or final (so that Burmese syllables are whole; a bare final letter, as in Thai, counts
    again). Marks and zero-width joiners never end a word; a zero-width space does.
    """
    return count_characters(text.encode()).words


def find_words(text: str) -> list[str]:
    """Return the words that `count_words` counts, in their order."""
    starts, ends = find_word_bounds(text)
    return [text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def find_word_bounds(text: str) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return where the words of `find_words` begin and end in a text, in characters."""
    codes = _code_points(text)
    roles = _look_up(codes, np.unique(codes))
    starts = _word_starts(roles)
    # A word ends where the next begins, or at what is of no word before that.
    ends = np.append(np.union1d(starts, np.flatnonzero(roles == _BREAK)), len(text))
    stops = ends[np.searchsorted(ends, starts, side="right")]
    while (is_joiner := np.isin(codes[stops - 1], _JOINER_CODES)).any():
        stops = stops - is_joiner
    return starts, stops


def measure(lines: Sequence[str]) -> TextStatistics:
    """Count lines of cleaned text."""
    measurement = Measurement()
    encoded = "".join(f"{line}\n" for line in lines).encode()
    measurement.hash(encoded)
    measurement.add(count_characters(encoded))
    return measurement.result()


class Counts(NamedTuple):
    """What was counted in a piece of text."""

    lines: int
    bytes: int
    words: int
    codes: npt.NDArray[np.int64]
    """The code points that occur, line ends included."""
    occurrences: npt.NDArray[np.int64]


def count_characters(encoded: bytes) -> Counts:
    """Count a piece of text: UTF-8, each line with a \n."""
    characters = _code_points(encoded.decode())
    # Most pieces have no character beyond the first few thousand, and some have none at all.
    histogram = np.bincount(characters)
    codes = np.flatnonzero(histogram)
    words = len(_word_starts(_look_up(characters, codes)))
    return Counts(encoded.count(b"\n"), len(encoded), words, codes, histogram[codes])


class Measurement:
    """Adds up what was counted piece by piece; only the hash must see the pieces in their order."""

    def __init__(self) -> None:
        self._statistics = TextStatistics()
        self._sha256 = hashlib.sha256()
        self._histogram: npt.NDArray[np.int64] = np.zeros(0x110000, dtype=np.int64)

    def hash(self, encoded: bytes) -> None:
        """Take the next piece of text, each line with a \\n."""
        self._sha256.update(encoded)

    def add(self, counts: Counts) -> None:
        """Take what was counted in any piece."""
        self._statistics.lines += counts.lines
        self._statistics.bytes += counts.bytes - counts.lines
        self._statistics.words += counts.words
        self._histogram[counts.codes] += counts.occurrences

    def result(self) -> TextStatistics:
        """Return the figures of all the pieces."""
        statistics = replace(self._statistics, sha256=self._sha256.hexdigest())
        statistics.characters = int(self._histogram.sum()) - statistics.lines
        statistics.replaced_characters = int(self._histogram[ord(REPLACEMENT)])
        codes = np.flatnonzero(self._histogram).tolist()
        characters = {chr(code): int(self._histogram[code]) for code in codes}
        statistics.letters_by_script = count_letters(characters)
        return statistics


def _code_points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)


def _look_up(codes: npt.NDArray[np.uint32], different: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the role of each code point; `different` are those that occur."""
    for code in different[_ROLES[different] == _UNKNOWN].tolist():
        _ROLES[code] = _role(chr(code))
    return _ROLES[codes]


def _role(character: str) -> int:
    for role, members in _SYLLABLE_ROLES:
        if members.match(character):
            return role
    category = unicodedata.category(character)
    if category[0] == "M" or (category == "Cf" and character != _ZERO_WIDTH_SPACE):
        return _TRANSPARENT
    if character in _JOINERS:
        return _JOINER
    if _UNSPACED_LETTER.match(character):
        return _WORD
    return _IN_WORD if category[0] in "LN" else _BREAK


def _word_starts(roles: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Return where the words begin in a text of these roles."""
    places = np.flatnonzero(roles != _TRANSPARENT)
    padded = np.full(len(places) + 3, _BREAK, dtype=np.uint8)
    padded[2:-1] = roles[places]
    second_last, last, this, following = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    joined = (last == _JOINER) & (second_last == _IN_WORD)
    starts = (this == _IN_WORD) & (last != _IN_WORD) & ~joined
    starts |= this == _WORD
    if (this >= _SIGN).any():
        in_syllable = last >= _SIGN
        bound = (last == _STACKER) | (last == _BEFORE)
        is_final = in_syllable & (following == _KILLER)
        starts |= (this == _CONSONANT) & ~bound & ~is_final
        starts |= (this == _BEFORE) & ~bound
        starts |= (this == _SIGN) & ~in_syllable
    found: npt.NDArray[np.intp] = places[starts]
    return found


def count_letters(characters: Mapping[str, int]) -> dict[str, int]:
    """Return the letters of each script, the most frequent first; those of several are left out.

    Args:
        characters: How often each occurs.
    """
    left = {c for c in characters if _LETTER.match(c) and not _NO_SCRIPT.match(c)}
    counts: dict[str, int] = {}
    for name in _SCRIPTS:
        belongs = regex.compile(rf"\p{{Script={name}}}")
        members = set(filter(belongs.match, left))
        if members:
            counts[name.replace("_", " ")] = sum(characters[c] for c in members)
        left -= members
    if left:
        counts["other"] = sum(characters[c] for c in left)
    return dict(sorted(counts.items(), key=lambda item: -item[1]))

"""What shows that a text was not made ready: markup, numbers, broken letters.

None of it is refused, for any of it may be meant; each is said in a sentence, with its share, an
example and what to do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import regex

from xmod_extend.text.near_duplicates import shorten

SAMPLE_BYTES = 16 << 20
"""Bytes of a text that are looked at, at even distances: it takes a few seconds."""
MIN_LINES = 20
COMMON = 0.002
"""Share of the lines from which on markup and broken letters are worth a sentence."""
FEWEST = 3
"""Lines with them that are no accident."""
MOST = 0.5
"""Share of the lines from which on numbers and beginnings are the text's form, not its content."""
EXAMPLE_CHARACTERS = 60

_MARKUP = re.compile(
    r"</?[a-zA-Z][\w-]*(\s[^<>]{0,200})?/?>|&[a-zA-Z]{2,8};|&#\d{2,5};|\[\[[^\[\]]+\]\]|\{\{|\}\}"
    r"|'''|^=+ .+ =+$|https?://\S+\s*\|"
)
_NUMBERED = re.compile(r"(\d+)[ \t.):]+\S")
_NUMBER_FIRST = re.compile(r"[\[(]?\d+([:.]\d+)?[\])]?[.:]?\s+(?=\S)")
_BOOK_AND_VERSE = re.compile(r"([1-3] ?)?[^\s\d]+ \d+[:.]\d+\s+\S")
_JSON = re.compile(r'\{".*\}')
_HIGH_RUN = re.compile("[^\x00-\x7f]{2,}")
# What the first byte of a letter's UTF-8 looks like in an encoding of one byte a letter. Where that
# may be a letter of the language, two such letters in a row are asked for.
_LEADING = {"cp1252": "ÂÃÄÅâ", "cp1250": "ĂÄĹâ", "cp1251": ""}
_WORD = regex.compile(r"[\p{L}\p{M}'’]+")


class _Tally:
    """Lines that something holds for, with the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.example = ""

    def add(self, line: str, match: re.Match[str]) -> None:
        self.count += 1
        # The example shows what is meant, where it stands.
        start = max(0, match.start() - EXAMPLE_CHARACTERS // 2)
        self.example = self.example or ("… " if start else "") + line[start:]


class _Notice(NamedTuple):
    holds: Callable[[str], re.Match[str] | None]
    share: float
    what: str
    advice: str


WITHOUT_NUMBERS = r"sed -E 's/^[[(]?[0-9]+([:.][0-9]+)?[])]?[.:]?[[:space:]]+//' FILE > NEW"
WITHOUT_VERSES = r"sed -E 's/^([1-3] ?)?[^[:space:]0-9]+ [0-9]+[:.][0-9]+[[:space:]]+//' FILE > NEW"

_OF_A_LINE = (
    _Notice(
        _MARKUP.search,
        COMMON,
        "markup",
        "The adapter would learn it as words: extract the plain text first.",
    ),
    _Notice(
        lambda line: _find_broken(line),
        COMMON,
        "letters that were broken by reading UTF-8 as another encoding",
        "Get the text again, or repair it, for example with the ftfy package.",
    ),
    _Notice(
        _BOOK_AND_VERSE.match,
        MOST,
        "a book's name and a verse's number at the beginning",
        f"Take them out, for example with `{WITHOUT_VERSES}`.",
    ),
    _Notice(
        _NUMBER_FIRST.match,
        MOST,
        "a number at the beginning, as of a verse or a list",
        f"Take the numbers out, for example with `{WITHOUT_NUMBERS}`.",
    ),
    _Notice(
        _JSON.fullmatch,
        MOST,
        "the form of JSON",
        "Let the file's name end in .jsonl, and the field is read that holds the text.",
    ),
)


def find_notices(lines: Iterable[str], *, is_sample: bool = False) -> list[str]:
    """Return a sentence for each thing that should be taken out of a text before it is trained on.

    Args:
        lines: Of a text, cleaned.
        is_sample: Whether the text has more lines.
    """
    tallies = [_Tally() for _ in _OF_A_LINE]
    numbers, beginnings = _Numbers(), Counter[str]()
    total = 0
    for line in lines:
        total += 1
        for notice, tally in zip(_OF_A_LINE, tallies, strict=True):
            if match := notice.holds(line):
                tally.add(line, match)
        numbers.add(line)
        # A number is another matter, and so is what has an explanation.
        if not (_JSON.fullmatch(line) or _BOOK_AND_VERSE.match(line)):
            beginnings[_NUMBER_FIRST.sub("", line, count=1).split(" ", 1)[0]] += 1
    if total < MIN_LINES:
        return []
    sample = " of a sample" if is_sample else ""
    sentences = numbers.sentences(total, sample)
    is_explained = bool(sentences)
    for notice, tally in zip(_OF_A_LINE, tallies, strict=True):
        if tally.count < max(FEWEST, notice.share * total):
            continue
        if notice.share == MOST:
            # What begins the lines has one explanation, the first that fits.
            if is_explained:
                continue
            is_explained = True
        sentences.append(
            f"{tally.count:,} of {total:,} lines{sample} have {notice.what}, such as "
            f"{shorten(tally.example)!r}. {notice.advice}"
        )
    return sentences + _prefix(beginnings, total, sample)


class _Numbers:
    """Lines that are numbered through, as in the files of the Leipzig collection."""

    def __init__(self) -> None:
        self._previous = self._highest = -1
        self._tally = _Tally()
        self._rest: set[int] = set()
        self._repeated = 0

    def add(self, line: str) -> None:
        match = _NUMBERED.match(line)
        if not match or len(match[1]) > 12:
            return
        number = int(match[1])
        if number > self._previous:
            self._tally.add(line, match)
        self._previous = number
        self._highest = max(self._highest, number)
        rest = hash(line[match.end(1) :])
        self._repeated += rest in self._rest
        self._rest.add(rest)

    def sentences(self, total: int, sample: str) -> list[str]:
        # The numbers of a chapter's verses begin again and again.
        if self._tally.count < 0.9 * total or self._highest < total / 2:
            return []
        hidden = f", which hide {self._repeated:,} repeated ones" if self._repeated else ""
        return [
            f"The lines{sample} are numbered{hidden}, such as {shorten(self._tally.example)!r}. "
            "Take the numbers out; where a tab follows them, `cut -f 2- FILE > NEW` does it, else "
            f"`{WITHOUT_NUMBERS}`."
        ]


def _prefix(beginnings: Counter[str], total: int, sample: str) -> list[str]:
    """Return a sentence if one word stands at the beginning of the lines, behind their numbers."""
    first, count = beginnings.most_common(1)[0] if beginnings else ("", 0)
    # A frequent first word is a language's own; what is no word, or begins all lines, is a form.
    share = 0.9 if _WORD.fullmatch(first) else MOST
    if count < share * total:
        return []
    return [
        f"{count:,} of {total:,} lines{sample} begin with {shorten(first)!r}. If that is no part "
        "of the language, take it out."
    ]


def _find_broken(line: str) -> re.Match[str] | None:
    """Find letters that are the bytes of UTF-8, read one by one."""
    return next((run for run in _HIGH_RUN.finditer(line) if _is_repairable(run[0])), None)


def _is_repairable(run: str) -> bool:
    for encoding, leading in _LEADING.items():
        try:
            repaired = run.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
        if len(repaired) > 1 or run[0] in leading:
            return True
    # A byte that the encoding has no letter for was lost, or stands there as a control character.
    return False

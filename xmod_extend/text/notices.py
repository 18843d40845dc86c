"""What shows that a text was not made ready: markup, numbers, broken letters, near repetitions.

None of it is refused, for any of it may be meant; each is said in a sentence, with its share, an
example and what to do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import regex

SAMPLE_BYTES = 64 << 20
"""Of a text that are looked at: what a larger one is like shows in its beginning."""
MIN_LINES = 20
COMMON = 0.01
"""Share of the lines from which on markup and broken letters are worth a sentence."""
MOST = 0.5
"""Share of the lines from which on numbers and beginnings are the text's form, not its content."""
EXAMPLE_CHARACTERS = 60

_MARKUP = re.compile(
    r"</?[a-zA-Z][\w-]*(\s[^<>]{0,200})?/?>|&[a-zA-Z]{2,8};|&#\d{2,5};|\[\[[^\[\]]+\]\]|\{\{|\}\}"
    r"|'''|^=+ .+ =+$|https?://\S+\s*\|"
)
_NUMBERED = re.compile(r"(\d+)[ \t.):]+\S")
_VERSE = re.compile(r"[\[(]?\d{1,3}([:.]\d{1,3})?[\])]?[.:]?\s+\D")
# A letter of Western Europe, and what stands for a byte behind it, as UTF-8 read in CP1252 shows.
_BROKEN = re.compile("[ÂÃÄÅÐÑâ][^\x00-\x7f]")
_NO_LETTER_OR_DIGIT = regex.compile(r"[^\p{L}\p{M}\p{N}]+")
_WORD = regex.compile(r"[\p{L}\p{M}'’]+")


class _Tally:
    """Lines that something holds for, with the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.example = ""

    def add(self, line: str) -> None:
        self.count += 1
        self.example = self.example or line


class _Notice(NamedTuple):
    holds: Callable[[str], object]
    share: float
    what: str
    advice: str


_OF_A_LINE = (
    _Notice(
        _MARKUP.search,
        COMMON,
        "markup",
        "The adapter would learn it as words: extract the plain text first.",
    ),
    _Notice(
        lambda line: _is_broken(line),
        COMMON,
        "letters that were broken by reading UTF-8 as another encoding",
        "Get the text again, or repair it, for example with the ftfy package.",
    ),
    _Notice(
        _VERSE.match,
        MOST,
        "a number at the beginning, as of a verse or a list",
        "Take the numbers out, for example with `sed -E 's/^[0-9:.]+ //'`.",
    ),
)


def find_notices(lines: Iterable[str]) -> list[str]:
    """A sentence for each thing that should be taken out of a text before it is trained on."""
    tallies = [_Tally() for _ in _OF_A_LINE]
    numbers, beginnings = _Numbers(), Counter[str]()
    total = size = 0
    for line in lines:
        total += 1
        size += len(line.encode())
        if size > SAMPLE_BYTES:
            break
        for notice, tally in zip(_OF_A_LINE, tallies, strict=True):
            if notice.holds(line):
                tally.add(line)
        numbers.add(line)
        beginnings[line.split(" ", 1)[0]] += 1
    if total < MIN_LINES:
        return []
    sample = f" of the first {SAMPLE_BYTES >> 20} MB" if size > SAMPLE_BYTES else ""
    sentences = numbers.sentences(total, sample)
    is_numbered = bool(sentences)
    for notice, tally in zip(_OF_A_LINE, tallies, strict=True):
        if tally.count >= notice.share * total and not (
            is_numbered and notice.holds == _VERSE.match
        ):
            sentences.append(
                f"{tally.count:,} of {total:,} lines{sample} have {notice.what}, such as "
                f"{shorten(tally.example)!r}. {notice.advice}"
            )
    return sentences + _prefix(beginnings, total, sample, is_numbered)


def find_near_repetitions(train: Iterable[str], held_out: Iterable[str]) -> list[str]:
    """A sentence if held-out lines are training lines but for case, spaces and punctuation."""
    measured = {_bare(line): line for line in held_out}
    measured.pop("", None)
    num_measured, size = len(measured), 0
    near: dict[str, str] = {}
    for line in train:
        size += len(line)
        if size > SAMPLE_BYTES:
            break
        if (bare := _bare(line)) in measured:
            near[measured.pop(bare)] = line
    if not near:
        return []
    held, trained = next(iter(near.items()))
    return [
        f"{len(near):,} of {num_measured:,} held-out lines are training lines but for case, spaces "
        f"or punctuation, such as {shorten(held)!r} and {shorten(trained)!r}: the held-out text "
        "reads better than it should. Take one of each pair out."
    ]


def shorten(line: str) -> str:
    """The line, or its beginning."""
    if len(line) <= EXAMPLE_CHARACTERS:
        return line
    return line[:EXAMPLE_CHARACTERS].rsplit(" ", 1)[0] + " …"


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
            self._tally.add(line)
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
            "Take the numbers out; where a tab follows them, `cut -f 2- FILE > NEW` does it."
        ]


def _prefix(beginnings: Counter[str], total: int, sample: str, is_numbered: bool) -> list[str]:
    first, count = beginnings.most_common(1)[0]
    # A frequent first word is a language's own; what is no word, or begins all lines, is a form.
    share = 0.9 if _WORD.fullmatch(first) else MOST
    if count < share * total or is_numbered:
        return []
    return [
        f"{count:,} of {total:,} lines{sample} begin with {shorten(first)!r}. If that is no part "
        "of the language, take it out."
    ]


def _is_broken(line: str) -> bool:
    if not _BROKEN.search(line):
        return False
    try:
        repaired = line.encode("cp1252").decode("utf-8")
    except UnicodeError:
        # Bytes that CP1252 lacks were lost or stand as controls; a few such pairs are enough.
        return len(_BROKEN.findall(line)) * 8 > len(line)
    return len(repaired) < len(line)


def _bare(line: str) -> str:
    letters: str = _NO_LETTER_OR_DIGIT.sub("", line)
    return letters.casefold()

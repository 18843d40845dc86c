"""Which letters of a text the base's vocabulary lacks, and how many words they are in.

The share of unknown *tokens* says little: letters that are missing side by side are one token, so
that a text of which nothing can be read has about half of its tokens unknown, the signs of the
spaces being the other half. The share of *characters* grows with what is lost.

Each different character and each different word is looked up once. Of a long text a sample is
counted, lines at even distances, so that 10 GB take as long as 4 MB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import regex

from xmod_extend.text.arrow import StoredLines, read_arrow
from xmod_extend.text.statistics import find_words, measure

if TYPE_CHECKING:
    from xmod_extend.tokens.encoding import Encoder

SAMPLE_BYTES = 4 << 20
"""Counted of a side of a corpus; a shorter one is counted whole."""
MOST_LETTERS = 20
"""Named of the missing characters, the most frequent ones."""
NUM_EXAMPLES = 2
NUM_NAMED = 12
"""Of the missing letters, named in a warning."""
MANY_WORDS_HIT = 0.05
"""A larger share of the words with missing letters is warned about."""
MOST_UNKNOWN = 0.2
"""A larger share of unknown characters leaves a score without meaning. Measured with
`scripts/benchmarks/unknown_letters.py`: at 17 % an adapter still knows more of the language, spelt
readably, than its token frequencies do; at 25 % it knows less."""
RARE_SCRIPT = 0.02
"""A script with a smaller share of the letters is not spoken of."""
LOST_SCRIPT = 0.95
"""Share of a script's letters that are missing where the script is not known."""
_ROWS = 100
"""Lines in a row that are sampled."""

_LETTER = regex.compile(r"[\p{L}\p{M}\p{N}]")
_MARK = regex.compile(r"\p{M}")


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How much of a text the vocabulary cannot represent."""

    unknown_characters: float
    """Share of the characters, spaces left out, that no token stands for."""

    words_hit: float
    """Share of the words with at least one such character."""

    missing: dict[str, float] = field(default_factory=dict)
    """Each missing character's share of all characters, the most frequent first; at most 20."""

    num_missing: int = 0
    """Different characters that are missing, also those that `missing` does not name."""

    examples: tuple[str, ...] = ()
    """The most frequent words with such a character."""

    unknown_scripts: tuple[str, ...] = ()
    """Scripts of the text that the vocabulary has no letter of, or hardly any."""

    is_sample: bool = False
    """Whether lines at even distances were counted instead of all."""


class Tally:
    """How often each character and each word turned up."""

    def __init__(self) -> None:
        self.characters: Counter[str] = Counter()
        self.words: Counter[str] = Counter()
        self.is_sample = False

    def add(self, text: str) -> None:
        self.characters.update(text)
        self.words.update(find_words(text))

    def __add__(self, other: Tally) -> Tally:
        both = Tally()
        both.characters = self.characters + other.characters
        both.words = self.words + other.words
        both.is_sample = self.is_sample or other.is_sample
        return both


def tally_lines(lines: Iterable[str]) -> Tally:
    """Count all of a text."""
    tally = Tally()
    for line in lines:
        tally.add(line)
    return tally


def tally_side(side: StoredLines, num_bytes: int) -> Tally:
    """Count one side of a corpus of so many bytes, or a sample of it."""
    tally = Tally()
    tally.is_sample = num_bytes > SAMPLE_BYTES
    for text in _sampled(side, num_bytes):
        tally.add(text)
    return tally


def _sampled(side: StoredLines, num_bytes: int) -> Iterator[str]:
    every = max(1, -(-num_bytes // SAMPLE_BYTES))
    for column in read_arrow(side.path):
        for start in range(0, len(column), _ROWS * every):
            yield "\n".join(column.slice(start, _ROWS).to_pylist())


def find_unknown(tally: Tally, encode: Encoder) -> Coverage:
    """Look up what the tokenizer makes of each different character and word."""
    characters = {c: n for c, n in tally.characters.items() if not c.isspace()}
    missing = _with_unknown(list(characters), encode)
    hit = _with_unknown(list(tally.words), encode)
    num_characters, num_words = sum(characters.values()), tally.words.total()
    by_frequency = sorted(missing, key=lambda c: (-characters[c], c))
    return Coverage(
        unknown_characters=sum(characters[c] for c in missing) / max(1, num_characters),
        words_hit=sum(tally.words[word] for word in hit) / max(1, num_words),
        missing={c: characters[c] / num_characters for c in by_frequency[:MOST_LETTERS]},
        num_missing=len(missing),
        examples=tuple(sorted(hit, key=lambda word: (-tally.words[word], word))[:NUM_EXAMPLES]),
        unknown_scripts=_unknown_scripts(characters, missing),
        is_sample=tally.is_sample,
    )


def _unknown_scripts(characters: dict[str, int], missing: list[str]) -> tuple[str, ...]:
    letters = _letters_by_script(characters, list(characters))
    lost = _letters_by_script(characters, missing)
    total = sum(letters.values())
    return tuple(
        name
        for name, count in letters.items()
        if count >= RARE_SCRIPT * total and lost.get(name, 0) >= LOST_SCRIPT * count
    )


def _letters_by_script(characters: dict[str, int], chosen: list[str]) -> dict[str, int]:
    return measure([["".join(c * characters[c] for c in chosen)]]).letters_by_script


def _with_unknown(texts: Sequence[str], encode: Encoder) -> list[str]:
    """Return those of the texts, each a character or a word, whose tokens have an unknown one."""
    if not texts:
        return []
    tokens = encode("".join(f"{text}\n" for text in texts).encode())
    starts = np.cumsum(tokens.sizes) - tokens.sizes
    unknown = np.add.reduceat(tokens.ids == encode.unk_id, starts)
    return [text for text, count in zip(texts, unknown.tolist(), strict=True) if count]


def is_unreadable(coverage: Coverage) -> bool:
    """Return whether so much is unknown that no score of the text means anything."""
    return coverage.unknown_characters > MOST_UNKNOWN


def describe_unreadable(coverage: Coverage, name: str = "this text") -> str:
    """Return what is unknown of a text that is unreadable, in two sentences or three."""
    words = f", in {coverage.words_hit:.0%} of the words" if coverage.words_hit else ""
    script = ""
    if coverage.unknown_scripts:
        script = f" The base does not know the {_listed(coverage.unknown_scripts)} script."
    return (
        f"The base cannot read {name}: its vocabulary lacks {coverage.unknown_characters:.0%} of "
        f"the characters{words}.{script} What it lacks: {_named(coverage)}."
    )


def describe_missing(coverage: Coverage) -> str | None:
    """Return a warning about letters that the vocabulary lacks, or None where hardly a word has
    one."""
    if coverage.words_hit <= MANY_WORDS_HIT:
        return None
    return (
        f"{coverage.words_hit:.0%} of the words have letters that the base's vocabulary lacks "
        f"({coverage.unknown_characters:.1%} of the characters): {_named(coverage)}. The model "
        "sees the same blank in the place of each, in this text and wherever the adapter is used, "
        "and the score leaves them out. If the language has a spelling without these letters, "
        "train with it and use it; else look for a base that has them."
    )


def describe_fit(coverage: Coverage) -> str:
    """Return how well the vocabulary fits a text, in one sentence."""
    if is_unreadable(coverage):
        return (
            "The base cannot read this text: an adapter for it would learn next to nothing, and "
            "its score would mean nothing."
        )
    if coverage.words_hit > MANY_WORDS_HIT:
        return (
            f"The base can read this text in part: {coverage.words_hit:.0%} of the words have "
            "letters that it lacks."
        )
    if not coverage.num_missing:
        return "The base can read this text: its vocabulary has all of the characters."
    return (
        f"The base can read this text: {coverage.unknown_characters:.2%} of the characters are "
        "not in its vocabulary."
    )


def _named(coverage: Coverage) -> str:
    """Return the missing letters, and words that have them."""
    # Where letters are missing, signs are not worth the room.
    letters = [c for c in coverage.missing if _LETTER.match(c)] or list(coverage.missing)
    names = [f"\N{DOTTED CIRCLE}{c}" if _MARK.match(c) else c for c in letters[:NUM_NAMED]]
    others = f" and {coverage.num_missing - len(names):,} others"
    listed = " ".join(names) + (others if coverage.num_missing > len(names) else "")
    return listed + (f"; as in {_listed(coverage.examples)}" if coverage.examples else "")


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))

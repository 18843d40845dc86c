"""What a corpus is like, in figures that can be published with a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import regex

from xmod_extend.text.foreign_lines import ForeignLines
from xmod_extend.text.lines import COUNTED_TOKENS
from xmod_extend.text.near_duplicates import NearDuplicates
from xmod_extend.text.statistics import TextStatistics

SMALL_TRAIN_BYTES = 50_000
NUM_NAMED = 12
"""Missing letters that a warning names."""
MANY_WORDS_HIT = 0.05
"""A larger share of the words with missing letters is warned about."""
MOST_UNKNOWN = 0.2
"""A larger share of unknown characters leaves a score without meaning. Measured with
`scripts/benchmarks/unknown_letters.py`: at 17 % an adapter still knows more of the language, spelt
readably, than its token frequencies do; at 25 % it knows less."""

STREAMED = (
    "The training text is streamed: it is not counted, and of its repeated lines only those that "
    "are close together are left out. Lines that nearly repeat a held-out line are {near}. All "
    "figures of the corpus are of the held-out text, and token frequencies of "
    f"the first {COUNTED_TOKENS:,} tokens."
)

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

    @property
    def is_unreadable(self) -> bool:
        """Whether so much is unknown that no score of the text means anything."""
        return self.unknown_characters > MOST_UNKNOWN

    def describe_unreadable(self, name: str = "this text") -> str:
        """Return what is unknown of a text that is unreadable, in two sentences or three."""
        words = f", in {self.words_hit:.0%} of the words" if self.words_hit else ""
        script = ""
        if self.unknown_scripts:
            script = f" The base does not know the {_listed(self.unknown_scripts)} script."
        return (
            f"The base cannot read {name}: its vocabulary lacks {self.unknown_characters:.0%} of "
            f"the characters{words}.{script} What it lacks: {self._missing()}."
        )

    def describe_missing(self) -> str | None:
        """Return a warning about letters that the vocabulary lacks, or None where hardly a word has
        one."""
        if self.words_hit <= MANY_WORDS_HIT:
            return None
        return (
            f"{self.words_hit:.0%} of the words have letters that the base's vocabulary lacks "
            f"({self.unknown_characters:.1%} of the characters): {self._missing()}. The model "
            "sees the same blank in the place of each, in this text and wherever the adapter is "
            "used, and the score leaves them out. If the language has a spelling without these "
            "letters, train with it and use it; else look for a base that has them."
        )

    def describe_fit(self) -> str:
        """Return how well the vocabulary fits a text, in one sentence."""
        if self.is_unreadable:
            return (
                "The base cannot read this text: an adapter for it would learn next to nothing, "
                "and its score would mean nothing."
            )
        if self.words_hit > MANY_WORDS_HIT:
            return (
                f"The base can read this text in part: {self.words_hit:.0%} of the words have "
                "letters that it lacks."
            )
        if not self.num_missing:
            return "The base can read this text: its vocabulary has all of the characters."
        return (
            f"The base can read this text: {self.unknown_characters:.2%} of the characters are "
            "not in its vocabulary."
        )

    def _missing(self) -> str:
        """Return the missing letters, and words that have them."""
        # Where letters are missing, signs are not worth the room.
        letters = [c for c in self.missing if _LETTER.match(c)] or list(self.missing)
        names = [f"\N{DOTTED CIRCLE}{c}" if _MARK.match(c) else c for c in letters[:NUM_NAMED]]
        others = f" and {self.num_missing - len(names):,} others"
        listed = " ".join(names) + (others if self.num_missing > len(names) else "")
        return listed + (f"; as in {_listed(self.examples)}" if self.examples else "")


@dataclass(frozen=True, kw_only=True)
class CorpusReport:
    """Figures of a corpus, its training and its held-out side; `dataclasses.asdict` gives JSON.

    Of the lines that were read, each is kept or counted under one reason for which it was not:
    `lines == kept_lines + empty_lines + duplicate_lines + contaminated_lines +
    near_duplicate_lines`.
    """

    files: tuple[str, ...]
    """The corpus as it was found, and the held-out text if it was given."""

    lines: int
    """Lines read, in all files; each piece of an overlong line is a line."""

    kept_lines: int
    """Lines kept, training and held-out together."""

    empty_lines: int
    """Lines without any text after cleaning."""

    duplicate_lines: int
    """Lines that occurred before in the corpus, or before in the held-out text."""

    contaminated_lines: int
    """Different lines of the corpus left out because the given held-out text has them too."""

    cut_lines: int
    """Lines of the files that were too long for one document and were cut into pieces."""

    replaced_characters: int
    """U+FFFD in the kept text: what could not be decoded, here or by whoever wrote the files."""

    words: int
    """Words kept; `statistics.count_words` says what a word is."""

    characters: int
    """Characters (code points) kept."""

    bytes: int
    """Bytes of UTF-8 kept, without line ends; training and held-out together, as above."""

    train_lines: int
    train_bytes: int
    held_out_lines: int
    held_out_bytes: int

    scripts: dict[str, float]
    """Each script's share of the kept letters, the largest first."""

    train_sha256: str
    """SHA-256 of the training lines in their order, each with a \\n: what a file of them has."""

    held_out_sha256: str
    """The same of the held-out lines."""

    near_duplicate_lines: int = 0
    """Training lines left out, on request, because they nearly repeat a held-out line."""

    near_duplicates: NearDuplicates | None = None
    """Held-out lines that a training line nearly repeats; None if the training text is streamed,
    and in records of version 0.2."""

    foreign_lines: ForeignLines | None = None
    """Lines that are identified as another language, if a model was given."""

    tokens: int | None = None
    """Tokens of the kept text, without special tokens; None before it was tokenised."""

    fertility: float | None = None
    """Tokens per word: how finely the tokenizer must cut this language."""

    unk_rate: float | None = None
    """Share of the tokens that stand for characters the tokenizer does not know."""

    coverage: Coverage | None = None
    """What the tokenizer does not know of the kept text, in letters and words."""

    held_out_coverage: Coverage | None = None
    """The same of the held-out lines alone."""

    verdict: str = ""
    """Whether the base can read the text, in a sentence; empty before it was tokenised."""

    warnings: tuple[str, ...] = ()
    """What whoever uses an adapter of this text should know, each one a sentence or two."""

    notes: tuple[str, ...] = ()
    """What only concerns this machine, such as a cache that cannot be written."""

    @property
    def unreadable(self) -> str | None:
        """What is wrong with a text of which the base can read too little; None if it can."""
        if self.coverage is not None and self.coverage.is_unreadable:
            return self.coverage.describe_unreadable()
        if self.held_out_coverage is not None and self.held_out_coverage.is_unreadable:
            return self.held_out_coverage.describe_unreadable("the held-out text")
        return None

    def with_foreign_lines(self, foreign: ForeignLines | None) -> CorpusReport:
        """Return the report with what a language identification found, and a warning of it."""
        warning = foreign and foreign.describe()
        warnings = (*self.warnings, warning) if warning else self.warnings
        return replace(self, foreign_lines=foreign, warnings=warnings)

    def with_tokens(self, tokens: int, unk_tokens: int) -> CorpusReport:
        """Return the report with what tokenising the kept text (training and held-out) counted."""
        return replace(
            self,
            tokens=tokens,
            fertility=tokens / self.words if self.words else None,
            unk_rate=unk_tokens / tokens if tokens else None,
        )

    def with_coverage(self, coverage: Coverage, held_out: Coverage) -> CorpusReport:
        """Return the report with what the base's vocabulary lacks, a warning of it, and a
        verdict."""
        report = replace(self, coverage=coverage, held_out_coverage=held_out)
        worse = max(coverage, held_out, key=lambda side: side.unknown_characters)
        warning = report.unreadable or coverage.describe_missing()
        warnings = (*self.warnings, warning) if warning else self.warnings
        shown = worse if report.unreadable else coverage
        return replace(report, warnings=warnings, verdict=shown.describe_fit())


def describe_sides(
    files: tuple[str, ...],
    *,
    lines: int,
    train: TextStatistics | None,
    held_out: TextStatistics,
    empty_lines: int = 0,
    contaminated_lines: int = 0,
    near_duplicate_lines: int = 0,
    cut_lines: int = 0,
    near_duplicates: NearDuplicates | None = None,
    drops_near: bool = False,
    notices: Sequence[str] = (),
    notes: tuple[str, ...] = (),
) -> CorpusReport:
    """Return the report of a corpus and its warnings.

    Args:
        files: The corpus as it was found, and the held-out text if it was given.
        lines: Lines read; the next four are some of them.
        train: Figures of the training side; None if it is streamed, and so was not counted.
        held_out: Figures of the held-out side.
        near_duplicates: Held-out lines that a training line nearly repeats, if that was looked for.
        drops_near: Whether such lines of a stream are left out as it is read.
        notices: What is to be said of single lines.
        notes: What only concerns this machine.
    """
    counted = train or TextStatistics()
    both = counted + held_out
    report = CorpusReport(
        files=files,
        lines=lines,
        kept_lines=both.lines,
        empty_lines=empty_lines,
        duplicate_lines=lines
        - empty_lines
        - both.lines
        - contaminated_lines
        - near_duplicate_lines,
        contaminated_lines=contaminated_lines,
        cut_lines=cut_lines,
        replaced_characters=both.replaced_characters,
        words=both.words,
        characters=both.characters,
        bytes=both.bytes,
        train_lines=counted.lines,
        train_bytes=counted.bytes,
        held_out_lines=held_out.lines,
        held_out_bytes=held_out.bytes,
        scripts={name: round(share, 6) for name, share in both.scripts.items() if share >= 1e-6},
        train_sha256=counted.sha256,
        held_out_sha256=held_out.sha256,
        near_duplicate_lines=near_duplicate_lines,
        near_duplicates=near_duplicates,
    )
    streamed = STREAMED.format(near="left out too" if drops_near else "not looked for")
    said = _warnings(report, counted, held_out) if train else [streamed]
    return replace(report, warnings=(*said, *notices), notes=notes)


def _warnings(report: CorpusReport, train: TextStatistics, held_out: TextStatistics) -> list[str]:
    warnings = []
    if report.train_bytes < SMALL_TRAIN_BYTES:
        warnings.append(
            f"The training text is small ({report.train_bytes:,} bytes): expect a small gain, and "
            "read the interval beside it."
        )
    if report.replaced_characters:
        warnings.append(
            f"{report.replaced_characters:,} of {report.characters:,} characters are U+FFFD: the "
            "text was not read, or not written, in its right encoding."
        )
    filled = report.lines - report.empty_lines
    if report.duplicate_lines * 2 > filled:
        warnings.append(
            f"Most lines are repetitions ({report.duplicate_lines:,} of {filled:,}) and were "
            "left out."
        )
    if report.cut_lines:
        are = "1 line" if report.cut_lines == 1 else f"{report.cut_lines:,} lines"
        warnings.append(
            f"{are} of more than 20,000 characters {'was' if report.cut_lines == 1 else 'were'} "
            "cut into pieces."
        )
    overlap = sum(min(s, held_out.scripts.get(name, 0.0)) for name, s in train.scripts.items())
    if train.scripts and held_out.scripts and overlap < 0.5:
        warnings.append(
            f"The held-out text is mostly {next(iter(held_out.scripts))} script, but the training "
            f"text is mostly {next(iter(train.scripts))}."
        )
    if report.contaminated_lines * 10 > report.held_out_lines:
        warnings.append(
            f"{report.contaminated_lines:,} of the {report.held_out_lines:,} held-out lines are "
            "in the corpus too and were left out of training."
        )
    near = report.near_duplicates and report.near_duplicates.describe()
    if near:
        warnings.append(near)
    return warnings


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))

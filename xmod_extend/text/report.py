"""What a corpus is like, in figures that can be published with a model."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xmod_extend.text.coverage import (
    Coverage,
    describe_fit,
    describe_missing,
    describe_unreadable,
    is_unreadable,
)


@dataclass(frozen=True, kw_only=True)
class CorpusReport:
    """Figures of a corpus, its training and its held-out side; `dataclasses.asdict` gives JSON.

    Of the lines that were read, each is kept or counted under one reason for which it was not:
    `lines == kept_lines + empty_lines + duplicate_lines + contaminated_lines`.
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
    """Of the training lines in their order, each with a \\n: what a file of them has."""

    held_out_sha256: str
    """The same of the held-out lines."""

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
        if self.coverage is not None and is_unreadable(self.coverage):
            return describe_unreadable(self.coverage)
        if self.held_out_coverage is not None and is_unreadable(self.held_out_coverage):
            return describe_unreadable(self.held_out_coverage, "the held-out text")
        return None

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
        warning = report.unreadable or describe_missing(coverage)
        warnings = (*self.warnings, warning) if warning else self.warnings
        shown = worse if report.unreadable else coverage
        return replace(report, warnings=warnings, verdict=describe_fit(shown))

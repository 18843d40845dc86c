"""What a corpus is like, in figures that can be published with a model."""

from __future__ import annotations

from dataclasses import dataclass, replace


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

    warnings: tuple[str, ...] = ()
    """What a user should know, each one a sentence."""

    def with_tokens(self, tokens: int, unk_tokens: int) -> CorpusReport:
        """The report with what tokenising the kept text (training and held-out) counted."""
        return replace(
            self,
            tokens=tokens,
            fertility=tokens / self.words if self.words else None,
            unk_rate=unk_tokens / tokens if tokens else None,
        )

"""One language of a card: what its record says, in the form in which a reader may see it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from xmod_extend.evaluation.verdict import describe_times
from xmod_extend.report import plain_words
from xmod_extend.report.html import show_piece
from xmod_extend.report.ladder import Rung, build_ladder
from xmod_extend.report.markdown import plain_text, without_folders
from xmod_extend.report.marked_text import starts_with_sign
from xmod_extend.report.record import EvaluationRecord, RunRecord, TrainingRecord
from xmod_extend.report.samples import GuessSample, PieceGuess
from xmod_extend.text.hub import HUB_PREFIX

MASK = "<mask>"
"""The token that hides something in X-MOD's vocabulary."""
NUM_SAMPLES = 5
NUM_GUESSES = 3
NUM_WARNINGS = 12
LEFT_CHARACTERS = 80
"""Characters of a line before a gap that are shown; after it there are half as many."""

_SENTENCE_END = re.compile(r"(?<=[.!?`])\s+(?=[A-Z-])")
_ADVICE = re.compile(
    r"(Take|Get|Let|Use|If|Look|Try|Install|Give|Read|Extract|Drop|Leave|Compare)\b|--"
)
"""Beginnings of sentences that tell whoever trains what to do: the reader of a card does not."""
_ADVICE_WITHIN = re.compile(r"[:;] (extract|take out|expect)\b.*$|, as --[a-z-]+ asks(?=\.)")


@dataclass(frozen=True, kw_only=True)
class GapRow:
    """A row of the table of guesses."""

    left: str
    right: str
    answer: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DescribedLanguage:
    """A language that a card tells of."""

    code: str
    name: str
    """With its region, if there is one."""
    short_name: str
    index: int | None
    """Its id in the checkpoint."""
    record: RunRecord | None
    """None of a language without a record, as those have that came with the base."""
    is_transplanted: bool = False
    """Whether the adapter was trained against other shared weights: its scores do not hold then."""
    training: TrainingRecord | None = None
    evaluation: EvaluationRecord | None = None
    headline: str = ""
    rungs: tuple[Rung, ...] = ()
    gaps: tuple[GapRow, ...] = ()
    example: str = ""
    """A line of the held-out text with a gap."""
    warnings: tuple[str, ...] = ()
    corpus_license: str | None = None
    corpus_source: str | None = None
    datasets: tuple[str, ...] = ()
    """Ids of the data sets on the Hub that the text is from."""

    @property
    def improvement(self) -> str:
        """What became of the perplexity, for a record without a verdict."""
        if self.evaluation is None:
            return ""
        times = describe_times(self.evaluation.improvement)
        return f"The perplexity is {times} than with {self.evaluation.best_existing}."

    @property
    def is_readable(self) -> bool:
        """Whether the base can read the text, so that a score means something."""
        return self.record is not None and self.record.corpus.unreadable is None


def describe_language(
    code: str, record: RunRecord | None, *, index: int | None, is_transplanted: bool = False
) -> DescribedLanguage:
    """Return what a card tells of a language."""
    if record is None:
        name = plain_words.name_of(code)
        return DescribedLanguage(
            code=code,
            name=name,
            short_name=name,
            index=index,
            record=None,
            is_transplanted=is_transplanted,
        )
    evaluation = None if is_transplanted else record.evaluation
    samples = evaluation.samples if evaluation is not None else None
    guesses = samples.guesses if samples is not None else ()
    ladder = None if is_transplanted else build_ladder(record)
    return DescribedLanguage(
        code=code,
        name=record.language_name,
        short_name=plain_words.short_name(record),
        index=index,
        record=record,
        is_transplanted=is_transplanted,
        training=record.training,
        evaluation=evaluation,
        headline=plain_words.headline(record) if evaluation is not None else "",
        rungs=ladder.rungs if ladder is not None else (),
        gaps=tuple(_row(sample) for sample in guesses[:NUM_SAMPLES]),
        example=_example(guesses),
        warnings=tuple(filter(None, map(without_advice, record.warnings[:NUM_WARNINGS]))),
        corpus_license=_said(record, "corpus_license"),
        corpus_source=_said(record, "corpus_source"),
        datasets=_datasets(record),
    )


def without_advice(warning: str) -> str:
    """Return what a warning found, without what whoever trains should do about it."""
    sentences = [
        sentence
        for sentence in _SENTENCE_END.split(plain_text(without_folders(warning)))
        if not _ADVICE.match(sentence)
    ]
    kept = [_ADVICE_WITHIN.sub("", sentence) for sentence in sentences]
    return " ".join(one if one.endswith((".", "!", "?")) else f"{one}." for one in kept if one)


def _said(record: RunRecord, option: str) -> str | None:
    """Return a text that was given for the card; the options of a record may hold anything."""
    text = record.options.get(option)
    text = plain_text(without_folders(text))[:300] if isinstance(text, str) else ""
    return text or None


def _datasets(record: RunRecord) -> tuple[str, ...]:
    """Return the data sets on the Hub that a record names, without the others of its sources."""
    listed = record.options.get("corpus")
    sources = [*record.corpus.files, *(listed if isinstance(listed, list) else [listed])]
    found = (
        re.match(r"[\w.-]{1,96}/[\w.-]{1,96}(?=[@/]|$)", source.removeprefix(HUB_PREFIX))
        for source in sources
        if isinstance(source, str) and source.startswith(HUB_PREFIX)
    )
    return tuple(dict.fromkeys(match[0] for match in found if match))


def _row(sample: GuessSample) -> GapRow:
    left, right = _cut(sample)
    goes_on = sample.left[-1:].isalnum()
    return GapRow(
        left=left,
        right=right,
        answer=show_piece(sample.answer, goes_on=goes_on),
        before=_guesses(sample.before, goes_on=goes_on),
        after=_guesses(sample.after, goes_on=goes_on),
    )


def _cut(sample: GuessSample) -> tuple[str, str]:
    """Return what stands before and after a gap, in whole words where there are spaces."""
    left, right = plain_text(sample.left), plain_text(sample.right)
    if len(left) > LEFT_CHARACTERS:
        left = "… " + left[-LEFT_CHARACTERS:].split(" ", 1)[-1]
    if len(right) > LEFT_CHARACTERS // 2:
        right = right[: LEFT_CHARACTERS // 2].rsplit(" ", 1)[0] + " …"
    # The gap takes the place of the space that its token began with.
    left += " " if sample.answer[:1] == " " or sample.left[-1:] == " " else ""
    # A sign that belongs to the letter before it stands alone beside the gap.
    circle = "\N{DOTTED CIRCLE}" if starts_with_sign(right) and sample.right[:1] != " " else ""
    return left, (" " if sample.right[:1] == " " else "") + circle + right


def _guesses(guesses: tuple[PieceGuess, ...], *, goes_on: bool) -> tuple[str, ...]:
    return tuple(
        f"{show_piece(guess.piece, goes_on=goes_on)} {guess.probability:.0%}"
        + (" ✓" if guess.is_right else "")
        for guess in guesses[:NUM_GUESSES]
    )


def _example(guesses: tuple[GuessSample, ...]) -> str:
    """Return the sample whose gap is a whole word where there is one, and guessed best."""
    whole = [one for one in guesses if one.answer[:1] == " " and one.right[:1] in (" ", "")]
    best = max(whole or guesses, key=lambda one: one.after_probability, default=None)
    if best is None or MASK in best.left + best.right:
        return ""
    left, right = _cut(best)
    shown = f"{left}{MASK}{right}".replace("… ", "").replace(" …", "")
    return shown.replace("\N{DOTTED CIRCLE}", "")

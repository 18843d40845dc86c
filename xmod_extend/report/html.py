"""report.html: a run as one page that opens without a network, made from its record alone.

The page is a Jinja template in `templates/`, one file a section. Whatever comes from a record is
escaped. A section is left out where the record has nothing for it, as that of an older version may.
There are no scripts, no fonts and no pictures but what stands in the page itself.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import regex
from jinja2 import Environment

from xmod_extend.report import plain_words
from xmod_extend.report.axes import format_figure
from xmod_extend.report.charts import learning_chart, probe_chart, training_chart
from xmod_extend.report.ladder import build_ladder
from xmod_extend.report.marked_text import (
    LEVEL_NAMES,
    compare_marks,
    format_odds,
    starts_with_sign,
    widen,
)
from xmod_extend.report.pages import make_environment
from xmod_extend.report.record import RunRecord, describe_epochs

GENERATOR = "xmod-extend"
"""What the page names as its maker."""

_JOINS_NEXT = regex.compile(r"[\p{Joining_Type=Dual_Joining}\p{Joining_Type=Left_Joining}]\p{M}*\Z")
_JOINS_LAST = regex.compile(r"[\p{Joining_Type=Dual_Joining}\p{Joining_Type=Right_Joining}]")


@dataclass(frozen=True)
class Section:
    """A part of the page: what is linked to, and the template of the same name."""

    name: str
    title: str


def html_report(record: RunRecord) -> str:
    """Return the page."""
    samples = record.evaluation.samples if record.evaluation is not None else None
    return (
        _environment()
        .get_template("page.html")
        .render(
            record=record,
            name=plain_words.short_name(record),
            headline=plain_words.headline(record),
            explanation=plain_words.EXPLANATION,
            generator=GENERATOR,
            sections=_sections(record),
            corpus=record.corpus,
            evaluation=record.evaluation,
            training=record.training,
            samples=samples,
            ladder=build_ladder(record),
            training_chart=training_chart(record),
            learning_chart=learning_chart(record),
            probe=probe_chart(record),
            level_names=LEVEL_NAMES,
        )
    )


def _sections(record: RunRecord) -> list[Section]:
    """Return the sections that the record has something for, in their order."""
    evaluation = record.evaluation
    samples = evaluation.samples if evaluation is not None else None
    has_sentences = samples and (samples.hardest or samples.most_improved or samples.typical)
    chosen = {
        Section("ladder", "How good is that?"): evaluation,
        Section("sentences", "Sentence by sentence"): has_sentences,
        Section("guesses", "What it would guess"): samples and samples.guesses,
        Section("curve", "How it learnt"): record.training and record.training.curve,
        Section("more_text", "Would more text help?"): learning_chart(record),
        Section("probe", "What the base knew"): record.probe,
        Section("tokenizer", "How the words are cut"): record.corpus.tokens is not None,
        Section("text", "The text"): True,
        Section("provenance", "How it was made"): True,
    }
    return [section for section, is_there in chosen.items() if is_there]


def is_report(page: str) -> bool:
    """Return whether a page is a report that the program wrote, as it says of itself."""
    return f'<meta name="generator" content="{GENERATOR}">' in page[:2000]


@functools.cache
def _environment() -> Environment:
    environment = make_environment(
        figure=format_figure,
        odds=format_odds,
        choices=plain_words.format_choices,
        language=plain_words.name_of,
        percent=format_percent,
        count=lambda number: f"{number:,}",
        piece=show_piece,
        pieces=show_pieces,
        epochs=describe_epochs,
    )
    environment.globals |= {"compare_marks": compare_marks, "widen": widen}
    return environment


def format_percent(share: float) -> str:
    """Return a share in per cent, with as many digits as tell it from nothing and from all."""
    if share in (0, 1):
        return f"{share:.0%}"
    if share < 0.0001:
        return "under 0.01%"
    if share > 0.9995:
        return "over 99.9%"
    return f"{share:.2%}" if share < 0.01 else f"{share:.1%}"


def show_piece(piece: str, *, goes_on: bool = False) -> str:
    """Return a token's text as it can stand alone.

    Args:
        goes_on: Whether it stands behind a letter, with which it is one word unless it begins with
            a space. Then it gets a hyphen.
    """
    shown = piece.strip()
    if not shown:
        return "(space)"
    if starts_with_sign(shown):
        return f"\N{DOTTED CIRCLE}{shown}"
    return f"-{shown}" if goes_on and not piece[0].isspace() and shown[0].isalnum() else shown


def show_pieces(pieces: tuple[str, ...]) -> list[str]:
    """Return the pieces of a word as they can stand side by side, in the shapes that they have in
    the word."""
    word = "".join(pieces)
    shown, start = [], 0
    for piece in pieces:
        end = start + len(piece)
        # A zero-width joiner stands for the letter that is cut off.
        before = "\u200d" if _JOINS_NEXT.search(word[:start]) and _JOINS_LAST.match(piece) else ""
        after = "\u200d" if _JOINS_NEXT.search(piece) and _JOINS_LAST.match(word[end:]) else ""
        circle = "\N{DOTTED CIRCLE}" if starts_with_sign(piece) and start else ""
        if piece.strip():
            shown.append(f"{before}{circle}{piece.strip()}{after}")
        start = end
    return shown

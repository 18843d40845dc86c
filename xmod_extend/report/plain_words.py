"""A result in words for those who speak the language and have never heard of a perplexity.

The sentences follow the same rungs as the verdict in `evaluation/verdict.py`, and are no kinder.
"""

from __future__ import annotations

from xmod_extend.errors import LanguageError
from xmod_extend.evaluation.verdict import LITTLE, is_better
from xmod_extend.languages import parse_language
from xmod_extend.report.axes import format_figure
from xmod_extend.report.record import EvaluationRecord, RunRecord

EXPLANATION = (
    "Pieces of the text were hidden, and the model had to guess them. A perplexity of 20 means "
    "that it was as unsure as if it had to choose among 20 equally likely pieces: 1 would be "
    "certainty, and lower is better."
)


def short_name(record: RunRecord) -> str:
    """Return the added language's name without its region."""
    return _without_region(record.language_name)


def name_of(code: str) -> str:
    """Return what a language of the base is called, without its region; the code itself if it has
    no name."""
    try:
        return _without_region(parse_language(code).name)
    except LanguageError:
        return code


def _without_region(name: str) -> str:
    return name.partition(" (")[0] or name


def headline(record: RunRecord) -> str:
    """Say what became of the language, in a sentence or two."""
    evaluation, name = record.evaluation, short_name(record)
    if evaluation is None:
        return f"Nothing was measured for {name} yet."
    if record.corpus.unreadable:
        return (
            f"This result means nothing: the base cannot read this text of {name}, because its "
            "vocabulary lacks too many of the letters."
        )
    return f"{_rung(evaluation, name)} {_choices(evaluation, name)}"


def _rung(evaluation: EvaluationRecord, name: str) -> str:
    over_existing, over_unigram = evaluation.improvement, evaluation.improvement_over_unigram
    best = name_of(evaluation.best_existing)
    if over_existing.high < 1:
        return f"The new adapter made it worse: with {best}’s, the model reads {name} better."
    if not is_better(over_existing):
        return f"No clear gain: with {best}’s adapter, the model reads {name} about as well."
    if over_unigram is None:
        return f"The model reads {name} better than it did before."
    if not is_better(over_unigram):
        return (
            f"The model has hardly learnt {name}: it does better than before, but a bare count of "
            "how often each piece occurs guesses as well or better."
        )
    if over_unigram.ratio < LITTLE:
        return (
            f"The model has learnt a little {name}: it guesses better than before, but not much "
            "better than a bare count of how often each piece occurs."
        )
    return f"The model reads {name} clearly better than it did before."


def _choices(evaluation: EvaluationRecord, name: str) -> str:
    before = format_choices(evaluation.before.perplexity)
    after = format_choices(evaluation.after.perplexity)
    return (
        f"For each hidden piece of {name} text it is now as unsure as if choosing among {after} "
        f"equally likely ones; with {name_of(evaluation.best_existing)}’s adapter, the best that "
        f"it had, it was as if among {before}."
    )


def format_choices(perplexity: float) -> str:
    """Return a perplexity as a number of things that one may choose among."""
    if not perplexity < 1e9:
        return format_figure(perplexity)
    return f"{perplexity:,.1f}" if perplexity < 10 else f"{perplexity:,.0f}"

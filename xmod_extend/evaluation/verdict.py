"""The verdict: where on the ladder a result stands, in words no kinder than the figures.

    the new adapter
    how often each token occurs in the training text, and nothing else
    the best adapter that the base has

Few steps are enough to pass the lowest rung, which speaks other languages. Only above both has an
adapter learnt more of the language than its word frequencies.
"""

from __future__ import annotations

from xmod_extend.evaluation.bootstrap import Improvement
from xmod_extend.evaluation.minimal_pairs import PairImprovement

ABOUT_THE_SAME = 1.05
"""Ratios nearer to 1 than this are told in per cent: "1.0 times lower" says nothing."""
LITTLE = 1.5
"""Less than so many times better than token frequencies is little: with the defaults an adapter is
5.6 times better on real Quechua."""
FAR_FROM_DEFAULT = 3.0
"""A learning rate that is so many times the default one, or a share of it, is spoken of."""
SPOKEN_OF = 0.05
"""Share of the words with unknown letters from which on the verdict tells of them."""
MANY_WORDS = 0.2
"""Share from which on they may be why a result is poor."""
SMALL_TEXT_BYTES = 200_000
"""With less text than this, more text is the first thing to try."""


def describe_result(
    *,
    best_existing: str,
    over_existing: Improvement,
    over_unigram: Improvement,
    unreadable: str | None = None,
    words_hit: float = 0.0,
) -> str:
    """Say what a result is worth.

    Args:
        best_existing: Code of the best adapter that the base has.
        over_existing: The new adapter against that one.
        over_unigram: The new adapter against the training text's token frequencies.
        unreadable: What the base cannot read of the text, if it is too much to be scored.
        words_hit: Share of the words with letters that the vocabulary lacks.
    """
    found = (
        f"The perplexity is {describe_times(over_existing)} than with {best_existing}, the best "
        f"existing adapter, and {describe_times(over_unigram)} than by token frequencies alone "
        "(how often each token occurs in the training text)."
    )
    if unreadable is not None:
        return (
            f"The score means nothing. {unreadable} Of the rest, mostly spaces and signs: the "
            f"{found[4:]}"
        )
    if words_hit >= SPOKEN_OF:
        found += (
            f" The letters that the base lacks, in {words_hit:.0%} of the words, are left out of "
            "all three."
        )
    return f"{_rung(best_existing, over_existing, over_unigram)} {found}"


def is_better(comparison: Improvement) -> bool:
    """Return whether the perplexity became lower beyond doubt."""
    return comparison.low > 1


def needs_advice(over_existing: Improvement, over_unigram: Improvement) -> bool:
    """Return whether a result stands anywhere but clearly on top."""
    return not (
        is_better(over_existing) and is_better(over_unigram) and over_unigram.ratio >= LITTLE
    )


def _rung(best: str, over_existing: Improvement, over_unigram: Improvement) -> str:
    if over_existing.high < 1:
        return f"Worse than what the base has: {best} reads this language better."
    if not is_better(over_existing):
        return f"Not clearly better than what the base has: {best} reads this language as well."
    if over_unigram.high < 1:
        return (
            "Better than the best existing adapter, but worse than token frequencies: it has "
            "hardly learnt the language."
        )
    if not is_better(over_unigram):
        return (
            "Better than the best existing adapter, but not clearly than token frequencies: it "
            "has hardly learnt the language."
        )
    if over_unigram.ratio < LITTLE:
        return (
            "Better than the best existing adapter, but only a little better than token "
            "frequencies: it has learnt little of the language."
        )
    return "Better than the best existing adapter and than token frequencies."


def describe_times(comparison: Improvement) -> str:
    """Return `7.2 times lower (95 % interval 6.9 to 7.5)`, `higher` or `2 % higher` where it is."""
    ratio, low, high = comparison.ratio, comparison.low, comparison.high
    word = "lower"
    if ratio < 1:
        ratio, low, high, word = 1 / ratio, 1 / high, 1 / low, "higher"
    if ratio >= ABOUT_THE_SAME:
        digits = 1 if ratio >= 2 else 2
        interval = f"{low:.{digits}f} to {high:.{digits}f}"
        return f"{ratio:.{digits}f} times {word} (95 % interval {interval})"
    percent = _percent(ratio, word)
    return f"{percent} (95 % interval {_percent(low, word)} to {_percent(high, word)})"


def _percent(times: float, word: str) -> str:
    """Return how much lower or higher, in per cent of what it is compared with."""
    if times < 1:
        times, word = 1 / times, {"lower": "higher", "higher": "lower"}[word]
    change = 1 - 1 / times if word == "lower" else times - 1
    return f"{change:.1%} {word}"


def advise(
    *,
    lr: float,
    default_lr: float,
    num_steps: int,
    default_num_steps: int,
    best_step: int,
    text_bytes: int,
    words_hit: float = 0.0,
) -> str:
    """Return what to try after a poor result, by what was asked for.

    Args:
        lr: The peak learning rate that was used.
        num_steps: Steps that were asked for.
        best_step: The step that was kept.
        text_bytes: Of the training text; 0 where that is not known.
        words_hit: Share of the words with letters that the vocabulary lacks.
    """
    if lr > FAR_FROM_DEFAULT * default_lr:
        return f"Lower --lr: it is {lr:g}, and {default_lr:g} is the default for this base."
    if lr * FAR_FROM_DEFAULT < default_lr:
        return f"Raise --lr: it is {lr:g}, and {default_lr:g} is the default for this base."
    if num_steps < default_num_steps:
        return (
            f"Train longer: it was {num_steps:,} {'step' if num_steps == 1 else 'steps'}, and "
            f"{default_num_steps:,} are the default for this text."
        )
    if 0 < text_bytes < SMALL_TEXT_BYTES:
        return f"Add text: {text_bytes:,} bytes are little to learn a language from."
    if words_hit >= MANY_WORDS:
        return (
            f"{words_hit:.0%} of the words have letters that the base lacks; another base may know "
            "them."
        )
    if best_step < num_steps:
        return f"More text may help; more steps will not: step {best_step:,} was the best."
    return "More steps may help: the last one was the best."


def describe_probe(
    *, best: str, over_unigram: Improvement, fit: str, unreadable: str | None = None
) -> str:
    """Say what the best existing adapter knows of a text.

    Args:
        best: Its code.
        over_unigram: That adapter against the training text's token frequencies.
        fit: Whether the base can read the text, in a sentence.
        unreadable: What it cannot read, if it is too much to be scored.
    """
    if unreadable is not None:
        return f"The perplexities mean nothing. {unreadable}"
    times = describe_times(over_unigram)
    knows = "more of this text than" if is_better(over_unigram) else "no more of this text than"
    return (
        f"{fit} {best}, the best existing adapter, knows {knows} token frequencies do: its "
        f"perplexity is {times} than by how often each token occurs in the training part."
    )


def describe_comparison(
    before: str,
    after: str,
    improvement: Improvement | PairImprovement,
    *,
    unreadable: str | None = None,
) -> str:
    """Say how one state compares with another.

    Args:
        before: The state that is compared with, in a few words.
        after: The other one.
        improvement: The second over the first.
        unreadable: What cannot be read of the text, if it is too much to be scored.
    """
    if unreadable is not None:
        return f"The comparison means nothing. {unreadable}"
    if isinstance(improvement, PairImprovement):
        points = [100 * value for value in (improvement.difference, improvement.low)]
        points.append(100 * improvement.high)
        change = "{:+.1f} points (95 % interval {:+.1f} to {:+.1f})".format(*points)
        is_clear = improvement.low > 0 or improvement.high < 0
        better = improvement.difference > 0
        found = f"accuracy {change}"
    else:
        is_clear = improvement.low > 1 or improvement.high < 1
        better = improvement.ratio > 1
        found = f"perplexity {describe_times(improvement)}"
        if improvement.ratio == improvement.low == improvement.high == 1:
            return f"{after} and {before} do not differ on any token."
    if not is_clear:
        return f"No clear difference between {after} and {before}: {found}."
    return f"{after} is {'better' if better else 'worse'} than {before}: {found}."

"""Verdicts are never kinder than the figures, and advice is by what was asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmod_extend.evaluation.bootstrap import Improvement
from xmod_extend.evaluation.verdict import (
    advise,
    describe_probe,
    describe_result,
    describe_times,
    is_better,
    needs_advice,
)


def times(ratio: float, width: float = 0.1) -> Improvement:
    return Improvement(ratio=ratio, low=ratio * (1 - width), high=ratio * (1 + width))


@pytest.mark.parametrize(
    ("existing", "unigram", "rung"),
    [
        (0.5, 0.1, "Worse than what the base has"),
        (0.5, 3.0, "Worse than what the base has"),
        (1.01, 3.0, "Not clearly better than what the base has"),
        (2.0, 0.5, "but worse than token frequencies"),
        (2.0, 1.01, "but not clearly than token frequencies"),
        (2.0, 1.3, "only a little better than token frequencies"),
        (16.0, 7.0, "Better than the best existing adapter and than token frequencies."),
    ],
)
def test_a_result_is_called_what_it_is(existing: float, unigram: float, rung: str) -> None:
    verdict = describe_result(
        best_existing="en_XX", over_existing=times(existing), over_unigram=times(unigram)
    )
    assert rung in verdict
    assert needs_advice(times(existing), times(unigram)) == (existing < 16)


def test_an_unreadable_text_has_no_good_result() -> None:
    verdict = describe_result(
        best_existing="en_XX",
        over_existing=times(2.3),
        over_unigram=times(2.0),
        unreadable="The base cannot read this text.",
    )
    assert verdict.startswith("The score means nothing. The base cannot read this text.")
    assert "Better" not in verdict


def test_letters_that_are_left_out_are_spoken_of() -> None:
    common = {"best_existing": "en_XX", "over_existing": times(9), "over_unigram": times(4)}
    assert "33% of the words" in describe_result(**common, words_hit=0.33)
    assert "words" not in describe_result(**common, words_hit=0.01)


@given(st.floats(-4, 4), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_perplexity_is_never_worded_as_lower(
    log_ratio: float, below: float, above: float
) -> None:
    ratio = 2.0**log_ratio
    gain = Improvement(ratio=ratio, low=ratio * 2.0**-below, high=ratio * 2.0**above)
    text = describe_times(gain)
    found = text.split(" (")[0]
    assert found.endswith("lower") == (ratio >= 1)
    assert "1.0 times" not in found and "1.00 times" not in found
    assert is_better(gain) == (gain.low > 1)


def test_times_are_told_with_their_interval() -> None:
    assert describe_times(times(7.24, 0.02)) == "7.2 times lower (95 % interval 7.1 to 7.4)"
    assert describe_times(times(1 / 4)) == "4.0 times higher (95 % interval 3.6 to 4.4)"
    assert describe_times(times(1.01)) == ("1.0% lower (95 % interval 10.0% higher to 10.0% lower)")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"lr": 10.0}, "Lower --lr"),
        ({"lr": 1e-5}, "Raise --lr"),
        ({"num_steps": 6}, "Train longer"),
        ({"text_bytes": 12_000}, "Add text"),
        ({"words_hit": 0.4}, "40% of the words"),
        ({"best_step": 300}, "More text may help"),
        ({"text_bytes": 0}, "More steps may help"),
        ({"lr": 10.0, "num_steps": 6, "text_bytes": 12_000}, "Lower --lr"),
    ],
)
def test_advice_is_by_what_was_asked_for(changes: dict[str, float], word: str) -> None:
    usual = {
        "lr": 8e-3,
        "default_lr": 8e-3,
        "num_steps": 1000,
        "default_num_steps": 1000,
        "best_step": 1000,
        "text_bytes": 1_500_000,
    }
    assert word in advise(**(usual | changes))  # type: ignore[arg-type]


def test_a_probe_is_compared_with_token_frequencies() -> None:
    fit = "The base can read this text."
    assert "knows no more of this text" in describe_probe(
        best="en_XX", over_unigram=times(0.3), fit=fit
    )
    assert "knows more of this text" in describe_probe(best="de_DE", over_unigram=times(3), fit=fit)
    nothing = describe_probe(best="de_DE", over_unigram=times(3), fit=fit, unreadable="It cannot.")
    assert nothing == "The perplexities mean nothing. It cannot."

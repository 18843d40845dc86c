"""Scores of labels and spans against values worked out by hand, and intervals that cover."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xmod_extend.evaluation.classification import (
    METRICS,
    Bootstrap,
    ClassCounts,
    count_labels,
    values,
)
from xmod_extend.evaluation.spans import Span, count_spans, find_spans, span_types

TRUE = [["N", "V", "N", None], ["V"], ["A", "N"]]
GUESSED = [["N", "N", "N", "V"], ["V"], ["N", "N"]]


def test_labels_are_scored_as_by_hand() -> None:
    counts = count_labels(TRUE, GUESSED, ["A", "N", "V", "X"])
    totals = counts.totals(np.ones(3))
    # N: 3 right of 5 given and 3 true; V: 1 of 1 and 2; A: never given; X: not there.
    np.testing.assert_allclose(totals.precision(), [0, 3 / 5, 1, 0])
    np.testing.assert_allclose(totals.recall(), [0, 1, 1 / 2, 0])
    np.testing.assert_allclose(totals.f1(), [0, 3 / 4, 2 / 3, 0])
    assert totals.accuracy() == totals.micro_f1() == pytest.approx(4 / 6)
    assert totals.macro_f1() == pytest.approx((0 + 3 / 4 + 2 / 3) / 3)
    assert values([counts.of_sentences([1])], METRICS["accuracy"]).tolist() == [1.0]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("O B-P I-P O", [("P", 1, 2)]),
        ("B-P B-P I-P", [("P", 0, 0), ("P", 1, 2)]),
        ("I-P I-P O I-P", [("P", 0, 1), ("P", 3, 3)]),
        ("B-P I-L I-L", [("P", 0, 0), ("L", 1, 2)]),
        ("O O", []),
        ("B-a-b I-a-b", [("a-b", 0, 1)]),
    ],
)
def test_spans_are_those_of_conlleval(labels: str, expected: list[tuple[str, int, int]]) -> None:
    assert find_spans(labels.split()) == [Span(*each) for each in expected]


def test_a_span_is_right_only_as_a_whole() -> None:
    true = [s.split() for s in ("B-P I-P O B-L", "O B-P", "B-L I-L")]
    guessed = [s.split() for s in ("B-P O O B-L", "O B-L", "B-L I-L")]
    counts = count_spans(true, guessed, span_types(["B-P", "I-P", "B-L", "O"]))
    totals = counts.totals(np.ones(3))
    assert counts.classes == ("L", "P")
    # L: 2 right of 3 found and 2 true; P: 0 right of 1 found and 2 true.
    np.testing.assert_allclose(totals.f1(), [4 / 5, 0])
    assert totals.micro_f1() == pytest.approx(2 * 2 / (4 + 4))


def sample(random: np.random.Generator, size: int, share: float) -> ClassCounts:
    """Sentences of three words, which share how hard they are."""
    hard = random.random(size) < 0.3
    right = random.binomial(3, np.where(hard, share - 0.35, share + 0.15))
    three = np.full((size, 1), 3)
    return ClassCounts(("w",), right[:, None], three, three)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(5)
    covered = widths = 0.0
    for _ in range(200):
        # Each seed's model has a share of its own around the true one.
        shares = 0.7 + 0.03 * random.standard_normal(4)
        found = Bootstrap(60, 4, seed=1).estimate(
            [sample(random, 60, share) for share in shares], METRICS["accuracy"]
        )
        covered += found.low <= 0.7 <= found.high
        widths += found.high - found.low
        assert found.low <= found.value <= found.high
    assert 0.88 <= covered / 200 <= 1.0 and widths / 200 < 0.2


def test_a_difference_is_paired_and_none_of_a_state_to_itself() -> None:
    random = np.random.default_rng(2)
    before = [sample(random, 80, 0.5) for _ in range(2)]
    after = [ClassCounts(c.classes, np.minimum(c.right + 1, 3), c.predicted, c.true)
             for c in before]  # fmt: skip
    bootstrap = Bootstrap(80, 2)
    assert bootstrap.difference(before, before, METRICS["accuracy"]).high == 0.0
    gain = bootstrap.difference(after, before, METRICS["accuracy"])
    alone = bootstrap.estimate(after, METRICS["accuracy"])
    assert gain.low > 0 and gain.high - gain.low < alone.high - alone.low
    perfect = [ClassCounts(c.classes, c.true, c.true, c.true) for c in before]
    found = bootstrap.estimate(perfect, METRICS["macro_f1"])
    assert math.isclose(found.low, 1) and math.isclose(found.high, 1)

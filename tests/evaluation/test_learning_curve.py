"""What a learning curve says of more text is no kinder than its figures."""

from __future__ import annotations

import pytest

from xmod_extend.evaluation.bootstrap import Improvement
from xmod_extend.evaluation.learning_curve import LearningCurve, LearningPoint, describe_curve


def curve(*perplexities: float, width: float = 0.01) -> LearningCurve:
    count = len(perplexities)
    points = tuple(
        LearningPoint(
            share=0.5 ** (count - 1 - i),
            num_tokens=1_000 << i,
            num_steps=10,
            perplexity=perplexity,
            low=None,
            high=None,
            seconds=1.0,
        )
        for i, perplexity in enumerate(perplexities)
    )
    if count < 2:
        return describe_curve(points, None)
    ratio = perplexities[-2] / perplexities[-1]
    gain = Improvement(ratio=ratio, low=ratio - width, high=ratio + width)
    return describe_curve(points, gain)


@pytest.mark.parametrize(
    ("perplexities", "expected"),
    [
        ((40.0, 30.0, 25.0), 25 / 1.2 ** (0.18232 / 0.28768)),  # gains shrink: they go on to
        ((27.0, 25.0, 20.0), 20 / (27 / 20) ** 0.5),  # they grew: their mean
        ((24.0, 25.0, 20.0), 20 / (24 / 20) ** 0.5),
        ((25.0, 20.0), 16.0),
    ],
)
def test_the_next_doubling_brings_no_more_than_the_last_ones(
    perplexities: tuple[float, ...], expected: float
) -> None:
    found = curve(*perplexities)
    assert found.expected_perplexity == pytest.approx(expected, rel=1e-3)
    assert found.expected_perplexity >= perplexities[-1] ** 2 / perplexities[-2] - 1e-9
    half, whole = perplexities[-2:]
    assert f"lowered the perplexity from {half:.1f} to {whole:.1f} (" in found.sentence
    assert f"another doubling may bring about {expected:.1f}. " in found.sentence
    assert found.sentence.endswith("Collecting more text of this kind would help.")


@pytest.mark.parametrize(
    ("perplexities", "width", "said"),
    [
        ((30.0, 21.0, 20.8), 0.02, "did not clearly lower the perplexity (21.0 to 20.8"),
        ((30.0, 20.0, 21.0), 0.01, "raised the perplexity (20.0 to 21.0"),
        ((18.0, 21.0, 20.0), 0.01, "did not clearly lower"),
    ],
)
def test_no_clear_gain_promises_nothing(
    perplexities: tuple[float, ...], width: float, said: str
) -> None:
    found = curve(*perplexities, width=width)
    assert found.expected_perplexity is None
    assert said in found.sentence and found.sentence.endswith("will hardly help.")


def test_after_a_short_training_nothing_is_said_against_more_text() -> None:
    points = curve(36.2, 36.5, 36.3).points
    gain = Improvement(ratio=1.005, low=0.99, high=1.02)
    short = describe_curve(points, gain, default_num_steps=11)
    assert short.expected_perplexity is None and "hardly help" not in short.sentence
    assert short.sentence.startswith(
        "The training was too short to tell what more text is worth (10"
    )
    assert "hardly help" in describe_curve(points, gain, default_num_steps=10).sentence


def test_a_small_gain_is_called_little_and_one_point_is_no_curve() -> None:
    assert curve(21.5, 20.9, 20.4, width=0.001).sentence.endswith("would help little.")
    assert curve(20.0).expected_perplexity is None
    assert "Too few parts" in curve(20.0).sentence

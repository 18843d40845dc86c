"""Marks are never set in the middle of what a reader sees as one letter, and lose nothing."""

from __future__ import annotations

import math

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from xmod_extend.report.marked_text import (
    LEVEL_NAMES,
    Mark,
    format_odds,
    mark_tokens,
    starts_with_sign,
    widen,
)

PIECES = st.lists(st.text("ab .क्षिार्न्येत्เด็กน้ำตော်بلا\u0301\u200d", max_size=3), max_size=12)


@given(PIECES)
def test_marks_keep_the_text_and_the_surprise(pieces: list[str]) -> None:
    nats = [float(i + 1) for i in range(len(pieces))]
    marks = mark_tokens(pieces, nats)
    line = "".join(pieces)
    assert "".join(mark.space + mark.text for mark in marks).rstrip() == line.rstrip()
    if line.strip():
        assert sum(mark.nats or 0 for mark in marks) == pytest.approx(sum(nats))
        assert sum(mark.num_tokens for mark in marks) == len(pieces)
    for mark in marks[1:]:
        assert mark.space or not starts_with_sign(mark.text)


@given(PIECES)
def test_no_mark_ends_within_a_letter(pieces: list[str]) -> None:
    line = "".join(pieces)
    ends = {match.end() for match in regex.finditer(r"\X", line)}
    at = 0
    for mark in mark_tokens(pieces, [1.0] * len(pieces)):
        at += len(mark.space + mark.text)
        assert at in ends


def test_vowel_signs_and_conjuncts_stay_with_their_letter() -> None:
    marks = mark_tokens(["हि", "न्", "द", "ी", " है"], [1, 2, 3, 4, 5])
    assert [(mark.text, mark.nats) for mark in marks] == [("हि", 1), ("न्दी", 9), ("है", 5)]
    assert [mark.text for mark in mark_tokens(["တေ", "ာ်"], [1, 2])] == ["တော်"]
    assert [mark.text for mark in mark_tokens(["ซื้อน้", "ำ"], [1, 2])] == ["ซื้อน้ำ"]


def test_what_is_unknown_in_part_has_no_surprise() -> None:
    marks = mark_tokens(["wa", "si", "्"], [1.0, 2.0, None])
    assert [(mark.text, mark.nats) for mark in marks] == [("wa", 1.0), ("si्", None)]
    assert marks[1].level is None and marks[1].odds == "not scored"


@pytest.mark.parametrize(
    ("odds", "level"), [(1.0, 0), (1.99, 0), (2.01, 1), (9.9, 1), (10.1, 2), (101, 3), (1e4, 4)]
)
def test_levels_are_named_by_their_odds(odds: float, level: int) -> None:
    assert Mark("", "x", math.log(odds), 1).level == level
    assert len(LEVEL_NAMES) == 5


@pytest.mark.parametrize(
    ("odds", "shown"),
    [(1.234, "1.23"), (3.14, "3.1"), (20, "20"), (12345, "12,345"), (1e9, "over 1,000,000")],
)
def test_odds_have_the_digits_that_say_something(odds: float, shown: str) -> None:
    assert format_odds(math.log(odds)) == shown
    assert format_odds(1e6) == "over 1,000,000"


def test_a_gap_is_widened_to_whole_letters() -> None:
    assert widen("แม่ซื้อน้", "ำผลไม", "้ที่") == ("แม่ซื้อ", "น้ำผลไม้", "ที่")
    assert widen("wasi", "yki", "qa") == ("wasi", "yki", "qa")
    assert widen("", "", "") == ("", "", "")

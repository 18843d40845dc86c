"""Cleaning: what is removed, what must stay, and that cutting loses nothing."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmod_extend.text.cleaning import clean_line, cut_line


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("\ufeffallin\tp'unchay \r\n", "allin p'unchay"),
        ("a\x00b\x07c\x85d\x9fe", "abc de"),
        ("a\xa0\u2003\u3000b\u2028c", "a b c"),
        ("n\u0303an", "ñan"),
        ("n\xad\u0303an", "ñan"),  # composes only once the soft hyphen is gone
        ("wa\xadsi", "wasi"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
        ("half \ud800 pair", "half \ufffd pair"),
        (" \t\ufeff\xad\x00", ""),
    ],
)
def test_cleaning(raw: str, clean: str) -> None:
    assert clean_line(raw) == clean


any_text = st.text(st.characters(exclude_categories=()))


@settings(deadline=None)
@given(any_text)
def test_cleaned_text_is_clean(raw: str) -> None:
    clean = clean_line(raw)
    assert clean_line(clean) == clean
    assert unicodedata.is_normalized("NFC", clean)
    assert clean == " ".join(clean.split())
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in clean)
    clean.encode()


@settings(deadline=None)
@given(st.lists(st.sampled_from(["runa", "simi", "ñ", "x" * 15_000, "。", "y" * 40_000])))
def test_cutting_keeps_the_text_and_bounds_the_pieces(words: list[str]) -> None:
    text = " ".join(words)
    pieces = cut_line(text)
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")
    assert all(len(piece) <= 20_000 for piece in pieces)
    assert len(pieces) == 1 or len(text) > 20_000


def test_cuts_are_at_spaces_or_after_sentences() -> None:
    spaced = cut_line("pacha mama " * 3_000)
    assert len(spaced) > 2
    assert all(piece.startswith(("pacha", "mama")) for piece in spaced)
    assert all(piece.endswith(("pacha", "mama")) for piece in spaced)
    chinese = cut_line("我说中文。" * 10_000)
    assert len(chinese) > 2
    assert all(piece.endswith("。") for piece in chinese)

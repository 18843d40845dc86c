"""Texts of strangers steer no terminal."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from xmod_extend.cli.output import Output, to_json
from xmod_extend.cli.visible import visible, visible_json

ESCAPES = "\x1b]0;owned\x07 \x1b[2J \x9b31m \x7f \u202eleft\u2066 \r over"


@given(st.text())
def test_nothing_is_left_that_steers(text: str) -> None:
    shown = visible(text)
    assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in shown)
    assert not set(shown) & set("\x7f\x9b\x85\u2028\u202a\u202e\u2066\u2069")
    assert visible(shown) == shown


@given(st.dictionaries(st.text(), st.text()))
def test_json_means_the_same(value: dict[str, str]) -> None:
    text = visible_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value


def test_plain_text_of_every_script_stays() -> None:
    for text in ("Wasiyki hatun.", "क्षत्रिय", "ذهب الولد", "เด็กเล่น", "a\u200db", "tab\tnew\nline"):
        assert visible(text) == text


@pytest.mark.parametrize("is_json", [False, True])
@pytest.mark.parametrize("quiet", [False, True])
def test_every_way_out_is_covered(
    capsys: pytest.CaptureFixture[str], is_json: bool, quiet: bool
) -> None:
    output = Output(as_json=is_json, quiet=quiet)
    table = Table(show_header=False, box=None)
    table.add_row("name", ESCAPES)
    output.result({"name": ESCAPES}, ESCAPES, ESCAPES, table)
    output.note(ESCAPES)
    output.warning(ESCAPES)
    output.error(ESCAPES, ESCAPES)
    printed = "".join(capsys.readouterr())
    assert "owned" in printed
    assert not any(letter in printed for letter in "\x1b\x07\x9b\x7f\u202e\u2066\r")


def test_on_a_terminal_only_the_programs_own_colours_are_left() -> None:
    from rich.console import Console

    output = Output()
    output.err = Console(file=io.StringIO(), force_terminal=True, width=200)
    output.error(ESCAPES, None)
    printed = output.err.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b]0" not in printed and "\x1b[2J" not in printed and "\\x1b]0;owned" in printed


def test_the_json_of_a_result_is_still_json() -> None:
    assert json.loads(visible_json(to_json({"a": ESCAPES})))["a"] == ESCAPES

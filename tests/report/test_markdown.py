"""Text in Markdown: it is shown as it is, wherever it stands."""

from __future__ import annotations

import ast
import html
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from xmod_extend.report.markdown import (
    code,
    escape,
    link,
    plain_text,
    python_string,
    shell_word,
    verbatim,
    without_folders,
)


def shown(markdown: str) -> str:
    """The text that a reader sees of a page with one paragraph, row or item; tags are an error."""
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown)
    text = re.sub(r"</?(p|ul|li|table|thead|tbody|tr|th|td)>", "", page)
    assert "<" not in text, page
    return html.unescape(text).strip()


@given(st.text(max_size=60))
def test_any_text_is_shown_as_it_is(text: str) -> None:
    plain = " ".join(plain_text(text).split())
    for around in ("{}", "- {}", "x {} y"):
        seen = shown(around.format(escape(text)))
        assert (
            " ".join(seen.split()) == around.format(plain).removeprefix("- ").strip() or not plain
        )


@given(st.text(max_size=40))
def test_any_text_stays_in_its_cell(text: str) -> None:
    table = f"| a | b |\n| --- | --- |\n| {escape(text)} | z |\n"
    page = MarkdownIt("commonmark").enable("table").render(table)
    assert page.count("<td>") == 2 and page.count("<tr>") == 2 and "<td>z</td>" in page


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("Cusco Quechua (Peru), en_XX: 7.3 times", "Cusco Quechua (Peru), en_XX: 7.3 times"),
        ("_x_ *y*", "\\_x\\_ \\*y\\*"),
        ("1. x", "1\\. x"),
        ("120.5", "120.5"),
        ("-3", "-3"),
        ("- x", "\\- x"),
        ("see https://x.y", "see https\\://x.y"),
        (7, "7"),
    ],
)
def test_only_what_must_be_is_escaped(text: object, escaped: str) -> None:
    assert escape(text) == escaped
    assert escape(escape(text)) == escaped


def test_a_long_text_is_cut() -> None:
    assert len(escape("x" * 10**6)) < 2100


@given(st.text(max_size=60))
def test_a_literal_of_python_is_the_text(text: str) -> None:
    literal = python_string(text)
    assert ast.literal_eval(literal) == text
    assert "\n" not in literal and literal.isprintable()


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_a_word_of_a_command_is_one(text: str) -> None:
    assert shlex.split(shell_word(text)) == [plain_text(text)]


def test_code_and_links_are_only_what_can_be() -> None:
    assert code("quz_PE") == "`quz_PE`" and "`" not in code("a b").replace("\\`", "")
    assert code("a`b") == "a\\`b"
    assert link("https://example.org/a?b=c") == "<https://example.org/a?b=c>"
    for text in ("javascript:alert(1)", "https://a b", "https://a>b", "data:text/html,x"):
        assert not link(text).startswith("<")
    assert "`" not in verbatim("```\nx") and "\n" not in verbatim("```\nx")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("in /home/a/b.txt and '/tmp/c'", "in b.txt and 'c'"),
        ("C:\\Users\\a\\b.txt, ~/x/y", "b.txt, y"),
        ("and/or 3/4 https://a.b/c data/x.txt", "and/or 3/4 https://a.b/c data/x.txt"),
    ],
)
def test_of_a_path_only_the_name_is_left(text: str, kept: str) -> None:
    assert without_folders(text) == kept

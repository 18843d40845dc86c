"""What `check` prints of a report."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console
from sentences import make_sentences

from xmod_extend.cli.check import conclusion, report_table
from xmod_extend.text.corpus import read_corpus
from xmod_extend.text.report import CorpusReport, Coverage


@pytest.fixture
def report(tmp_path: Path) -> CorpusReport:
    path = tmp_path / "a.txt"
    path.write_text("\n".join(make_sentences(900)), encoding="utf-8")
    read = read_corpus([path], cache_dir=tmp_path / "cache").report
    return dataclasses.replace(read, warnings=()).with_tokens(20_000, 0)


NOTHING = Coverage(unknown_characters=0.0, words_hit=0.0)
SOME = Coverage(
    unknown_characters=0.02, words_hit=0.1, missing={"ң": 0.01, "ә": 0.01}, num_missing=2
)
MOST = Coverage(unknown_characters=0.9, words_hit=0.99, missing={"ᏣᎳ": 0.9}, num_missing=9)


def test_it_ends_with_whether_the_text_can_be_used(report: CorpusReport) -> None:
    good = report.with_coverage(NOTHING, NOTHING)
    assert conclusion(good).startswith("This text can be used. The base can read this text")
    some = conclusion(report.with_coverage(SOME, NOTHING))
    assert "can be used, but the warning above says what stands against it" in some
    assert "10% of the words" in some
    most = conclusion(report.with_coverage(MOST, MOST))
    assert "can be used" not in most and "cannot read this text" in most
    warned = dataclasses.replace(good, warnings=("One.", "Two."))
    assert "the 2 warnings above say" in conclusion(warned)


def test_the_table_names_what_is_unknown_and_breaks_no_word(report: CorpusReport) -> None:
    scripts = dict.fromkeys(["Latin", "Cyrillic", "Canadian Aboriginal", "Hanifi Rohingya"], 0.24)
    scripts |= {"Thai": 0.0003, "Lao": 0.0001}
    shown = dataclasses.replace(report.with_coverage(SOME, SOME), scripts=scripts)
    stream = io.StringIO()
    Console(file=stream, width=60).print(report_table(shown))
    text = " ".join(stream.getvalue().replace("\N{NO-BREAK SPACE}", " ").split())
    assert "unknown characters 2.00%" in text and "words with any 10.00%" in text
    assert "the most frequent ң ә" in text
    assert "Hanifi Rohingya 24.0% and 2 with less than 0.1%" in text
    # A name and its share stay on one line.
    spaced = stream.getvalue()
    assert "Hanifi\N{NO-BREAK SPACE}Rohingya\N{NO-BREAK SPACE}24.0%" in spaced
    assert max(map(len, spaced.splitlines())) <= 60

"""What is said of a text that was not made ready for training."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sample_text import sentences

from xmod_extend.text.corpus import read_corpus
from xmod_extend.text.notices import find_near_repetitions, find_notices

LINES = sentences(300)


def said(lines: list[str]) -> str:
    return " ".join(find_notices(lines))


def test_ordinary_text_is_passed_without_a_word() -> None:
    assert said(LINES) == ""
    # Numbers, links, brackets and quotes are part of what people write.
    assert said([f"{line} 1 < 2, R&D [sic] «{line}»" for line in LINES]) == ""
    assert said([f"{line} Ânanki â Ã ñawi çay, âme." for line in LINES]) == ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda i, line: f"{i} {line}", "The lines are numbered, such as "),
        (lambda i, line: f"{i % 40 + 1}. {line}", "300 of 300 lines have a number at the beginn"),
        (lambda i, line: f"3:{i % 9 + 1} {line}", "of a verse"),
        (lambda i, line: f"<p>{line}</p>" if i % 3 else line, "200 of 300 lines have markup"),
        (lambda i, line: f"{line} &nbsp; [[{line}]]", "300 of 300 lines have markup"),
        (lambda i, line: f"[quz] {line}", "300 of 300 lines begin with '[quz]'"),
        (
            lambda i, line: (line + " ñawi").encode().decode("cp1252", "ignore"),
            "letters that were broken by reading UTF-8",
        ),
    ],
)
def test_each_form_is_named_with_its_share_and_an_example(change, expected: str) -> None:  # type: ignore[no-untyped-def]
    text = said([change(i, line) for i, line in enumerate(LINES)])
    assert expected in text
    assert text.count("such as") + text.count("begin with") == 1


def test_numbers_that_hide_repeated_lines_are_counted() -> None:
    text = said([f"{i} {line}" for i, line in enumerate(LINES + LINES[:70])])
    assert "numbered, which hide 70 repeated ones" in text and "cut -f 2-" in text


def test_a_word_that_begins_many_sentences_is_no_notice() -> None:
    assert said([f"Kay {line}" if i % 3 else line for i, line in enumerate(LINES)]) == ""


def test_held_out_lines_that_are_nearly_training_lines_are_found() -> None:
    held_out = [LINES[5].rstrip("."), LINES[6].upper(), f"  {LINES[7]}!", "Mana tarisqa rima."]
    (sentence,) = find_near_repetitions(LINES, held_out)
    assert sentence.startswith("3 of 4 held-out lines are training lines but for case")
    assert sentence.count(LINES[5].split(" ")[0]) >= 2
    assert find_near_repetitions(LINES, ["Mana tarisqa rima.", "..."]) == []


def test_the_report_of_a_corpus_has_the_notices_also_from_the_cache(
    tmp_path: Path, cache_dir: Path
) -> None:
    path = tmp_path / "quz-sentences.txt"
    path.write_text("".join(f"{i}\t{line}\n" for i, line in enumerate(LINES)), encoding="utf-8")
    for _ in range(2):
        warnings = read_corpus([path], cache_dir=cache_dir).report.warnings
        assert any(re.match("The lines are numbered", warning) for warning in warnings)

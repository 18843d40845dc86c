"""What is said of a text that was not made ready for training."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest
from sample_text import sentences

from xmod_extend.text.corpus import read_corpus
from xmod_extend.text.notices import find_notices

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


def test_the_report_of_a_corpus_has_the_notices_also_from_the_cache(
    tmp_path: Path, cache_dir: Path
) -> None:
    path = tmp_path / "quz-sentences.txt"
    path.write_text("".join(f"{i}\t{line}\n" for i, line in enumerate(LINES)), encoding="utf-8")
    for _ in range(2):
        warnings = read_corpus([path], cache_dir=cache_dir).report.warnings
        assert any(re.match("The lines are numbered", warning) for warning in warnings)


def test_a_verse_has_its_book_and_its_number_taken_for_what_they_are() -> None:
    books = ["Gn", "1 Co", "Éx"]
    lines = [f"{books[i % 3]} {i // 9 + 1}:{i % 9 + 1} {line}" for i, line in enumerate(LINES)]
    (sentence,) = find_notices(lines)
    assert "a book's name and a verse's number" in sentence and "Gn 1:1 " in sentence


def test_what_stands_behind_a_number_is_looked_at_too() -> None:
    text = said([f"{i * 7919 % 1000} quz {line}" for i, line in enumerate(LINES)])
    assert "have a number at the beginning" in text and "begin with 'quz'" in text


def test_a_few_tags_in_a_thousand_lines_are_named_where_they_stand() -> None:
    lines = sentences(1_000)
    for i in (10, 500, 900):
        lines[i] = f"{lines[i]} {lines[i]} <ref name=a>"
    text = said(lines)
    assert "3 of 1,000 lines have markup" in text and "<ref name=a>" in text
    assert "of a sample" in " ".join(find_notices(lines, is_sample=True))
    assert said([*lines[:10], *lines[11:]]) == ""


@pytest.mark.parametrize(
    ("line", "encoding"),
    [
        ("Ñawinta qhawan, ñawpa.", "cp1252"),
        ("sut’inchanan", "cp1252"),
        ("Татарстан башкаласы Казан.", "cp1251"),
        ("Serbja su narod, ž", "cp1250"),
    ],
)
def test_letters_broken_by_any_of_the_usual_encodings_are_found(line: str, encoding: str) -> None:
    broken = line.encode().decode(encoding, "ignore")
    text = said([f"{other} {broken}" for other in LINES])
    assert "letters that were broken" in text


def test_letters_that_only_look_broken_are_none() -> None:
    right = [
        "PÓŁKA, ŁÓDŹ, ŻÓŁĆ.",
        "Зі школи. Її хата. Сёння ўвечары, Ёсць.",
        "Âge, château, Ãhã, naïve, ŽŠČ, Äö.",
        "ÐÞÆ, Ísland, ÁÐUR.",
        "Αθήνα, ΈΛΛΗΝΕΣ. Łužica, źěło. ÇŞĞ.",
    ]
    assert said(right * 60) == ""


@pytest.mark.parametrize("text", ["simi", "3 wasi"])
@pytest.mark.parametrize(
    ("form", "said_first"),
    [
        ("{n}\t{text}", "cut"),
        ("{n}. {text}", "sed"),
        ("({n}) {text}", "sed"),
        ("[{n}] {text}", "sed"),
        ("{n}:{v} {text}", "sed"),
        ("1 Co {n}:{v} {text}", "sed"),
        ("Éx {n}.{v} {text}", "sed"),
    ],
)
def test_the_command_that_is_named_leaves_the_text(
    tmp_path: Path, form: str, said_first: str, text: str
) -> None:
    rng = random.Random(0)
    numbers = range(1, 41) if said_first == "cut" else [rng.randint(1, 30) for _ in range(40)]
    lines = [form.format(n=n, v=rng.randint(1, 30), text=f"{text} {n}") for n in numbers]
    (tmp_path / "FILE").write_text("\n".join(lines) + "\n", encoding="utf-8")
    commands = re.findall("`([^`]*)`", said([" ".join(line.split()) for line in lines]))
    assert commands and commands[0].startswith(said_first)
    for command in commands:
        subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path, env={"LC_ALL": "C.UTF-8"})
        left = (tmp_path / "NEW").read_text(encoding="utf-8").splitlines()
        assert left == [f"{text} {n}" for n in numbers], command

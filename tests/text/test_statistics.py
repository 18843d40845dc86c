"""Counting: words in scripts with and without spaces, shares of scripts, and exact sums."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmod_extend.text.statistics import (
    Measurement,
    count_characters,
    count_words,
    find_words,
    measure,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        (" ... – ", 0),
        ("Allillanchu, taytay? Sach'a wasi.", 4),
        ("ch’usaq 'quoted' l·l", 3),
        ("mother-in-law", 3),
        ("in 1990 3rd", 3),
        ("ñawi n\u0303awi", 2),
        ("می\u200cخواهم بروم", 2),
        ("हिन्दी में लिखा", 3),
        ("我说中文。", 4),
        ("我 speak 中文", 4),
        ("한국어 띄어쓰기", 2),
        ("ກີນ", 2),  # a syllable, and its final letter
        ("สวัสดี ภาษา", 6),  # ส|วั|ส|ดี ภา|ษา
        ("เป็น แมว ต่างๆ จันทร์", 9),  # a vowel in front, a repetition, a silent letter
        ("ພາສາ ໃຫຍ່", 4),
        ("ខ្ញុំ ស្រឡាញ់", 4),  # stacked letters
        ("ကျွန်တော် မြန်မာ", 4),  # whole syllables, by their killed final letters
        ("အင်္ဂလိပ်", 2),  # a letter stacked on a killed one
        ("ខ្មែរ\u200bល្អ runa\u200bsimi", 5),  # zero-width spaces
        ("𐐷𐐲𐑌 runa", 2),
    ],
)
def test_words(text: str, words: int) -> None:
    assert count_words(text) == words


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("abñ0 .,-—"), max_size=20), max_size=5))
def test_words_of_spaced_scripts_are_runs_of_letters_and_digits(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert count_words(text) == len(re.findall(r"\w+", text))


def test_words_are_found_without_what_is_around_them() -> None:
    assert find_words("«Sach'a» wasi, 'l·l' 我 ကျွန်တော်… 3") == [
        "Sach'a", "wasi", "l·l", "我", "ကျွန်", "တော်", "3",
    ]  # fmt: skip
    assert find_words("") == find_words("– …") == []


@settings(deadline=None)
@given(st.text(st.sampled_from("ab '’-\n\u0301\u200b我ันเทร์ាខ្មកျ်")))
def test_as_many_words_are_found_as_are_counted(text: str) -> None:
    words = find_words(text)
    assert len(words) == count_words(text)
    assert all(words)
    left = text
    for word in words:
        left = left[left.index(word) + len(word) :]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Thai", "ภาษาไทยเป็นภาษาที่มีระดับเสียงของคำแน่นอน"),
        ("Lao", "ພາສາລາວເປັນພາສາຕະກູນໄທກະໄດ"),
        ("Khmer", "ភាសាខ្មែរគឺជាភាសាកំណើតរបស់ជនជាតិខ្មែរ"),
        ("Burmese", "မြန်မာဘာသာစကားသည်မြန်မာနိုင်ငံ၏ရုံးသုံးဘာသာစကားဖြစ်သည်"),
    ],
)
def test_a_sentence_without_spaces_is_neither_one_word_nor_as_many_as_letters(
    name: str, text: str
) -> None:
    assert 1.5 < len(text) / count_words(text) < 5, name


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.text(st.sampled_from("aб語\ufffd '"), min_size=1), max_size=4)))
def test_figures_are_sums_over_the_lines_however_they_are_grouped(batches: list[list[str]]) -> None:
    measurement = Measurement()
    for batch in batches:
        piece = "".join(f"{line}\n" for line in batch).encode()
        measurement.hash(piece)
        measurement.add(count_characters(piece))
    figures = measurement.result()
    lines = [line for batch in batches for line in batch]
    assert figures.lines == len(lines)
    assert figures.bytes == sum(len(line.encode()) for line in lines)
    assert figures.characters == sum(map(len, lines))
    assert figures.words == sum(map(count_words, lines))
    assert figures.replaced_characters == "".join(lines).count("\ufffd")
    assert figures == measure(lines)
    content = "".join(f"{line}\n" for line in lines).encode()
    assert figures.sha256 == hashlib.sha256(content).hexdigest()


def test_scripts_are_shares_of_the_letters() -> None:
    figures = measure(["abc бв 語 123 ...", "aʼ ー\u0301", "ⴰ"])
    assert figures.letters_by_script == {"Latin": 4, "Cyrillic": 2, "Han": 1, "Tifinagh": 1}
    assert figures.scripts == {"Latin": 0.5, "Cyrillic": 0.25, "Han": 0.125, "Tifinagh": 0.125}
    assert measure(["123"]).scripts == {}
    assert measure(["𐤀"]).scripts == {"other": 1.0}  # Phoenician: rare enough to have no name here

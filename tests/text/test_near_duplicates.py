"""Held-out lines that a training line nearly repeats are found, and no others."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_text import WORDS

from xmod_extend.errors import CorpusError
from xmod_extend.text.corpus import Corpus, read_corpus
from xmod_extend.text.near_duplicates import (
    INDEXED,
    LEAST_NGRAMS,
    LEAST_SIMILAR,
    NGRAM,
    NearDuplicates,
    NearIndex,
    find_stretch,
)

SYLLABLES = [c + v for c in "chpqstklmñrwy" for v in "aiu"]


def text(count: int, *, seed: int, num_words: int = 9) -> list[str]:
    """Lines of words that hardly ever repeat, as real text has them."""
    rng = random.Random(seed)
    return [
        " ".join("".join(rng.choices(SYLLABLES, k=rng.randint(2, 4))) for _ in range(num_words))
        for _ in range(count)
    ]


HELD_OUT = text(40, seed=1)
OTHERS = text(400, seed=2)


def swap_word(line: str) -> str:
    words = line.split(" ")
    return " ".join([*words[:4], "quyllurkuna", *words[5:]])


COPIES: dict[str, Callable[[str], str]] = {
    "the same": lambda line: line,
    "case": str.upper,
    "signs": lambda line: f"- «{line.replace(' ', ' , ')}» !",
    "spaces": lambda line: line.replace(" ", ""),
    "a number before it": lambda line: f"Gn 12:7 {line}",
    "a word exchanged": swap_word,
    "a word left out": lambda line: " ".join(line.split(" ")[1:]),
    "words added": lambda line: f"hinaspa {line} nispa nirqan",
    "one letter in sixteen": lambda line: "".join(
        "x" if i % 16 == 8 else c for i, c in enumerate(line)
    ),
    "in a paragraph": lambda line: " ".join([*OTHERS[:30], line, *OTHERS[30:60]]),
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_a_copy_is_found_however_it_was_changed(change: Callable[[str], str]) -> None:
    near = NearIndex(HELD_OUT).find([*OTHERS, *map(change, HELD_OUT)])
    assert [(one.row - len(OTHERS), one.held_out) for one in near] == [(i, i) for i in range(40)]
    assert all(LEAST_SIMILAR <= one.similarity <= 1 for one in near)


def test_text_that_was_never_copied_is_not_found() -> None:
    index = NearIndex(HELD_OUT)
    assert index.find(OTHERS) == []
    # However long a line is, it has no other line by chance: a stretch is compared, not all of it.
    assert index.find([" ".join(text(3_000, seed=3))]) == []
    assert index.find([]) == [] and NearIndex([]).find(OTHERS) == []


def test_half_of_another_line_is_not_near() -> None:
    halves = [" ".join(line.split(" ")[:4]) for line in HELD_OUT]
    assert NearIndex(HELD_OUT).find(halves) == []


def test_a_number_is_as_good_as_another() -> None:
    (near,) = NearIndex(["Chakra yapuy: 12 killapi, 1998 watapi."]).find(
        ["Chakra yapuy: 7 killapi, 2004 watapi."]
    )
    assert near.similarity == 1


def test_a_short_line_must_be_the_same_and_an_empty_one_is_like_none() -> None:
    index = NearIndex(["Arí, wawqiy!", "Manan", "...", "Arí, wawqiy?"])
    assert [one.held_out for one in index.find(["arí wawqiy"])] == [0, 3]
    assert index.find(["Arí, wawqi", "Manan pas", "—", "!!!", ""]) == []


@pytest.mark.parametrize(
    "line",
    [
        "ฉันเรียนภาษาไทยทุกวันที่โรงเรียนใกล้บ้านของฉัน",
        "我每天早上都在学校旁边的公园里跑步锻炼身体然后去图书馆看书学习中文",
        "मैं हर दिन अपने घर के पास वाले विद्यालय में हिंदी पढ़ता हूँ",
        "أنا أدرس اللغة العربية كل يوم في المدرسة القريبة من بيتي",
    ],
)
def test_any_script_is_compared(line: str) -> None:
    middle = len(line) // 2
    copy = f"{line[:middle]}{line[0]}{line[middle + 1 :]}"
    assert NearIndex([line]).find([*OTHERS, f"«{copy}»"])
    assert not NearIndex([line]).find([*OTHERS, line[: middle - 4]])


def plain_ngrams(line: str) -> list[str]:
    letters = "".join(c for c in line.casefold() if c.isalpha())
    return [letters[i : i + NGRAM] for i in range(len(letters) - NGRAM + 1)]


@given(
    st.lists(st.lists(st.sampled_from(WORDS[:12]), max_size=16), min_size=1, max_size=8),
    st.lists(st.lists(st.sampled_from(WORDS[:12]), max_size=16), min_size=1, max_size=8),
)
def test_the_index_misses_nothing_that_a_plain_comparison_finds(
    held_out: list[list[str]], train: list[list[str]]
) -> None:
    index = NearIndex([" ".join(words) for words in held_out])
    found = {(one.row, one.held_out) for one in index.find([" ".join(words) for words in train])}
    expected = set()
    for row, words in enumerate(train):
        for line, others in enumerate(held_out):
            theirs, mine = plain_ngrams(" ".join(words)), set(plain_ngrams(" ".join(others)))
            # Lines of like length: the stretch is all of the training line.
            if len(theirs) <= 1.25 * len(mine) and len(mine) >= LEAST_NGRAMS:
                if len(mine & set(theirs)) >= LEAST_SIMILAR * len(mine):
                    expected.add((row, line))
                else:
                    assert (row, line) not in found or "".join(words) == "".join(others)
    assert expected <= found
    assert 1 - LEAST_SIMILAR < INDEXED


def test_a_copy_of_the_index_finds_the_same() -> None:
    index = NearIndex(HELD_OUT)
    lines = [swap_word(line) for line in HELD_OUT]
    assert pickle.loads(pickle.dumps(index)).find(lines) == index.find(lines)


def test_the_stretch_that_is_shown_is_the_one_that_repeats_the_line() -> None:
    paragraph = " ".join([*OTHERS[:30], f"«{HELD_OUT[0]}»,", *OTHERS[30:]])
    stretch = find_stretch(HELD_OUT[0], paragraph)
    assert HELD_OUT[0] in stretch and len(stretch) < 1.5 * len(HELD_OUT[0])


# -- a corpus -----------------------------------------------------------------------------------


def write(folder: Path, name: str, lines: list[str]) -> Path:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def read(folder: Path, train: list[str], held_out: list[str], **options: object) -> Corpus:
    paths = write(folder, "train.txt", train), write(folder, "held_out.txt", held_out)
    return read_corpus(
        [paths[0]],
        held_out=paths[1],
        cache_dir=folder / "cache",
        **options,  # type: ignore[arg-type]
    )


def near_of(corpus: Corpus) -> NearDuplicates:
    assert corpus.report.near_duplicates is not None
    return corpus.report.near_duplicates


@pytest.mark.parametrize("name", ["case", "a word exchanged", "in a paragraph"])
def test_a_leaked_corpus_is_told_of_with_examples_also_from_the_cache(
    tmp_path: Path, name: str
) -> None:
    leaked = [*OTHERS, *map(COPIES[name], HELD_OUT[:30])]
    for _ in range(2):
        corpus = read(tmp_path, leaked, HELD_OUT)
        near = near_of(corpus)
        assert (near.held_out_lines, near.compared_lines, near.train_lines) == (30, 40, 30)
        assert near.share == 0.75 and not near.dropped and not near.is_sample
        assert len(near.examples) == 5 and near.examples[0].held_out in HELD_OUT[:30]
        (warning,) = [text for text in corpus.report.warnings if "nearly repeat" in text]
        assert warning.startswith("30 of 40 held-out lines (75.0%) nearly repeat a training line")
        assert "--drop-near-duplicates" in warning
        assert corpus.overlap is not None and corpus.overlap.near_rows == tuple(range(30))
        assert corpus.report.train_lines == 430


def test_on_request_the_training_lines_are_left_out_and_the_held_out_ones_stay(
    tmp_path: Path,
) -> None:
    leaked = [*OTHERS, *map(swap_word, HELD_OUT[:30])]
    kept = read(tmp_path, leaked, HELD_OUT)
    dropped = read(tmp_path, leaked, HELD_OUT, drop_near_duplicates=True)
    assert list(dropped.train) == OTHERS and list(dropped.held_out) == list(kept.held_out)
    report = dropped.report
    assert (report.near_duplicate_lines, report.train_lines) == (30, 400)
    assert near_of(dropped).dropped and near_of(dropped).train_lines == 30
    assert report.lines == report.kept_lines + report.near_duplicate_lines
    assert dropped.fingerprint != kept.fingerprint
    (warning,) = [text for text in report.warnings if "nearly repeat" in text]
    assert "were left out" in warning
    # Words that only the dropped lines had are unseen.
    assert kept.overlap is not None and dropped.overlap is not None
    assert kept.overlap.num_unseen < dropped.overlap.num_unseen


def test_of_a_stream_they_are_left_out_as_it_is_read(tmp_path: Path) -> None:
    leaked = [*OTHERS, *map(swap_word, HELD_OUT[:30])]
    plain = read(tmp_path, leaked, HELD_OUT, streaming=True)
    dropping = read(tmp_path, leaked, HELD_OUT, streaming=True, drop_near_duplicates=True)
    assert plain.report.near_duplicates is dropping.report.near_duplicates is None
    assert "are not looked for" in plain.report.warnings[0]
    assert "are left out too" in dropping.report.warnings[0]
    read_lines = [
        b"".join(corpus.train.pieces()).decode().splitlines() for corpus in (plain, dropping)
    ]
    assert read_lines == [leaked, OTHERS]
    assert plain.fingerprint != dropping.fingerprint


def test_a_split_of_one_text_is_looked_at_too(tmp_path: Path) -> None:
    path = write(tmp_path, "verses.txt", [*OTHERS, *map(swap_word, OTHERS)])
    corpus = read_corpus([path], cache_dir=tmp_path / "cache")
    near = near_of(corpus)
    assert near.held_out_lines > 0.7 * corpus.report.held_out_lines


def test_a_single_near_line_among_many_is_reported_without_a_warning(tmp_path: Path) -> None:
    corpus = read(tmp_path, [*OTHERS, swap_word(HELD_OUT[0])], HELD_OUT)
    assert near_of(corpus).held_out_lines == 1
    assert not any("nearly repeat" in text for text in corpus.report.warnings)


def test_a_corpus_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="380 nearly repeat a held-out line") as caught:
        read(
            tmp_path, [swap_word(line) for line in OTHERS[:380]], OTHERS, drop_near_duplicates=True
        )
    assert "leave --drop-near-duplicates out" in (caught.value.hint or "")
    assert not list((tmp_path / "cache").glob("corpus-*/"))

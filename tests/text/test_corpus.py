"""The way from files to a training and a held-out side, and what is refused or warned of."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_text import sentences

from xmod_extend.errors import CorpusError, UsageError
from xmod_extend.text.corpus import read_corpus
from xmod_extend.text.splitting import choose_held_out

Write = Callable[..., Path]


def refusal(*paths: Path, **options: Any) -> CorpusError:
    with pytest.raises(CorpusError) as caught:
        read_corpus(paths, **options)
    assert caught.value.exit_code == 3
    assert caught.value.hint
    return caught.value


def test_every_line_is_kept_once_or_counted(write_lines: Write, cache_dir: Path) -> None:
    lines = sentences(400)
    path = write_lines([*lines, "", "  \t", *lines[:30], f"  {lines[0]}\ufeff"])
    corpus = read_corpus([path], cache_dir=cache_dir)
    train, held_out = list(corpus.train), list(corpus.held_out)
    report = corpus.report
    assert sorted([*train, *held_out]) == sorted(lines)
    assert train == [line for line in lines if line in set(train)]
    assert held_out == [line for line in lines if line in set(held_out)]
    assert (report.lines, report.kept_lines) == (433, 400)
    assert (report.empty_lines, report.duplicate_lines, report.contaminated_lines) == (2, 31, 0)
    assert (report.train_lines, report.held_out_lines) == (len(train), len(held_out))
    assert report.bytes == report.train_bytes + report.held_out_bytes
    assert report.bytes == sum(len(line.encode()) for line in lines)
    assert report.words == sum(len(line.split()) for line in lines)
    assert report.scripts == {"Latin": 1.0}
    content = "".join(f"{line}\n" for line in train).encode()
    assert report.train_sha256 == hashlib.sha256(content).hexdigest()
    json.dumps(dataclasses.asdict(report))


def test_neither_order_nor_repetition_changes_what_is_held_out(
    write_lines: Write, cache_dir: Path
) -> None:
    lines = sentences(400)
    corpus = read_corpus([write_lines(lines)], cache_dir=cache_dir)
    shuffled = lines + lines[:200]
    random.Random(1).shuffle(shuffled)
    halves = [write_lines(shuffled[:300], "z.txt"), write_lines(shuffled[300:], "a.txt")]
    again = read_corpus(halves, cache_dir=cache_dir)
    assert set(again.held_out) == set(corpus.held_out)
    assert set(again.train) == set(corpus.train)
    assert again.fingerprint != corpus.fingerprint  # the order is part of a fingerprint


def test_an_added_line_moves_few_others(write_lines: Write, cache_dir: Path) -> None:
    lines = sentences(2_000)
    before = read_corpus([write_lines(lines[:-1])], cache_dir=cache_dir)
    after = read_corpus([write_lines(lines)], cache_dir=cache_dir)
    assert len(set(before.held_out) ^ set(after.held_out)) <= 3


def test_a_given_held_out_text_is_taken_out_of_training(
    write_lines: Write, cache_dir: Path
) -> None:
    lines = sentences(600)
    path = write_lines(lines[:500])
    held_out = write_lines(["", *lines[450:], lines[599]], "held_out.txt")
    corpus = read_corpus([path], held_out=held_out, cache_dir=cache_dir)
    assert list(corpus.train) == lines[:450]
    assert list(corpus.held_out) == lines[450:]
    assert corpus.report.contaminated_lines == 50
    assert (corpus.report.empty_lines, corpus.report.duplicate_lines) == (1, 1)
    assert corpus.report.lines == 500 + 152
    assert corpus.report.lines == corpus.report.kept_lines + 52
    assert corpus.report.files == (str(path), str(held_out))
    assert any("50 of the 150 held-out lines" in warning for warning in corpus.report.warnings)


def test_the_same_text_as_corpus_and_held_out_is_refused(
    write_lines: Write, cache_dir: Path
) -> None:
    path = write_lines(sentences(400))
    error = refusal(path, held_out=path, cache_dir=cache_dir)
    assert "400 are in the held-out text too" in error.message
    assert error.hint == "Give a held-out text that is not in the corpus."


lengths = st.lists(st.integers(1, 5_000), min_size=20, max_size=300)


@settings(deadline=None)
@given(lengths, st.integers(0, 2**32))
def test_the_split_is_a_function_of_the_set(sizes: list[int], seed: int) -> None:
    # Different lines have different digests, so the draw must not repeat one.
    rng = random.Random(seed)
    digests = np.array([rng.getrandbits(64) - (1 << 63) for _ in sizes], dtype=np.int64)
    num_bytes = np.array(sizes, dtype=np.int64)
    chosen = choose_held_out(digests, num_bytes)
    order = np.array(rng.sample(range(len(sizes)), len(sizes)))
    assert np.array_equal(choose_held_out(digests[order], num_bytes[order]), chosen[order])
    total, held_out = num_bytes.sum(), num_bytes[chosen].sum()
    target = min(max(0.05 * total, min(10_000, 0.2 * total)), 200_000)
    assert held_out >= target
    assert held_out < target + max(sizes)


@pytest.mark.parametrize(
    ("total", "expected"), [(20_000, 4_000), (100_000, 10_000), (10**6, 50_000), (10**7, 200_000)]
)
def test_how_much_is_held_out(total: int, expected: int) -> None:
    digests = np.random.default_rng(0).permutation(total // 100)
    chosen = choose_held_out(digests, np.full(len(digests), 100))
    assert chosen.sum() * 100 == expected


def test_too_little_text_is_refused_with_the_figures(write_lines: Write, cache_dir: Path) -> None:
    one = refusal(write_lines(["x" * 230]), cache_dir=cache_dir)
    assert "found 1 line (230 bytes)" in one.message
    assert "at least 20 different lines are needed" in one.message
    few = refusal(write_lines(sentences(50)), cache_dir=cache_dir)
    assert "found 50 lines" in few.message and "at least 10,000 bytes" in few.message
    repeated = refusal(write_lines(sentences(5) * 100), cache_dir=cache_dir)
    assert "found 5 lines" in repeated.message and "repeated" in repeated.message
    unequal = refusal(write_lines([*sentences(30), "w " * 9_000]), cache_dir=cache_dir)
    assert "lines of similar length" in unequal.message


def test_no_text_is_refused(write_lines: Write, cache_dir: Path) -> None:
    error = refusal(write_lines([]), cache_dir=cache_dir)
    assert "There is no text in" in error.message and "no line at all" in error.message
    error = refusal(write_lines([" ", "\ufeff"]), cache_dir=cache_dir)
    assert "found 2 lines, none with text" in error.message


def test_too_little_held_out_text_is_refused(write_lines: Write, cache_dir: Path) -> None:
    held_out = write_lines(["just this"], "held_out.txt")
    error = refusal(write_lines(sentences(400)), held_out=held_out, cache_dir=cache_dir)
    assert "too little text to measure on: found 1 line (9 bytes)" in error.message


def test_one_line_is_cut_where_it_has_spaces_and_refused_where_not(
    write_lines: Write, cache_dir: Path
) -> None:
    rng = random.Random(0)
    words = " ".join(f"w{rng.getrandbits(40)}" for _ in range(40_000))
    report = read_corpus([write_lines([words])], cache_dir=cache_dir).report
    assert report.cut_lines == 1
    assert report.lines > 40
    assert any("1 line of more than 20,000 characters was cut" in w for w in report.warnings)
    solid = refusal(write_lines([words.replace(" ", "")]), cache_dir=cache_dir)
    assert "is one line of" in solid.message and "without a space" in solid.message
    assert solid.hint == "One sentence or paragraph a line is needed."


def test_doubtful_text_is_warned_of(write_lines: Write, cache_dir: Path) -> None:
    lines = sentences(400)
    cyrillic = sentences(100, words=["слово", "дом", "река", "огонь", "вода", "гора", "лес"])
    path = write_lines([*(lines * 3), "bad \ufffd"])
    held_out = write_lines(cyrillic, "held_out.txt")
    warnings = read_corpus([path], held_out=held_out, cache_dir=cache_dir).report.warnings
    for expected in (
        "The training text is small",
        "characters are U+FFFD",
        "Most lines are repetitions (800 of 1,301)",
        "mostly Cyrillic script, but the training text is mostly Latin",
    ):
        assert any(expected in warning for warning in warnings), expected


def test_an_ordinary_corpus_gives_no_warning(write_lines: Write, cache_dir: Path) -> None:
    assert read_corpus([write_lines(sentences(1_500))], cache_dir=cache_dir).report.warnings == ()


def test_options_reach_the_files(tmp_path: Path, cache_dir: Path) -> None:
    path = tmp_path / "a.jsonl"
    records = [{"body": line} for line in sentences(300)]
    path.write_bytes(b"".join(json.dumps(r).encode() + b"\n" for r in records) + b'{"body":"\xff"}')
    with pytest.raises(CorpusError, match="0xff"):
        read_corpus([path], text_field="body", cache_dir=cache_dir)
    corpus = read_corpus([path], text_field="body", encoding_errors="replace", cache_dir=cache_dir)
    assert corpus.report.kept_lines == 301
    assert corpus.report.replaced_characters == 1
    with pytest.raises(CorpusError, match="no field 'text'"):
        read_corpus([path], encoding_errors="replace", cache_dir=cache_dir)
    with pytest.raises(UsageError, match="ignore"):
        read_corpus([path], encoding_errors="ignore", cache_dir=cache_dir)  # type: ignore[arg-type]


def test_the_report_takes_token_counts(write_lines: Write, cache_dir: Path) -> None:
    report = read_corpus([write_lines(sentences(400))], cache_dir=cache_dir).report
    assert (report.tokens, report.fertility, report.unk_rate) == (None, None, None)
    counted = report.with_tokens(report.words * 3, report.words)
    assert counted.fertility == 3.0
    assert counted.unk_rate == pytest.approx(1 / 3)


def test_reading_a_corpus_does_not_import_torch(write_lines: Write, cache_dir: Path) -> None:
    path = write_lines(sentences(400))
    code = (
        "import sys; from pathlib import Path; from xmod_extend.text.corpus import read_corpus;"
        "read_corpus([sys.argv[1]], cache_dir=Path(sys.argv[2])); sys.exit('torch' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path), str(cache_dir)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


PIECES = [
    b"\n",
    b"\t",
    b",",
    b'"',
    b"\0",
    b"\r",
    b"\xff",
    b'{"text": ',
    b'"}',
    "ñ".encode(),
    b"a b",
]


@settings(max_examples=60, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join),
        # Enough text that it may be accepted, with something odd in it.
        st.tuples(st.integers(0, 20_000), st.sampled_from(PIECES)).map(
            lambda odd: ENOUGH[: odd[0]] + odd[1] + ENOUGH[odd[0] :]
        ),
    ),
    name=st.sampled_from(
        "a a.txt a.jsonl a.csv a.tsv a.parquet a.txt.gz a.csv.zst a.jsonl.bz2 a.xz a.bin".split()
    ),
    is_folder=st.booleans(),
    options=st.fixed_dictionaries(
        {},
        optional={
            "text_field": st.sampled_from(["text", "1", "", "0", "ñ"]),
            "encoding_errors": st.just("replace"),
        },
    ),
)
def test_whatever_a_corpus_holds_there_is_a_corpus_or_a_corpus_error(
    content: bytes, name: str, is_folder: bool, options: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts" / name
        path.parent.mkdir()
        path.write_bytes(content)
        given = path.parent if is_folder else path
        try:
            corpus = read_corpus([given], cache_dir=Path(folder) / "cache", **options)
        except CorpusError as error:
            assert error.message.strip() and error.exit_code == 3
        else:
            assert set(corpus.train) and not set(corpus.train) & set(corpus.held_out)


ENOUGH = "".join(f"{line}\n" for line in sentences(400)).encode()

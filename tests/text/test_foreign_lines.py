"""Lines of another language are told of, and a file that is no model is refused at once."""

from __future__ import annotations

import os
import random
import signal
import struct
from pathlib import Path

import pytest
from sample_text import WORDS, sentences

from xmod_extend import check_corpus
from xmod_extend.errors import UsageError
from xmod_extend.text import foreign_lines
from xmod_extend.text.foreign_lines import check_lid_model, find_foreign_lines
from xmod_extend.text.lines import LinesInMemory, StreamedLines

OTHER_WORDS = "the quick brown fox jumps over lazy dogs while seven wizards brew potions".split()
QUECHUA = sentences(300, seed=4)
ENGLISH = sentences(300, seed=5, words=OTHER_WORDS)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fastText model of two languages."""
    import fasttext

    folder = tmp_path_factory.mktemp("lid")
    rows = [f"__label__quz_Latn {line}" for line in sentences(300, words=WORDS)]
    rows += [f"__label__eng_Latn {line}" for line in sentences(300, words=OTHER_WORDS)]
    random.Random(0).shuffle(rows)
    (folder / "train.txt").write_text("\n".join(rows), encoding="utf-8")
    trained = fasttext.train_supervised(
        str(folder / "train.txt"),
        dim=4,
        epoch=20,
        lr=1.0,
        minn=2,
        maxn=3,
        bucket=500,
        thread=1,
        verbose=0,
    )
    trained.save_model(str(folder / "lid.bin"))
    return folder / "lid.bin"


def lines(*texts: str) -> LinesInMemory:
    return LinesInMemory(texts, "")


def test_foreign_lines_are_counted_by_label_with_examples(model: Path) -> None:
    check_lid_model(model)
    short = ["the fox"] * 50
    found = find_foreign_lines([lines(*QUECHUA, *short), lines(*ENGLISH[:30])], model)
    assert found is not None
    assert (found.label, found.lines, found.is_sample) == ("quz_Latn", 330, False)
    assert found.share == pytest.approx(30 / 330) and found.unsure < 0.05
    assert found.labels == {"eng_Latn": found.share}
    (example,) = found.examples
    assert example.line in ENGLISH[:30] and example.confidence > 0.9
    warning = found.describe()
    assert warning is not None
    assert warning.startswith("9.1% of 330 lines are identified as another language than quz_Latn")


def test_a_clean_text_has_no_warning_and_nothing_to_read_no_result(model: Path) -> None:
    found = find_foreign_lines([lines(*QUECHUA)], model)
    assert found is not None and found.share == 0 and found.describe() is None
    assert find_foreign_lines([lines("Arí."), StreamedLines(())], model) is None


def test_the_report_of_a_corpus_has_it_and_can_be_kept(
    model: Path, base: Path, tmp_path: Path
) -> None:
    path = tmp_path / "text.txt"
    path.write_text("\n".join([*QUECHUA, *ENGLISH[:60]]), encoding="utf-8")
    plain = check_corpus(path, base=base, progress=False)
    report = check_corpus(path, base=base, lid_model=model, progress=False)
    assert plain.foreign_lines is None and report.foreign_lines is not None
    assert report.foreign_lines.share == pytest.approx(60 / 360)
    assert any("identified as another language" in warning for warning in report.warnings)
    assert report.kept_lines == plain.kept_lines == 360


def header(**changes: int) -> bytes:
    values = {
        "magic": 793_712_314, "version": 12, "dim": 4, "ws": 5, "epoch": 5, "min_count": 1,
        "neg": 5, "word_ngrams": 1, "loss": 3, "model": 3, "bucket": 500, "minn": 2, "maxn": 3,
        "update": 100, "t": 0, "size": 12, "words": 10, "labels": 2, "tokens": 99, "pruned": -1,
    } | changes  # fmt: skip
    return struct.pack("<2i12id3i2q", *values.values()) + bytes(4_000)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it does not begin as one"),
        (b"Kay qillqaqa manam modelochu. " * 20, "it does not begin as one"),
        (header(version=99), "its version is 99"),
        (header(model=2), "it was not trained to tell labels apart"),
        (header(labels=1, size=11), "it was not trained to tell labels apart"),
        (header(dim=-4), "its header makes no sense"),
        (header(size=77), "its header makes no sense"),
        (header(size=90_000, words=89_998), "it is cut off"),
    ],
)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="no fastText model for language identification") as caught:
        check_lid_model(path)
    assert said in caught.value.message


def test_a_missing_file_a_folder_and_a_missing_package_are_named(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_lid_model(None)
    for path in (tmp_path / "none.bin", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            check_lid_model(path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs the package fasttext-community") as caught:
        check_lid_model(model)
    assert "xmod-extend[lid]" in (caught.value.hint or "")


def test_a_damaged_model_is_an_error_and_not_the_end(model: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.bin"
    cut.write_bytes(model.read_bytes()[:3_000])
    check_lid_model(cut)
    with pytest.raises(UsageError, match="cannot be used as a fastText model"):
        find_foreign_lines([lines(*QUECHUA)], cut)


class Crash:
    """Dies as a library with a fault does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, some: list[str]) -> list[object]:
        os.kill(os.getpid(), signal.SIGKILL)
        return []


def test_a_model_that_crashes_its_process_leaves_ours(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_lines, "_Identifier", Crash)
    with pytest.raises(UsageError, match="was ended by SIGKILL"):
        find_foreign_lines([lines(*QUECHUA)], model)

"""Words are counted as unseen whatever their case, and never by mistake."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from sample_text import sentences

from xmod_extend.text import overlap
from xmod_extend.text.corpus import read_corpus
from xmod_extend.text.statistics import find_words
from xmod_extend.text.unseen_words import WordSet, hash_words

TRAIN = sentences(400, seed=1)
HELD_OUT = [
    f"{line} {extra}"
    for line, extra in zip(
        sentences(60, seed=2), ["Chakmaq.", "wasi", "p'unchay,"] * 20, strict=True
    )
]


def unseen(held_out: list[str], train: list[str]) -> list[str]:
    known = {word.casefold() for line in train for word in find_words(line)}
    words = (word.casefold() for line in held_out for word in find_words(line))
    return [word for word in words if word not in known]


def test_a_word_has_one_hash_wherever_it_stands_and_however_it_is_spelt() -> None:
    (line,) = ["Wasi, WASI: «wasi» (wasi) 'wasi' wasi’"]
    assert len(set(hash_words([line, "wasi", f"{line} mana"])[:6].tolist())) == 1
    other = hash_words(["wasi wasin wasi-n isaw awsi wasiwasi"])
    assert len(set(other.tolist())) == 6
    assert len(hash_words(["ฉันรัก", "中文", "…", ""])) == len(find_words("ฉันรัก\n中文\n…"))


def test_the_unseen_words_are_those_of_a_plain_count(tmp_path: Path) -> None:
    paths = []
    for name, lines in (("train.txt", TRAIN), ("held_out.txt", HELD_OUT)):
        paths.append(tmp_path / name)
        paths[-1].write_text("\n".join(lines), encoding="utf-8")
    corpus = read_corpus([paths[0]], held_out=paths[1], cache_dir=tmp_path / "cache")
    expected = unseen(HELD_OUT, TRAIN)
    assert set(expected) == {"chakmaq", "p'unchay"}
    assert corpus.overlap is not None
    assert corpus.overlap.num_unseen == len(expected) == 40
    assert corpus.overlap.num_words == sum(len(find_words(line)) for line in HELD_OUT)
    assert set(corpus.overlap.unseen) == set(hash_words(["chakmaq p'unchay"]).tolist())


def test_words_can_be_added_in_parts() -> None:
    whole, parts = WordSet(), WordSet()
    whole.add(HELD_OUT)
    for start in range(0, len(HELD_OUT), 7):
        parts.add(HELD_OUT[start : start + 7])
    assert np.array_equal(whole.hashes, parts.hashes) and whole.num_words == parts.num_words
    copy = pickle.loads(pickle.dumps(parts))
    assert np.array_equal(copy.find(TRAIN), whole.find(TRAIN))


@pytest.mark.parametrize(
    ("name", "most"), [("MOST_HELD_OUT_BYTES", 1_000), ("MOST_TRAIN_BYTES", 9_000)]
)
def test_of_a_large_text_a_sample_is_compared_and_called_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    monkeypatch.setattr(overlap, name, most)
    monkeypatch.setattr(overlap, "_ROWS", 10)
    path = tmp_path / "text.txt"
    path.write_text("\n".join([*TRAIN, *(line.upper() for line in TRAIN)]), encoding="utf-8")
    corpus = read_corpus([path], cache_dir=tmp_path / "cache")
    near, both = corpus.report.near_duplicates, corpus.overlap
    assert near is not None and both is not None and near.is_sample
    assert 0 < near.held_out_lines < corpus.report.held_out_lines
    assert any("held-out lines of a sample" in text for text in corpus.report.warnings)
    if name == "MOST_HELD_OUT_BYTES":
        assert both.compared_every > 1 and set(np.array(both.near_rows) % both.compared_every) == {
            0
        }
        assert both.num_words == sum(len(find_words(line)) for line in corpus.held_out)

"""Scores are told apart by whether training has a token's word, and has a line like its line."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.parts import PartScore, score_near_duplicates, score_part
from xmod_extend.evaluation.seen_words import Kind, find_kinds, score_seen_words
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.prepared_text import PreparedText, prepare_text
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.text.corpus import Corpus, read_corpus
from xmod_extend.text.near_duplicates import NearDuplicates
from xmod_extend.text.overlap import Overlap
from xmod_extend.text.statistics import find_words
from xmod_extend.text.unseen_words import hash_words
from xmod_extend.tokens.tokenised import Tokens

NONE, SEEN, UNSEEN = Kind.NONE, Kind.SEEN, Kind.UNSEEN


def kinds_of(line: str, pieces: list[str], unseen: str) -> list[int]:
    ids = np.arange(len(pieces) + 1, dtype=np.int32)
    tokens = Tokens(ids, np.array([len(ids)], dtype=np.int32), 0)
    places = np.arange(len(pieces))
    found = find_kinds(
        places,
        tokens,
        [line],
        pieces=lambda some: [pieces[index] for index in some],
        unseen=hash_words([unseen]),
    )
    return found.tolist()


@pytest.mark.parametrize(
    ("line", "pieces", "expected"),
    [
        ("Wasi hatun.", ["▁Wa", "si", "▁ha", "tun", "."], [SEEN, SEEN, UNSEEN, UNSEEN, NONE]),
        ("«hatun» — wasi", ["▁«", "ha", "tun»", "▁—", "▁", "wasi"], [0, 2, 2, 0, 1, 1]),
        ("HATUN-wasi", ["▁HA", "TUN-", "wasi"], [UNSEEN, UNSEEN, SEEN]),
        # Where a word is not spelt as in the text, it counts as a whole.
        ("ha☃un wasi", ["▁ha", "<unk>", "un", "▁wasi"], [1, 1, 1, 1]),
        ("hatuｎ wasi", ["▁hatu", "n", "▁wasi"], [1, 1, 1]),
        ("hatun wasi", ["hatun", "wasi"], [NONE, NONE]),
        ("hatun中wasi", ["▁hatun", "中", "wasi"], [UNSEEN, SEEN, SEEN]),
    ],
)
def test_a_token_is_of_the_word_that_it_begins_in(
    line: str, pieces: list[str], expected: list[int]
) -> None:
    assert kinds_of(line, pieces, "hatun") == expected


@pytest.fixture
def prepared(base: Path, corpus: Path, tmp_path: Path) -> tuple[Corpus, PreparedText]:
    lines = corpus.read_text(encoding="utf-8").splitlines()
    held_out = tmp_path / "held_out.txt"
    extra = ["Kusukusu nana.", "wa-rumi, tuta!", "taki"]
    measured = [f"{line} {extra[i % 3]}" for i, line in enumerate(lines[:150])]
    held_out.write_text("\n".join(measured), encoding="utf-8")
    read = read_corpus([corpus], held_out=held_out, cache_dir=tmp_path / "cache")
    text = prepare_text(read, open_checkpoint(base), max_length=16, callback=Callback())
    return read, text


def test_each_scored_token_of_packed_blocks_has_the_kind_of_its_word(
    prepared: tuple[Corpus, PreparedText], base: Path, corpus: Path
) -> None:
    from transformers import AutoTokenizer

    read, text = prepared
    assert text.kinds is not None and read.overlap is not None
    known = {word.casefold() for line in read.train for word in find_words(line)}
    tokenizer = AutoTokenizer.from_pretrained(base)
    # An independent way: the words of a line with their numbers of tokens.
    expected: dict[int, list[str]] = {}
    for number, line in enumerate(read.held_out):
        expected[number] = []
        for word in line.split(" "):
            ids = tokenizer(word, add_special_tokens=False)["input_ids"]
            expected[number] += [word] * len(ids)
    starts = np.cumsum([0, *(len(words) + 1 for words in expected.values())])
    counts = dict.fromkeys(Kind, 0)
    places = text.held_out.scored_places
    assert len(places) == len(text.kinds) == text.held_out.num_scored_tokens
    for place, kind in zip(places.tolist(), text.kinds.tolist(), strict=True):
        counts[Kind(kind)] += 1
        number = int(np.searchsorted(starts, place, side="right")) - 1
        words = find_words(expected[number][place - int(starts[number])])
        states = {SEEN if word.casefold() in known else UNSEEN for word in words}
        assert kind == NONE or kind in states
    assert counts[SEEN] > 100 and counts[UNSEEN] > 20


def overlap(**changes: object) -> Overlap:
    near = NearDuplicates(
        held_out_lines=1,
        compared_lines=4,
        share=0.25,
        train_lines=1,
        dropped=False,
        is_sample=False,
    )
    values = {
        "near": near,
        "near_rows": (1,),
        "compared_every": 1,
        "train_every": 1,
        "num_words": 8,
        "num_unseen": 2,
        "unseen": (),
    }
    return Overlap(**(values | changes))  # type: ignore[arg-type]


def losses(nats: float) -> TokenLosses:
    count = 120
    documents = np.repeat(np.arange(4), count // 4)
    return TokenLosses(nats + documents, documents, np.zeros(count, dtype=np.int64))


def test_the_scores_of_parts_are_of_their_tokens_alone() -> None:
    kinds = np.repeat(np.array([NONE, SEEN, UNSEEN, UNSEEN], dtype=np.int8), 30)
    found = score_seen_words(overlap(), kinds, losses(2.0), losses(1.0))
    assert found.share_unseen == 0.25 and not found.is_sample
    assert found.seen.num_scored_tokens == 30 and found.unseen.num_scored_tokens == 60
    assert found.seen.before == pytest.approx(math.exp(3)) and found.seen.after is not None
    assert found.unseen.after == pytest.approx(math.exp(3.5))
    assert "25.0% of the held-out words are not in the training text: " in found.describe()
    near = score_near_duplicates(overlap(), losses(2.0), losses(1.0))
    assert near.near.after == pytest.approx(math.exp(2)) and near.others.num_scored_tokens == 90
    assert near.describe() is not None
    # Of a sample of the held-out lines, the others are those that were looked for.
    near = score_near_duplicates(
        overlap(near_rows=(2,), compared_every=2), losses(2.0), losses(1.0)
    )
    assert (near.near.num_scored_tokens, near.others.num_scored_tokens) == (30, 30)


def test_few_tokens_have_no_perplexity() -> None:
    chosen = np.arange(120) < 19
    assert score_part(chosen, losses(2.0), losses(1.0)) == PartScore(
        num_scored_tokens=19, before=None, after=None
    )
    kinds = np.full(120, SEEN, dtype=np.int8)
    found = score_seen_words(overlap(train_every=3), kinds, losses(2.0), losses(1.0))
    assert found.unseen.after is None
    assert found.describe() == (
        "25.0% of the held-out words are not in a sample of the training text"
    )

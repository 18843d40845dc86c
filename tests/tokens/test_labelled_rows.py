"""Rows of labelled text: every word has its place, however long its sentence is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xmod_extend.text.labelled import Example, LabelledText, Task
from xmod_extend.tokens.labelled import NO_LABEL, LabelledRows, encode_labelled
from xmod_extend.tokens.tokenizer import LoadedTokenizer, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(base: Path) -> LoadedTokenizer:
    return load_tokenizer(base, vocab_size=120)


def words(count: int) -> Example:
    return Example(tuple("ab cd ef".split()[i % 3] for i in range(count)),
                   tuple("XYZ"[i % 3] for i in range(count)), "")  # fmt: skip


def encode(tokenizer: LoadedTokenizer, task: Task, *examples: Example) -> LabelledRows:
    text = LabelledText("a", task, examples)
    return encode_labelled(text, tokenizer, {"X": 0, "Y": 1, "Z": 2}, max_length=16)


def test_a_long_sentence_goes_on_in_more_rows_and_loses_no_word(
    tokenizer: LoadedTokenizer,
) -> None:
    rows = encode(tokenizer, "token", words(3), words(40)).rows
    assert [row.example for row in rows][:2] == [0, 1] and len(rows) > 3
    assert max(len(row.input_ids) for row in rows) <= 16
    labels = [label for row in rows if row.example == 1 for label in row.labels]
    assert labels == [i % 3 for i in range(40)]
    for row in rows:
        assert row.input_ids[0] == tokenizer.bos_id and row.input_ids[-1] == tokenizer.sep_id
    # A word's place is its first piece.
    first = tokenizer.tokenizer.backend_tokenizer.encode("ab", add_special_tokens=False).ids[0]
    assert rows[0].input_ids[rows[0].places[0]] == first


def test_a_word_without_pieces_or_label_changes_no_other_word(tokenizer: LoadedTokenizer) -> None:
    example = Example(("ab", "", "cd"), ("X", "Y", None), "")
    (row,) = encode(tokenizer, "token", example).rows
    assert row.labels == [0, 1]
    assert row.input_ids[row.places[1]] == tokenizer.unk_id


def test_a_pair_has_two_separators_and_the_longer_one_is_cut(tokenizer: LoadedTokenizer) -> None:
    rows = encode(tokenizer, "pair", Example(("ab " * 30, "cd"), ("Z",), ""))
    (row,) = rows.rows
    sep = tokenizer.sep_id
    assert rows.num_cut == 1 and len(row.input_ids) == 16
    assert row.input_ids.count(sep) == 3 and (row.places, row.labels) == ([0], [2])
    middle = row.input_ids.index(sep)
    assert row.input_ids[middle + 1] == sep
    kept = tokenizer.tokenizer.backend_tokenizer.encode("cd", add_special_tokens=False).ids
    assert row.input_ids[middle + 2 : -1] == kept


def test_batches_are_by_the_seed_and_hold_every_row_once_an_epoch(
    tokenizer: LoadedTokenizer,
) -> None:
    rows = encode(tokenizer, "token", *[words(1 + i % 4) for i in range(50)])
    epoch = [next_one for _, next_one in zip(range(7), rows.training_batches(8, 1), strict=False)]
    assert sorted(number for batch in epoch for number in batch.rows) == list(range(50))
    again = next(rows.training_batches(8, 1))
    np.testing.assert_array_equal(epoch[0].input_ids, again.input_ids)
    assert next(rows.training_batches(8, 2)).rows != again.rows
    scored = list(rows.scoring_batches(40))
    assert sorted(number for batch in scored for number in batch.rows) == list(range(50))
    assert max(batch.input_ids.size for batch in scored) <= 40
    for batch in scored:
        assert (batch.input_ids[batch.attention_mask == 0] == tokenizer.pad_id).all()
        assert (batch.labels[batch.attention_mask == 0] == NO_LABEL).all()

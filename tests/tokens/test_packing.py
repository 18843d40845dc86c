"""Blocks are the stream, cut: held against a list that is built the naive way."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmod_extend.errors import CorpusError
from xmod_extend.text.cache import Entry
from xmod_extend.text.checked_files import write_sums
from xmod_extend.tokens.packing import NO_DOCUMENT, PackedBlocks
from xmod_extend.tokens.tokenised import StoredTokens, Tokens, write_tokens

BOS, SEP = 0, 2


def tokenised(documents: list[list[int]]) -> Tokens:
    """Documents with `</s>`."""
    rows = [[*document, SEP] for document in documents]
    ids = np.array([token for row in rows for token in row], dtype=np.int32)
    return Tokens(ids, np.array([len(row) for row in rows], dtype=np.int32), 0)


documents_strategy = st.lists(st.lists(st.integers(3, 9), max_size=12), max_size=12)


@settings(deadline=None)
@given(documents_strategy, st.integers(2, 9), st.integers(0, 7))
def test_blocks_are_the_stream_cut(
    documents: list[list[int]], max_length: int, offset: int
) -> None:
    offset %= max_length - 1
    stream = [(token, i) for i, document in enumerate(documents) for token in [*document, SEP]]
    size = max_length - 1
    pieces = [stream[i : i + size] for i in range(offset, len(stream), size)]
    full = [piece for piece in pieces if len(piece) == size]
    blocks = PackedBlocks(tokenised(documents), max_length=max_length, bos_id=BOS)

    assert blocks.num_tokens == len(stream)
    assert blocks.num_documents == len(documents)
    assert blocks.num_blocks(offset) == len(full)
    found = blocks.get(range(len(full)), offset)
    assert found.shape == (len(full), max_length)
    assert found.dtype == np.int64
    assert found.tolist() == [[BOS, *(token for token, _ in piece)] for piece in full]
    assert blocks.document_ids(range(len(full)), offset).tolist() == [
        [NO_DOCUMENT, *(i for _, i in piece)] for piece in full
    ]


@settings(deadline=None)
@given(documents_strategy, st.integers(2, 9))
def test_blocks_and_tail_are_all_of_the_stream(documents: list[list[int]], max_length: int) -> None:
    blocks = PackedBlocks(tokenised(documents), max_length=max_length, bos_id=BOS)
    stream = [token for document in documents for token in [*document, SEP]]
    owners = [i for i, document in enumerate(documents) for _ in [*document, SEP]]
    tail, tail_documents = blocks.tail(), blocks.tail_document_ids()
    rows = blocks.get(range(len(blocks)))[:, 1:].ravel().tolist()
    ids = blocks.document_ids(range(len(blocks)))[:, 1:].ravel().tolist()
    if tail is None or tail_documents is None:
        assert tail is None and tail_documents is None
        assert len(stream) % (max_length - 1) == 0
    else:
        assert tail.shape == tail_documents.shape
        assert 2 <= tail.shape[1] < max_length
        assert tail[0, 0] == BOS and tail_documents[0, 0] == NO_DOCUMENT
        rows += tail[0, 1:].tolist()
        ids += tail_documents[0, 1:].tolist()
    assert rows == stream
    assert ids == owners


def test_blocks_come_in_any_order_and_number() -> None:
    blocks = PackedBlocks(tokenised([[3, 4, 5]] * 10), max_length=5, bos_id=BOS)
    every = blocks.get(np.arange(len(blocks)))
    assert blocks.get([3, 0, 3]).tolist() == every[[3, 0, 3]].tolist()
    assert blocks.get([]).shape == (0, 5)
    assert blocks.document_ids([]).shape == (0, 5)


def test_blocks_on_the_disk_are_those_in_memory(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    parts = [
        tokenised([random.integers(3, 9, size).tolist() for size in random.integers(0, 300, 60)])
        for _ in range(3)
    ]
    facts = write_tokens(tmp_path, parts)
    for name in ("ids.bin", "sizes.bin"):
        write_sums(tmp_path / name)
    stored = StoredTokens(Entry(tmp_path, facts))
    whole = Tokens(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.sizes for part in parts]),
        0,
    )
    assert stored.counts == whole.counts
    for max_length in (2, 33, 4_000, 10_000):  # a block of 10,000 goes over three pieces
        found = PackedBlocks(stored, max_length=max_length, bos_id=BOS)
        expected = PackedBlocks(whole, max_length=max_length, bos_id=BOS)
        assert found.num_documents == expected.num_documents == 180
        indices = random.permutation(len(expected))[:50]
        assert found.get(indices).tolist() == expected.get(indices).tolist()
        assert found.document_ids(indices).tolist() == expected.document_ids(indices).tolist()


def test_what_does_not_exist_is_an_error() -> None:
    blocks = PackedBlocks(tokenised([[3, 4, 5]] * 10), max_length=5, bos_id=BOS)
    for indices in ([len(blocks)], [-1]):
        with pytest.raises(IndexError):
            blocks.get(indices)
    for offset in (-1, 4):
        with pytest.raises(ValueError, match="offset"):
            blocks.num_blocks(offset)
    with pytest.raises(ValueError, match="max_length"):
        PackedBlocks(tokenised([[3]]), max_length=1, bos_id=BOS)


def naive_batches(
    blocks: PackedBlocks, batch_size: int, seed: int, count: int
) -> list[list[list[int]]]:
    """Every epoch's blocks in its order, one after another, cut into batches."""
    rows: list[list[int]] = []
    epoch = 0
    while len(rows) < batch_size * count:
        random = np.random.default_rng([seed, epoch])
        offset = int(random.integers(blocks.max_length - 1))
        offset = offset if blocks.num_blocks(offset) else 0
        rows += blocks.get(random.permutation(blocks.num_blocks(offset)), offset).tolist()
        epoch += 1
    return [rows[i * batch_size : (i + 1) * batch_size] for i in range(count)]


@settings(deadline=None)
@given(
    documents_strategy,
    st.integers(2, 9),
    st.integers(1, 7),
    st.integers(0, 2**32 - 1),
    st.integers(0, 9),
)
def test_batches_are_the_epochs_in_order_and_can_be_entered_anywhere(
    documents: list[list[int]], max_length: int, batch_size: int, seed: int, start_step: int
) -> None:
    blocks = PackedBlocks(tokenised(documents), max_length=max_length, bos_id=BOS)
    if not len(blocks):
        with pytest.raises(CorpusError, match=f"not one sequence of {max_length} tokens"):
            next(blocks.batches(batch_size, seed))
        return
    expected = naive_batches(blocks, batch_size, seed, 12)
    found = islice(blocks.batches(batch_size, seed, start_step), 12 - start_step)
    assert [batch.tolist() for batch in found] == expected[start_step:]


def test_entering_late_gathers_only_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = PackedBlocks(tokenised([[3, 4, 5]] * 100), max_length=5, bos_id=BOS)
    gathered: list[int] = []
    read = Tokens.read

    def counted(self: Tokens, start: int, size: int) -> np.ndarray:
        gathered.append(size)
        return read(self, start, size)

    monkeypatch.setattr(Tokens, "read", counted)
    next(blocks.batches(8, seed=0, start_step=1_000))
    assert gathered == [4] * 8

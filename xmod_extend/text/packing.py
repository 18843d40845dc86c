"""Documents end to end, cut into blocks of one length: no padding, and any block at any time.

    B  blocks asked for
    T  tokens in a block, `max_length`
    S  tokens of the stream in a block, T - 1

        stream   a a a </s> b b </s> c c c c c </s> …
        block 0  <s> a a a </s> b
        block 1  <s> b </s> c c c

The stream is never built: each block is gathered from the memory-mapped Arrow file. Mapped pages
count as resident memory as long as they are mapped, so they are given back now and then: that
drops nothing but the mapping, and what is needed again is found in the system's cache of the file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xmod_extend.text.cache import BATCHES_MAPPED, open_mapped, release_pages

if TYPE_CHECKING:
    import datasets

Ids = npt.NDArray[np.int64]

NO_DOCUMENT = -1
"""The document of a block's leading `<s>`."""


_NO_LENGTHS = np.empty(0, dtype=np.int64)

_BLOCKS_MAPPED = 64
"""Gathered before the pages are given back: a look at one page may map a megabyte around it."""


class PackedBlocks:
    """A view of tokenised text as blocks `<s>` + the next S tokens of all documents in a row.

    Args:
        tokenised: What `tokenizer.tokenize` gives: `input_ids`, each row ending with `</s>`.
        max_length: T, the tokens in a block including its `<s>`.
        bos_id: The id of `<s>`.
    """

    def __init__(self, tokenised: datasets.Dataset, *, max_length: int, bos_id: int) -> None:
        if max_length < 2:
            raise ValueError(f"max_length is {max_length}; a block of fewer than 2 has no text")
        self.max_length = max_length
        self.bos_id = bos_id
        self._mapping, self._lists = _open(tokenised)
        # Views of the file: flatten() takes a chunk's own part of the values and copies nothing.
        self._chunks: list[npt.NDArray[np.int32]] = []
        for chunk in self._lists:
            self._chunks.append(chunk.flatten().to_numpy())
            if self._mapping is not None and len(self._chunks) % BATCHES_MAPPED == 0:
                release_pages(self._mapping)
        self._chunk_starts = np.cumsum([0, *map(len, self._chunks)], dtype=np.int64)

    @cached_property
    def _document_ends(self) -> Ids:
        """Where each document ends in the stream; 8 bytes a document, in memory."""
        lengths = [chunk.value_lengths().to_numpy() for chunk in self._lists]
        return np.cumsum(np.concatenate([_NO_LENGTHS, *lengths]), dtype=np.int64)

    @property
    def num_tokens(self) -> int:
        """Tokens of the stream, with the `</s>` of each document and without any `<s>`."""
        return int(self._chunk_starts[-1])

    @property
    def num_documents(self) -> int:
        return sum(map(len, self._lists))

    def num_blocks(self, offset: int = 0) -> int:
        """Full blocks if the first begins at token `offset` of the stream."""
        self._check_offset(offset)
        return max(0, self.num_tokens - offset) // (self.max_length - 1)

    def __len__(self) -> int:
        return self.num_blocks()

    def get(self, indices: Sequence[int] | Ids, offset: int = 0) -> Ids:
        """The blocks `(B, T)`.

        Args:
            indices: `(B,)`, each below `num_blocks(offset)`.
            offset: Where the first block begins in the stream, below S; another one in each epoch
                puts the cuts elsewhere.
        """
        starts = self._starts(indices, offset)
        blocks = np.empty((len(starts), self.max_length), dtype=np.int64)
        blocks[:, 0] = self.bos_id
        for row, start in enumerate(starts.tolist()):
            self._copy(start, blocks[row, 1:])
            if self._mapping is not None and row % _BLOCKS_MAPPED == 0:
                release_pages(self._mapping)
        return blocks

    def batches(self, batch_size: int, seed: int, start_step: int = 0) -> Iterator[Ids]:
        """Batches `(B, T)` without end: every epoch in a new order, and cut at other places.

        A batch may begin in one epoch and end in the next. Batch `start_step` is reached without
        gathering what is before it: only the number of blocks of each epoch is asked for.

        Args:
            batch_size: B, the blocks in a batch.
            seed: Decides the order and the cuts.
            start_step: How many batches to leave out; the rest is as if they had been taken.

        Raises:
            ValueError: There is no full block.
        """
        if not len(self):
            raise ValueError(f"{self.num_tokens} tokens make no block of {self.max_length}")
        epoch, position = 0, start_step * batch_size
        random, offset = self._epoch(seed, epoch)
        while position >= self.num_blocks(offset):
            position -= self.num_blocks(offset)
            epoch += 1
            random, offset = self._epoch(seed, epoch)
        order = random.permutation(self.num_blocks(offset))
        while True:
            rows: list[Ids] = []
            needed = batch_size
            while needed:
                if position == len(order):
                    epoch, position = epoch + 1, 0
                    random, offset = self._epoch(seed, epoch)
                    order = random.permutation(self.num_blocks(offset))
                taken = order[position : position + needed]
                rows.append(self.get(taken, offset))
                position += len(taken)
                needed -= len(taken)
            yield np.concatenate(rows)

    def _epoch(self, seed: int, epoch: int) -> tuple[np.random.Generator, int]:
        """The generator of an epoch's order, and where its first block begins in the stream."""
        random = np.random.default_rng([seed, epoch])
        offset = int(random.integers(self.max_length - 1))
        return random, offset if self.num_blocks(offset) else 0

    def document_ids(self, indices: Sequence[int] | Ids, offset: int = 0) -> Ids:
        """Which document each position of the blocks belongs to, `(B, T)`; -1 for the `<s>`."""
        return self._documents(self._starts(indices, offset), self.max_length - 1)

    def tail(self) -> Ids | None:
        """The last, short block `(1, t)` behind the full ones, or None if nothing is left over."""
        start = len(self) * (self.max_length - 1)
        if start == self.num_tokens:
            return None
        block = np.empty((1, 1 + self.num_tokens - start), dtype=np.int64)
        block[0, 0] = self.bos_id
        self._copy(start, block[0, 1:])
        return block

    def tail_document_ids(self) -> Ids | None:
        """Which document each position of the tail belongs to, `(1, t)`; -1 for the `<s>`."""
        start = len(self) * (self.max_length - 1)
        if start == self.num_tokens:
            return None
        return self._documents(np.array([start]), self.num_tokens - start)

    def _check_offset(self, offset: int) -> None:
        # With S = 1 every token begins a block and 0 is the only offset.
        if not 0 <= offset < self.max_length - 1:
            raise ValueError(f"offset is {offset}; it must be from 0 to {self.max_length - 2}")

    def _starts(self, indices: Sequence[int] | Ids, offset: int) -> Ids:
        """Where the blocks begin in the stream, `(B,)`."""
        index = np.asarray(indices, dtype=np.int64).reshape(-1)
        count = self.num_blocks(offset)
        if len(index) and (index.min() < 0 or index.max() >= count):
            raise IndexError(f"block {index.min()} to {index.max()} of {count}")
        return offset + index * (self.max_length - 1)

    def _copy(self, start: int, target: Ids) -> None:
        """Fill `target` with the stream from `start` on."""
        chunk = int(np.searchsorted(self._chunk_starts, start, side="right")) - 1
        filled = 0
        while filled < len(target):
            inside = start + filled - int(self._chunk_starts[chunk])
            piece = self._chunks[chunk][inside : inside + len(target) - filled]
            target[filled : filled + len(piece)] = piece
            filled += len(piece)
            chunk += 1

    def _documents(self, starts: Ids, length: int) -> Ids:
        positions = starts[:, None] + np.arange(length)
        documents = np.full((len(starts), 1 + length), NO_DOCUMENT, dtype=np.int64)
        documents[:, 1:] = np.searchsorted(self._document_ends, positions, side="right")
        return documents


def _open(tokenised: datasets.Dataset) -> tuple[mmap.mmap | None, list[Any]]:
    """The record batches' lists, in a mapping of our own where they are one file."""
    if tokenised._indices is not None or len(tokenised.cache_files) != 1:
        return None, list(tokenised.with_format("arrow")[:].column("input_ids").chunks)
    mapping, table = open_mapped(Path(tokenised.cache_files[0]["filename"]))
    return mapping, list(table.column("input_ids").chunks)

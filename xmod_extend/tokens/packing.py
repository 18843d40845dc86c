"""Documents end to end, cut into blocks of one length: no padding, and any block at any time.

    B  blocks asked for
    T  tokens in a block, `max_length`
    S  tokens of the stream in a block, T - 1

        stream   a a a </s> b b </s> c c c c c </s> …
        block 0  <s> a a a </s> b
        block 1  <s> b </s> c c c

The stream of a text on the disk is never in memory: each block is read when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from xmod_extend.tokens.blocks import Ids
from xmod_extend.tokens.tokenised import TokenisedText

NO_DOCUMENT = -1
"""The document of a block's leading `<s>`."""

_COUNTED_AT_A_TIME = 1 << 20


class PackedBlocks:
    """A view of tokenised text as blocks `<s>` + the next S tokens of all documents in a row.

    Args:
        tokenised: What `tokenizer.tokenize` gives.
        max_length: T, the tokens in a block including its `<s>`.
        bos_id: The id of `<s>`.
    """

    def __init__(self, tokenised: TokenisedText, *, max_length: int, bos_id: int) -> None:
        if max_length < 2:
            raise ValueError(f"max_length is {max_length}; a block of fewer than 2 has no text")
        self.max_length = max_length
        self.bos_id = bos_id
        self._tokenised = tokenised

    @cached_property
    def _document_ends(self) -> Ids:
        """Where each document ends in the stream; 8 bytes a document, in memory."""
        return np.cumsum(self._tokenised.document_sizes(), dtype=np.int64)

    @property
    def num_tokens(self) -> int:
        """Tokens of the stream, with the `</s>` of each document and without any `<s>`."""
        return self._tokenised.num_tokens

    @property
    def num_documents(self) -> int:
        return self._tokenised.num_documents

    def token_counts(self, vocab_size: int) -> Ids:
        """Return how often each token is in the stream, `(vocab_size,)`."""
        counts = np.zeros(vocab_size, dtype=np.int64)
        for start in range(0, self.num_tokens, _COUNTED_AT_A_TIME):
            tokens = self._tokenised.read(start, _COUNTED_AT_A_TIME)
            counts += np.bincount(tokens, minlength=vocab_size)
        return counts

    def num_blocks(self, offset: int = 0) -> int:
        """Full blocks if the first begins at token `offset` of the stream."""
        self._check_offset(offset)
        return max(0, self.num_tokens - offset) // (self.max_length - 1)

    def __len__(self) -> int:
        return self.num_blocks()

    def num_epochs(self, num_tokens: int) -> float:
        """Return how often the text was gone through, of tokens in blocks with their `<s>`."""
        return num_tokens / (len(self) * self.max_length)

    def get(self, indices: Sequence[int] | Ids, offset: int = 0) -> Ids:
        """Return the blocks `(B, T)`.

        Args:
            indices: `(B,)`, each below `num_blocks(offset)`.
            offset: Where the first block begins in the stream, below S; another one in each epoch
                puts the cuts elsewhere.

        Raises:
            CorpusError: The tokens on the disk are not what was written.
        """
        starts = self._starts(indices, offset)
        blocks = np.empty((len(starts), self.max_length), dtype=np.int64)
        blocks[:, 0] = self.bos_id
        for row, start in enumerate(starts.tolist()):
            blocks[row, 1:] = self._tokenised.read(start, self.max_length - 1)
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
        """Return the generator of an epoch's order, and where its first block begins in
        the stream."""
        random = np.random.default_rng([seed, epoch])
        offset = int(random.integers(self.max_length - 1))
        return random, offset if self.num_blocks(offset) else 0

    def document_ids(self, indices: Sequence[int] | Ids, offset: int = 0) -> Ids:
        """Return which document each position of the blocks belongs to, `(B, T)`; -1 for
        the `<s>`."""
        return self._documents(self._starts(indices, offset), self.max_length - 1)

    def tail(self) -> Ids | None:
        """Return the last, short block `(1, t)` behind the full ones, or None if nothing is left
        over."""
        start = len(self) * (self.max_length - 1)
        if start == self.num_tokens:
            return None
        block = np.empty((1, 1 + self.num_tokens - start), dtype=np.int64)
        block[0, 0] = self.bos_id
        block[0, 1:] = self._tokenised.read(start, self.max_length)
        return block

    def tail_document_ids(self) -> Ids | None:
        """Return which document each position of the tail belongs to, `(1, t)`; -1 for
        the `<s>`."""
        start = len(self) * (self.max_length - 1)
        if start == self.num_tokens:
            return None
        return self._documents(np.array([start]), self.num_tokens - start)

    def _check_offset(self, offset: int) -> None:
        # With S = 1 every token begins a block and 0 is the only offset.
        if not 0 <= offset < self.max_length - 1:
            raise ValueError(f"offset is {offset}; it must be from 0 to {self.max_length - 2}")

    def _starts(self, indices: Sequence[int] | Ids, offset: int) -> Ids:
        """Return where the blocks begin in the stream, `(B,)`."""
        index = np.asarray(indices, dtype=np.int64).reshape(-1)
        count = self.num_blocks(offset)
        if len(index) and (index.min() < 0 or index.max() >= count):
            raise IndexError(f"block {index.min()} to {index.max()} of {count}")
        return offset + index * (self.max_length - 1)

    def _documents(self, starts: Ids, length: int) -> Ids:
        positions = starts[:, None] + np.arange(length)
        documents = np.full((len(starts), 1 + length), NO_DOCUMENT, dtype=np.int64)
        documents[:, 1:] = np.searchsorted(self._document_ends, positions, side="right")
        return documents

"""A text whose tokens are counted, as blocks: any of them at any time.

The tokens of a text on the disk are never in memory: each block is read when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from xmod_extend.tokens.blocks import Ids, Numbers, TrainingBlocks
from xmod_extend.tokens.streaming import StreamedBlocks
from xmod_extend.tokens.tokenised import StreamedTokens, TokenisedText, sample_documents

NO_DOCUMENT = -1
"""The document of a block's leading `<s>`."""

_COUNTED_AT_A_TIME = 1 << 20


class PackedBlocks(TrainingBlocks):
    """A view of tokenised text as blocks.

    Args:
        tokenised: What `tokenised.tokenize` gives.
        max_length: T, the tokens in a block including its `<s>`.
        bos_id: The id of `<s>`.
    """

    is_counted = True

    def __init__(self, tokenised: TokenisedText, *, max_length: int, bos_id: int) -> None:
        super().__init__(max_length=max_length, bos_id=bos_id)
        self._tokenised = tokenised

    @property
    def num_tokens(self) -> int:
        return self._tokenised.num_tokens

    @property
    def num_documents(self) -> int:
        return self._tokenised.num_documents

    def token_counts(self, vocab_size: int) -> Ids:
        counts = np.zeros(vocab_size, dtype=np.int64)
        for start in range(0, self.num_tokens, _COUNTED_AT_A_TIME):
            tokens = self._tokenised.read(start, _COUNTED_AT_A_TIME)
            counts += np.bincount(tokens, minlength=vocab_size)
        return counts

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
        return self._batch(map(self._read, starts.tolist()), len(starts))

    def document_ids(self, indices: Sequence[int] | Ids, offset: int = 0) -> Ids:
        """Return which document each position of the blocks belongs to, `(B, T)`; -1 for
        the `<s>`."""
        return self._documents(self._starts(indices, offset), self.max_length - 1)

    def sample_documents(self, share: float) -> PackedBlocks:
        """Return the blocks of a part of the documents, chosen by their hash.

        A larger part holds the smaller ones.

        Raises:
            CorpusError: The disk is full, or the tokens on it are not what was written.
        """
        sampled = sample_documents(self._tokenised, share)
        return PackedBlocks(sampled, max_length=self.max_length, bos_id=self.bos_id)

    def tail(self) -> Ids | None:
        """Return the last, short block `(1, t)` behind the full ones, or None if nothing is left
        over."""
        start = len(self) * (self.max_length - 1)
        if start == self.num_tokens:
            return None
        return np.array([[self.bos_id, *self._read(start)]], dtype=np.int64)

    def tail_document_ids(self) -> Ids | None:
        """Return which document each position of the tail belongs to, `(1, t)`; -1 for
        the `<s>`."""
        start = len(self) * (self.max_length - 1)
        if start == self.num_tokens:
            return None
        return self._documents(np.array([start]), self.num_tokens - start)

    def _read_epoch(
        self, random: np.random.Generator, offset: int, start: int
    ) -> Iterator[Numbers]:
        offset = offset if self.num_blocks(offset) else 0
        order = random.permutation(self.num_blocks(offset))
        size = self.max_length - 1
        # No list of them: a large text has many millions of blocks.
        for index in order[start:]:
            yield self._read(offset + int(index) * size)

    def _epoch_length(self, offset: int) -> int:
        # The cut of a text of hardly one block must not cost it that one.
        return self.num_blocks(offset) or len(self)

    def _read(self, start: int) -> Numbers:
        return self._tokenised.read(start, self.max_length - 1)

    def _starts(self, indices: Sequence[int] | Ids, offset: int) -> Ids:
        """Return where the blocks begin in the stream, `(B,)`."""
        index = np.asarray(indices, dtype=np.int64).reshape(-1)
        count = self.num_blocks(offset)
        if len(index) and (index.min() < 0 or index.max() >= count):
            raise IndexError(f"block {index.min()} to {index.max()} of {count}")
        return offset + index * (self.max_length - 1)

    @cached_property
    def _document_ends(self) -> Ids:
        """Where each document ends in the stream; 8 bytes a document, in memory."""
        return np.cumsum(self._tokenised.document_sizes(), dtype=np.int64)

    def _documents(self, starts: Ids, length: int) -> Ids:
        positions = starts[:, None] + np.arange(length)
        documents = np.full((len(starts), 1 + length), NO_DOCUMENT, dtype=np.int64)
        documents[:, 1:] = np.searchsorted(self._document_ends, positions, side="right")
        return documents


def pack(tokens: TokenisedText | StreamedTokens, *, max_length: int, bos_id: int) -> TrainingBlocks:
    """Return the blocks of a training text, be it counted or streamed."""
    if isinstance(tokens, StreamedTokens):
        return StreamedBlocks(tokens, max_length=max_length, bos_id=bos_id)
    return PackedBlocks(tokens, max_length=max_length, bos_id=bos_id)

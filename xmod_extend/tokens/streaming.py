"""A text that is read and tokenised anew in each epoch, as blocks.

    sources ── lines, cleaned ──> tokens ──> blocks ──> shuffle buffer ──> batches

What this costs, against a text on the disk: what lies further apart in a source than the buffer is
long never meets in a batch; and to enter a run in its middle, what was trained on is read and
tokenised again (an epoch at most twice). The order of the sources, the cuts and the buffer depend
on the seed and the epoch alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from xmod_extend.text.lines import COUNTED_TOKENS
from xmod_extend.tokens.blocks import Ids, Numbers, TrainingBlocks
from xmod_extend.tokens.tokenised import StreamedTokens

SHUFFLED_BLOCKS = 1 << 14
"""In the shuffle buffer: at 128 tokens a block they take 8 MB, and are some 10 MB of text."""


class StreamedBlocks(TrainingBlocks):
    """Blocks of a stream.

    Args:
        tokens: Of the text.
        max_length: T, the tokens in a block including its `<s>`.
        bos_id: The id of `<s>`.
        shuffled_blocks: Blocks in the shuffle buffer.
    """

    def __init__(
        self,
        tokens: StreamedTokens,
        *,
        max_length: int,
        bos_id: int,
        shuffled_blocks: int = SHUFFLED_BLOCKS,
    ) -> None:
        super().__init__(max_length=max_length, bos_id=bos_id)
        self._tokens = tokens
        self._shuffled_blocks = shuffled_blocks
        self._num_tokens = 0
        self._is_counted = False

    @property
    def num_tokens(self) -> int:
        return self._num_tokens

    @property
    def is_counted(self) -> bool:
        return self._is_counted

    def token_counts(self, vocab_size: int) -> Ids:
        """Return how often each token is among the first `COUNTED_TOKENS` or so, `(V,)`.

        What was trained on depends on where a run was taken up again; this does not.
        """
        counts = np.zeros(vocab_size, dtype=np.int64)
        for piece in self._tokens.lines.pieces():
            ids = self._tokens.encode(piece).ids
            counts += np.bincount(ids, minlength=vocab_size)
            if counts.sum() >= COUNTED_TOKENS:
                break
        return counts

    def _read_epoch(
        self, random: np.random.Generator, offset: int, start: int
    ) -> Iterator[Numbers]:
        """Yield an epoch's blocks: each new one takes a random slot, whose block goes out."""
        return islice(self._shuffle(random, offset), start, None)

    def _shuffle(self, random: np.random.Generator, offset: int) -> Iterator[Numbers]:
        order = random.permutation(len(self._tokens.lines.sources)).tolist()
        buffer: list[Numbers] = []
        for block in self._cut(order, offset):
            if len(buffer) < self._shuffled_blocks:
                buffer.append(block)
                continue
            slot = int(random.integers(self._shuffled_blocks))
            yield buffer[slot]
            buffer[slot] = block
        for slot in random.permutation(len(buffer)).tolist():
            yield buffer[slot]

    def _cut(self, order: list[int], offset: int) -> Iterator[Numbers]:
        """Yield an epoch's tokens from token `offset` on, in full blocks."""
        size = self.max_length - 1
        rest = np.empty(0, dtype=np.int32)
        total = 0
        for piece in self._tokens.lines.pieces(order):
            ids = self._tokens.encode(piece).ids
            total += len(ids)
            if not self._is_counted:
                self._num_tokens = max(self._num_tokens, total)
            skipped = min(offset, len(ids))
            offset -= skipped
            rest = np.concatenate([rest, ids[skipped:]])
            end = len(rest) // size * size
            yield from rest[:end].reshape(-1, size)
            rest = rest[end:]
        self._num_tokens, self._is_counted = total, True

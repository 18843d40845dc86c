"""What training reads of a text: blocks of tokens, in batches, for as many epochs as it takes.

    B  blocks in a batch
    S  tokens of the text in a block, T - 1
    T  tokens in a block, `max_length`: `<s>` and the next S tokens of all documents in a row
    V  tokens in the vocabulary

Documents are packed end to end, so that no block has padding:

        stream   a a a </s> b b </s> c c c c c </s> …
        block 0  <s> a a a </s> b
        block 1  <s> b </s> c c c
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from xmod_extend.errors import CorpusError

Ids = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]


class Blocks(Protocol):
    """What training reads of a text: `TrainingBlocks` is one."""

    def batches(self, batch_size: int, seed: int, start_step: int = 0) -> Iterator[Ids]:
        """Yield batches `(B, T)` without end, from batch `start_step` on."""


class TrainingBlocks(ABC):
    """A training text as blocks; where its tokens come from is a matter of the classes below it.

    Args:
        max_length: T.
        bos_id: The id of `<s>`.
    """

    def __init__(self, *, max_length: int, bos_id: int) -> None:
        if max_length < 2:
            raise ValueError(f"max_length is {max_length}; a block of fewer than 2 has no text")
        self.max_length = max_length
        self.bos_id = bos_id

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """Tokens of the text with the `</s>` of each document and without any `<s>`.

        Of a text that is not counted, as many as were seen.
        """

    @property
    @abstractmethod
    def is_counted(self) -> bool:
        """Whether `num_tokens` is all of them."""

    @abstractmethod
    def token_counts(self, vocab_size: int) -> Ids:
        """Return how often each token is in the text, `(V,)`; of a stream, in its beginning."""

    @abstractmethod
    def _read_epoch(
        self, random: np.random.Generator, offset: int, start: int
    ) -> Iterator[Numbers]:
        """Yield the blocks of an epoch, `(S,)` each.

        Args:
            random: Decides their order.
            offset: Where the first block begins in the stream, below S.
            start: How many blocks to leave out; the rest is as if they had been taken.
        """

    def num_blocks(self, offset: int = 0) -> int:
        """Return how many full blocks there are if the first begins at token `offset`."""
        # With S = 1 every token begins a block and 0 is the only offset.
        if not 0 <= offset < self.max_length - 1:
            raise ValueError(f"offset is {offset}; it must be from 0 to {self.max_length - 2}")
        return max(0, self.num_tokens - offset) // (self.max_length - 1)

    def __len__(self) -> int:
        return self.num_blocks()

    def num_epochs(self, num_tokens: int) -> float | None:
        """Return how often the text was gone through, of tokens in blocks with their `<s>`.

        It is None while the text is not counted.
        """
        return num_tokens / (len(self) * self.max_length) if self.is_counted else None

    def batches(self, batch_size: int, seed: int, start_step: int = 0) -> Iterator[Ids]:
        """Yield batches `(B, T)` without end: every epoch in a new order, and cut at other places.

        A batch may begin in one epoch and end in the next.

        Args:
            batch_size: B.
            seed: Decides the order and the cuts, together with the number of the epoch alone.
            start_step: How many batches to leave out; the rest is as if they had been taken.

        Raises:
            CorpusError: The text cannot be read, or is too little for one block.
            HubError: A data set cannot be had.
        """
        blocks = self._read_epochs(seed, start_step * batch_size)
        while True:
            yield self._batch(itertools.islice(blocks, batch_size), batch_size)

    def _batch(self, blocks: Iterable[Numbers], size: int) -> Ids:
        batch = np.empty((size, self.max_length), dtype=np.int64)
        batch[:, 0] = self.bos_id
        for row, block in enumerate(blocks):
            batch[row, 1:] = block
        return batch

    def _read_epochs(self, seed: int, start: int) -> Iterator[Numbers]:
        """Yield the blocks of all epochs but for the first `start`.

        An epoch whose length is known is passed over without reading it.
        """
        for epoch in itertools.count():
            random = np.random.default_rng([seed, epoch])
            offset = int(random.integers(self.max_length - 1))
            if not self.is_counted or start < self._epoch_length(offset):
                yield from self._read_epoch(random, offset, start)
            if not self._epoch_length(offset):
                raise CorpusError(
                    "The training text is too little: it makes not one sequence of "
                    f"{self.max_length} tokens.",
                    hint="Add text, or use a lower --max-length.",
                )
            start = max(0, start - self._epoch_length(offset))

    def _epoch_length(self, offset: int) -> int:
        return self.num_blocks(offset)

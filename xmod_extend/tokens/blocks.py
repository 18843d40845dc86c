"""The types that everything behind the tokenizer shares: token ids, and the blocks of a text.

B  blocks in a batch
T  tokens in a block, its `<s>` included
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


class Blocks(Protocol):
    """What training reads of a text: `packing.PackedBlocks` is one."""

    def batches(self, batch_size: int, seed: int, start_step: int = 0) -> Iterator[Ids]:
        """Yield batches `(B, T)` without end, from batch `start_step` on."""

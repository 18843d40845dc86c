"""The processes that train one adapter together: one, or as many as torchrun or accelerate started.

Every process computes the same order and masks, and works on its own rows of each batch. Only the
adapter's gradients travel, summed over all; so each holds the same adapter at any time, and the
first one alone writes and speaks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed

from xmod_extend.errors import TrainingError

if TYPE_CHECKING:
    from accelerate import PartialState


class LostProcessError(TrainingError):
    """Another process of this run ended, so that nothing can be summed any more."""


class Processes:
    """This process among those that train together."""

    def __init__(self, state: PartialState) -> None:
        self.count: int = state.num_processes
        self.rank: int = state.process_index
        self.is_main: bool = state.is_main_process
        self.device: torch.device = state.device

    def rows(self, num_rows: int) -> slice:
        """Which rows of a batch are this process's: every row is exactly one's."""
        return slice(self.rank, num_rows, self.count)

    def end(self) -> None:
        """Parts from the others: nothing is summed from here on."""
        if self.count > 1:
            torch.distributed.destroy_process_group()
        self.count = 1

    def sum(self, values: torch.Tensor) -> None:
        """Sums `values` over all processes, in place.

        Raises:
            LostProcessError: Another process ended.
        """
        if self.count == 1:
            return
        try:
            torch.distributed.all_reduce(values)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise LostProcessError(
                f"Process {self.rank} of {self.count} lost another one: {reason[:200]}.",
                hint="The first error above tells why; add --resume to go on from the saved state.",
            ) from error

"""The processes that train one adapter together: one, or as many as torchrun or accelerate started.

Every process computes the same order and masks, and works on its own rows of each batch. Only the
adapter's gradients travel, summed over all; so each holds the same adapter at any time, and the
first one alone writes and speaks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed

from xmod_extend.errors import TrainingError, UsageError

if TYPE_CHECKING:
    from accelerate import PartialState

T = TypeVar("T")


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
        """Return which rows of a batch are this process's: every row is exactly one's."""
        return slice(self.rank, num_rows, self.count)

    def end(self) -> None:
        """Part from the others: nothing is summed from here on."""
        if self.count > 1:
            torch.distributed.destroy_process_group()
        self.count = 1

    def gather(self, value: T) -> list[T]:
        """Return what every process has at this point, in the order of their ranks.

        Raises:
            LostProcessError: Another process ended.
        """
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        with self._losing():
            torch.distributed.all_gather_object(found, value)
        return found

    def require_same(self, value: object, folder: Path) -> None:
        """Refuse to go on if the processes read different things in a folder.

        Raises:
            UsageError: They do; all of them raise it.
        """
        found = self.gather(value)
        if any(other != found[0] for other in found):
            raise UsageError(
                f"The {self.count} processes of this run find different things saved in {folder}.",
                hint="Put the output on a disk that all of them share.",
            )

    def sum(self, values: torch.Tensor) -> None:
        """Sum `values` over all processes, in place.

        Raises:
            LostProcessError: Another process ended.
        """
        if self.count == 1:
            return
        with self._losing():
            torch.distributed.all_reduce(values)

    @contextmanager
    def _losing(self) -> Iterator[None]:
        """Turn an error of PyTorch inside the block into the loss of another process."""
        try:
            yield
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise LostProcessError(
                f"Process {self.rank} of {self.count} lost another one: {reason[:200]}.",
                hint="The first error above tells why; add --resume to go on from the saved state.",
            ) from error

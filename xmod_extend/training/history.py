"""The history of a run: counts, the curve, and which state was the best."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """An optimiser step, as a display or a log may show it."""

    step: int
    num_steps: int
    loss: float
    """Mean cross-entropy in nats of this step's masked tokens."""
    lr: float
    num_tokens: int
    """Tokens trained on since the start."""
    seconds: float
    """Time spent training since the start, validations left out."""


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The state of the run at one validation."""

    step: int
    train_loss: float
    """Mean over the steps since the validation before, in nats."""
    held_out_loss: float
    """Mean over the validation sample, in nats."""
    lr: float


@dataclass
class History:
    """The run so far, as plain numbers: a saved state holds them as JSON."""

    steps_done: int = 0
    num_tokens: int = 0
    seconds: float = 0.0
    """Time spent training, validations left out, over all the starts of a resumed run."""
    train_losses: list[float] = field(default_factory=list)
    """Since the last validation."""
    curve: list[CurvePoint] = field(default_factory=list)
    num_processes: int = 1
    """The number of processes that did the last step."""
    best_step: int | None = None
    lowest: float = math.inf
    """Held-out loss at `best_step`."""

    @property
    def is_validated(self) -> bool:
        """Whether the adapter was scored after the last step."""
        return bool(self.curve) and self.curve[-1].step == self.steps_done

    def add_validation(self, held_out_loss: float, lr: float) -> bool:
        """Note a validation; return whether the adapter as it is now is the best yet."""
        mean = sum(self.train_losses) / len(self.train_losses)
        self.train_losses.clear()
        point = CurvePoint(
            step=self.steps_done, train_loss=mean, held_out_loss=held_out_loss, lr=lr
        )
        self.curve.append(point)
        if held_out_loss >= self.lowest:
            return False
        self.lowest, self.best_step = held_out_loss, self.steps_done
        return True

    def to_json(self) -> dict[str, Any]:
        """Return numbers that `from_json` reads back exactly."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> History:
        """Return the history that `to_json` wrote."""
        curve = [CurvePoint(**point) for point in values["curve"]]
        return cls(**(values | {"curve": curve}))

"""One optimiser step: forward, backward, sum over processes, clip, SOAP.

    B  sequences in a batch
    T  tokens in a sequence
    n  parameters of the adapter

All of the adapter lies in one flat tensor, part by part, and so do its gradients: one tensor to sum
over processes, to clip and to save, and one stack of matrices a part for the optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from xmod_extend.errors import TrainingError
from xmod_extend.model.adapter import PARTS, adapter_slots
from xmod_extend.model.dropout import Dropout
from xmod_extend.model.loss import MaskedBatch, masked_lm_loss
from xmod_extend.model.slice import freeze_all_but_adapter
from xmod_extend.objectives.masked import IGNORED, MaskingScheme
from xmod_extend.training.configuration import TrainingConfig
from xmod_extend.training.processes import Processes
from xmod_extend.training.soap import Soap

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

Ids = npt.NDArray[np.int64]

CPU_PART_BYTES = 1 << 21
"""Of one hidden state of the rows that a processor works through at once, 682 tokens in fp32 at
xmod-base's width: more are no faster, and what is kept for the backward pass is 140 times that."""

LOSS, STOP = 0, 1
"""Places in a step's result: its mean loss, and how many processes were asked to stop."""


@dataclass(frozen=True)
class StepInput:
    """A batch as a step works through it."""

    step: int
    parts: tuple[tuple[int, MaskedBatch], ...]
    """This process's rows in as many parts as gradients are accumulated over, each with its first
    row; a part without a masked token is left out."""
    num_scored: int
    """Masked tokens of the whole batch, over all processes."""
    num_tokens: int
    """B * T of the whole batch."""


class LossScale:
    """The factor that keeps fp16 gradients from vanishing: as large as does not overflow.

    Source: Micikevicius et al. 2018 (arXiv 1710.03740), section 3.2; the numbers are PyTorch's.
    """

    factor = 2.0**16
    good = 0
    """Steps without an overflow since the factor was changed."""

    def take(self, is_finite: bool) -> bool:
        """Adapts the factor to a step's gradient; whether the step counts."""
        self.good = self.good + 1 if is_finite else 0
        if not is_finite:
            self.factor /= 2.0
        elif self.good == 2000:
            self.factor, self.good = self.factor * 2.0, 0
        return is_finite


class Stepper:
    """Moves one adapter; what a step does depends on (seed, step) and the batch alone."""

    def __init__(
        self,
        model: XmodForMaskedLM,
        scheme: MaskingScheme,
        config: TrainingConfig,
        processes: Processes,
    ) -> None:
        self._model, self._scheme, self._config = model, scheme, config
        self._processes = processes
        slots = _by_part(freeze_all_but_adapter(model))
        size, device = sum(slot.numel() for slot in slots), processes.device
        self.adapter = torch.empty(size, device=device)
        # Behind the gradients is room for the step's result, to be summed with them.
        self._summed = torch.zeros(size + 2, device=device)
        self._gradient = self._summed[:size]
        _move_into(slots, self.adapter, self._gradient)
        self._stacked_gradients = _stacks(slots, self._gradient)
        self.optimizer = Soap(
            _stacks(slots, self.adapter),
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            weight_decay=config.weight_decay,
            first_basis=config.first_basis,
        )
        is_fp16 = model.roberta.embeddings.LayerNorm.weight.dtype == torch.float16
        self.loss_scale = LossScale() if is_fp16 else None

    def prepare(self, step: int, batch: Ids) -> StepInput:
        """Mask `batch`, (B, T), and cut out this process's rows; all of it on the host."""
        inputs, labels = self._scheme.corrupt(batch, step)
        rows = np.arange(len(batch))[self._processes.rows(len(batch))]
        parts = []
        for part in np.array_split(rows, self._num_parts(len(rows), batch.shape[1])):
            if (labels[part] != IGNORED).any():
                masked = MaskedBatch.of(inputs[part], labels[part])
                pinned = masked.pin() if self._processes.device.type == "cuda" else masked
                parts.append((int(part[0]), pinned))
        return StepInput(step, tuple(parts), int((labels != IGNORED).sum()), batch.size)

    def run(self, given: StepInput, *, wants_to_stop: bool = False) -> torch.Tensor:
        """Train on a batch.

        Nothing here waits for the device, but for fp16, whose gradients may overflow.

        Returns:
            (2,), on the device: at `LOSS` the mean loss in nats over all processes, at `STOP` how
            many of them want to stop.
        """
        self._summed.zero_()
        for first_row, part in given.parts:
            loss = self._loss(given.step, first_row, part.to(self._processes.device))
            loss = loss / given.num_scored
            scaled = loss * self.loss_scale.factor if self.loss_scale else loss
            scaled.backward()  # type: ignore[no-untyped-call]
            self._summed[-2 + LOSS] += loss.detach()
        if given.step == 0:
            self._require_gradient(given)
        if wants_to_stop:
            self._summed[-2 + STOP] += 1.0
        self._processes.sum(self._summed)
        outcome = self._summed[-2:].clone()
        if self.loss_scale:
            self._gradient /= self.loss_scale.factor
        norm = self._gradient.norm()
        if self.loss_scale and not self.loss_scale.take(bool(norm.isfinite())):
            return outcome
        # A gradient that is not finite moves nothing by itself, and shows in the loss.
        self._gradient *= (self._config.clip_norm / (norm + 1e-6)).clamp(max=1.0)
        self._gradient.nan_to_num_(0.0, 0.0, 0.0)
        outcome[LOSS] += norm - norm
        self.optimizer.step(self._stacked_gradients, self._config.lr_at(given.step))
        return outcome

    def state(self) -> dict[str, torch.Tensor]:
        """Return the adapter and the optimiser's state, by name; the tensors themselves, not
        copies."""
        tensors = {"adapter": self.adapter}
        for part, state in zip(PARTS, self.optimizer.states, strict=True):
            tensors |= {f"{part}.{name}": values for name, values in state.items()}
        return tensors

    def counts(self) -> dict[str, float]:
        """Return the rest of the state: plain numbers."""
        scale = self.loss_scale
        counts = {"optimizer_steps": float(self.optimizer.num_steps)}
        return counts | ({"factor": scale.factor, "good": float(scale.good)} if scale else {})

    def load_state(self, tensors: dict[str, torch.Tensor], counts: dict[str, float]) -> None:
        """Go back to what `state` and `counts` gave, to the bit."""
        self.adapter.copy_(tensors["adapter"])
        self.optimizer.num_steps = int(counts["optimizer_steps"])
        if self.loss_scale:
            self.loss_scale.factor, self.loss_scale.good = counts["factor"], int(counts["good"])
        for part, state in zip(PARTS, self.optimizer.states, strict=True):
            for name, values in tensors.items():
                if name.startswith(f"{part}."):
                    state[name.removeprefix(f"{part}.")] = values.to(self.adapter.device)

    def _num_parts(self, num_rows: int, length: int) -> int:
        """Of this process's rows, each of `length` tokens."""
        wanted = self._config.accumulation
        if self._processes.device.type == "cpu":
            row_bytes = length * self._model.roberta.embeddings.LayerNorm.bias.nbytes
            wanted = max(wanted, math.ceil(num_rows / max(1, CPU_PART_BYTES // row_bytes)))
        return max(1, min(wanted, num_rows))

    def _loss(self, step: int, first_row: int, part: MaskedBatch) -> torch.Tensor:
        dropout = None
        if self._config.dropout:
            config = self._model.config
            key = (self._config.seed, step, first_row)
            if self._processes.device.type != "cpu":
                # Elsewhere dropout draws from the device's generator; the CPU's is its own.
                torch.manual_seed(_mix(key))
            dropout = Dropout(
                hidden=config.hidden_dropout_prob,
                attention=config.attention_probs_dropout_prob,
                key=key,
            )
        checkpointing = self._config.gradient_checkpointing
        return masked_lm_loss(self._model, part, dropout=dropout, checkpointing=checkpointing)

    def _require_gradient(self, given: StepInput) -> None:
        """A frozen body that swallows the adapter's gradient trains nothing, without any error."""
        for name, slot in adapter_slots(self._model):
            assert slot.grad is not None, name
            assert slot.grad.data_ptr() - self._summed.data_ptr() < self._summed.nbytes, name
        if given.parts and not bool(self._gradient.any()):
            raise TrainingError(
                "No gradient reaches the adapter: whatever it does, the base predicts the same.",
                hint="The base's weights may be damaged; look at it with `xmod-extend probe`.",
            )


def _by_part(slots: list[nn.Parameter]) -> list[nn.Parameter]:
    """From layer by layer to part by part, so that all layers' matrices of a part lie together."""
    return [slot for part in range(len(PARTS)) for slot in slots[part :: len(PARTS)]]


def _stacks(slots: list[nn.Parameter], flat: torch.Tensor) -> list[torch.Tensor]:
    """Return one view of `flat` for each part: (layers, *the part's shape)."""
    num_layers = len(slots) // len(PARTS)
    shapes = [(num_layers, *slots[part * num_layers].shape) for part in range(len(PARTS))]
    sizes = [math.prod(shape) for shape in shapes]
    pieces = torch.split(flat, sizes)
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def _move_into(slots: list[nn.Parameter], values: torch.Tensor, gradients: torch.Tensor) -> None:
    """Make the slots, and their gradients, views of flat tensors that hold their values."""
    for slot, part, gradient in _pieces(slots, values, gradients):
        part.copy_(slot.data)
        slot.data = part
        slot.grad = gradient


def _pieces(
    slots: list[nn.Parameter], values: torch.Tensor, gradients: torch.Tensor
) -> Iterator[tuple[nn.Parameter, torch.Tensor, torch.Tensor]]:
    start = 0
    for slot in slots:
        piece = slice(start, start + slot.numel())
        yield slot, values[piece].view(slot.shape), gradients[piece].view(slot.shape)
        start = piece.stop


def _mix(key: tuple[int, ...]) -> int:
    """Return one 64-bit seed from several numbers."""
    return int(np.random.SeedSequence(list(key)).generate_state(1, np.uint64)[0])

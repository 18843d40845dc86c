"""One optimiser step: forward, backward, sum over processes, clip, AdamW.

    B  sequences in a batch
    T  tokens in a sequence
    n  parameters of the adapter

All of the adapter lies in one flat tensor, and so do its gradients and AdamW's moments: one tensor
to sum over processes, one to clip, one to update, one to save.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from xmod_extend.model.adapter import adapter_slots
from xmod_extend.model.dropout import Dropout
from xmod_extend.model.loss import MaskedBatch, masked_lm_loss
from xmod_extend.model.slice import freeze_all_but_adapter
from xmod_extend.text.masking import IGNORED, MaskingScheme
from xmod_extend.training.configuration import TrainingConfig
from xmod_extend.training.processes import Processes

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

Ids = npt.NDArray[np.int64]

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
        slots = freeze_all_but_adapter(model)
        size, device = sum(slot.numel() for slot in slots), processes.device
        self.adapter = nn.Parameter(torch.empty(size, device=device))
        # Behind the gradients is room for the step's result, to be summed with them.
        self._summed = torch.zeros(size + 2, device=device)
        self.adapter.grad = self._summed[:size]
        _move_into(slots, self.adapter.data, self.adapter.grad)
        self.optimizer = torch.optim.AdamW(
            [self.adapter],
            lr=config.lr,
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            weight_decay=config.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        is_fp16 = model.roberta.embeddings.LayerNorm.weight.dtype == torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=is_fp16)

    def prepare(self, step: int, batch: Ids) -> StepInput:
        """Masks `batch`, (B, T), and cuts out this process's rows; all of it on the host."""
        inputs, labels = self._scheme.corrupt(batch, step)
        rows = np.arange(len(batch))[self._processes.rows(len(batch))]
        parts = []
        for part in np.array_split(rows, min(self._config.accumulation, max(1, len(rows)))):
            if (labels[part] != IGNORED).any():
                masked = MaskedBatch.of(inputs[part], labels[part])
                pinned = masked.pin() if self._processes.device.type == "cuda" else masked
                parts.append((int(part[0]), pinned))
        return StepInput(step, tuple(parts), int((labels != IGNORED).sum()), batch.size)

    def run(self, given: StepInput, *, wants_to_stop: bool = False) -> torch.Tensor:
        """Trains on a batch.

        Nothing here waits for the device.

        Returns:
            (2,), on the device: at `LOSS` the mean loss in nats over all processes, at `STOP` how
            many of them want to stop.
        """
        self._summed.zero_()
        for first_row, part in given.parts:
            loss = self._loss(given.step, first_row, part.to(self._processes.device))
            loss = loss / given.num_scored
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self._summed[-2 + LOSS] += loss.detach()
        if given.step == 0:
            self._require_gradient(given)
        if wants_to_stop:
            self._summed[-2 + STOP] += 1.0
        self._processes.sum(self._summed)
        self.scaler.unscale_(self.optimizer)
        gradient = self._summed[:-2]
        gradient *= (self._config.clip_norm / (gradient.norm() + 1e-6)).clamp(max=1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self._config.lr_at(given.step)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return self._summed[-2:].clone()

    def state(self) -> dict[str, torch.Tensor]:
        """The adapter and AdamW's state, by name; the tensors themselves, not copies."""
        moments: dict[str, torch.Tensor] = self.optimizer.state[self.adapter]
        return {"adapter": self.adapter.data} | moments

    def load_state(self, tensors: dict[str, torch.Tensor], scaler: dict[str, Any]) -> None:
        """Goes back to what `state` gave, to the bit."""
        self.adapter.data.copy_(tensors["adapter"])
        moments = {
            name: values.to(self.adapter.device)
            for name, values in tensors.items()
            if name in ("step", "exp_avg", "exp_avg_sq")
        }
        self.optimizer.state[self.adapter] = moments
        if scaler:
            self.scaler.load_state_dict(scaler)

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
        assert not given.parts or bool(self._summed[:-2].any()), "no gradient reached the adapter"


def _move_into(slots: list[nn.Parameter], values: torch.Tensor, gradients: torch.Tensor) -> None:
    """Makes the slots, and their gradients, views of flat tensors that hold their values."""
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
    """One 64-bit seed from several numbers."""
    return int(np.random.SeedSequence(list(key)).generate_state(1, np.uint64)[0])

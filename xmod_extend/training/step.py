"""One optimiser step: forward, backward, sum over processes, clip, SOAP.

    B  sequences in a batch
    T  tokens in a sequence

Every value that is trained lies in one flat tensor, and so do the gradients; see
`model.trainable`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from xmod_extend.errors import TrainingError
from xmod_extend.model.batch import Batch
from xmod_extend.model.dropout import Dropout
from xmod_extend.model.loss import prediction_loss
from xmod_extend.model.trainable import TrainableSet
from xmod_extend.objectives.prediction import Objective
from xmod_extend.tokens.blocks import Ids
from xmod_extend.training.configuration import TrainingConfig
from xmod_extend.training.processes import Processes
from xmod_extend.training.soap import Soap

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

CPU_MICRO_BATCH_BYTES = 1 << 21
"""Bytes of a hidden state of the rows that a processor works through at once, 682 tokens in fp32 at
xmod-base's width: more are no faster, and what is kept for the backward pass is 140 times that."""

LOSS, STOP = 0, 1
"""Indices into a step's result: its mean loss, and how many processes were asked to stop."""


@dataclass(frozen=True)
class StepInput:
    """A batch as a step works through it."""

    step: int
    micro_batches: tuple[tuple[int, Batch], ...]
    """This process's rows in as many micro-batches as gradients are accumulated over, each with its
    first row; one that predicts nothing is left out."""
    num_predicted: int
    """Predicted tokens of the whole batch, over all processes."""
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
        """Adapt the factor to a step's gradient; return whether the step counts."""
        self.good = self.good + 1 if is_finite else 0
        if not is_finite:
            self.factor /= 2.0
        elif self.good == 2000:
            self.factor, self.good = self.factor * 2.0, 0
        return is_finite


class Stepper:
    """Moves a trainable set; what a step does depends on (seed, step) and the batch alone.

    Args:
        model: The slice that the set is of.
        trained: Holds the start values; from here on its parameters are views of `values`.
        objective: What is predicted.
    """

    def __init__(
        self,
        model: XmodForMaskedLM,
        trained: TrainableSet,
        objective: Objective,
        config: TrainingConfig,
        processes: Processes,
    ) -> None:
        self._model, self._trained, self._objective = model, trained, objective
        self._config, self._processes = config, processes
        trained.freeze_others()
        size, device = trained.num_parameters, processes.device
        self.values = torch.empty(size, device=device)
        # Behind the gradients is room for the step's result, to be summed with them.
        self._summed = torch.zeros(size + 2, device=device)
        self._gradient = self._summed[:size]
        trained.move_into(self.values, self._gradient)
        self._stacked_gradients = trained.stacks(self._gradient)
        dtype = model.roberta.embeddings.LayerNorm.weight.dtype
        is_bf16_cpu = dtype == torch.bfloat16 and device.type == "cpu"
        self.optimizer = Soap(
            trained.stacks(self.values),
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            weight_decay=config.weight_decay,
            num_adam_steps=config.num_adam_steps,
            # There the two products would take a tenth of the step in fp32.
            projects_in=torch.bfloat16 if is_bf16_cpu else torch.float32,
        )
        self.loss_scale = LossScale() if dtype == torch.float16 else None

    def prepare(self, step: int, blocks: Ids) -> StepInput:
        """Ask the objective for a batch of blocks, (B, T), and cut out this process's rows.

        All of it is done on the host.
        """
        prediction = self._objective(blocks, step)
        rows = np.arange(len(blocks))[self._processes.rows(len(blocks))]
        micro_batches = []
        for some in np.array_split(rows, self._num_micro_batches(len(rows), blocks.shape[1])):
            own = prediction.rows(some)
            if own.num_predicted:
                batch = Batch.from_prediction(own)
                pinned = batch.pin() if self._processes.device.type == "cuda" else batch
                micro_batches.append((int(some[0]), pinned))
        return StepInput(step, tuple(micro_batches), prediction.num_predicted, blocks.size)

    def run(self, batch: StepInput, *, wants_to_stop: bool = False) -> torch.Tensor:
        """Train on a batch.

        Nothing here waits for the device, but for fp16, whose gradients may overflow.

        Returns:
            (2,), on the device: at `LOSS` the mean loss in nats over all processes, at `STOP` how
            many of them want to stop.
        """
        self._summed.zero_()
        for first_row, micro_batch in batch.micro_batches:
            loss = self._loss(batch.step, first_row, micro_batch.to(self._processes.device))
            loss = loss / batch.num_predicted
            scaled = loss * self.loss_scale.factor if self.loss_scale else loss
            scaled.backward()  # type: ignore[no-untyped-call]
            self._summed[-2 + LOSS] += loss.detach()
        if batch.step == 0:
            self._require_gradient(batch)
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
        self.optimizer.step(self._stacked_gradients, self._config.lr_at(batch.step))
        return outcome

    def state(self) -> dict[str, torch.Tensor]:
        """Return the values and the optimiser's state by name: the tensors themselves."""
        tensors = {"values": self.values}
        for group, state in zip(self._trained.groups, self.optimizer.states, strict=True):
            tensors |= {f"{group.name}.{name}": values for name, values in state.items()}
        return tensors

    def counts(self) -> dict[str, float]:
        """Return the rest of the state: plain numbers."""
        scale = self.loss_scale
        counts = {"optimizer_steps": float(self.optimizer.num_steps)}
        return counts | ({"factor": scale.factor, "good": float(scale.good)} if scale else {})

    def load_state(self, tensors: dict[str, torch.Tensor], counts: dict[str, float]) -> None:
        """Go back to what `state` and `counts` gave, to the bit."""
        self.values.copy_(tensors["values"])
        self.optimizer.num_steps = int(counts["optimizer_steps"])
        if self.loss_scale:
            self.loss_scale.factor, self.loss_scale.good = counts["factor"], int(counts["good"])
        for group, state in zip(self._trained.groups, self.optimizer.states, strict=True):
            for name, values in tensors.items():
                if name.startswith(f"{group.name}."):
                    state[name.removeprefix(f"{group.name}.")] = values.to(self.values.device)

    def _num_micro_batches(self, num_rows: int, length: int) -> int:
        """Return in how many this process's rows, each of `length` tokens, are worked through."""
        count = self._config.accumulation
        if self._processes.device.type == "cpu":
            row_bytes = length * self._model.roberta.embeddings.LayerNorm.bias.nbytes
            count = max(count, math.ceil(num_rows / max(1, CPU_MICRO_BATCH_BYTES // row_bytes)))
        return max(1, min(count, num_rows))

    def _loss(self, step: int, first_row: int, batch: Batch) -> torch.Tensor:
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
        return prediction_loss(self._model, batch, dropout=dropout, checkpointing=checkpointing)

    def _require_gradient(self, batch: StepInput) -> None:
        """Refuse a frozen body that swallows the gradient: it trains nothing, without any error."""
        for name, parameter in self._trained:
            assert parameter.grad is not None, name
            assert parameter.grad.data_ptr() - self._summed.data_ptr() < self._summed.nbytes, name
        if batch.micro_batches and not bool(self._gradient.any()):
            raise TrainingError(
                "No gradient reaches the adapter: whatever it does, the base predicts the same.",
                hint="The base's weights may be damaged; look at it with `xmod-extend probe`.",
            )


def _mix(key: tuple[int, ...]) -> int:
    """Return one 64-bit seed from several numbers."""
    return int(np.random.SeedSequence(list(key)).generate_state(1, np.uint64)[0])

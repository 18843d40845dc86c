"""Training the slice is training the full model: the same losses and the same adapter."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from checkpoints import make_checkpoint
from transformers import XmodForMaskedLM

from xmod_extend.model.adapter import Adapter, adapter_set, full_names, random_adapter, set_adapter
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.slice import load_slice
from xmod_extend.objectives.masked import MaskingScheme
from xmod_extend.training.configuration import TrainingConfig
from xmod_extend.training.loop import train
from xmod_extend.training.processes import Processes
from xmod_extend.training.soap import Soap

NEW = "quz_PE"
SCHEME = MaskingScheme(
    mask_id=119, special_ids=(0, 1, 2, 3, 119), vocabulary_size=120, mlm_probability=0.15, seed=7
)


class RandomBlocks:
    """Random ids in the shape that packed text has."""

    max_length = 16

    def batches(self, batch_size: int, seed: int, start_step: int = 0) -> Iterator[np.ndarray]:
        for step in itertools.count(start_step):
            random = np.random.default_rng([seed, step])
            blocks = random.integers(4, 119, size=(batch_size, self.max_length))
            blocks[:, 0] = 0
            yield blocks


def train_full_model(
    folder: Path, start: Adapter, config: TrainingConfig
) -> tuple[list[float], Adapter]:
    """The plain way: upstream's whole model with one language more, its own loss and loop."""
    base = XmodForMaskedLM.from_pretrained(folder)
    model_config = copy.deepcopy(base.config)
    model_config.languages = [*base.config.languages, NEW]
    model = XmodForMaskedLM(model_config)
    model.load_state_dict(base.state_dict(), strict=False)
    new = full_names(start, NEW)
    model.load_state_dict(new, strict=False)
    model.requires_grad_(False)
    trained = [parameter for name, parameter in model.named_parameters() if name in new]
    for parameter in trained:
        parameter.requires_grad_(True)
    stacks = [torch.stack([p.data for p in trained[part::4]]) for part in range(4)]
    optimizer = Soap(
        stacks, betas=(0.9, config.adam_beta2), eps=1e-6, weight_decay=0.01, num_adam_steps=10
    )
    losses = []
    model.train(False)
    batches = RandomBlocks().batches(config.batch_size, config.seed)
    for step, batch in enumerate(itertools.islice(batches, config.num_steps)):
        prediction = SCHEME.corrupt(batch, step)
        inputs, labels = prediction.input_ids, prediction.labels
        loss = model(
            input_ids=torch.from_numpy(inputs),
            attention_mask=torch.ones(inputs.shape, dtype=torch.long),
            lang_ids=torch.full((len(inputs),), len(base.config.languages)),
            labels=torch.from_numpy(labels),
        ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, config.clip_norm)
        gradients = [torch.stack([p.grad for p in trained[part::4]]) for part in range(4)]
        optimizer.step(gradients, config.lr_at(step))
        for number, parameter in enumerate(trained):
            parameter.data = stacks[number % 4][number // 4]
            parameter.grad = None
        losses.append(loss.item())
    state = model.state_dict()
    return losses, {short: state[full] for short, full in zip(start, new, strict=True)}


@pytest.mark.parametrize("pre_norm", [False, True])
def test_slice_training_equals_full_model_training(tmp_path: Path, pre_norm: bool) -> None:
    folder = make_checkpoint(tmp_path / "base", pre_norm=pre_norm)
    config = TrainingConfig(num_steps=14, batch_size=5, lr=1e-2, seed=3, num_validations=1)
    model = load_slice(open_checkpoint(folder), NEW)
    start = random_adapter(model, seed=1)
    set_adapter(model, start)
    losses: list[float] = []
    trained = adapter_set(model)
    result = train(
        model,
        trained,
        RandomBlocks(),
        SCHEME.corrupt,
        config,
        processes=Processes(Accelerator(cpu=True)),
        validate=lambda: 1.0,
        on_step=lambda report: losses.append(report.loss),
    )
    full_losses, full_adapter = train_full_model(folder, start, config)

    assert losses == pytest.approx(full_losses, rel=1e-6)
    for name, values in full_adapter.items():
        # Adam divides a gradient by its own size, so one that is nearly zero turns its rounding
        # into a visible part of a step; 1 % of the learning rate is far below one step.
        torch.testing.assert_close(result.tensors[name], values, rtol=1e-5, atol=0.01 * config.lr)
    moved = max(float((values - start[name]).abs().max()) for name, values in full_adapter.items())
    assert moved > 1e-2, "the adapter did not train"
    assert {name: v.tolist() for name, v in result.tensors.items()} == {
        name: v.tolist() for name, v in trained.get_values().items()
    }

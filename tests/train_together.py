"""One of several processes that train together; run by torchrun.

usage: torchrun --nproc-per-node N train_together.py BASE FOLDER

Each process writes what it ended with: the first gradient, the adapter, the losses, and the scores
of a held-out text.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from training_runs import SCHEME, RandomBlocks, configure, run_training

from xmod_extend.evaluation.masked_perplexity import Block, MaskedText, masked_losses
from xmod_extend.model.adapter import adapter_set, adapter_slots, random_adapter, set_adapter
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.slice import load_slice
from xmod_extend.training.processes import Processes
from xmod_extend.training.step import Stepper


def held_out_text() -> MaskedText:
    """Blocks of several lengths, so that there are several batches."""
    random = np.random.default_rng(5)
    blocks = []
    for index, length in enumerate([16] * 3 + [9] + [16] * 2 + [5]):
        prediction = SCHEME.corrupt(random.integers(4, 119, (1, length)), index)
        inputs, labels = prediction.input_ids, prediction.labels
        blocks.append(Block(inputs[0], labels[0], np.full(length, index)))
    return MaskedText(blocks)


def main() -> None:
    base, folder = map(Path, sys.argv[1:])
    processes = Processes(Accelerator(cpu=True))
    config = configure(8, batch_size=5, accumulation=2)

    model = load_slice(open_checkpoint(base), "quz_PE")
    set_adapter(model, random_adapter(model, seed=1))
    scores = masked_losses(model, held_out_text(), processes=processes).nats
    stepper = Stepper(model, adapter_set(model), SCHEME.corrupt, config, processes)
    stepper.run(stepper.prepare(0, next(RandomBlocks().batches(5, 3))))
    gradient = torch.cat([slot.grad.flatten() for _, slot in adapter_slots(model)])

    losses: list[float] = []
    result = run_training(
        base, config, processes=processes, on_step=lambda report: losses.append(report.loss)
    )
    tensors = {"gradient": gradient, "losses": torch.tensor(losses, dtype=torch.float64)}
    tensors["scores"] = torch.from_numpy(scores)
    save_file(tensors | result.tensors, folder / f"{processes.count}-{processes.rank}.safetensors")
    processes.end()


if __name__ == "__main__":
    main()

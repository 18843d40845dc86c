"""Times training steps in as many processes as torchrun starts, and the summing in them.

usage: torchrun --nproc-per-node N together.py BASE STEPS BATCH_SIZE MAX_LENGTH

The batch is the same whatever N is. The first process prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from xmod_extend.model.adapter import adapter_set, random_adapter, set_adapter
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.slice import load_slice
from xmod_extend.objectives.masked import MaskingScheme
from xmod_extend.training.configuration import TrainingConfig
from xmod_extend.training.device import choose_precision, make_processes
from xmod_extend.training.processes import Processes
from xmod_extend.training.step import Stepper


class TimedProcesses(Processes):
    """Notes how long the sums take, the waiting for the slowest process among it."""

    seconds = 0.0

    def sum(self, values: torch.Tensor) -> None:
        start = time.perf_counter()
        super().sum(values)
        self.seconds += time.perf_counter() - start


def main() -> None:
    base, steps, batch_size, max_length = sys.argv[1], *map(int, sys.argv[2:])
    processes = make_processes()
    processes.__class__ = TimedProcesses
    precision = choose_precision("auto", processes.device)
    model = load_slice(open_checkpoint(Path(base)), "quz_PE", precision=precision)
    model.to(processes.device)
    set_adapter(model, random_adapter(model, seed=0))
    vocabulary = model.config.vocab_size
    scheme = MaskingScheme(
        mask_id=vocabulary - 1,
        special_ids=(0, 1, 2, 3, vocabulary - 1),
        vocabulary_size=vocabulary,
        mlm_probability=0.15,
        seed=0,
    )
    config = TrainingConfig(num_steps=steps + 1, batch_size=batch_size, lr=1e-3, seed=0)
    stepper = Stepper(model, adapter_set(model), scheme.corrupt, config, processes)
    random = np.random.default_rng(0)
    batches = random.integers(4, vocabulary - 1, (steps + 1, batch_size, max_length))
    stepper.run(stepper.prepare(0, batches[0])).tolist()
    processes.seconds, start, cpu = 0.0, time.perf_counter(), time.process_time()
    for step in range(1, steps + 1):
        stepper.run(stepper.prepare(step, batches[step])).tolist()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    if processes.is_main:
        told = {"count": processes.count, "seconds": seconds / steps, "cpu_seconds": cpu / steps}
        print(json.dumps(told | {"summing_seconds": processes.seconds / steps}))
    processes.end()


if __name__ == "__main__":
    main()

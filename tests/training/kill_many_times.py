"""Trains in processes that are killed with SIGKILL at random moments, and compares the bytes.

usage: python kill_many_times.py BASE FOLDER fp32|bf16 KILLS

Importing torch takes longer than such a run: one process imports it and forks the ones that are
killed. It has a single thread, so that a fork is a whole copy.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import torch
from training_runs import adapter_bytes, configure, run_training

from xmod_extend.files.run_folder import saved_states
from xmod_extend.model.slice import FP32, Precision

BF16 = Precision(name="bf16", storage=torch.bfloat16, compute=torch.bfloat16)


def train_in_a_child(base: Path, folder: Path, precision: Precision, seed: int) -> int:
    """Forks a process that trains, or goes on, and leaves the adapter's bytes; returns its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        result = run_training(base, configure(40, seed=seed), folder=folder, precision=precision)
        (folder / "adapter").write_bytes(adapter_bytes(result))
        code = 0
    finally:
        os._exit(code)


def main() -> None:
    base, folder, name, wanted = sys.argv[1:]
    precision = FP32 if name == "fp32" else BF16
    moments = random.Random(name)
    kills = with_a_state = seed = 0
    differing = []
    while kills < int(wanted):
        seed += 1
        expected = adapter_bytes(
            run_training(Path(base), configure(40, seed=seed), precision=precision)
        )
        assert threading.active_count() == 1 and torch.get_num_threads() == 1
        runs = Path(folder) / str(seed)
        length = 0.5
        while True:
            started = time.monotonic()
            child = train_in_a_child(Path(base), runs, precision, seed)
            killer = moments.uniform(0, length)
            while time.monotonic() - started < killer:
                if os.waitpid(child, os.WNOHANG)[0]:
                    break
                time.sleep(0.001)
            else:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                kills += 1
                with_a_state += bool(saved_states(runs))
                # Sooner or later a run gets long enough to end.
                length *= 1.1
                continue
            break
        if (runs / "adapter").read_bytes() != expected:
            differing.append(seed)
    print(json.dumps({"kills": kills, "with_a_state": with_a_state, "differing": differing}))


if __name__ == "__main__":
    main()

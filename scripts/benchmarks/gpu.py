"""Looks into training on a GPU: does it agree with the CPU, and what does a step spend its time on?

usage: python scripts/benchmarks/gpu.py BASE [--shapes 8x128 16x512 …] [--precision bf16 …]
           [--parts agreement step] [--device cuda|cpu]

BASE is what make_random_base.py writes. `agreement` scores the same masked tokens on both devices.
`step` times the parts of a step, each waited for, and one whole step as it is run; the first basis
of the optimiser and its refreshes apart, which come once and at every thirtieth step. That step is
also timed without PyTorch's deterministic algorithms, which training asks for. At last a profile of
one whole step: the kernels that take the most time, and every call that waits for the device.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from xmod_extend.model.adapter import adapter_set, random_adapter, set_adapter
from xmod_extend.model.batch import Batch
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.global_state import own_global_state
from xmod_extend.model.loss import prediction_loss, token_losses
from xmod_extend.model.slice import load_slice
from xmod_extend.objectives.masked import MaskingScheme
from xmod_extend.tokens.blocks import Ids
from xmod_extend.training.configuration import TrainingConfig
from xmod_extend.training.device import (
    choose_precision,
    deterministic_kernels,
    make_processes,
)
from xmod_extend.training.processes import Processes
from xmod_extend.training.soap import PRECONDITION_FREQUENCY
from xmod_extend.training.step import Stepper

WAITING = ("Synchronize", "cudaMemcpy", "aten::item", "aten::_local_scalar_dense", "aten::nonzero")
NUM_TIMED = 10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", type=Path)
    parser.add_argument("--shapes", nargs="+", default=["8x128", "16x512", "64x512"])
    parser.add_argument("--precision", nargs="+", default=["bf16"])
    parser.add_argument("--parts", nargs="+", default=["agreement", "step"])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    given = parser.parse_args()
    with own_global_state():
        processes = make_processes()
        if given.device != processes.device.type:
            parser.error(f"PyTorch found {processes.device.type}")
        checkpoint = open_checkpoint(given.base)
        if given.device == "cuda":
            print(torch.cuda.get_device_name(), torch.__version__)
        if "agreement" in given.parts:
            measure_agreement(checkpoint, given.precision, processes.device)
        if "step" in given.parts:
            for precision in given.precision:
                for shape in given.shapes:
                    batch_size, length = map(int, shape.split("x"))
                    with deterministic_kernels(processes.device):
                        measure_step(checkpoint, precision, batch_size, length, processes)


def make_scheme(vocabulary: int, rate: float) -> MaskingScheme:
    special_ids = (0, 1, 2, 3, vocabulary - 1)
    return MaskingScheme(
        mask_id=vocabulary - 1,
        special_ids=special_ids,
        vocabulary_size=vocabulary,
        mlm_probability=rate,
        seed=0,
    )


def make_blocks(vocabulary: int, batch_size: int, length: int) -> Ids:
    random = np.random.default_rng(0)
    return random.integers(4, vocabulary - 1, (batch_size, length))


def measure_agreement(checkpoint: Checkpoint, precisions: list[str], device: torch.device) -> None:
    """Prints how far single tokens' losses on the device are from those of the CPU in fp32."""
    language = checkpoint.languages[0]
    exact_model = load_slice(checkpoint, language)
    vocabulary = exact_model.config.vocab_size
    length = min(128, exact_model.config.max_position_embeddings - 2)
    blocks = make_blocks(vocabulary, 16, length)
    batch = Batch.from_prediction(make_scheme(vocabulary, 0.15).hide(blocks, 0))
    exact = token_losses(exact_model, [batch]).double()
    print(f"\n{len(exact)} tokens on the CPU in fp32: {exact.mean():.6f} nats a token")
    for name in dict.fromkeys(("fp32", *precisions)):
        model = load_slice(checkpoint, language, precision=choose_precision(name, device))
        model.to(device)
        found = token_losses(model, [batch.to(device)]).double().cpu()
        apart = (found - exact).abs()
        print(
            f"on {device.type} in {name}: {found.mean():.6f} nats a token; a token is off by "
            f"{apart.mean():.2e}, at most {apart.max():.2e}"
        )


def measure_step(
    checkpoint: Checkpoint, name: str, batch_size: int, length: int, processes: Processes
) -> None:
    precision = choose_precision(name, processes.device)
    model = load_slice(checkpoint, "quz_PE", precision=precision)
    model.to(processes.device)
    set_adapter(model, random_adapter(model, seed=0))
    vocabulary = model.config.vocab_size
    objective = make_scheme(vocabulary, 0.3).corrupt
    config = TrainingConfig(num_steps=1000, batch_size=batch_size, lr=1e-3, seed=0)
    stepper = Stepper(model, adapter_set(model), objective, config, processes)
    blocks = make_blocks(vocabulary, batch_size, length)
    on_gpu = processes.device.type == "cuda"
    print(f"\n{batch_size} x {length} tokens, 0.3 masked, {name}: milliseconds")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()

    def run_step() -> None:
        stepper.run(stepper.prepare(1, blocks))

    def tell(what: str, milliseconds: float) -> None:
        print(f"  {what:<44}{milliseconds:9.2f}", flush=True)

    optimizer = stepper.optimizer
    tell("first step", timed(run_step, 1))
    while optimizer.num_steps < config.num_adam_steps - 1:
        run_step()
    tell("step with the first basis", timed(run_step, 1))
    batch = stepper.prepare(1, blocks)
    tell("whole step, without a refresh", timed(lambda: stepper.run(batch), NUM_TIMED))
    optimizer.num_steps = PRECONDITION_FREQUENCY - 1
    tell("step with a refresh, the first", timed(run_step, 1))
    optimizer.num_steps = 2 * PRECONDITION_FREQUENCY - 1
    tell("step with a refresh, the second", timed(run_step, 1))
    tell("the host's part: masks, indices", timed(lambda: stepper.prepare(1, blocks), NUM_TIMED))
    ((_, micro_batch),) = batch.micro_batches[:1]
    there = micro_batch.to(processes.device)

    def forward() -> torch.Tensor:
        return prediction_loss(model, there)

    tell("forward and loss", timed(forward, NUM_TIMED))
    tell("forward, loss and backward", timed(lambda: forward().backward(), NUM_TIMED))
    gradients = [torch.randn_like(p) for p in adapter_set(model).stacks(stepper.values)]
    optimizer.num_steps = PRECONDITION_FREQUENCY
    tell("optimiser", timed(lambda: optimizer.step(gradients, 0.0), NUM_TIMED))
    if on_gpu:
        torch.set_deterministic_debug_mode("default")
        tell("whole step, in any order", timed(lambda: stepper.run(batch), NUM_TIMED))
        torch.set_deterministic_debug_mode("error")
        print(f"  peak memory {torch.cuda.max_memory_allocated() / 1e9:.2f} GB")
        profile(lambda: stepper.run(batch))


def timed(function: Callable[[], object], count: int) -> float:
    """Milliseconds of one call, the last of which is waited for."""
    wait()
    start = time.perf_counter()
    for _ in range(count):
        function()
    wait()
    return (time.perf_counter() - start) / count * 1000


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def profile(function: Callable[[], object]) -> None:
    """Prints where one call's device time goes, and what in it waited for the device."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity

    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        function()
        before_the_end = time.perf_counter()
        wait()
    print(f"  after the host was done, the device worked {since(before_the_end):.2f} ms")
    events = profiler.key_averages()
    kernels = [event for event in events if event.device_type == DeviceType.CUDA]
    total = sum(event.self_device_time_total for event in kernels)
    num_kernels = sum(event.count for event in kernels)
    print(f"  {num_kernels} kernels and copies take {total / 1000:.2f} ms of the device")
    for event in sorted(kernels, key=lambda event: -event.self_device_time_total)[:14]:
        share = event.self_device_time_total / total
        print(f"    {share:6.1%} {event.count:5d} x {event.key[:90]}")
    for event in events:
        if any(word in event.key for word in WAITING):
            print(f"    waiting? {event.count:5d} x {event.key} {event.self_cpu_time_total:.0f} us")


def since(start: float) -> float:
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()

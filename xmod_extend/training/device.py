"""The device that training runs on, and its precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from xmod_extend.errors import UsageError
from xmod_extend.model.slice import FP32, Precision
from xmod_extend.training.options import started_processes
from xmod_extend.training.processes import Processes

BF16_CPU_FEATURES = ("amx_bf16", "avx512_bf16", "bf16", "arm_bf16")
"""Processor features with which bf16 is faster than fp32; without them PyTorch emulates it."""


def make_processes() -> Processes:
    """Return device and processes as accelerate finds them, without its autocast.

    (Autocast fails on upstream's adapter loop, and would cast the frozen weights at every step.)
    """
    from accelerate import PartialState

    # An Accelerator would refuse a caller's with another precision, and keep the caller from making
    # one. Under torchrun, accelerate joins processes without a GPU only if told to use none.
    processes = Processes(PartialState(cpu=not torch.accelerator.is_available()))
    started = started_processes()
    if processes.count != started:
        raise UsageError(
            f"{started} processes were started, but accelerate joined {processes.count}.",
            hint="Start them with `torchrun` or `accelerate launch`.",
        )
    return processes


@contextmanager
def deterministic_kernels(device: torch.device) -> Iterator[None]:
    """Keep a device's kernels in the block from adding up in another order each time.

    Processors never do. On NVIDIA GPUs the backward pass of the fused attention does, and a resumed
    run would not end with the same bits.
    """
    if device.type != "cuda":
        yield
        return
    memory: Any = torch.utils.deterministic
    mode, fills = torch.get_deterministic_debug_mode(), memory.fill_uninitialized_memory
    # Nothing here reads memory before it is written.
    memory.fill_uninitialized_memory = False
    torch.set_deterministic_debug_mode("error")
    try:
        if _multiplies(device):
            yield
        else:
            # In a process that multiplied before `own_global_state` cuBLAS stays refused; the plain
            # attention has one order only.
            torch.set_deterministic_debug_mode("default")
            with sdpa_kernel(SDPBackend.MATH):
                yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        memory.fill_uninitialized_memory = fills


def _multiplies(device: torch.device) -> bool:
    one = torch.ones(1, 1, device=device)
    try:
        torch.mm(one, one)
    except RuntimeError:
        return False
    return True


def choose_precision(precision: str, device: torch.device) -> Precision:
    """Resolve `auto`, `fp32`, `bf16` or `fp16`.

    A processor without bf16 instructions emulates them at a third of the speed of fp32; asked for
    bf16 it keeps the weights in bf16, which halves their memory, and computes in fp32. fp16 is for
    NVIDIA's GPUs before Ampere, which have nothing better; its gradients need loss scaling.

    Raises:
        UsageError: bf16 was asked for on a GPU that has none, or fp16 where there is no such GPU.
    """
    half = Precision(name="fp16", storage=torch.float16, compute=torch.float16)
    if precision == "fp16" and device.type != "cuda":
        raise UsageError(
            f"--precision is fp16, which is for NVIDIA GPUs; this run is on {device.type}.",
            hint="Use --precision bf16, which halves the memory as well, or auto.",
        )
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        if precision == "bf16" and not has_bf16:
            raise UsageError(
                f"--precision is bf16, but {torch.cuda.get_device_name(device)} has no bf16.",
                hint="Use --precision fp16 or auto.",
            )
        if precision == "fp16" or (precision == "auto" and not has_bf16):
            return half
    elif device.type == "cpu":
        has_bf16 = _cpu_has_bf16()
    else:
        has_bf16 = False
    name = ("bf16" if has_bf16 else "fp32") if precision == "auto" else precision
    if name == "fp32":
        return FP32
    compute = torch.bfloat16 if has_bf16 else torch.float32
    return Precision(name=name, storage=torch.bfloat16, compute=compute)


def _cpu_has_bf16() -> bool:
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(feature)) for feature in BF16_CPU_FEATURES)

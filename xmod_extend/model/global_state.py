"""A caller's settings for the whole process, put aside while a job runs and restored after it.

A notebook sets a default dtype, a seed or autocast for its own model. None of that may change what
a job computes, nor make it fail, and the job must leave all of it as it was. The number of threads
alone stays the caller's: it says how much of the machine the job may have.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

Setting = tuple[Callable[[], Any], Callable[[Any], object], Any]
"""A setting: how it is read, how it is written, and its value while a job runs."""

CUBLAS_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def own_global_state() -> Iterator[None]:
    """Give a block PyTorch's, numpy's and Python's settings as they are in a fresh process."""
    import numpy as np
    import torch

    with ExitStack() as stack:
        _keep_random_states(stack)
        for read, write, value in _settings():
            before = read()
            if before != value:
                stack.callback(write, before)
                write(value)
        if torch.get_default_device() != torch.device("cpu"):
            stack.enter_context(torch.device("cpu"))
        for device in ("cpu", *_accelerator()):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        yield


def _settings() -> list[Setting]:
    import torch

    cuda = torch.backends.cuda
    return [
        (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0),
        # Read once, at the first product on an NVIDIA GPU: without it training could not ask for
        # the same bits again.
        _variable(CUBLAS_VARIABLE, ":4096:8"),
        (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, False),
        (_flushes_denormals, torch.set_flush_denormal, False),
        _attribute(torch.backends.mkldnn, "enabled", True),
        _attribute(cuda.matmul, "allow_fp16_reduced_precision_reduction", True),
        _attribute(cuda.matmul, "allow_bf16_reduced_precision_reduction", True),
        (cuda.flash_sdp_enabled, cuda.enable_flash_sdp, True),
        (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp, True),
        (cuda.math_sdp_enabled, cuda.enable_math_sdp, True),
        # It plans anew for each length and number of sentences, for a quarter of a second.
        (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp, False),
        *_matmul_precision(),
    ]


def _variable(name: str, during: str) -> Setting:
    """Return an environment variable as a setting; None is one that is not set."""

    def write(value: str | None) -> None:
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value

    return (lambda: os.environ.get(name), write, during)


def _matmul_precision() -> list[Setting]:
    """Return the setting by PyTorch's old or new name: it refuses to read what the other wrote."""
    import torch

    try:
        torch.get_float32_matmul_precision()
    except RuntimeError:
        backends: list[Any] = [torch.backends.mkldnn, torch.backends.cuda]
        return [_attribute(backend.matmul, "fp32_precision", "ieee") for backend in backends]
    return [(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest")]


def _attribute(owner: Any, name: str, during: Any) -> Setting:
    return (lambda: getattr(owner, name), lambda value: setattr(owner, name, value), during)


def _flushes_denormals() -> bool:
    import torch

    smallest = torch.tensor(1e-40, dtype=torch.float32, device="cpu")
    return not bool(smallest * 1.0)


def _keep_random_states(stack: ExitStack) -> None:
    """Put the random generators back at the end; what a job draws comes from its own."""
    import numpy as np
    import torch

    stack.callback(random.setstate, random.getstate())
    stack.callback(np.random.set_state, np.random.get_state())
    stack.callback(torch.set_rng_state, torch.get_rng_state())
    for device in _accelerator():
        module = torch.get_device_module(device)
        # Of all GPUs, because dropout's seed is set for all; MPS has one generator only.
        suffix = "_all" if hasattr(module, "get_rng_state_all") else ""
        read, write = (getattr(module, f"{act}_rng_state{suffix}") for act in ("get", "set"))
        stack.callback(write, read())


def _accelerator() -> list[str]:
    import torch

    device = torch.accelerator.current_accelerator()
    return [device.type] if device is not None and torch.accelerator.is_available() else []

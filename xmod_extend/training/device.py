"""Where training runs, and in which precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from xmod_extend.errors import UsageError
from xmod_extend.model.slice import FP32, Precision

if TYPE_CHECKING:
    from accelerate import Accelerator

BF16_CPU_FEATURES = ("amx_bf16", "avx512_bf16", "bf16", "arm_bf16")
"""Processor features with which bf16 is faster than fp32; without them PyTorch emulates it."""


def make_accelerator() -> Accelerator:
    """The device as accelerate finds it; precision is the slice's own, never autocast.

    (Autocast fails on upstream's adapter loop, and would cast the frozen weights at every step.)
    """
    from accelerate import Accelerator

    return Accelerator(mixed_precision="no")


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """Resolves `auto`, `fp32` or `bf16`.

    A processor without bf16 instructions emulates them at a third of the speed of fp32; asked for
    bf16 it keeps the weights in bf16, which halves their memory, and computes in fp32.

    Raises:
        UsageError: bf16 was asked for on a GPU that has none.
    """
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        if wanted == "bf16" and not has_bf16:
            raise UsageError(
                f"--precision is bf16, but {torch.cuda.get_device_name(device)} has no bf16.",
                hint="Use --precision fp32.",
            )
    elif device.type == "cpu":
        has_bf16 = _cpu_has_bf16()
    else:
        has_bf16 = False
    name = ("bf16" if has_bf16 else "fp32") if wanted == "auto" else wanted
    if name == "fp32":
        return FP32
    compute = torch.bfloat16 if has_bf16 else torch.float32
    return Precision(name=name, storage=torch.bfloat16, compute=compute)


def _cpu_has_bf16() -> bool:
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(feature)) for feature in BF16_CPU_FEATURES)

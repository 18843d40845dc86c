"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

BF16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16", "svebf16")
"""As /proc/cpuinfo spells the instructions that make bf16 faster than fp32."""


def describe_machine() -> dict[str, Any]:
    """Processor, memory and the flags that decide about bf16; `None` where it cannot be told."""
    fields = _cpuinfo()
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": fields.get("model name") or platform.processor() or None,
        "cores": os.cpu_count(),
        "memory_bytes": pages,
        "flags": {flag: flag in flags for flag in ("avx2", "avx512f", *BF16_FLAGS)},
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def has_fast_bf16(machine: dict[str, Any]) -> bool:
    return any(machine["flags"][flag] for flag in BF16_FLAGS)


def _cpuinfo() -> dict[str, str]:
    """The first processor's fields; empty where there is no /proc/cpuinfo."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return {}
    first = file.read_text().split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}

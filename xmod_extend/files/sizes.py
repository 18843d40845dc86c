"""Sizes of files in words."""

from __future__ import annotations


def describe_size(num_bytes: float) -> str:
    """Return a size as `28.4 MB`, in powers of ten as on the Hub."""
    if num_bytes < 1000:
        return f"{num_bytes:.0f} B"
    for unit in ("kB", "MB", "GB"):
        num_bytes /= 1000
        if num_bytes < 1000:
            return f"{num_bytes:.1f} {unit}"
    return f"{num_bytes / 1000:.1f} TB"

"""The versions of what computed a result."""

from __future__ import annotations

import platform
from importlib import metadata

PACKAGES = (
    "xmod-extend",
    "torch",
    "transformers",
    "datasets",
    "accelerate",
    "tokenizers",
    "safetensors",
)


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that computed the result."""
    return {"python": platform.python_version()} | {
        package: metadata.version(package) for package in PACKAGES
    }


def own_version() -> str:
    """Return the version of this package."""
    return metadata.version("xmod-extend")

"""Packages of the extra `notebook`: wanted by some callers, needed by no command."""

from __future__ import annotations

import importlib
from types import ModuleType

from xmod_extend.errors import UsageError


def require(package: str, *, caller: str) -> ModuleType:
    """Import a package of the extra.

    Args:
        package: The name that it is imported by.
        caller: What needs it, as a user writes it, such as `plot()`.

    Raises:
        UsageError: It is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UsageError(
            f"{caller} needs {package}, which is not installed.",
            hint='Install it: pip install "xmod-extend[notebook]"',
        ) from error


def load_plots() -> ModuleType:
    """Import the module that draws.

    Raises:
        UsageError: matplotlib is not installed.
    """
    require("matplotlib", caller="plot()")
    return importlib.import_module("xmod_extend.report.plots")

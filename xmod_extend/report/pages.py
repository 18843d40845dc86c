"""Pages made of the templates beside this file: whatever comes from a user is escaped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def make_environment(**filters: Callable[..., Any]) -> Environment:
    """Return what reads the templates, with filters of their own."""
    environment = Environment(
        loader=PackageLoader("xmod_extend.report"),
        # The names of the templates all end in .html, but nothing hangs on that.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment

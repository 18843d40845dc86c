"""Pages made of the templates beside this file: whatever comes from a user is escaped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def make_environment(
    *, escape: Callable[[Any], str] | None = None, **filters: Callable[..., Any]
) -> Environment:
    """Return what reads the templates, with filters of their own.

    Args:
        escape: What escapes each value that a template shows, in place of HTML's rules.
        filters: By the names that the templates use.
    """
    environment = Environment(
        loader=PackageLoader("xmod_extend.report"),
        # The names of the templates do not say whether they are HTML.
        autoescape=escape is None,
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=escape is not None,
    )
    environment.filters |= filters
    return environment

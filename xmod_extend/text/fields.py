"""What is said about a field or a column that is not there, or there twice."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence

from xmod_extend.errors import CorpusError


def missing_field(where: str, field: str, found: Sequence[str], *, hint: str = "") -> CorpusError:
    """Return the error for text that lacks the field or column `field`.

    Args:
        where: The record or file.
        field: What was asked for.
        found: What there is instead.
        hint: What else can be done, where no name is near.
    """
    shown = ", ".join(map(repr, found[:8])) + (", …" if len(found) > 8 else "")
    near = difflib.get_close_matches(field, found, n=1)
    return CorpusError(
        f"{where} has no field {field!r} (found {shown or 'none'}).",
        hint=f"Did you mean --text-field {shlex.quote(near[0])}?"
        if near
        else hint or "Name the field that holds the text with --text-field.",
    )


def repeated_column(where: str, column: str, count: int) -> CorpusError:
    """Return the error for a table in which the name of a column does not say which one
    is meant."""
    return CorpusError(
        f"{where} has {count} columns named {column!r}.",
        hint="Give each another name, or choose another column with --text-field.",
    )

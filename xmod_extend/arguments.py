"""What callers give, made plain: numpy's numbers and paths of every kind become Python's own.

Anything else of a wrong type is refused at once and by name. A wrong value that slips through shows
only where it is used, which can be hours later.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from numbers import Integral, Real
from pathlib import Path

from xmod_extend.errors import UsageError

PathOrName = str | os.PathLike[str]
"""A path, or a name on the Hub."""
PathsOrNames = PathOrName | Sequence[PathOrName]
MOST_SHOWN = 60
"""Characters of a wrong value that a message shows."""


def as_bool(name: str, value: object) -> bool:
    """Return a truth value; no word or number stands for one.

    Raises:
        UsageError: It is something else, as for all functions here.
    """
    if isinstance(value, bool):
        return value
    import numpy as np

    if isinstance(value, np.bool_):
        return bool(value)
    raise wrong_type(name, value, "bool, true or false")


def as_int(name: str, value: object) -> int:
    """Return a whole number, Python's or numpy's."""
    if not isinstance(value, bool) and isinstance(value, Integral):
        return int(value)
    raise wrong_type(name, value, "int, a whole number")


def as_float(name: str, value: object) -> float:
    """Return a number, or the spelling of one: YAML 1.1 reads 1e-3, without a point, as a word."""
    if not isinstance(value, bool) and isinstance(value, Real | str):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise wrong_type(name, value, "float, a number")


def as_text(name: str, value: object) -> str:
    """Return a word or a name."""
    if not isinstance(value, str):
        raise wrong_type(name, value, "str")
    if "\0" in value:
        raise UsageError(f"{name} has a zero byte in it.", hint="Leave it out.")
    # A plain string also where it is numpy's, or a member of an enumeration.
    return str.__str__(value)


def as_path_or_name(name: str, value: object) -> str:
    """Return a path or a name on the Hub, as text."""
    try:
        return as_text(name, os.fspath(value))  # type: ignore[call-overload]
    except TypeError:
        raise wrong_type(name, value, "str or a path") from None


def as_path(name: str, value: object) -> Path:
    """Return a path of one file or folder."""
    path = as_path_or_name(name, value)
    if not path:
        raise UsageError(f"{name} is empty.", hint="Give the name of a file or folder.")
    return Path(path)


def as_paths_or_names(name: str, value: object) -> tuple[str, ...]:
    """Return one path, or several in a list or from a generator such as `Path.glob`."""
    if isinstance(value, str | os.PathLike):
        return (as_path_or_name(name, value),)
    listed = tuple(_listed(name, value, "str, a path, or a list of these"))
    if not all(isinstance(item, str | os.PathLike) for item in listed):
        raise wrong_type(name, value, "a list of str or of paths")
    return tuple(as_path_or_name(name, item) for item in listed)


def as_names(name: str, value: object) -> list[str]:
    """Return one name, or several in a list."""
    if isinstance(value, str):
        return [as_text(name, value)]
    return [as_text(name, item) for item in _listed(name, value, "str or a list of these")]


def _listed(name: str, value: object, needed: str) -> Sequence[object] | Iterator[object]:
    # A set has no order, and an open file would give its lines.
    if isinstance(value, Sequence | Generator) and not isinstance(value, bytes | bytearray):
        return value
    raise wrong_type(name, value, needed)


def wrong_type(name: str, value: object, needed: str) -> UsageError:
    """Return the error that says what was found and what is needed."""
    hint = None
    if isinstance(value, str):
        hint = "Write it without quotes."
    elif needed == "str" and isinstance(value, bool | int | float):
        hint = "Put it in quotes."
    return UsageError(f"{name} is {shown(value)}; it must be of type {needed}.", hint=hint)


def shown(value: object) -> str:
    """Return a value as a message shows it: in one line, and not all of a long one."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a class may do anything there, and huge numbers have no digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."

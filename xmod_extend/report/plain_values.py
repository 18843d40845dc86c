"""Dataclasses from JSON values that anyone may have written: every type is checked on the way."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from typing import Any

from xmod_extend.arguments import shown

LARGEST = 1 << 63
"""A larger whole number counts nothing that there is."""
DEEPEST = 4
"""Levels of lists and mappings where anything plain may stand, such as in options."""


class WrongValueError(ValueError):
    """A value that is not of the type that its place has, in a sentence without its end."""


def from_plain(kind: Any, value: Any, place: str = "it") -> Any:
    """Return the dataclass, tuple or plain value that a JSON value stands for.

    Args:
        kind: A dataclass, or the type of one of its fields.
        value: What `json.loads` returned.
        place: What a message calls it, such as `training.lr`.

    Raises:
        WrongValueError: The value, or one within it, is missing, unknown or of another type.
    """
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return _from_union(kind, value, place)
    if origin is tuple:
        _require(isinstance(value, list), value, place, "a list")
        item = typing.get_args(kind)[0]
        return tuple(from_plain(item, one, f"{place}[{i}]") for i, one in enumerate(value))
    if origin is dict:
        _require(isinstance(value, dict), value, place, "a mapping")
        item = typing.get_args(kind)[1]
        return {name: from_plain(item, one, _inside(place, name)) for name, one in value.items()}
    if origin is typing.Literal:
        _require(value in typing.get_args(kind), value, place, "one of its words")
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _from_fields(kind, value, place)
    return _from_simple(kind, value, place)


def _from_union(kind: Any, value: Any, place: str) -> Any:
    (option,) = (one for one in typing.get_args(kind) if one is not types.NoneType)
    return None if value is None else from_plain(option, value, place)


def _from_fields(kind: type, value: Any, place: str) -> Any:
    _require(isinstance(value, dict), value, place, "a mapping")
    kinds, required = _fields_of(kind)
    for name in value:
        if name not in kinds:
            raise WrongValueError(f"{_inside(place, name)} is unknown")
    for name in required:
        if name not in value:
            raise WrongValueError(f"{_inside(place, name)} is missing")
    return kind(
        **{name: from_plain(kinds[name], one, _inside(place, name)) for name, one in value.items()}
    )


@functools.cache
def _fields_of(kind: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the types of a dataclass's fields, and the names of those without a default."""
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    missing = dataclasses.MISSING
    return {field.name: hints[field.name] for field in fields}, tuple(
        field.name
        for field in fields
        if field.default is missing and field.default_factory is missing
    )


def _from_simple(kind: Any, value: Any, place: str) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is Any:
        _require_plain(value, place, DEEPEST)
    elif kind is float:
        _require(is_number, value, place, "a number")
        _require_sane(value, place)
    elif kind is int:
        _require(is_number and isinstance(value, int), value, place, "a whole number")
        _require_sane(value, place)
    elif kind is str:
        _require(isinstance(value, str), value, place, "text")
    else:
        _require(kind is bool and isinstance(value, bool), value, place, "what can be read")
    return value


def _require_plain(value: Any, place: str, depth: int) -> None:
    if isinstance(value, dict | list):
        _require(depth > 0, value, place, "nested less deeply")
        for one in value.values() if isinstance(value, dict) else value:
            _require_plain(one, place, depth - 1)
    elif isinstance(value, int | float):
        _require_sane(value, place)


def _require_sane(value: float, place: str) -> None:
    # Compared as it is: a whole number of thousands of digits is no float.
    _require(-LARGEST <= value <= LARGEST or _is_large_float(value), value, place, "finite")


def _is_large_float(value: float) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _require(holds: bool, value: Any, place: str, needed: str) -> None:
    if not holds:
        raise WrongValueError(f"{place} is {shown(value)}, not {needed}")


def _inside(place: str, name: str) -> str:
    name = name if name.isidentifier() and name.isascii() and len(name) < 60 else shown(name)
    return name if place == "it" else f"{place}.{name}"

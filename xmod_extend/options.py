"""Options as fields of dataclasses, which check themselves where one is made.

A group is a frozen dataclass whose fields are made by `option`. Each field says once what the
command line, a YAML file and a call need to know: its type, default, help, choices and bounds.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Self, get_args, get_origin

from xmod_extend.arguments import (
    as_bool,
    as_float,
    as_int,
    as_path,
    as_paths_or_names,
    as_text,
    shown,
)
from xmod_extend.errors import UsageError

Rule = tuple[Callable[[Any], bool], str]
"""Whether a value makes sense, and what it must be, such as `at least 1`."""

_READERS: dict[object, Callable[[str, object], object]] = {
    bool: as_bool,
    int: as_int,
    float: as_float,
    Path: as_path,
    tuple[str, ...]: as_paths_or_names,
}


def at_least(least: float, unit: str = "") -> Rule:
    """Return the rule that a number is not below `least`."""
    return (lambda value: value >= least), f"at least {least:g} {unit}".rstrip()


def at_most(most: float) -> Rule:
    """Return the rule that a number is not above `most`."""
    return (lambda value: value <= most), f"at most {most:,}"


def positive(most: float) -> Rule:
    """Return the rule that a number is above 0 and not above `most`."""
    return (lambda value: 0 < value <= most), f"above 0 and at most {most:g}"


def option(help_text: str, *, default: Any = dataclasses.MISSING, **details: Any) -> Any:
    """Return a dataclass field for one option.

    Args:
        help_text: What it is, in a sentence or two.
        default: None where the default depends on something; an option without one is required.
        details: Other fields of `Option`.
    """
    return dataclasses.field(default=default, metadata={"help_text": help_text, **details})


def flag(name: str) -> str:
    """Return an option's name as it is typed."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of a group."""

    name: str
    kind: Any
    """The type of its values, without None."""
    default: Any
    panel: str
    """The heading that the help shows it under."""
    help_text: str
    default_text: str | None = None
    """What the help says of a default that depends on something."""
    metavar: str | None = None
    """What the help shows for the value."""
    rules: Sequence[Rule] = ()
    """What a value of the right type must fulfil."""
    alias: str | None = None
    """Its name in transformers' and AdapterHub's scripts."""
    read: Callable[[str, object], object] | None = None
    """What makes a value plain, where the type does not say how."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The only values that it may have; empty if there are others."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is dataclasses.MISSING

    @property
    def help(self) -> str:
        """The help text, with the default."""
        if self.is_required:
            return self.help_text
        text = self.default_text
        if text is None:
            text = "off" if self.default is False else f"{self.default}".removesuffix(".0")
        return f"{self.help_text} [default: {text}]"

    def plain(self, value: object, label: str) -> Any:
        """Return a value in Python's own type.

        Raises:
            UsageError: It is of another type; the message calls it `label`.
        """
        read = self.read or _READERS.get(self.kind, as_text)
        return read(label, value)

    def check(self, value: Any, label: str) -> None:
        """Refuse a value of the right type that makes no sense.

        Raises:
            UsageError: The message calls it `label`.
        """
        rules = list(self.rules)
        if self.choices:
            rules.append((self.choices.__contains__, "one of " + ", ".join(self.choices)))
        for holds, needed in rules:
            if not holds(value):
                raise UsageError(f"{label} is {shown(value)}; it must be {needed}.")

    def accept(self, value: object) -> Any:
        """Return a value plain and checked; None is the default."""
        if value is None and not self.is_required:
            return self.default
        plain = self.plain(value, flag(self.name))
        self.check(plain, flag(self.name))
        return plain


@dataclass(frozen=True, kw_only=True)
class OptionGroup:
    """Base of the groups: wrong types and values raise `UsageError` where one is made.

    None stands for the default, as an empty value does in a YAML file. numpy's numbers and paths of
    any kind become plain ones.
    """

    PANEL = ""

    @classmethod
    def from_values(cls, **values: object) -> Self:
        """Return the group made of values that may be of other types, as callers pass them."""
        return cls(**values)

    def __post_init__(self) -> None:
        for name, described in options_of(type(self)).items():
            object.__setattr__(self, name, described.accept(getattr(self, name)))


def options_of(group: type[OptionGroup]) -> dict[str, Option]:
    """Return the options of a group, and of those that it inherits from, by name."""
    kinds = typing.get_type_hints(group)
    panels = {
        name: owner.__dict__["PANEL"]
        for owner in reversed(group.__mro__)
        if "PANEL" in owner.__dict__
        for name in inspect.get_annotations(owner)
    }
    return {
        field.name: Option(
            name=field.name,
            kind=_without_none(kinds[field.name]),
            default=field.default,
            panel=panels[field.name],
            **field.metadata,
        )
        for field in dataclasses.fields(group)
    }


def _without_none(kind: Any) -> Any:
    if isinstance(kind, UnionType) or get_origin(kind) is typing.Union:
        (kind,) = (one for one in get_args(kind) if one is not type(None))
    return kind

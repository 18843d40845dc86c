"""Commands that write a folder: run, and what was written shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from xmod_extend.cli.errors import error_boundary
from xmod_extend.cli.options import typed
from xmod_extend.cli.output import Display, Output


class WritingOptions(Protocol):
    """Options with a folder that is written."""

    @property
    def output(self) -> Path: ...


class Written(Protocol):
    """What became of it."""

    @property
    def output(self) -> str: ...

    def to_dict(self) -> dict[str, Any]: ...


Options = TypeVar("Options", bound=WritingOptions)
Result = TypeVar("Result", bound=Written)


def write_and_show(
    group: Callable[..., Options],
    options: Mapping[str, Any],
    run: Callable[[Options, Display], Result],
    lines: Callable[[Result], Sequence[str]],
    *,
    json: bool,
    quiet: bool,
) -> None:
    """Do what a command was typed for, and print what it wrote.

    Args:
        group: Makes the options of what was typed.
        run: Writes the folder. It imports what it needs, for that takes seconds.
        lines: Returns what people see of the result.
    """
    output = Output(as_json=json, quiet=quiet)
    with error_boundary(output) as boundary:
        chosen = group(**typed(dict(options)))
        boundary.watch(chosen.output)
        output.note("Loading torch and transformers ...")
        display = Display(output)
        try:
            result = run(chosen, display)
        finally:
            display.close()
        output.result(
            result.to_dict(), result.output, *lines(result), effect=f"{result.output} is written."
        )

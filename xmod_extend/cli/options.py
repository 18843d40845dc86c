"""Options of the command line: those of a group, and what only a shell has."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection
from typing import Annotated, Any, TypeVar

import typer

from xmod_extend.options import Option, OptionGroup, flag, options_of

METAVARS = {int: "N", float: "X"}

Json = Annotated[
    bool,
    typer.Option(
        "--json", rich_help_panel="Output", help="Print one JSON object on stdout. [default: off]"
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        rich_help_panel="Output",
        help="Print only what a script needs, and warnings. [default: off]",
    ),
]
CheckpointArgument = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT", help="Folder or Hub id (USER/NAME@REVISION) of an X-MOD, or `tiny`."
    ),
]

Command = TypeVar("Command", bound=Callable[..., None])


def takes(
    group: type[OptionGroup],
    *,
    without: Collection[str] = (),
    repeated: Collection[str] = (),
    is_for_run: bool = False,
) -> Callable[[Command], Command]:
    """Give a command an option for each field of a group, in the place of its `**options`.

    Args:
        group: The fields' class.
        without: Names of fields that the command has no option for.
        repeated: Names of fields that may be typed several times, beside the lists.
        is_for_run: Whether a file may have what is required, and the aliases are understood,
            which the help does not list.
    """

    def replace(command: Command) -> Command:
        parameters = []
        for name, option in options_of(group).items():
            if name in without:
                continue
            names = [name, option.alias] if is_for_run and option.alias else [name]
            parameters += [
                _parameter(
                    option,
                    spelled,
                    is_repeated=name in repeated,
                    is_required=option.is_required and not is_for_run,
                )
                for spelled in names
            ]
        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters += [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in own
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return replace


def typed(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were typed: the others must not hide what a file says."""
    return {
        name: value
        for name, value in options.items()
        if value is not None and value is not False and value != []
    }


def _parameter(
    option: Option, name: str, *, is_repeated: bool, is_required: bool
) -> inspect.Parameter:
    kind: Any = option.kind if option.kind in (bool, int, float) else str
    if is_repeated or typing.get_origin(option.kind) is tuple:
        kind = list[str]
    described = typer.Option(
        flag(name),
        help=option.help,
        metavar=option.metavar or "|".join(option.choices) or METAVARS.get(option.kind),
        rich_help_panel=option.panel,
        show_default=False,
        hidden=name != option.name,
    )
    default: Any = False if kind is bool else None
    if is_required:
        default = inspect.Parameter.empty
    elif kind is not bool:
        kind = kind | None
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, described],
    )

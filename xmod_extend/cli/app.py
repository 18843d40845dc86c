"""The commands, and the options they share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from xmod_extend.cli.add import add
from xmod_extend.cli.check import check
from xmod_extend.cli.info import info
from xmod_extend.cli.output import Output
from xmod_extend.cli.probe import probe
from xmod_extend.cli.verify import verify
from xmod_extend.errors import UsageError

app = typer.Typer(
    name="xmod-extend",
    help="Add a language to a pretrained X-MOD, and prove that nothing else changed.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (add, check, probe, verify, info):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        from xmod_extend import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Add a language to a pretrained X-MOD, and prove that nothing else changed."""


def run(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command that was typed, and exits with its code."""
    try:
        code = app(args=arguments, prog_name="xmod-extend", standalone_mode=False)
    except Exception as error:
        # typer's errors have this method; their classes have moved from click to typer.
        if not hasattr(error, "format_message"):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined]
        else:
            context = getattr(error, "ctx", None)
            command = context.command_path if context else "xmod-extend"
            reason = " ".join(error.format_message().split())
            Output().error(reason, f"`{command} --help` lists what there is")
        sys.exit(UsageError.exit_code)
    sys.exit(code if isinstance(code, int) else 0)

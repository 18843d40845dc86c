"""The commands, and the options they share."""

from __future__ import annotations

import typer

from xmod_extend.cli.add import add
from xmod_extend.cli.check import check
from xmod_extend.cli.info import info
from xmod_extend.cli.probe import probe
from xmod_extend.cli.verify import verify

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


def run() -> None:
    """Runs the command that was typed."""
    app()

"""The commands together, the version, and the errors of the command line library."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from xmod_extend.cli.add import EPILOG, add
from xmod_extend.cli.check import check
from xmod_extend.cli.compare import compare
from xmod_extend.cli.convert import convert
from xmod_extend.cli.eval import evaluate
from xmod_extend.cli.help import Command
from xmod_extend.cli.info import info
from xmod_extend.cli.install import install
from xmod_extend.cli.mistyped import explain
from xmod_extend.cli.output import Output
from xmod_extend.cli.pack import pack
from xmod_extend.cli.probe import probe
from xmod_extend.cli.push import push
from xmod_extend.cli.remove import remove
from xmod_extend.cli.report import report
from xmod_extend.cli.slice import slice_languages
from xmod_extend.cli.streams import discard_output, require_descriptors, tolerant_stderr
from xmod_extend.cli.transfer import transfer
from xmod_extend.cli.verify import verify
from xmod_extend.errors import UsageError

app = typer.Typer(
    name="xmod-extend",
    help="Add a language to a pretrained X-MOD, and prove that nothing else changed.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        # transformers' scripts write --train_file.
        "token_normalize_func": lambda name: name.replace("_", "-"),
    },
)

COMMANDS = (
    add,
    check,
    probe,
    evaluate,
    compare,
    report,
    transfer,
    verify,
    info,
    pack,
    install,
    remove,
    slice_languages,
    push,
    convert,
)
NAMES = {evaluate: "eval", slice_languages: "slice"}
"""Commands whose functions may not have their names, which are Python's own."""

for command in COMMANDS:
    app.command(NAMES.get(command), cls=Command, epilog=EPILOG if command is add else None)(command)


def _version(is_asked_for: bool) -> None:
    if is_asked_for:
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
    """Run the command that was typed, and exit with its code."""
    require_descriptors()
    typed = sys.argv[1:] if arguments is None else list(arguments)
    with tolerant_stderr():
        try:
            code = app(args=typed, prog_name="xmod-extend", standalone_mode=False)
            if sys.stdout is not None:
                sys.stdout.flush()
        except SystemExit as error:
            # The library below gives up with 1 when the reader of a help has seen enough.
            if error.__cause__ is None and isinstance(error.__context__, BrokenPipeError):
                sys.exit(0)
            raise
        except OSError as error:
            # The help or the version could not be printed.
            discard_output(sys.stdout)
            if isinstance(error, BrokenPipeError):
                sys.exit(0)
            Output().error(f"The text could not be printed: {error.strerror}.", None)
            sys.exit(UsageError.exit_code)
        except Exception as error:
            # The errors of the library below have this method; their classes have moved before.
            if not hasattr(error, "format_message"):
                raise
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()  # type: ignore[attr-defined]
            else:
                Output().error(*explain(error, typed))
            sys.exit(UsageError.exit_code)
    sys.exit(code if isinstance(code, int) else 0)

"""The command line: the only place that prints or exits. Each command is a thin shell."""

from __future__ import annotations


def main() -> None:
    """Run the command line, as `xmod-extend` and `python -m xmod_extend` do."""
    try:
        from xmod_extend.cli.app import run

        run()
    except KeyboardInterrupt:
        # Before a command began, there is nothing to say.
        raise SystemExit(130) from None

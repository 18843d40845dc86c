"""The command line: the only place that prints or exits. Each command is a thin shell."""

from __future__ import annotations

import os
import sys

SPIN_VARIABLE = "GOMP_SPINCOUNT"
WAIT_VARIABLES = (SPIN_VARIABLE, "OMP_WAIT_POLICY")
SPIN_COUNT = 1000
"""Looks at what is waited for before a thread goes to sleep: some tens of microseconds."""


def main() -> None:
    """Run the command line, as `xmod-extend` and `python -m xmod_extend` do."""
    try:
        bound_waiting()
        from xmod_extend.cli.app import run

        run()
    except KeyboardInterrupt:
        # Before a command began, there is nothing to say.
        raise SystemExit(130) from None


def bound_waiting() -> None:
    """Keep idle threads of PyTorch on Linux, which has GNU's OpenMP, from spinning for long.

    Where others want the cores too, each wait would otherwise be as long as the others' turn. It is
    read once, when torch is loaded; whoever has set a wait, or loaded torch, keeps what they have.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in WAIT_VARIABLES):
        os.environ[SPIN_VARIABLE] = str(SPIN_COUNT)

"""`xmod-extend report`: report.html again, from the run record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xmod_extend.cli.errors import error_boundary
from xmod_extend.cli.options import Json, Quiet
from xmod_extend.cli.output import Output


def report(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of a checkpoint that `add` wrote.")
    ],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write report.html into a checkpoint again, from its run record alone."""
    output = Output(as_json=json, quiet=quiet)
    with error_boundary(output):
        from xmod_extend.jobs.report import write_report

        paths = [str(path) for path in write_report(checkpoint)]
        output.result(
            {"reports": paths},
            "\n".join(paths),
            *(f"{path} opens in any browser, without a network" for path in paths),
            effect="it is written.",
        )

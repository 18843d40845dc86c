"""Options that several commands have, spelled once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xmod_extend.jobs.options import EncodingErrors as EncodingErrorsChoice
from xmod_extend.jobs.options import option_help

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print only what a script needs, and warnings.")
]
Corpus = Annotated[list[str], typer.Option("--corpus", metavar="PATH", help=option_help("corpus"))]
Base = Annotated[str, typer.Option("--base", help=option_help("base"))]
Revision = Annotated[str | None, typer.Option("--revision", help=option_help("revision"))]
HeldOut = Annotated[
    str | None, typer.Option("--held-out", metavar="PATH", help=option_help("held_out"))
]
TextField = Annotated[str, typer.Option("--text-field", help=option_help("text_field"))]
EncodingErrors = Annotated[
    EncodingErrorsChoice, typer.Option("--encoding-errors", help=option_help("encoding_errors"))
]
CheckpointDir = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder of an X-MOD.")]
CheckpointArgument = Annotated[
    str, typer.Argument(metavar="CHECKPOINT", help="Folder or Hub id of an X-MOD, or `tiny`.")
]

"""`xmod-extend convert`: to and from the forms of other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xmod_extend.cli.errors import error_boundary
from xmod_extend.cli.options import Json, Quiet
from xmod_extend.cli.output import Output
from xmod_extend.files.sizes import describe_size

if TYPE_CHECKING:
    from xmod_extend.jobs.convert import Conversion

Source = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT",
        help="Folder or Hub id of an X-MOD; with --from, a folder or file in the other form.",
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="FORM",
        rich_help_panel="What",
        help="adapterhub: what adapters 1.3.0 loads, one language with --lang, else all of it.",
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FORM",
        rich_help_panel="What",
        help="adapterhub: a language adapter becomes a pack, a whole model a checkpoint. "
        "fairseq: a .pt file becomes a checkpoint.",
    ),
]
Lang = Annotated[
    str | None,
    typer.Option(
        "--lang",
        metavar="CODE",
        rich_help_panel="What",
        help="The one language to write; of an adapter that is read, the code that it gets. "
        "[default: all; the adapter's name]",
    ),
]
Base = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="BASE",
        rich_help_panel="What",
        help="The X-MOD that a language adapter of AdapterHub belongs to.",
    ),
]
Tokenizer = Annotated[
    Path | None,
    typer.Option(
        "--tokenizer",
        metavar="DIR",
        rich_help_panel="What",
        help="Folder of the tokenizer for fairseq's weights. [default: what lies beside them]",
    ),
]
OutputDir = Annotated[
    Path,
    typer.Option("--output", metavar="DIR", rich_help_panel="Output", help="Folder to write."),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        rich_help_panel="Output",
        help="Replace the output folder if xmod-extend wrote it. [default: off]",
    ),
]

_SAID = {
    "checkpoint": "a standard checkpoint of X-MOD",
    "pack": "a language pack",
    "adapterhub-adapter": "a language adapter for adapters 1.3.0",
    "adapterhub-model": "a model and its language adapters for adapters 1.3.0",
}


def convert(
    checkpoint: Source,
    output: OutputDir,
    to: To = None,
    from_: From = None,
    lang: Lang = None,
    base: Base = None,
    tokenizer: Tokenizer = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a checkpoint, or one language of it, in the form of another library, or from one."""
    shown = Output(as_json=json, quiet=quiet)
    with error_boundary(shown) as boundary:
        boundary.watch(output)
        from xmod_extend.jobs.convert import convert_checkpoint

        done = convert_checkpoint(
            checkpoint,
            output=output,
            to=to,  # type: ignore[arg-type]  # the function refuses other words
            from_=from_,  # type: ignore[arg-type]
            lang=lang,
            base=base,
            tokenizer=tokenizer,
            force=force,
        )
        for note in done.notes:
            shown.warning(note)
        shown.result(
            done.to_dict(), str(done.output), *_lines(done), effect=f"{done.output} is written."
        )


def _lines(done: Conversion) -> list[str]:
    codes = ", ".join(done.languages[:6]) + (" ..." if len(done.languages) > 6 else "")
    lines = [f"{done.output}: {_SAID[done.form]}, {describe_size(done.num_bytes)} ({codes})"]
    first = done.languages[0]
    if done.form == "adapterhub-adapter":
        lines.append(f'next: model.load_adapter("{done.output}")')
        lines.append(f'      model.set_active_adapters("{first}")')
    elif done.form == "adapterhub-model":
        last = done.languages[-1]
        lines.append(f'next: model = adapters.AutoAdapterModel.from_pretrained("{done.output}")')
        lines.append(f'      model.load_adapter("{done.output / last}")')
        lines.append(f'      model.set_active_adapters("{last}")')
    elif done.form == "pack":
        lines.append(f"next: xmod-extend install BASE {done.output} --output DIR")
    else:
        lines.append(f"next: xmod-extend info {done.output}")
    return lines

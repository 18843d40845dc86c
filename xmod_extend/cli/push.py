"""`xmod-extend push`: publish a checkpoint or a pack on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xmod_extend.cli.errors import error_boundary
from xmod_extend.cli.options import Json, Quiet, takes, typed
from xmod_extend.cli.output import Display, Output
from xmod_extend.files.sizes import describe_size
from xmod_extend.jobs.push_options import PushOptions

if TYPE_CHECKING:
    from xmod_extend.jobs.publication import Publication


@takes(PushOptions)
def push(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Folder of a checkpoint, a slice or a language pack."),
    ],
    json: Json = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Publish a checkpoint or a language pack on the Hugging Face Hub, in one commit."""
    output = Output(as_json=json, quiet=quiet)
    with error_boundary(output):
        chosen = PushOptions.from_values(**typed(options))
        if output.quiet:
            hide_bars()
        from xmod_extend.jobs.push import run_push

        display = Display(output)
        try:
            publication = run_push(folder.expanduser(), chosen, display)
        finally:
            display.close()
        output.result(
            publication.to_dict(),
            publication.url,
            *describe(publication),
            effect=f"it is on {publication.url}.",
        )


def hide_bars() -> None:
    """Let the Hub's client show no bars, unless the user's environment says that it does."""
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    if constants.HF_HUB_DISABLE_PROGRESS_BARS is None:
        disable_progress_bars()


def describe(publication: Publication) -> list[str]:
    """Return what became of a publication, and how it is used, line by line."""
    count = len(publication.uploaded)
    sizes = (
        f"{describe_size(publication.uploaded_bytes)} in {count} file{'' if count == 1 else 's'}"
    )
    copied = f", {describe_size(publication.copied_bytes)} copied on the server"
    travelled = sizes + (copied if publication.copied else "")
    if publication.is_plan:
        return [f"Would upload {travelled} to {publication.url}. Nothing was changed."]
    if publication.commit is None:
        return [f"{publication.url} has all of this already; nothing was committed."]
    lines = [
        f"Published: {publication.url}",
        f"Commit {publication.commit}: uploaded {travelled}; the Hub's list of files agrees",
    ]
    if publication.tag is not None:
        lines.append(f"The state before is tagged {publication.tag}")
    return [*lines, "Use it:", *usage(publication)]


def usage(publication: Publication) -> list[str]:
    """Return lines that can be pasted."""
    name, code = publication.repo_id, (publication.added or publication.languages)[-1]
    if publication.what == "pack":
        base = publication.base or "BASE"
        return [
            f"  xmod-extend install {base} {name} --output xmod-{code}",
            "Or in Python:",
            "  import xmod_extend",
            f'  xmod_extend.install_packs("{base}", ["{name}"], "xmod-{code}")',
            f'  model = xmod_extend.load("xmod-{code}", "{code}")',
        ]
    return [
        "  from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline",
        f'  model = AutoModelForMaskedLM.from_pretrained("{name}")',
        f'  tokenizer = AutoTokenizer.from_pretrained("{name}")',
        f'  model.set_default_language("{code}")',
        '  pipeline("fill-mask", model=model, tokenizer=tokenizer)("... <mask> ...")',
    ]

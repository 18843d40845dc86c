"""`xmod-extend verify`: proof that nothing but the added languages differs."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from xmod_extend.cli.errors import error_boundary
from xmod_extend.cli.options import CheckpointArgument, Json, Quiet, takes
from xmod_extend.cli.output import Output
from xmod_extend.errors import CheckFailedError
from xmod_extend.jobs.options import BaseOptions


@takes(BaseOptions, without=["base"])
def verify(
    checkpoint: CheckpointArgument,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="BASE",
            rich_help_panel="What",
            help="The X-MOD that was extended. [default: the one that run.json names]",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Compare a checkpoint with its base: tensors, config, and logits of every old language."""
    output = Output(as_json=json, quiet=quiet)
    revision = options["revision"]
    with error_boundary(output):
        from xmod_extend.model.base import resolve_base
        from xmod_extend.model.info import recorded_base

        extended = resolve_base(checkpoint)
        extended.load_config()
        if base is None:
            reference = recorded_base(extended.fetch(), revision=revision)
            commit = f" at {reference.revision}" if reference.revision else ""
            output.note(f"  the base is {reference.base}{commit}, as run.json says")
        else:
            reference = resolve_base(base, revision=revision)
        compared, folder = extended.fetch(), reference.fetch()
        output.note("Comparing tensors, config and logits ...")
        from xmod_extend.evaluation.verify import verify_checkpoint

        result = verify_checkpoint(compared, folder)
        lines = [f"differs: {difference}" for difference in result.differences]
        added = ", ".join(result.added_languages) or "no language"
        if not result.differences:
            lines = [
                f"{result.tensors_identical:,} tensors are the same byte for byte, and the logits "
                f"of {len(result.languages_compared)} languages bit for bit; added: {added}"
            ]
        output.result(
            dataclasses.asdict(result),
            f"{len(result.differences)}",
            *lines,
            effect="the exit code has the verdict.",
        )
        if result.differences:
            raise CheckFailedError(
                f"{checkpoint} differs from {reference.base} in {len(result.differences)} places "
                f"besides what was added ({added})."
            )

"""`xmod-extend pack`: one language of a checkpoint as a folder to share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xmod_extend.cli.options import CheckpointArgument, Json, Quiet, takes
from xmod_extend.cli.output import Display
from xmod_extend.cli.written_folder import write_and_show
from xmod_extend.files.sizes import describe_size
from xmod_extend.jobs.sharing_options import PackOptions

if TYPE_CHECKING:
    from xmod_extend.jobs.pack import PackResult


@takes(PackOptions)
def pack(
    checkpoint: CheckpointArgument,
    json: Json = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Write one language of a checkpoint as a pack: a small folder that others install."""

    def run(chosen: PackOptions, display: Display) -> PackResult:
        from xmod_extend.jobs.pack import run_pack

        return run_pack(checkpoint, chosen, display)

    write_and_show(PackOptions, options, run, _lines, json=json, quiet=quiet)


def _lines(result: PackResult) -> list[str]:
    taken = "the very file of the checkpoint" if result.same_file else "the checkpoint's tensors"
    base = "The base is not on the Hub, and is known by its weights alone"
    if result.base_model is not None:
        at = f" at {result.base_revision}" if result.base_revision else ""
        base = f"The base is {result.base_model}{at}"
    return [
        f"{result.language} is in {result.output}: {describe_size(result.num_bytes)}, {taken}",
        f"{base}; shared weights {result.shared_sha256[:16]}",
        f"Licence: {result.license or 'none is named'}",
        f"Install it: xmod-extend install BASE {result.output} --output DIR",
    ]

"""`xmod-extend slice`: a smaller checkpoint with some of the languages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xmod_extend.cli.options import CheckpointArgument, Json, Quiet, takes
from xmod_extend.cli.output import Display
from xmod_extend.cli.written_folder import write_and_show
from xmod_extend.files.sizes import describe_size
from xmod_extend.jobs.sharing_options import SliceOptions

if TYPE_CHECKING:
    from xmod_extend.jobs.slice import SliceResult


@takes(SliceOptions)
def slice_languages(
    checkpoint: CheckpointArgument,
    json: Json = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Write a smaller checkpoint, in one file, with only some of the languages."""

    def run(chosen: SliceOptions, display: Display) -> SliceResult:
        from xmod_extend.jobs.slice import run_slice

        return run_slice(checkpoint, chosen, display)

    write_and_show(SliceOptions, options, run, _lines, json=json, quiet=quiet)


def _lines(result: SliceResult) -> list[str]:
    ids = ", ".join(f"{code} is {number}" for number, code in enumerate(result.languages))
    changed = f"{len(result.renumbered)} had another id" if result.renumbered else "as before"
    return [
        f"{result.output} has {len(result.languages)} of the languages: "
        f"{describe_size(result.num_bytes)}, where {result.source} has "
        f"{describe_size(result.source_bytes)}",
        f"Its ids: {ids} ({changed})",
        f"Verified: {result.tensors_compared:,} tensors are the same byte for byte, and the logits "
        f"of {result.languages_compared} languages bit for bit",
    ]

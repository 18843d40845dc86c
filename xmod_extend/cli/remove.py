"""`xmod-extend remove`: a checkpoint without one of its added languages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xmod_extend.cli.options import CheckpointArgument, Json, Quiet, takes
from xmod_extend.cli.output import Display
from xmod_extend.cli.written_folder import write_and_show
from xmod_extend.jobs.sharing_options import RemoveOptions

if TYPE_CHECKING:
    from xmod_extend.jobs.remove import RemoveResult


@takes(RemoveOptions)
def remove(
    checkpoint: CheckpointArgument,
    json: Json = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Write a checkpoint without one of the languages that were added to it."""

    def run(chosen: RemoveOptions, display: Display) -> RemoveResult:
        from xmod_extend.jobs.remove import run_remove

        return run_remove(checkpoint, chosen, display)

    write_and_show(RemoveOptions, options, run, _lines, json=json, quiet=quiet)


def _lines(result: RemoveResult) -> list[str]:
    ids = ", ".join(f"{code} is {number}" for code, number in result.renumbered.items())
    return [
        f"{result.output} is without {result.removed}; it has {len(result.languages)} languages",
        f"New ids: {ids}" if ids else "Every language has the id that it had",
        f"Verified: {result.tensors_compared:,} tensors are the same byte for byte, and the logits "
        f"of {result.languages_compared} languages bit for bit",
    ]

"""`xmod-extend install`: a base and language packs as one checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from xmod_extend.cli.options import Json, Quiet, takes
from xmod_extend.cli.output import Display
from xmod_extend.cli.written_folder import write_and_show
from xmod_extend.jobs.sharing_options import InstallOptions

if TYPE_CHECKING:
    from xmod_extend.jobs.install import InstalledPack, InstallResult

BaseArgument = Annotated[
    str, typer.Argument(metavar="BASE", help="Folder or Hub id of an X-MOD, or `tiny`.")
]
PacksArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="PACK...",
        help="Folders of language packs, or their ids on the Hub (USER/NAME or "
        "USER/NAME@REVISION). The languages get their ids in this order.",
    ),
]
As = Annotated[
    list[str] | None,
    typer.Option(
        "--as",
        metavar="OLD=NEW",
        rich_help_panel="What",
        help="Install a language under another code: NEW of the only pack, or OLD=NEW, where OLD "
        "is a code, or a pack as it was written. May be given several times. [default: none]",
    ),
]


@takes(InstallOptions)
def install(
    base: BaseArgument,
    packs: PacksArgument,
    renamed: As = None,
    json: Json = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Make one checkpoint of a base and language packs, from any number of people."""

    def run(chosen: InstallOptions, display: Display) -> InstallResult:
        from xmod_extend.jobs.install import run_install
        from xmod_extend.jobs.install_request import check_install

        request = check_install(base, packs, renamed or [], chosen, display)
        return run_install(request, display)

    write_and_show(InstallOptions, options, run, _lines, json=json, quiet=quiet)


def _lines(result: InstallResult) -> list[str]:
    proof = result.verification
    return [
        f"{result.base} with {len(result.installed)} more "
        f"{'language' if len(result.installed) == 1 else 'languages'} is in {result.output}:",
        *(f"  {_installed(pack)}" for pack in result.installed),
        *(pack.score.verdict for pack in result.installed if pack.score),
        f"Verified: {proof.tensors_compared:,} tensors are the same byte for byte, and the logits "
        f"of {proof.languages_compared} languages bit for bit; the packs' tensors as well",
        *(f"As asked for: {difference}" for difference in proof.differences),
    ]


def _installed(pack: InstalledPack) -> str:
    was = "" if pack.language == pack.packed_as else f", packed as {pack.packed_as}"
    moved = " TRANSPLANTED," if pack.difference else ""
    return (
        f"{pack.language_id}: {pack.language}{was},{moved} from {pack.pack} "
        f"(licence: {pack.license or 'none is named'})"
    )

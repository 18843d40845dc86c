"""A folder that is written, verified and only then seen: a checkpoint, a language pack."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from xmod_extend.errors import UsageError
from xmod_extend.files.output_folder import new_folder

Verified = TypeVar("Verified")


def write_verified_folder(
    output: Path,
    *,
    names: Collection[str],
    write: Callable[[Path], None],
    verify: Callable[[Path], Verified],
    documents: Callable[[Verified], Mapping[str, str]] = lambda _: {},
    sources: Sequence[Path] = (),
    force: bool = False,
) -> Verified:
    """Write a folder; nothing is seen at `output` until all is written and verified.

    Args:
        names: All files that may be in it.
        write: Called with an empty folder, to fill it.
        verify: Called with the filled folder before it gets its name; an error that it raises is
            raised, and the folder is removed.
        documents: Makes texts that lie beside the rest, from what `verify` returned.
        sources: Folders that any of this comes from. The output may not touch them.
        force: Replace a folder of the program's that is there.

    Returns:
        What `verify` returned.

    Raises:
        UsageError: The output cannot be written; what was there before is left as it was.
    """
    for source in sources:
        check_apart(source, output)
    with new_folder(output, names=names, force=force) as folder:
        write(folder)
        verified = verify(folder)
        for name, text in documents(verified).items():
            assert name in names, f"{name} was not planned"
            assert not (folder / name).exists(), f"{name} is there already"
            write_text(folder / name, text)
    return verified


def write_text(path: Path, text: str) -> None:
    """Write a text of which some letters may stand for bytes that are not UTF-8, as paths may."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def check_apart(source: Path, output: Path) -> None:
    """Refuse an output that is, is in or is around a folder that is only read.

    Raises:
        UsageError: It is.
    """
    inner, outer = output.expanduser().resolve(), source.expanduser().resolve()
    if inner == outer:
        relation = "is"
    elif inner.is_relative_to(outer):
        relation = "lies in"
    elif outer.is_relative_to(inner):
        relation = "holds"
    else:
        return
    raise UsageError(
        f"{output} {relation} {source}, which is only read and never changed.",
        hint="Choose another folder." if inner == outer else "Choose a folder beside it.",
    )

"""A language pack in a folder, opened by its description and the header of its weights.

    adapter_config.json       what it says of itself: see packs/description.py
    model-CODE.safetensors    the adapter, as it lies in a checkpoint that has the language
    run.json                  the record of its training, if there is one
    README.md                 the card

It may come from anybody: nothing in it is executed, no other file of it is read, and nothing is
allocated before it is known that its size is what an adapter of this shape has.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

from xmod_extend.errors import ModelError
from xmod_extend.model.config import CONFIG_NAME, list_folder
from xmod_extend.model.extension import CARD_NAME, RECORD_NAME, is_own_file
from xmod_extend.model.safetensors_files import SafetensorsFile
from xmod_extend.model.tensors import (
    TORCH_NAMES,
    DamagedFileError,
    TensorInfo,
    cannot_be_read,
)
from xmod_extend.packs.description import DESCRIPTION_NAME, PackDescription, read_description


@dataclass(frozen=True, kw_only=True)
class Pack:
    """A pack whose weights are what its description says.

    Attributes:
        name: The pack as the user wrote it: a folder, or an id on the Hub.
        record_file: Its run record, which is not read yet.
    """

    name: str
    path: Path
    description: PackDescription
    weights: SafetensorsFile = field(repr=False)
    record_file: Path | None

    @property
    def language(self) -> str:
        """The code that it was packed with."""
        return self.description.language


def open_pack(path: Path, name: str | None = None) -> Pack:
    """Open the pack in a folder.

    Args:
        name: What sentences call it; the path if None.

    Raises:
        ModelError: It is no pack, or a file of it is missing, damaged, a link to somewhere else, or
            holds something else than it says.
    """
    name = name or str(path)
    description = describe_pack(path, name)
    file = pack_file(path, description.weights_name, name)
    if file is None:
        raise ModelError(
            f"{name} has no {description.weights_name}; it holds {list_folder(path)}.",
            hint="Download or copy the folder again.",
        )
    weights = SafetensorsFile(file)
    _check_tensors(weights, description)
    return Pack(
        name=name,
        path=path,
        description=description,
        weights=weights,
        record_file=pack_file(path, RECORD_NAME, name),
    )


def describe_pack(path: Path, name: str) -> PackDescription:
    """Return what the pack in a folder says of itself; its weights need not be there.

    Raises:
        ModelError: It is no pack, or says something that no pack says.
    """
    try:
        if not path.is_dir():
            what = "is a file, not a folder" if path.exists() else "does not exist"
            raise ModelError(f"{name} {what}.", hint=f"Give the folder with {DESCRIPTION_NAME}.")
        file = pack_file(path, DESCRIPTION_NAME, name)
        if file is None and (path / CONFIG_NAME).is_file():
            raise ModelError(
                f"{name} is a whole checkpoint, not a language pack.",
                hint="Take one language out of it with `xmod-extend pack`.",
            )
        if file is None:
            raise ModelError(
                f"{name} has no {DESCRIPTION_NAME}, so it is not a language pack; it holds "
                f"{list_folder(path)}.",
                hint="Give a folder that `xmod-extend pack` wrote.",
            )
    except OSError as error:
        raise cannot_be_read(path, error) from error
    return read_description(file)


def pack_file_names(language: str, *, has_record: bool) -> list[str]:
    """Return the names of the files that a pack of a language has."""
    names = [DESCRIPTION_NAME, f"model-{language}.safetensors", CARD_NAME]
    return [*names, RECORD_NAME] if has_record else names


def pack_file(path: Path, name: str, pack: str) -> Path | None:
    """Return a file of a folder that is a stranger's, or None if it has none.

    A link may lead to the folder itself or, as in the Hub's cache, to what was downloaded for it.
    One that leads elsewhere would have a file of this machine published with the pack.

    Raises:
        ModelError: It is no regular file, or a link to somewhere else.
    """
    file = path / name
    try:
        if not file.is_symlink() and not file.exists():
            return None
        is_regular = stat.S_ISREG(file.stat().st_mode)
    except (OSError, RuntimeError) as error:  # also a link to nowhere, or to itself
        raise ModelError(
            f"{name} of {pack} cannot be read.", hint="Download or copy the folder again."
        ) from error
    if not is_own_file(file):
        raise ModelError(
            f"{name} of {pack} is a link to a file outside of it.",
            hint="A pack holds its files itself. Do not trust this one.",
        )
    if not is_regular:
        raise ModelError(
            f"{name} of {pack} is not a regular file.", hint="Download or copy the folder again."
        )
    return file


def _check_tensors(weights: SafetensorsFile, description: PackDescription) -> None:
    """Refuse other tensors than those of this language, shape and type.

    Raises:
        ModelError: There are some, or one is missing.
    """
    dtype = next(
        name for name, torch_name in TORCH_NAMES.items() if torch_name == description.dtype
    )
    expected = {
        name: TensorInfo(dtype, shape)
        for name, shape in description.shape.tensor_shapes(description.language).items()
    }
    missing = [name for name in expected if name not in weights.names]
    surplus = len(set(weights.names) - set(expected))
    wrong = [
        name
        for name, info in expected.items()
        if name not in missing and weights.info(name) != info
    ]
    problem = None
    if missing:
        problem = f"lacks {missing[0]}"
    elif surplus:
        problem = f"has {surplus} tensors that are not of the {description.language} adapter"
    elif wrong:
        found, needed = weights.info(wrong[0]), expected[wrong[0]]
        problem = (
            f"has {wrong[0]} as {found.dtype} of shape {found.shape} where "
            f"{needed.dtype} of shape {needed.shape} is expected"
        )
    if problem is not None:
        raise DamagedFileError(
            f"{weights.path.name} is not what {DESCRIPTION_NAME} says: it {problem}.", weights.path
        )


def check_finite(pack: Pack) -> None:
    """Refuse a pack with values that no model can compute with; reads each tensor once.

    Raises:
        ModelError: It has some.
    """
    for name in pack.weights.names:
        if not bool(pack.weights.read(name).isfinite().all()):
            raise ModelError(
                f"{name} of {pack.name} has values that are not finite.",
                hint="Its training diverged, or it was damaged; ask its maker for another.",
            )

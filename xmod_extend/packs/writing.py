"""Writing one language of a checkpoint as a pack: whole and verified, or not there.

Where the language lies alone in a file, as every added one does, that file is taken over byte for
byte: what `install` writes from the pack later is the file that the checkpoint had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from xmod_extend.errors import CheckFailedError, ModelError
from xmod_extend.files.copying import copy_file
from xmod_extend.files.verified_folder import write_text, write_verified_folder
from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.model.extension import CARD_NAME, RECORD_NAME
from xmod_extend.model.shards import FileShard, Shard, TensorShard
from xmod_extend.model.tensors import TORCH_NAMES, source_of
from xmod_extend.packs.description import (
    DESCRIPTION_NAME,
    PackDescription,
    weights_name,
)
from xmod_extend.packs.pack import Pack, check_finite, open_pack, pack_file_names


class TensorOrigin(Protocol):
    """A folder with tensors that a pack is made from."""

    @property
    def path(self) -> Path: ...

    def digest(self, name: str) -> str:
        """Return the SHA-256 over the tensor's dtype, shape and bytes."""


@dataclass(frozen=True, kw_only=True)
class PackContents:
    """All that a pack is to hold.

    Attributes:
        record_file: The record of its training, which is copied.
        card: The text of README.md.
    """

    description: PackDescription
    shard: Shard
    record_file: Path | None
    card: str

    @property
    def names(self) -> list[str]:
        """The names of all its files."""
        has_record = self.record_file is not None
        return pack_file_names(self.description.language, has_record=has_record)


def adapter_dtype(checkpoint: Checkpoint, language: str) -> str:
    """Return the type of a language's tensors, as config.json spells it.

    Raises:
        ModelError: They are of several types.
    """
    names = checkpoint.adapter_names(language)
    dtypes = {checkpoint.info(name).dtype for name in names}
    if len(dtypes) > 1:
        raise ModelError(
            f"The tensors of {language} are of several types ({', '.join(sorted(dtypes))}).",
            hint="Save the checkpoint again with `save_pretrained`, in one type.",
        )
    return TORCH_NAMES[dtypes.pop()]


def language_shard(checkpoint: Checkpoint, language: str) -> Shard:
    """Return a file with one language's tensors: that of the checkpoint, where it has no others."""
    files, names = checkpoint.weights.by_name, checkpoint.adapter_names(language)
    file = files[names[0]]
    if file.path.suffix == ".safetensors" and set(file.names) == set(names):
        return FileShard(weights_name(language), file)
    return TensorShard(
        weights_name(language), {name: source_of(files[name], name) for name in names}
    )


def write_pack(
    output: Path, contents: PackContents, source: TensorOrigin, *, force: bool = False
) -> Pack:
    """Write a pack, and return it as it was read again.

    Args:
        source: What the language is taken from, such as a checkpoint.

    Raises:
        CheckFailedError: What was written is not what the source has.
        UsageError: The output cannot be written; what was there before is left as it was.
    """

    def write(folder: Path) -> None:
        shard = contents.shard
        shard.write(folder / shard.name)
        write_text(folder / DESCRIPTION_NAME, contents.description.to_json())
        write_text(folder / CARD_NAME, contents.card)
        if contents.record_file is not None:
            copy_file(contents.record_file, folder / RECORD_NAME)

    def verify(folder: Path) -> None:
        pack = open_pack(folder, output.name)
        check_finite(pack)
        digests = {name: source.digest(name) for name in pack.weights.names}
        if pack.description != contents.description or not holds(pack, digests):
            raise CheckFailedError(
                f"The pack that was written is not what {source.path.name} has; it was removed.",
                hint="The disk may be damaged; please report it if it happens again.",
            )

    write_verified_folder(
        output,
        names=contents.names,
        write=write,
        verify=verify,
        sources=[source.path],
        force=force,
    )
    return open_pack(output.expanduser())


def holds(pack: Pack, digests: Mapping[str, str]) -> bool:
    """Return whether a pack's tensors are those with these digests."""
    return digests == {name: pack.weights.digest(name) for name in pack.weights.names}

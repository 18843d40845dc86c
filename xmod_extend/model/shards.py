"""What the weights of a checkpoint are written from.

A checkpoint is a list of shards bound by an index, which says of each tensor in which shard it is
found. A shard is a file that is taken over byte for byte, or tensors that are written one by one:

    FileShard("model-base.safetensors", file)             shares the file's blocks, or copies it
    TensorShard("model-quz_PE.safetensors", {name: ...})  asks for a tensor's bytes when it writes

Binding is a mapping from tensors to shards, so another checkpoint is another mapping: a language
less is the mapping without its tensors, and a changed tensor is bound to another shard.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from xmod_extend.errors import ModelError
from xmod_extend.files.copying import can_clone, copy_file
from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.model.names import TIED_NAMES
from xmod_extend.model.safetensors_files import write_safetensors
from xmod_extend.model.tensors import (
    TensorFile,
    TensorInfo,
    TensorSource,
    source_of,
)
from xmod_extend.model.weights import SINGLE_NAME

BASE_SHARD = "model-base.safetensors"
"""Name of a file that was alone: transformers prefers `model.safetensors` to an index beside it."""


class Shard(Protocol):
    """One file of weights in a checkpoint that is to be written."""

    @property
    def name(self) -> str:
        """The name of the file in the checkpoint."""

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of all tensors in it, also of those that the index finds elsewhere."""

    def info(self, tensor: str) -> TensorInfo: ...

    def needed_bytes(self, folder: Path) -> int:
        """Return the room that it takes on the disk of a folder."""

    def write(self, path: Path) -> None: ...


@dataclass(frozen=True, eq=False)
class FileShard:
    """A safetensors file that is taken over byte for byte."""

    name: str
    file: TensorFile

    @property
    def tensors(self) -> tuple[str, ...]:
        return self.file.names

    def info(self, tensor: str) -> TensorInfo:
        return self.file.info(tensor)

    def needed_bytes(self, folder: Path) -> int:
        return 0 if can_clone(self.file.path, folder) else self.file.path.stat().st_size

    def write(self, path: Path) -> None:
        copy_file(self.file.path, path)


@dataclass(frozen=True, eq=False)
class TensorShard:
    """Tensors that are written one after another, none of which need be in memory as a whole."""

    name: str
    sources: Mapping[str, TensorSource]

    @property
    def tensors(self) -> tuple[str, ...]:
        return tuple(self.sources)

    def info(self, tensor: str) -> TensorInfo:
        return self.sources[tensor].info

    def needed_bytes(self, folder: Path) -> int:
        return sum(source.info.num_bytes for source in self.sources.values())

    def write(self, path: Path) -> None:
        write_safetensors(
            path, ((name, source.info, source.chunks()) for name, source in self.sources.items())
        )


def bind(*shards: Shard) -> dict[str, Shard]:
    """Bind tensors to the shards that hold them; what several of them hold, to the last one."""
    return {tensor: shard for shard in shards for tensor in shard.tensors}


def existing_shards(checkpoint: Checkpoint) -> dict[str, Shard]:
    """Return the weights of a checkpoint as they are, bound as they are bound there.

    Files in PyTorch's own format are converted into one file of safetensors.
    """
    weights = checkpoint.weights
    if any(file.path.suffix != ".safetensors" for file in weights.files):
        # A tied weight that a pickle stores twice is stored once, as safetensors' users expect.
        return bind(
            TensorShard(
                BASE_SHARD,
                {
                    name: source_of(file, name)
                    for name, file in weights.by_name.items()
                    if name not in TIED_NAMES
                },
            )
        )
    shards = {
        file.path: FileShard(BASE_SHARD if file.path.name == SINGLE_NAME else file.path.name, file)
        for file in weights.files
    }
    return {name: shards[file.path] for name, file in weights.by_name.items()}


def shards_without(checkpoint: Checkpoint, names: Collection[str]) -> dict[str, Shard]:
    """Return the weights of a checkpoint without some tensors.

    A file that has none of them is taken over as it is, and one that has nothing else is left out.
    Of any other file the rest is written anew, under the same name.
    """
    shards = existing_shards(checkpoint)
    kept = {name: shard for name, shard in shards.items() if name not in names}
    rest: dict[Shard, Shard] = {}
    for shard in dict.fromkeys(kept.values()):
        if any(name in names for name in shard.tensors):
            own = [name for name, holder in kept.items() if holder is shard]
            files = checkpoint.weights.by_name
            rest[shard] = TensorShard(
                shard.name, {name: source_of(files[name], name) for name in own}
            )
    return {name: rest.get(shard, shard) for name, shard in kept.items()}


def list_shards(weight_map: Mapping[str, Shard]) -> list[Shard]:
    """Return the shards that tensors are bound to, each once.

    Raises:
        ModelError: A tensor would be read from another shard: of the files that hold it,
            transformers takes the last one by name, whatever the index says.
    """
    shards = list(dict.fromkeys(weight_map.values()))
    last: dict[str, Shard] = {}
    for shard in sorted(shards, key=lambda shard: shard.name):
        last |= dict.fromkeys(shard.tensors, shard)
    for name, shard in weight_map.items():
        if last[name] is not shard:
            raise ModelError(
                f"{last[name].name} has a tensor {name} as well, and transformers would read it "
                f"from there and not from {shard.name}.",
                hint="Save the checkpoint again with `save_pretrained`: it stores a tensor once.",
            )
    return shards

"""The weights in a folder: which files they are, and in which of them each tensor lies.

Nothing here imports torch, except to open PyTorch's own `.bin` format.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xmod_extend.errors import ModelError
from xmod_extend.model.config import list_folder, read_json_object
from xmod_extend.model.names import TIED_NAMES
from xmod_extend.model.safetensors_files import SafetensorsFile
from xmod_extend.model.tensors import (
    TensorFile,
    is_name,
)

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"
WEIGHTS_NAMES = (
    SINGLE_NAME,
    INDEX_NAME,
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Where weights are looked for, in the order in which transformers prefers them."""


@dataclass(frozen=True)
class Weights:
    """The weights of a folder: which file each tensor lies in."""

    files: tuple[TensorFile, ...]
    by_name: dict[str, TensorFile]


def open_weights(path: Path) -> Weights:
    """Open the weights that transformers would load from this folder, by their headers.

    Raises:
        ModelError: There are none, or some are missing or damaged.
    """
    for name in WEIGHTS_NAMES:
        if (path / name).is_file():
            break
    else:
        raise ModelError(
            f"{path} has no weights; it holds {list_folder(path)}.",
            hint="Expected model.safetensors, pytorch_model.bin, or an index of several files.",
        )
    if not name.endswith(".index.json"):
        file = _open_file(path / name)
        return Weights((file,), dict.fromkeys(file.names, file))
    index = path / name
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(
        isinstance(shard, str) and Path(shard).name == shard and is_name(shard) and is_name(name)
        for name, shard in weight_map.items()
    ):
        raise ModelError(
            f"{name} has no `weight_map` from tensors to files beside it.", hint=f"Look at {index}."
        )
    return _open_shards(index, weight_map)


def _open_shards(index: Path, weight_map: dict[str, str]) -> Weights:
    shards = list(dict.fromkeys(weight_map.values()))
    missing = [shard for shard in shards if not (index.parent / shard).is_file()]
    if missing:
        raise ModelError(
            f"{_first_of(missing, 'file')} that {index.name} names "
            f"{'is' if len(missing) == 1 else 'are'} missing from {index.parent}.",
            hint="Download or copy the folder again.",
        )
    files = {shard: _open_file(index.parent / shard) for shard in shards}
    names_in = {shard: set(file.names) for shard, file in files.items()}
    absent = [name for name, shard in weight_map.items() if name not in names_in[shard]]
    # An index made from a tied model's .bin may name a tied weight twice; the file has it once.
    absent = [name for name in absent if name not in TIED_NAMES]
    if absent:
        raise ModelError(
            f"{weight_map[absent[0]]} lacks {_first_of(absent, 'tensor')} that {index.name} "
            "expects there.",
            hint="Download or copy the folder again.",
        )
    by_name = {name: files[shard] for name, shard in weight_map.items() if name in names_in[shard]}
    return Weights(tuple(files.values()), by_name)


def _first_of(names: list[str], noun: str) -> str:
    if len(names) == 1:
        return names[0]
    return f"{names[0]} and {len(names) - 1} more {noun}{'s' if len(names) > 2 else ''}"


def _open_file(path: Path) -> TensorFile:
    if path.suffix == ".safetensors":
        return SafetensorsFile(path)
    from xmod_extend.model.torch_files import PickleFile

    return PickleFile(path)

"""A language adapter in the form of AdapterHub's library, `adapters`.

    adapter_config.json    what kind of adapter it is: see packs/adapterhub_config.py
    adapter.safetensors    its tensors, which `load_adapter(..., use_safetensors=True)` reads
    pytorch_adapter.bin    the same tensors: `load_adapter` looks for no other file by itself

Its X-MOD is upstream's without the adapters, each of which is loaded from such a folder:

    here    roberta.encoder.layer.N.output.adapter_modules.CODE.dense1.weight
    there   roberta.encoder.layer.N.output.adapters.CODE.adapter_down.0.weight

A folder may come from anybody. A `.bin` of it is opened by the restricted reader alone, and nothing
is taken from it but the tensors that an adapter of this shape has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xmod_extend.arguments import shown
from xmod_extend.errors import ModelError
from xmod_extend.model.config import list_folder, read_json_object
from xmod_extend.model.extension import AdapterSources
from xmod_extend.model.names import LAYER_PREFIX
from xmod_extend.model.safetensors_files import SafetensorsFile, write_safetensors
from xmod_extend.model.tensors import (
    TORCH_NAMES,
    TensorFile,
    TensorSource,
    source_of,
    tensor_of,
)
from xmod_extend.model.validation import FLOATS
from xmod_extend.packs.adapterhub_config import LIBRARY_VERSION, bottleneck_config, check_bottleneck
from xmod_extend.packs.pack import pack_file
from xmod_extend.packs.shape import AdapterShape

DESCRIPTION_NAME = "adapter_config.json"
SAFE_NAME = "adapter.safetensors"
PICKLE_NAME = "pytorch_adapter.bin"
FILE_NAMES = (DESCRIPTION_NAME, SAFE_NAME, PICKLE_NAME)

HEAD_FILES = ("head_config.json", "model_head.safetensors", "pytorch_model_head.bin")
"""What the library saves beside an adapter that has a head of its own."""

ADAPTER_NAME = re.compile(
    r"(?:roberta\.)?encoder\.layer\.(?P<layer>\d{1,4})\.output\.adapters\.(?P<name>[^.]+)\."
    r"(?P<part>adapter_down\.0|adapter_up)\.(?P<kind>weight|bias)"
)
_PARTS = {"adapter_down.0": "dense1", "adapter_up": "dense2"}


@dataclass(frozen=True, kw_only=True)
class HubAdapter:
    """An adapter that is one of X-MOD's, whatever it is called.

    Attributes:
        name: The name that it has in its files.
        dtype: The type of its tensors, as config.json spells it.
        has_head: Whether a head lies beside it, which is no part of a language.
    """

    name: str
    dtype: str
    has_head: bool
    _sources: AdapterSources = field(repr=False)

    def sources(self, language: str) -> AdapterSources:
        """Return its tensors under the names that a language has in a checkpoint, by layer."""
        return {our_name(name, language): source for name, source in self._sources.items()}


def hub_name(name: str) -> str:
    """Return what a tensor of a checkpoint's language is called in AdapterHub's form."""
    start, end = name.split(".adapter_modules.")
    language, dense, kind = end.split(".")
    part = next(part for part, ours in _PARTS.items() if ours == dense)
    return f"{start}.adapters.{language}.{part}.{kind}"


def our_name(name: str, language: str) -> str:
    """Return what a tensor in AdapterHub's form is called as one of a checkpoint's language."""
    match = ADAPTER_NAME.fullmatch(name)
    assert match is not None, name
    layer, part, kind = int(match["layer"]), _PARTS[match["part"]], match["kind"]
    return f"{LAYER_PREFIX}{layer}.output.adapter_modules.{language}.{part}.{kind}"


def renamed_sources(adapter: AdapterSources) -> dict[str, TensorSource]:
    """Return a language's tensors under AdapterHub's names."""
    return {hub_name(name): source for name, source in adapter.items()}


def adapter_description(
    shape: AdapterShape, language: str, *, name: str, base_model: str | None
) -> str:
    """Return the text of adapter_config.json.

    Args:
        name: What sentences call the checkpoint.
        base_model: The id on the Hub of the model that it belongs to, if it has one.

    Raises:
        ModelError: The library has no such adapters.
    """
    values = {
        "config": bottleneck_config(shape, name),
        "hidden_size": shape.hidden_size,
        "model_class": "XmodAdapterModel",
        "model_name": base_model,
        "model_type": "xmod",
        "name": language,
        "version": LIBRARY_VERSION,
    }
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


def write_adapter(folder: Path, description: str, adapter: AdapterSources) -> None:
    """Write one language into a folder that is there, in both formats of the library.

    Args:
        description: What `adapter_description` returned.
        adapter: The language's tensors, under their names in a checkpoint.
    """
    import torch

    (folder / DESCRIPTION_NAME).write_text(description, encoding="utf-8")
    renamed = renamed_sources(adapter)
    write_safetensors(
        folder / SAFE_NAME,
        ((name, source.info, source.chunks()) for name, source in renamed.items()),
    )
    torch.save({name: tensor_of(source) for name, source in renamed.items()}, folder / PICKLE_NAME)


def open_adapter(
    path: Path, shape: AdapterShape, name: str, *, in_pickle: bool | None = None
) -> HubAdapter:
    """Open the adapter in a folder, which must be one for an X-MOD of this shape.

    Args:
        name: What sentences call it.
        in_pickle: Which of the two files to read; by default the `.bin` only if there is no other.

    Raises:
        ModelError: It is another kind of adapter, or a file of it is missing or damaged.
    """
    file = pack_file(path, DESCRIPTION_NAME, name)
    if file is None:
        raise ModelError(
            f"{name} has no {DESCRIPTION_NAME}; it holds {list_folder(path)}.",
            hint="Give a folder that `save_adapter` of adapters wrote.",
        )
    values = read_json_object(file)
    check_bottleneck(values, shape, name)
    weights = _open_weights(path, name, in_pickle=in_pickle)
    sources = adapter_sources(weights, _adapter_name(values, name), shape, name)
    surplus = sorted(set(weights.names) - set(sources))
    if surplus:
        raise _surplus(surplus, weights.path.name, name)
    dtypes = {weights.info(tensor).dtype for tensor in sources}
    if len(dtypes) > 1:
        raise ModelError(
            f"{name} has tensors of several types ({', '.join(sorted(dtypes))}).",
            hint="Save it again in one type.",
        )
    return HubAdapter(
        name=_adapter_name(values, name),
        dtype=TORCH_NAMES[dtypes.pop()],
        has_head=any((path / head).exists() for head in HEAD_FILES),
        _sources={tensor: source_of(weights, tensor) for tensor in sources},
    )


def adapter_sources(weights: TensorFile, adapter: str, shape: AdapterShape, name: str) -> list[str]:
    """Return the names of an adapter's tensors in a file, by layer, each of which has its shape.

    Args:
        adapter: The name of the adapter in the file.
        name: What sentences call it.

    Raises:
        ModelError: One is missing, misshapen or not of floats.
    """
    theirs: dict[str, str] = {}
    for tensor in weights.names:
        match = ADAPTER_NAME.fullmatch(tensor)
        if match is not None and match["name"] == adapter:
            theirs[our_name(tensor, "one")] = tensor
    expected = shape.tensor_shapes("one")
    for ours, needed in expected.items():
        if ours not in theirs:
            raise ModelError(
                f"{name} lacks a tensor: there is no {hub_name(ours)} for it in "
                f"{weights.path.name}.".replace(".one.", f".{adapter}."),
                hint="It must have one bottleneck in each of the model's "
                f"{shape.num_hidden_layers} layers.",
            )
        info = weights.info(theirs[ours])
        if info.shape != needed or info.dtype not in FLOATS:
            raise ModelError(
                f"{name} does not fit: {shown(theirs[ours])} is {info.dtype} of shape "
                f"{info.shape}, and the model needs floats of shape {needed}.",
                hint="It was made for a model of another size.",
            )
    return [theirs[ours] for ours in expected]


def _adapter_name(values: Mapping[str, Any], name: str) -> str:
    found = values.get("name")
    if not isinstance(found, str) or not found or "." in found:
        raise ModelError(
            f"{name} has no name in its {DESCRIPTION_NAME} that its tensors could have: "
            f"{shown(found)}.",
            hint="Save it again with `save_adapter` of adapters 1.3.0.",
        )
    return found


def _open_weights(path: Path, name: str, *, in_pickle: bool | None) -> TensorFile:
    safe, pickle = pack_file(path, SAFE_NAME, name), pack_file(path, PICKLE_NAME, name)
    if safe is not None and not in_pickle:
        return SafetensorsFile(safe)
    if pickle is not None:
        from xmod_extend.model.torch_files import PickleFile

        return PickleFile(pickle)
    raise ModelError(
        f"{name} has no weights; it holds {list_folder(path)}.",
        hint=f"Expected {SAFE_NAME} or {PICKLE_NAME}.",
    )


def _surplus(names: list[str], file: str, name: str) -> ModelError:
    if any("invertible_adapters." in tensor for tensor in names):
        found = "an invertible part, for which X-MOD has no place"
    else:
        found = f"{len(names)} tensors that no language of X-MOD has, such as {shown(names[0])}"
    return ModelError(
        f"{file} of {name} holds {found}.",
        hint="Only an adapter that computes what X-MOD's own do can become a language of it.",
    )

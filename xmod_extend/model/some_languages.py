"""A checkpoint of any task, loaded with some of its languages and with nothing else in memory.

The model is built without memory, and its tensors are found in the checkpoint one by one. In the
dtype of the file a tensor stays there, mapped, until it is used: that is how transformers loads it,
and products with it give transformers' bits. In another dtype, or for another device, it is read
in pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from xmod_extend.errors import ModelError, UsageError
from xmod_extend.model.config import check_loadable, config_languages, read_config
from xmod_extend.model.names import ADAPTER_NAME, OLD_BUFFERS, WORD_EMBEDDINGS
from xmod_extend.model.slice import fill_buffers
from xmod_extend.model.tasks import HEADS, full_name, model_class, part_of
from xmod_extend.model.tensors import TORCH_NAMES, TensorFile, TensorInfo, read_as
from xmod_extend.model.upstream import COMPARE_HINT, make_xmod_config, quiet_transformers
from xmod_extend.model.validation import check_depth, check_languages, check_shapes
from xmod_extend.model.weights import open_weights

if TYPE_CHECKING:
    from transformers import XmodConfig
    from transformers.models.xmod.modeling_xmod import XmodPreTrainedModel

_FIXED_FIELDS = ("languages", "dtype", "torch_dtype", "model_type", "architectures")
"""Fields of the config that are not the caller's."""


@dataclass(frozen=True)
class _StoredTensor:
    """A tensor in a file, under its name there."""

    file: TensorFile
    name: str

    @property
    def info(self) -> TensorInfo:
        return self.file.info(self.name)


@dataclass(frozen=True)
class LoadedModel:
    """A model, and what of it is not from the checkpoint.

    Attributes:
        new_parts: Parts that the checkpoint lacks, such as `classifier`: not yet initialised.
        unused: Tensors of the checkpoint that belong to no X-MOD.
    """

    model: XmodPreTrainedModel
    new_parts: tuple[str, ...]
    unused: tuple[str, ...]


def load_languages(
    path: Path,
    languages: Sequence[str],
    *,
    task: str | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    fields: Mapping[str, Any] | None = None,
) -> LoadedModel:
    """Load a folder with some of its languages, in `eval()` mode.

    Args:
        task: As in `model_class`.
        dtype: Of all weights; by default that of the checkpoint.
        device: By default the processor.
        fields: Of the config, in place of those in config.json.

    Raises:
        ModelError: The weights are not those that the config describes.
        UsageError: The task or a field does not exist.
    """
    values = read_config(path)
    check_loadable(values, path.name)
    weights = open_weights(path)
    check_languages(weights.by_name, config_languages(values), path.name)
    stored = {full_name(name): _StoredTensor(file, name) for name, file in weights.by_name.items()}
    config = _changed(make_xmod_config(values, languages=languages), fields or {})
    check_depth(stored, config)
    model = _without_memory(model_class(task, values, stored), config)
    dtype = dtype or _stored_dtype(values, stored)
    new_parts, unused = _compare(model, stored, path.name)
    _fill(model, stored, new_parts, dtype, device or torch.device("cpu"))
    model.train(False)
    return LoadedModel(model, new_parts, unused)


def initialise(loaded: LoadedModel, device: torch.device | None = None) -> None:
    """Give the new parts their first values, by transformers' own rules and random numbers."""
    model: Any = loaded.model
    model.tie_weights()
    if loaded.new_parts:
        # What was read is marked, and left alone.
        model.initialize_weights()
    if device is not None:
        model.to(device)


def _changed(config: XmodConfig, fields: Mapping[str, Any]) -> XmodConfig:
    for field, value in fields.items():
        if field in _FIXED_FIELDS or field.startswith("_") or not hasattr(config, field):
            raise UsageError(
                f"{field} is not a field of an X-MOD's config that can be changed.",
                hint="Examples are num_labels, id2label, problem_type and is_decoder.",
            )
        try:
            setattr(config, field, value)
        except Exception as error:  # the validation of transformers has many error classes
            raise UsageError(f"{field} cannot be {value!r}: transformers refuses it.") from error
    return config


def _without_memory(kind: type[XmodPreTrainedModel], config: XmodConfig) -> XmodPreTrainedModel:
    try:
        with torch.device("meta"), quiet_transformers():
            return kind(config)
    except Exception as error:  # whatever an absurd value leads to
        reason = " ".join(str(error).split()).rstrip(".")[:200]
        raise ModelError(
            f"config.json describes no model that can be built: {type(error).__name__}: {reason}.",
            hint=COMPARE_HINT,
        ) from error


def _stored_dtype(values: Mapping[str, Any], stored: Mapping[str, _StoredTensor]) -> torch.dtype:
    """Return the dtype that transformers loads: the config's, or else that of the weights."""
    named = values.get("dtype") or values.get("torch_dtype")
    if named is None and WORD_EMBEDDINGS in stored:
        named = TORCH_NAMES[stored[WORD_EMBEDDINGS].info.dtype]
    dtype = getattr(torch, str(named), None)
    is_float = isinstance(dtype, torch.dtype) and dtype.is_floating_point
    return cast(torch.dtype, dtype) if is_float else torch.float32


def _compare(
    model: XmodPreTrainedModel, stored: Mapping[str, _StoredTensor], label: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the parts that are new and the tensors that are unused.

    Raises:
        ModelError: A part is there and not whole, or has another shape than the config says.
    """
    tied = model.all_tied_weights_keys
    shapes = {
        full_name(name): tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if name not in tied
    }
    _check_tied(tied, stored, label)
    existing = {part_of(name) for name in stored}
    new = {part for part in map(part_of, shapes) if part in HEADS and part not in existing}
    expected = {name: shape for name, shape in shapes.items() if part_of(name) not in new}
    # Languages that are left out are neither compared nor missed.
    infos = {
        name: tensor.info
        for name, tensor in stored.items()
        if name in expected or not ADAPTER_NAME.fullmatch(name)
    }
    check_shapes(infos, expected, model.config)
    unused = tuple(
        name
        for name in infos
        if name not in expected
        and name not in tied
        and part_of(name) not in HEADS
        and not name.endswith(OLD_BUFFERS)
    )
    return tuple(part for part in HEADS if part in new), unused


def _check_tied(tied: Mapping[str, str], stored: Mapping[str, _StoredTensor], label: str) -> None:
    for alias, owner in tied.items():
        if alias in stored and owner in stored:
            first, second = (stored[name] for name in (alias, owner))
            if first.file.digest(first.name) != second.file.digest(second.name):
                raise ModelError(
                    f"{label} stores {alias} and {owner} with different values, although its "
                    "config ties them.",
                    hint="Set `tie_word_embeddings` to false in config.json if they are meant.",
                )


def _fill(
    model: XmodPreTrainedModel,
    stored: Mapping[str, _StoredTensor],
    new_parts: Iterable[str],
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Put each tensor of the checkpoint into the model; a new part gets memory alone."""
    used: set[int] = set()
    for name, empty in model.state_dict().items():
        if name in model.all_tied_weights_keys:
            continue
        if part_of(name) in new_parts:
            values = torch.empty(empty.shape, dtype=dtype, device="cpu")
        else:
            values = _values(stored[full_name(name)], dtype, device)
            memory = values.untyped_storage().data_ptr()
            if memory in used:
                # A pickle may hold several names for the same memory.
                values = values.clone()
            used.add(memory)
        parameter = nn.Parameter(values)
        # transformers' mark of what it must not initialise.
        parameter._is_hf_initialized = part_of(name) not in new_parts  # type: ignore[attr-defined]
        path, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(path), leaf, parameter)
    fill_buffers(model)
    model.config.dtype = dtype


def _values(stored: _StoredTensor, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    if device.type == "cpu" and TORCH_NAMES[stored.info.dtype] == str(dtype).removeprefix("torch."):
        return stored.file.map(stored.name)
    return read_as(stored.file, stored.name, dtype).to(device)

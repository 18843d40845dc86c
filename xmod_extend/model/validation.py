"""Checks that a checkpoint holds what its config describes.

Where a tensor is missing, transformers draws a random one, and training would go against noise.
The tensors that are expected are those of upstream's own model, built without memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from xmod_extend.errors import ModelError
from xmod_extend.model.config import listed
from xmod_extend.model.names import (
    ADAPTER_NAME,
    HEAD_NAMES,
    LAYER_PREFIX,
    TIED_NAMES,
    WORD_EMBEDDINGS,
    adapter_languages,
    rename_language,
)
from xmod_extend.model.tensors import TensorInfo

if TYPE_CHECKING:
    from transformers import XmodConfig

MOST_LAYERS = 1000
"""Building a layer takes some memory, even without its weights."""
FLOATS = ("F64", "F32", "F16", "BF16")


def expected_shapes(config: XmodConfig) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor that `XmodForMaskedLM` stores, tied weights once.

    Adapters come last, one language after another.

    Raises:
        ModelError: transformers cannot build a model of this config.
    """
    import torch
    from transformers import XmodForMaskedLM

    languages = list(config.languages)
    try:
        one = type(config).from_dict(config.to_dict() | {"languages": ["one"]})
        one.default_language = None
        with torch.device("meta"):
            model = XmodForMaskedLM(one)
    except Exception as error:  # whatever an absurd value leads to
        reason = " ".join(str(error).split()).rstrip(".")[:200]
        raise ModelError(
            f"config.json describes no model that can be built: {type(error).__name__}: {reason}.",
            hint="Compare it with the config.json of facebook/xmod-base.",
        ) from error
    shapes: dict[str, tuple[int, ...]] = {}
    adapter: list[tuple[str, tuple[int, ...]]] = []
    for name, tensor in model.state_dict().items():
        if ADAPTER_NAME.fullmatch(name):
            adapter.append((name, tuple(tensor.shape)))
        elif name not in TIED_NAMES:
            shapes[name] = tuple(tensor.shape)
    for language in languages:
        for name, shape in adapter:
            shapes[rename_language(name, "one", language)] = shape
    return shapes


def check_head(names: Iterable[str], label: str) -> None:
    """Refuse a checkpoint that is not a masked language model.

    Raises:
        ModelError: There are no weights of an LM head, or none of an encoder under `roberta.`.
    """
    stored = set(names)
    body = any(name.startswith(LAYER_PREFIX) for name in stored)
    if not body and not any("encoder.layer." in name for name in stored):
        raise ModelError(
            f"{label} has no encoder among its {len(stored)} tensors.", hint="Is it an X-MOD?"
        )
    absent = [name for name in HEAD_NAMES if name not in stored]
    if not body or absent:
        if not body:
            what = "has no masked-LM head: its tensors are those of a bare encoder"
        elif len(absent) == len(HEAD_NAMES):
            what = "has no masked-LM head: there is no tensor of it"
        else:
            what = f"lacks a part of its masked-LM head: {', '.join(absent)}"
        raise ModelError(f"{label} {what}.", hint="Give a checkpoint saved from XmodForMaskedLM.")


def check_languages(names: Iterable[str], languages: Iterable[str], label: str) -> None:
    """Refuse adapters without a code in the config, and codes without an adapter.

    Raises:
        ModelError: The two sets differ.
    """
    stored, expected = adapter_languages(names), list(languages)
    unlisted = sorted(set(stored) - set(expected))
    if unlisted:
        raise ModelError(
            f"{label} has adapters that config.json does not list: {listed(unlisted)}.",
            hint="Append them to `languages` in the order in which they were added.",
        )
    with_adapter = set(stored)
    absent = [code for code in expected if code not in with_adapter]
    if absent:
        raise ModelError(
            f"{label} lists languages that have no adapter: {listed(absent)}.",
            hint="config.json and the weights are not of the same checkpoint.",
        )


def check_depth(names: Iterable[str], config: XmodConfig) -> None:
    """Refuse an absurd number of layers before so many are built.

    Raises:
        ModelError: It is larger than any model's, and not that of the weights.
    """
    num_layers = _num_layers(names)
    if num_layers != config.num_hidden_layers > MOST_LAYERS:
        raise ModelError(
            f"config.json disagrees with the weights: num_hidden_layers is "
            f"{config.num_hidden_layers:,}, but there are {num_layers:,} layers.",
            hint="config.json and the weights are not of the same checkpoint.",
        )


def check_shapes(
    infos: Mapping[str, TensorInfo], expected: Mapping[str, tuple[int, ...]], config: XmodConfig
) -> None:
    """Refuse weights that are not the ones that the config describes.

    Raises:
        ModelError: A tensor is missing, has another shape or is not of a float type; the message
            has the first disagreement in plain words, and how many tensors disagree.
    """
    missing = [name for name in expected if name not in infos]
    misshapen = [name for name in expected if name in infos and infos[name].shape != expected[name]]
    surplus = [name for name in infos if name.startswith(LAYER_PREFIX) and name not in expected]
    num_wrong = len(missing) + len(misshapen) + len(surplus)
    if num_wrong:
        first = _disagreement(infos, config) or _first_difference(
            infos, expected, missing, misshapen, surplus
        )
        raise ModelError(
            f"config.json disagrees with the weights: {first} "
            f"({num_wrong} {'tensors disagree' if num_wrong > 1 else 'tensor disagrees'}).",
            hint="config.json and the weights are not of the same checkpoint.",
        )
    unfit = [name for name in expected if infos[name].dtype not in FLOATS]
    if unfit:
        raise ModelError(
            f"{unfit[0]} is of type {infos[unfit[0]].dtype}, which cannot be trained against.",
            hint="Use the checkpoint from before it was quantised.",
        )


_SIZES = (
    ("vocab_size", WORD_EMBEDDINGS, 0, "rows of word embeddings"),
    ("hidden_size", WORD_EMBEDDINGS, 1, "columns of word embeddings"),
    (
        "max_position_embeddings",
        "roberta.embeddings.position_embeddings.weight",
        0,
        "rows of position embeddings",
    ),
    (
        "type_vocab_size",
        "roberta.embeddings.token_type_embeddings.weight",
        0,
        "rows of token type embeddings",
    ),
    ("intermediate_size", f"{LAYER_PREFIX}0.intermediate.dense.weight", 0, "intermediate units"),
)
"""Fields of the config, and the tensor and the axis that have that size."""


def _disagreement(infos: Mapping[str, TensorInfo], config: XmodConfig) -> str | None:
    """Return the first size of the config that the weights contradict."""
    measured = [("num_hidden_layers", _num_layers(infos), "layers")]
    for field, name, axis, unit in _SIZES:
        shape = infos[name].shape if name in infos else ()
        if len(shape) > axis:
            measured.append((field, shape[axis], unit))
    for field, size, unit in measured:
        if size != getattr(config, field):
            return f"{field} is {getattr(config, field):,}, but there are {size:,} {unit}"
    factor = config.adapter_reduction_factor
    expected = config.hidden_size // factor
    for name, info in infos.items():
        if name.endswith(".dense1.bias") and info.shape and info.shape[0] != expected:
            return (
                f"adapter_reduction_factor is {factor}, which makes a bottleneck of "
                f"{expected:,}, but the adapters have {info.shape[0]:,}"
            )
    return None


def _num_layers(names: Iterable[str]) -> int:
    return len(
        {
            name.removeprefix(LAYER_PREFIX).split(".")[0]
            for name in names
            if name.startswith(LAYER_PREFIX)
        }
    )


def _first_difference(
    infos: Mapping[str, TensorInfo],
    expected: Mapping[str, tuple[int, ...]],
    missing: list[str],
    misshapen: list[str],
    surplus: list[str],
) -> str:
    if missing:
        return f"{missing[0]} is missing"
    if misshapen:
        name = misshapen[0]
        return f"{name} should be {_times(expected[name])} and is {_times(infos[name].shape)}"
    return f"{surplus[0]} is not in the model that it describes"


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in shape) or "a scalar"

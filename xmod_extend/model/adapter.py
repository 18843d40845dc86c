"""The new language's adapter: where it sits, and what it starts from.

    roberta.encoder.layer.N.output.adapter_modules.CODE.dense1.{weight (D/r, D), bias (D/r)}
    roberta.encoder.layer.N.output.adapter_modules.CODE.dense2.{weight (D, D/r), bias (D)}

    D  hidden size
    r  adapter_reduction_factor

Source: Pfeiffer et al. 2022 (arXiv 2205.06266), section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from xmod_extend.model.trainable import Group, Tensors, TrainableSet

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM
    from transformers.models.xmod.modeling_xmod import XmodPreTrainedModel

    from xmod_extend.model.checkpoint import Checkpoint

ADAPTER_TENSORS = ("dense1.weight", "dense1.bias", "dense2.weight", "dense2.bias")
"""The tensors of a language adapter in one layer."""

Adapter = Tensors
"""One language's adapter as `"N.dense1.weight" -> tensor`: named by layer and tensor and not by
language, so that one language's values can be put into another's slot."""


def adapter_set(
    model: XmodForMaskedLM,
    checkpoint: Checkpoint | None = None,
    *,
    init: str = "random",
    seed: int = 0,
) -> TrainableSet:
    """Return the trainable set of an added language: its adapter, and nothing else.

    Args:
        model: A one-language slice.
        checkpoint: The base, whose adapters `init` may ask for.
        init: What the adapter starts from: `random`, `mean` or `from:CODE`.
        seed: Of random values.
    """
    config = model.config
    (language,) = config.languages
    layers = range(config.num_hidden_layers)
    groups = [
        Group(tensor, [_parameter_name(layer, language, tensor) for layer in layers])
        for tensor in ADAPTER_TENSORS
    ]
    trained = TrainableSet(model, groups, lambda: _initial_adapter(model, checkpoint, init, seed))
    hidden, bottleneck = config.hidden_size, config.hidden_size // config.adapter_reduction_factor
    assert trained.num_parameters == len(layers) * (2 * hidden * bottleneck + hidden + bottleneck)
    return trained


def adapter_slots(model: XmodPreTrainedModel) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield a one-language slice's adapter: names such as `"3.dense1.weight"`, and parameters."""
    (language,) = model.config.languages
    for layer in range(model.config.num_hidden_layers):
        for tensor in ADAPTER_TENSORS:
            name = _parameter_name(layer, language, tensor)
            yield f"{layer}.{tensor}", model.get_parameter(name)


def read_adapter(checkpoint: Checkpoint, language: str) -> Adapter:
    """Read one existing language's adapter, in fp32."""
    adapter = {}
    for name in checkpoint.adapter_names(language):
        location, tensor = name.split(f".adapter_modules.{language}.")
        layer = location.removeprefix("roberta.encoder.layer.").removesuffix(".output")
        adapter[f"{layer}.{tensor}"] = checkpoint.read(name).float()
    return adapter


def full_names(adapter: Mapping[str, torch.Tensor], language: str) -> dict[str, torch.Tensor]:
    """Return the same tensors under the names they have in a checkpoint."""
    named = {}
    for short, values in adapter.items():
        layer, tensor = short.split(".", 1)
        named[_parameter_name(layer, language, tensor)] = values
    return named


@torch.no_grad()
def set_adapter(model: XmodPreTrainedModel, adapter: Mapping[str, torch.Tensor]) -> None:
    """Copy `adapter` into the slot of a one-language slice, in place."""
    for name, slot in adapter_slots(model):
        slot.copy_(adapter[name])


def random_adapter(model: XmodPreTrainedModel, *, seed: int) -> Adapter:
    """Draw weights from N(0, `initializer_range`), biases zero: upstream's for a missing adapter.

    They come from a generator of their own, and so depend on the seed and the shapes alone.
    """
    generator = torch.Generator().manual_seed(seed)
    std = float(model.config.initializer_range)
    adapter = {}
    for name, slot in adapter_slots(model):
        values = torch.zeros(slot.shape)
        if name.endswith("weight"):
            values.normal_(0.0, std, generator=generator)
        adapter[name] = values
    return adapter


def mean_adapter(checkpoint: Checkpoint, languages: Iterable[str]) -> Adapter:
    """Return the mean of several languages' adapters, holding two of them in memory at a time."""
    total: Adapter = {}
    count = 0
    for language in languages:
        count += 1
        for name, tensor in read_adapter(checkpoint, language).items():
            total[name] = total[name].add_(tensor) if name in total else tensor.clone()
    return {name: tensor / count for name, tensor in total.items()}


def _initial_adapter(
    model: XmodForMaskedLM, checkpoint: Checkpoint | None, init: str, seed: int
) -> Adapter:
    if init == "random":
        return random_adapter(model, seed=seed)
    assert checkpoint is not None, init
    if init == "mean":
        return mean_adapter(checkpoint, checkpoint.languages)
    return read_adapter(checkpoint, init.removeprefix("from:"))


def _parameter_name(layer: int | str, language: str, tensor: str) -> str:
    return f"roberta.encoder.layer.{layer}.output.adapter_modules.{language}.{tensor}"

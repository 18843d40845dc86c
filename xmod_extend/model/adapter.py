"""The new language's adapter: where it sits, and what it starts from.

    roberta.encoder.layer.N.output.adapter_modules.CODE.dense1.{weight (D/r, D), bias (D/r)}
    roberta.encoder.layer.N.output.adapter_modules.CODE.dense2.{weight (D, D/r), bias (D)}

    D  hidden size
    r  adapter_reduction_factor

Source: Pfeiffer et al. 2022 (arXiv 2205.06266), section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM
    from transformers.models.xmod.modeling_xmod import XmodOutput

    from xmod_extend.model.checkpoint import Checkpoint

PARTS = ("dense1.weight", "dense1.bias", "dense2.weight", "dense2.bias")

Adapter = dict[str, torch.Tensor]
"""One language's adapter as `"N.dense1.weight" -> tensor`: named by layer and part and not by
language, so that one language's values can be put into another's slot."""


def adapter_slots(model: XmodForMaskedLM) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters of a one-language slice's adapter, as (`"N.dense1.weight"`,
    parameter)."""
    for number, layer in enumerate(model.roberta.encoder.layer):
        output = cast("XmodOutput", layer.output)
        (module,) = output.adapter_modules.values()
        for part in PARTS:
            yield f"{number}.{part}", module.get_parameter(part)


def read_adapter(checkpoint: Checkpoint, language: str) -> Adapter:
    """Read one existing language's adapter, in fp32."""
    adapter = {}
    for name in checkpoint.adapter_names(language):
        location, part = name.split(f".adapter_modules.{language}.")
        number = location.removeprefix("roberta.encoder.layer.").removesuffix(".output")
        adapter[f"{number}.{part}"] = checkpoint.read(name).float()
    return adapter


def full_names(adapter: Mapping[str, torch.Tensor], language: str) -> dict[str, torch.Tensor]:
    """Return the same tensors under the names they have in a checkpoint."""
    named = {}
    for short, tensor in adapter.items():
        number, part = short.split(".", 1)
        prefix = f"roberta.encoder.layer.{number}.output.adapter_modules.{language}"
        named[f"{prefix}.{part}"] = tensor
    return named


@torch.no_grad()
def set_adapter(model: XmodForMaskedLM, adapter: Mapping[str, torch.Tensor]) -> None:
    """Copy `adapter` into the slot of a one-language slice, in place."""
    for name, slot in adapter_slots(model):
        slot.copy_(adapter[name])


def get_adapter(model: XmodForMaskedLM) -> Adapter:
    """Return a copy of the slot's values, on the CPU."""
    return {name: slot.detach().cpu().clone() for name, slot in adapter_slots(model)}


def random_adapter(model: XmodForMaskedLM, *, seed: int) -> Adapter:
    """Weights from N(0, `initializer_range`), biases zero: what upstream gives a missing adapter.

    Drawn from a generator of its own, so that it depends on the seed and the shapes alone.
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

"""The slice: an X-MOD that holds the shared weights and one language.

It is transformers' own `XmodForMaskedLM` with a one-language config, so its maths is upstream's. Of
xmod-base's 860 million parameters it holds 284 million; the adapters of the other languages are
never read. Parameters are created on the meta device and replaced one by one by what is read from
the file, so nothing is initialised only to be overwritten, and nothing is in memory twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from xmod_extend.model.adapter import (
    adapter_slots,
    full_names,
    read_adapter,
    set_adapter,
)
from xmod_extend.model.memory import give_back_memory

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM
    from transformers.models.xmod.modeling_xmod import (
        XmodModel,
        XmodOutput,
        XmodPreTrainedModel,
    )

    from xmod_extend.model.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How the frozen weights are kept and how the body computes; the adapter is always fp32."""

    name: str
    """`fp32` or `bf16`, as the options and the signatures spell it."""
    storage: torch.dtype
    """The dtype of the frozen matrices."""
    compute: torch.dtype
    """The dtype of the hidden states. Where bf16 is emulated, weights are cast as they are used."""


FP32 = Precision(name="fp32", storage=torch.float32, compute=torch.float32)


def load_slice(
    checkpoint: Checkpoint, language: str, *, precision: Precision = FP32
) -> XmodForMaskedLM:
    """Load the shared weights and one language, in `eval()` mode on the CPU.

    Args:
        language: An existing language, whose adapter is read, or a new one, whose slot is zeros
            until `set_adapter` fills it.
        precision: Of the shared weights. In fp32 the model's maths is upstream's to the bit.
    """
    from transformers import XmodForMaskedLM

    with torch.device("meta"):
        model = XmodForMaskedLM(checkpoint.xmod_config(languages=[language]))
    fill_slice(model, checkpoint, language, names=checkpoint.shared_names(), precision=precision)
    model.tie_weights()
    return model


def fill_slice(
    model: XmodPreTrainedModel,
    checkpoint: Checkpoint,
    language: str,
    *,
    names: Iterable[str],
    precision: Precision,
) -> None:
    """Give a one-language model that has no memory yet its weights, and set it to `eval()` mode.

    Args:
        names: The shared weights to read.
    """
    for name in names:
        values = checkpoint.read(name)
        # Biases and layer norms are a thousandth of the memory: nothing is gained by rounding them.
        _assign(model, name, values.to(precision.storage if values.ndim > 1 else precision.compute))
    for name, slot in adapter_slots(model):
        ((full, _),) = full_names({name: slot}, language).items()
        _assign(model, full, torch.zeros(slot.shape))
    fill_buffers(model)
    if language in checkpoint.languages:
        set_adapter(model, read_adapter(checkpoint, language))
    model.train(False)


def rename_slot(model: XmodForMaskedLM, language: str) -> None:
    """Give the slice's slot to another language; its values stay until others are set."""
    for layer in model.roberta.encoder.layer:
        output = cast("XmodOutput", layer.output)
        (slot,) = output.adapter_modules.values()
        output.adapter_modules = nn.ModuleDict({language: slot})
    model.config.languages = [language]


def load_adapter(model: XmodForMaskedLM, checkpoint: Checkpoint, language: str) -> None:
    """Put an existing language's adapter into the slice's slot, in place of what was there."""
    set_adapter(model, read_adapter(checkpoint, language))


def free_slice(model: XmodPreTrainedModel) -> None:
    """Let go of a slice's weights before the next slice is loaded, whoever still holds the model.

    Without it two slices would be in memory at once: a module may be part of a cycle, which is
    collected later.
    """
    model.to("meta")  # type: ignore[arg-type]
    give_back_memory()


def _assign(model: nn.Module, name: str, values: torch.Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    setattr(module, leaf, nn.Parameter(values, requires_grad=False))


def fill_buffers(model: XmodPreTrainedModel) -> None:
    """Fill the two index buffers that checkpoints do not store."""
    embeddings = cast("XmodModel", model.base_model).embeddings
    positions = torch.arange(model.config.max_position_embeddings, device="cpu").expand((1, -1))
    embeddings.register_buffer("position_ids", positions, persistent=False)
    embeddings.register_buffer("token_type_ids", torch.zeros_like(positions), persistent=False)

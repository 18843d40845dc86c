"""Small random X-MODs for the tests, in both shapes that were ever released."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import XmodConfig, XmodForMaskedLM

from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.model.extension import extended_contents, planned_adapter, trained_adapter
from xmod_extend.model.writer import DiskUse, OutputPlan, plan_output, write_checkpoint

LANGUAGES = ("en_XX", "de_DE", "sw_KE")

POST_NORM = {
    "pre_norm": False,
    "adapter_layer_norm": False,
    "adapter_reuse_layer_norm": True,
    "ln_before_adapter": True,
    "adapter_reduction_factor": 2,
}
"""The flags of xmod-base."""

PRE_NORM = {
    "pre_norm": True,
    "adapter_layer_norm": True,
    "adapter_reuse_layer_norm": False,
    "ln_before_adapter": False,
    "adapter_reduction_factor": 4,
}
"""The flags of xmod-large-prenorm."""


def make_config(
    *, languages: Sequence[str] = LANGUAGES, pre_norm: bool = False, **changes: Any
) -> XmodConfig:
    """A config with the released checkpoints' values where upstream's defaults differ."""
    values: dict[str, Any] = {
        "vocab_size": 120,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 34,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "languages": list(languages),
        **(PRE_NORM if pre_norm else POST_NORM),
    }
    return XmodConfig(**(values | changes))


def make_model(
    *,
    languages: Sequence[str] = LANGUAGES,
    pre_norm: bool = False,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    **changes: Any,
) -> XmodForMaskedLM:
    """A model in which every parameter is random, so that a swapped or lost one shows."""
    model = XmodForMaskedLM(make_config(languages=languages, pre_norm=pre_norm, **changes))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator) * 0.1
            around_one = "norm" in name.lower() and name.endswith("weight")
            parameter.copy_(values + 1 if around_one else values)
    return model.to(dtype).eval()


def make_checkpoint(
    path: Path,
    *,
    languages: Sequence[str] = LANGUAGES,
    pre_norm: bool = False,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    kind: str = "safetensors",
    **changes: Any,
) -> Path:
    """Writes a small random X-MOD as `save_pretrained` does, and returns its folder.

    Args:
        kind: `safetensors`, `sharded` (safetensors in several files with an index), `bin` or
            `sharded-bin`.
        changes: Further fields of the config.
    """
    model = make_model(languages=languages, pre_norm=pre_norm, seed=seed, dtype=dtype, **changes)
    if kind == "safetensors":
        model.save_pretrained(path)
    elif kind == "sharded":
        model.save_pretrained(path, max_shard_size="40KB")
    else:
        model.config.architectures = ["XmodForMaskedLM"]
        model.config.save_pretrained(path)
        save_bin(model.state_dict(), path, sharded=kind == "sharded-bin")
    return path


def save_bin(tensors: dict[str, torch.Tensor], path: Path, *, sharded: bool = False) -> None:
    """PyTorch's own format, which transformers 5 reads and no longer writes."""
    if not sharded:
        torch.save(tensors, path / "pytorch_model.bin")
        return
    names = list(tensors)
    weight_map = {}
    for number, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), start=1):
        shard = f"pytorch_model-0000{number}-of-00002.bin"
        torch.save({name: tensors[name].clone() for name in part}, path / shard)
        weight_map |= dict.fromkeys(part, shard)
    index = {"metadata": {}, "weight_map": weight_map}
    (path / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def new_adapter(base: Checkpoint, language: str = "quz_PE") -> dict[str, torch.Tensor]:
    """A random adapter under the names that it would have in the base."""
    generator = torch.Generator().manual_seed(5)
    template = base.adapter_names(base.languages[0])
    return {
        name: torch.randn(base.info(known).shape, generator=generator) * 0.1
        for name, known in zip(base.adapter_names(language), template, strict=True)
    }


def extend(
    base: Checkpoint,
    target: Path,
    *languages: str,
    adapters: dict[str, dict[str, torch.Tensor]] | None = None,
    force: bool = False,
    tokenizer_files: Sequence[Path] = (),
) -> Path:
    """Writes the base with random languages, or with these adapters, and a stand-in of a record."""
    new = adapters or {code: new_adapter(base, code) for code in languages or ("quz_PE",)}
    adapters_to_write = {
        code: trained_adapter(base, code, adapter) for code, adapter in new.items()
    }
    write_checkpoint(
        target,
        extended_contents(base, adapters_to_write, tokenizer_files=tokenizer_files),
        verify=lambda folder: None,
        documents=lambda _: {"run.json": json.dumps({"language": list(new)[-1]})},
        force=force,
    )
    return target


def plan_to_extend(
    base: Checkpoint,
    target: Path,
    *languages: str,
    force: bool = False,
    others: DiskUse | None = None,
) -> OutputPlan:
    """The plan of what `extend` writes."""
    adapters = {code: planned_adapter(base, code) for code in languages or ("quz_PE",)}
    return plan_output(target, extended_contents(base, adapters), force=force, others=others)

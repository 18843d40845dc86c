"""Files in the layout of fairseq's X-MOD, made of an X-MOD of transformers."""

from __future__ import annotations

from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from transformers import XmodForMaskedLM

BODY = "encoder.sentence_encoder"
LAYER_PARTS = {
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "self_attn_layer_norm",
    "intermediate.dense": "fc1",
    "output.dense": "fc2",
    "output.LayerNorm": "final_layer_norm",
    "output.adapter_layer_norm": "adapter_layer_norm",
}


def fairseq_tensors(model: XmodForMaskedLM) -> OrderedDict[str, torch.Tensor]:
    """The tensors of a model whose token types are zeros, as fairseq names and orders them."""
    found: OrderedDict[str, torch.Tensor] = OrderedDict()

    def put(theirs: str, module: torch.nn.Module | None) -> None:
        for kind, parameter in module.named_parameters() if module is not None else ():
            found[f"{theirs}.{kind}"] = parameter.detach().clone()

    body, head = model.roberta, model.lm_head
    found[f"{BODY}.version"] = torch.tensor([3.0])
    put(f"{BODY}.embed_tokens", body.embeddings.word_embeddings)
    put(f"{BODY}.embed_positions", body.embeddings.position_embeddings)
    put(f"{BODY}.layernorm_embedding", body.embeddings.LayerNorm)
    for number, layer in enumerate(body.encoder.layer):
        for ours, theirs in LAYER_PARTS.items():
            try:
                module = layer.get_submodule(ours)
            except AttributeError:
                continue
            put(f"{BODY}.layers.{number}.{theirs}", module)
        for language, adapter in layer.output.adapter_modules.items():
            put(f"{BODY}.layers.{number}.adapter_modules.{language}.fc1", adapter.dense1)
            put(f"{BODY}.layers.{number}.adapter_modules.{language}.fc2", adapter.dense2)
    if model.config.pre_norm:
        put(f"{BODY}.layer_norm", body.encoder.LayerNorm)
    put("encoder.lm_head.dense", head.dense)
    put("encoder.lm_head.layer_norm", head.layer_norm)
    found["encoder.lm_head.weight"] = found[f"{BODY}.embed_tokens.weight"]
    found["encoder.lm_head.bias"] = head.bias.detach().clone()
    return found


def fairseq_options(model: XmodForMaskedLM, **changes: Any) -> Namespace:
    """The options that such a model was trained with, and some that tell nothing of it."""
    config = model.config
    values = {
        "arch": "xmod_base",
        "activation_fn": "gelu",
        "encoder_layers": config.num_hidden_layers,
        "encoder_attention_heads": config.num_attention_heads,
        "encoder_embed_dim": config.hidden_size,
        "encoder_ffn_embed_dim": config.intermediate_size,
        "encoder_normalize_before": config.pre_norm,
        "adapter_layer_norm": config.adapter_layer_norm,
        "adapter_reuse_layer_norm": config.adapter_reuse_layer_norm,
        "ln_before_adapter": config.ln_before_adapter,
        "bottleneck": config.adapter_reduction_factor,
        "languages": list(config.languages),
        "no_scale_embedding": True,
        "lr": [0.0007],
    }
    return Namespace(**(values | changes))


def write_fairseq(path: Path, made_of: XmodForMaskedLM, /, **parts: Any) -> Path:
    """Writes such a file. `parts` replace or add parts; one that is None is left out."""
    content = {
        "args": None,
        "cfg": {"_name": None, "model": fairseq_options(made_of), "task": {"data": "/data"}},
        "model": fairseq_tensors(made_of),
        "optimizer_history": [{"num_updates": 125000, "lr_scheduler_state": {"best": 2.1}}],
        "extra_state": {"epoch": 3, "metrics": OrderedDict(train=[0.5, (1, 2)])},
    }
    torch.save({k: v for k, v in (content | parts).items() if v is not None}, path)
    return path


def without_token_types(model: XmodForMaskedLM) -> XmodForMaskedLM:
    """The same model with zeros for token types, which fairseq does not have."""
    with torch.no_grad():
        model.roberta.embeddings.token_type_embeddings.weight.zero_()
    return model

"""fairseq's file of an X-MOD, as its authors published theirs, under upstream's names.

    model            tensors by fairseq's names
    cfg, args        the options that the model was trained with; `cfg` has them under `model`

The options are containers or an `argparse.Namespace`, which holds values and does nothing. All else
that such a file may have, such as the state of the optimiser, is passed over, and so are the heads
of tasks. fairseq knows no token types; upstream's are zeros.

Source: Pfeiffer et al. 2022 (arXiv 2205.06266); fairseq, fairseq/models/xmod; transformers,
models/xmod/convert_xmod_original_pytorch_checkpoint_to_pytorch.py.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from xmod_extend.arguments import shown
from xmod_extend.errors import ModelError
from xmod_extend.model.names import LAYER_PREFIX, TIED_NAMES, WORD_EMBEDDINGS
from xmod_extend.model.tensors import TensorInfo, TensorSource, source_of
from xmod_extend.model.torch_files import PickleFile, load_pickle

INERT = (Namespace,)
TOKEN_TYPES = "roberta.embeddings.token_type_embeddings.weight"
LARGEST = 1_000_000
"""No option that is a size is larger in any model."""

_BODY = "encoder.sentence_encoder."
_BUFFERS = (f"{_BODY}version", f"{_BODY}embed_positions._float_tensor")
_LAYER = re.compile(r"layers\.(?P<layer>\d{1,4})\.(?P<rest>.+)")
_ADAPTER = re.compile(r"adapter_modules\.(?P<language>[^.]+)\.fc(?P<dense>[12])\.(?P<kind>\w+)")

_EMBEDDINGS = {
    "embed_tokens": "word_embeddings",
    "embed_positions": "position_embeddings",
    "layernorm_embedding": "LayerNorm",
    # Its name before fairseq 0.12.
    "emb_layer_norm": "LayerNorm",
}
_LAYER_PARTS = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn_layer_norm": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "output.LayerNorm",
    "adapter_layer_norm": "output.adapter_layer_norm",
}


@dataclass(frozen=True, kw_only=True)
class FairseqModel:
    """An X-MOD of fairseq's.

    Attributes:
        config: What upstream's config.json says of it.
        tensors: All tensors of a masked language model, under upstream's names.
        notes: Sentences on what was left out.
    """

    config: Mapping[str, Any] = field(repr=False)
    tensors: Mapping[str, TensorSource] = field(repr=False)
    notes: tuple[str, ...] = ()


def open_fairseq(path: Path) -> FairseqModel:
    """Open fairseq's file of an X-MOD.

    Raises:
        ModelError: It is another model's, lacks something, is damaged, or holds code.
    """
    options = _options(load_pickle(path, inert=INERT), path.name)
    file = PickleFile(path, part=lambda loaded: _part(loaded, "model", path.name), inert=INERT)
    named: dict[str, str] = {}
    left_out = set()
    for theirs in file.names:
        if theirs.startswith("classification_heads."):
            left_out.add("the heads of tasks")
        elif theirs not in _BUFFERS:
            named[_our_name(theirs, path.name)] = theirs
    tied = next(alias for alias, owner in TIED_NAMES.items() if owner == WORD_EMBEDDINGS)
    _check_tied(file, named, tied, path.name)
    tensors = {ours: source_of(file, theirs) for ours, theirs in named.items() if ours != tied}
    config = _config(options, tensors, path.name)
    words = tensors[WORD_EMBEDDINGS].info
    zeros = TensorInfo(words.dtype, (1, words.shape[1]))
    tensors[TOKEN_TYPES] = TensorSource(zeros, lambda: [bytes(zeros.num_bytes)])
    return FairseqModel(
        config=config,
        tensors=tensors,
        notes=tuple(f"{part} were left out: they are no part of an X-MOD." for part in left_out),
    )


def _part(loaded: object, name: str, file: str) -> object:
    if not isinstance(loaded, dict) or name not in loaded:
        raise ModelError(
            f"{file} is not a checkpoint of fairseq: it has no part `{name}`.",
            hint="Give the model.pt of an X-MOD, as its authors published it.",
        )
    return loaded[name]


def _options(loaded: object, file: str) -> Mapping[str, Any]:
    """Return the options of the model, wherever this version of fairseq put them."""
    _part(loaded, "model", file)
    checkpoint = cast("dict[str, object]", loaded)
    config = _as_mapping(checkpoint.get("cfg"))
    for options in (config.get("model"), checkpoint.get("args")):
        if found := _as_mapping(options):
            return found
    raise ModelError(
        f"{file} does not say how its model was made: it has neither `cfg` nor `args`.",
        hint="Give the model.pt of an X-MOD, as its authors published it.",
    )


def _as_mapping(options: object) -> Mapping[str, Any]:
    if isinstance(options, Namespace):
        return vars(options)
    return options if isinstance(options, Mapping) else {}


def _our_name(name: str, file: str) -> str:
    """Return upstream's name of a tensor.

    Raises:
        ModelError: No X-MOD has it.
    """
    # Its name before fairseq 0.9.
    name = re.sub(r"^decoder\.", "encoder.", name)
    part, _, kind = name.removeprefix(_BODY).rpartition(".")
    if name.startswith("encoder.lm_head."):
        part = name.removeprefix("encoder.lm_head.")
        return f"lm_head.{'decoder.weight' if part == 'weight' else part}"
    if name.startswith(_BODY) and part in _EMBEDDINGS:
        return f"roberta.embeddings.{_EMBEDDINGS[part]}.{kind}"
    if name.startswith(_BODY) and part == "layer_norm":
        return f"roberta.encoder.LayerNorm.{kind}"
    match = _LAYER.fullmatch(name.removeprefix(_BODY))
    if name.startswith(_BODY) and match:
        prefix, (part, _, kind) = (
            f"{LAYER_PREFIX}{int(match['layer'])}.",
            match["rest"].rpartition("."),
        )
        if part in _LAYER_PARTS:
            return f"{prefix}{_LAYER_PARTS[part]}.{kind}"
        if adapter := _ADAPTER.fullmatch(match["rest"]):
            dense = f"dense{adapter['dense']}.{adapter['kind']}"
            return f"{prefix}output.adapter_modules.{adapter['language']}.{dense}"
    raise ModelError(
        f"{file} has a tensor that no X-MOD has, {shown(name)}.",
        hint="Give the model.pt of an X-MOD, as its authors published it.",
    )


def _check_tied(file: PickleFile, named: Mapping[str, str], tied: str, name: str) -> None:
    """Refuse a head that does not share the word embeddings, or a model without these."""
    if WORD_EMBEDDINGS not in named or len(file.info(named[WORD_EMBEDDINGS]).shape) != 2:
        raise ModelError(
            f"{name} has no word embeddings.",
            hint="Give the model.pt of an X-MOD, as its authors published it.",
        )
    if tied in named and file.digest(named[tied]) != file.digest(named[WORD_EMBEDDINGS]):
        raise ModelError(
            f"{name} has a masked-LM head that does not share the word embeddings.",
            hint="Only X-MODs whose head shares them can be extended.",
        )


def _config(
    options: Mapping[str, Any], tensors: Mapping[str, TensorSource], name: str
) -> dict[str, Any]:
    """Return upstream's config, from the options and, where they tell it, from the tensors."""
    reader = _OptionReader(options, name)
    reader.check("activation_fn", ("gelu",), default="gelu")
    reader.check("no_scale_embedding", (True,), default=True)
    words = tensors[WORD_EMBEDDINGS].info.shape
    positions = tensors.get("roberta.embeddings.position_embeddings.weight")
    stored = _languages(tensors)
    languages = reader.languages(stored)
    narrow = tensors.get(
        f"{LAYER_PREFIX}0.output.adapter_modules.{languages[0]}.dense1.bias" if languages else ""
    )
    factor = words[1] // narrow.info.shape[0] if narrow and narrow.info.shape[0] else 2
    return {
        "architectures": ["XmodForMaskedLM"],
        "model_type": "xmod",
        "languages": languages,
        "default_language": None,
        "vocab_size": words[0],
        "hidden_size": words[1],
        "num_hidden_layers": reader.size("encoder_layers"),
        "num_attention_heads": reader.size("encoder_attention_heads"),
        "intermediate_size": reader.size("encoder_ffn_embed_dim"),
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": positions.info.shape[0] if positions else 514,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "initializer_range": 0.02,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pre_norm": reader.flag("encoder_normalize_before"),
        "adapter_reduction_factor": reader.size("bottleneck", default=factor),
        "adapter_layer_norm": reader.flag("adapter_layer_norm"),
        "adapter_reuse_layer_norm": reader.flag("adapter_reuse_layer_norm"),
        "ln_before_adapter": reader.flag("ln_before_adapter"),
    }


def _languages(tensors: Mapping[str, TensorSource]) -> list[str]:
    """Return the codes that have adapters, in the order in which the file has them."""
    marked = (name.partition(".adapter_modules.")[2] for name in tensors)
    codes = (rest.split(".")[0] for rest in marked if rest)
    return list(dict.fromkeys(codes))


class _OptionReader:
    """Options of a file, each refused if it is not what it must be."""

    def __init__(self, options: Mapping[str, Any], name: str) -> None:
        self._options = options
        self._name = name

    def size(self, option: str, *, default: int | None = None) -> int:
        value = self._options.get(option, default)
        if type(value) is not int or not 0 < value <= LARGEST:
            raise self._wrong(option, "a size")
        return value

    def flag(self, option: str) -> bool:
        value = self._options.get(option)
        if not isinstance(value, bool):
            raise self._wrong(option, "true or false")
        return value

    def check(self, option: str, known: tuple[object, ...], *, default: object) -> None:
        if self._options.get(option, default) not in known:
            raise self._wrong(option, f"{known[0]}, as in every X-MOD")

    def languages(self, stored: list[str]) -> list[str]:
        """Return the codes in the order of their ids: that of the options, which made them."""
        listed = self._options.get("languages", stored)
        if not isinstance(listed, list) or not all(isinstance(code, str) for code in listed):
            raise self._wrong("languages", "a list of codes")
        if sorted(listed) != sorted(stored):
            differing = sorted(set(listed) ^ set(stored)) or ["one that is listed twice"]
            raise ModelError(
                f"{self._name} has adapters of other languages than its options list: "
                f"{shown(differing[0])}.",
                hint="Its options and its weights are not of the same model.",
            )
        return listed

    def _wrong(self, option: str, needed: str) -> ModelError:
        found = shown(self._options[option]) if option in self._options else "missing"
        return ModelError(
            f"{self._name} must have {needed} as its option {option}, which is {found}.",
            hint="Give the model.pt of an X-MOD, as its authors published it.",
        )

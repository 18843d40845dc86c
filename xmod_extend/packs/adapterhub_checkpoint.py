"""A whole checkpoint in AdapterHub's form: the model without languages, and a folder for each.

    config.json              upstream's, with the heads and the adapters that the library adds
    model.safetensors        the shared weights, the masked-LM head, and one language
    CODE/                    one language: see packs/adapterhub.py
    tokenizer.json, ...      the tokenizer, and the terms of use

This is how AdapterHub/xmod-base is published, whose languages are repositories of their own. The
one language lies in the model as well, so that it can be used as it is.

    here    lm_head.dense    lm_head.layer_norm    lm_head.bias
    there   heads.NAME.0     heads.NAME.2          heads.NAME.3.bias
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xmod_extend.arguments import shown
from xmod_extend.errors import ModelError
from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.model.config import CODE, CONFIG_NAME, config_languages, listed, read_config
from xmod_extend.model.extension import AdapterSources, find_companions
from xmod_extend.model.names import TIED_NAMES
from xmod_extend.model.safetensors_files import write_safetensors
from xmod_extend.model.shards import TensorShard, bind
from xmod_extend.model.tensors import (
    TensorSource,
    digest_of,
    source_of,
)
from xmod_extend.model.weights import Weights, open_weights
from xmod_extend.model.writer import CheckpointContents
from xmod_extend.packs.adapterhub import (
    ADAPTER_NAME,
    DESCRIPTION_NAME,
    adapter_sources,
    open_adapter,
    our_name,
    renamed_sources,
)
from xmod_extend.packs.adapterhub_config import LIBRARY_VERSION, bottleneck_config, check_bottleneck
from xmod_extend.packs.shape import AdapterShape
from xmod_extend.tokens.tokenizer import TOKENIZER_PATTERNS

BODY_NAME = "model.safetensors"
MODEL_CLASS = "XmodAdapterModel"
HEAD = "default"
"""The name that the library gives the head of a model that it converts."""
PREFERRED_LANGUAGE = "en_XX"
"""The language that AdapterHub/xmod-base has in the model."""

_HEAD_PARTS = {
    "0.weight": "lm_head.dense.weight",
    "0.bias": "lm_head.dense.bias",
    "2.weight": "lm_head.layer_norm.weight",
    "2.bias": "lm_head.layer_norm.bias",
    "3.bias": "lm_head.bias",
    "3.weight": "lm_head.decoder.weight",
}
_HEAD_FIELDS = {
    "head_type": "masked_lm",
    "layers": 2,
    "activation_function": "gelu",
    "layer_norm": True,
    "bias": True,
}
"""What makes the library's general head the one of X-MOD."""

_FIELDS_OF_THE_LIBRARY = ("adapters", "prediction_heads")
_ALIAS = "roberta.prompt_tuning.base_model_embeddings.weight"
_COMPANIONS = (*TOKENIZER_PATTERNS, "LICENSE*", "NOTICE*")


def companions(path: Path) -> dict[str, Path]:
    """Return the files beside the weights that belong to either form: tokenizer and terms.

    Raises:
        ModelError: One of them is a link out of the folder.
    """
    return {file.name: file for file in find_companions(path, _COMPANIONS)}


def body_language(checkpoint: Checkpoint) -> str:
    """Return the language that lies in the model as well."""
    has_preferred = PREFERRED_LANGUAGE in checkpoint.languages
    return PREFERRED_LANGUAGE if has_preferred else checkpoint.languages[0]


def body_config(checkpoint: Checkpoint, name: str) -> str:
    """Return the text of the model's config.json.

    Raises:
        ModelError: The library has no such adapters.
    """
    config = checkpoint.config
    bottleneck = bottleneck_config(AdapterShape.from_config(config), name)
    head = _HEAD_FIELDS | {
        "vocab_size": config["vocab_size"],
        "embedding_size": config["hidden_size"],
        "shift_labels": False,
        "label2id": None,
    }
    values = config | {
        "architectures": [MODEL_CLASS],
        "adapters": {
            # The second name is only a key of the map.
            "adapters": {body_language(checkpoint): "xmod"},
            "config_map": {"xmod": bottleneck},
            "fusions": {},
            "fusion_config_map": {},
            "fusion_name_map": {},
        },
        "prediction_heads": {HEAD: head},
    }
    return json.dumps(values, indent=2) + "\n"


def write_body(folder: Path, checkpoint: Checkpoint, config: str) -> None:
    """Write the model into a folder that is there.

    Args:
        config: What `body_config` returned.
    """
    (folder / CONFIG_NAME).write_text(config, encoding="utf-8")
    sources = _body_sources(checkpoint)
    write_safetensors(
        folder / BODY_NAME,
        ((name, source.info, source.chunks()) for name, source in sources.items()),
    )


def _body_sources(checkpoint: Checkpoint) -> dict[str, TensorSource]:
    heads = {ours: f"heads.{HEAD}.{part}" for part, ours in _HEAD_PARTS.items()}
    shared = {heads.get(name, name): source_in(checkpoint, name) for name in body_names(checkpoint)}
    return shared | renamed_sources(language_sources(checkpoint, body_language(checkpoint)))


def body_names(checkpoint: Checkpoint) -> list[str]:
    """Return the tensors that lie in the model: the shared weights, and a pooler if any."""
    poolers = [name for name in checkpoint.extra_names if name.startswith("roberta.pooler.")]
    return [*checkpoint.shared_names(), *poolers]


def source_in(checkpoint: Checkpoint, name: str) -> TensorSource:
    """Return a tensor of a checkpoint, which is read when it is written."""
    return source_of(checkpoint.weights.by_name[name], name)


def language_sources(checkpoint: Checkpoint, language: str) -> AdapterSources:
    """Return the tensors of a language of a checkpoint."""
    return {name: source_in(checkpoint, name) for name in checkpoint.adapter_names(language)}


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """A whole checkpoint in AdapterHub's form.

    Attributes:
        languages: Codes, in the order of their ids.
        shared: The shared weights under upstream's names.
        adapters: The tensors of each language, under upstream's names.
        notes: Sentences on what belongs to no X-MOD and is left out.
    """

    path: Path
    languages: tuple[str, ...]
    config: Mapping[str, Any] = field(repr=False)
    shared: Mapping[str, TensorSource] = field(repr=False)
    adapters: Mapping[str, AdapterSources] = field(repr=False)
    notes: tuple[str, ...] = ()

    def tensors(self) -> dict[str, TensorSource]:
        """Return all tensors of a checkpoint, the languages in the order of their ids."""
        tensors = dict(self.shared)
        for language in self.languages:
            tensors |= self.adapters[language]
        return tensors

    def contents(self) -> CheckpointContents:
        """Return what a standard checkpoint of it holds."""
        return CheckpointContents(
            weight_map=bind(TensorShard(BODY_NAME, self.tensors())),
            config=json.dumps(self.config, indent=2) + "\n",
            companions=companions(self.path),
            sources=[self.path],
        )


def open_model(path: Path, name: str) -> HubModel:
    """Open a whole checkpoint in AdapterHub's form.

    Args:
        name: What sentences call it.

    Raises:
        ModelError: It is another model, lacks a language that it lists, or a file of it is missing
            or damaged.
    """
    config = read_config(path)
    weights = open_weights(path)
    if any(".adapter_modules." in tensor for tensor in weights.by_name):
        raise ModelError(
            f"{name} is a plain checkpoint of X-MOD already: its languages lie in the model.",
            hint="Use it as it is.",
        )
    reader = _ModelReader(path, name, config, weights)
    shared, notes = reader.shared()
    adapters = reader.adapters()
    return HubModel(
        path=path,
        languages=tuple(adapters),
        config=_plain_config(config, list(adapters)),
        shared=shared,
        adapters=adapters,
        notes=tuple(notes),
    )


class _ModelReader:
    """The parts of a whole checkpoint, each checked."""

    def __init__(self, path: Path, name: str, config: dict[str, Any], weights: Weights) -> None:
        self._path = path
        self._name = name
        self._config = config
        self._weights = weights
        self._shape = AdapterShape.from_config(config)

    def shared(self) -> tuple[dict[str, TensorSource], list[str]]:
        head = self._head_prefix()
        shared: dict[str, TensorSource] = {}
        left_out: set[str] = set()
        for tensor, file in self._weights.by_name.items():
            ours = tensor
            if head is not None and tensor.startswith(head):
                ours = _HEAD_PARTS.get(tensor.removeprefix(head), tensor)
            if ADAPTER_NAME.fullmatch(tensor) or tensor == _ALIAS:
                continue
            if "invertible_adapters." in tensor:
                raise ModelError(
                    f"{self._name} has an invertible part, for which X-MOD has no place.",
                    hint="Save the model without that adapter.",
                )
            if not ours.startswith(("roberta.", "lm_head.")):
                left_out.add(".".join(tensor.split(".")[:2]))
            elif ours in TIED_NAMES:
                self._check_tied(tensor, ours)
            else:
                shared[ours] = source_of(file, tensor)
        return shared, [f"{shown(part)} is no part of an X-MOD." for part in sorted(left_out)]

    def _head_prefix(self) -> str | None:
        """Return how the names of the masked-LM head begin, or None if it has upstream's."""
        if any(tensor.startswith("lm_head.") for tensor in self._weights.by_name):
            return None
        heads = self._config.get("prediction_heads")
        for head, values in heads.items() if isinstance(heads, Mapping) else ():
            fields = values if isinstance(values, Mapping) else {}
            if all(fields.get(one) == value for one, value in _HEAD_FIELDS.items()):
                return f"heads.{head}."
        raise ModelError(
            f"{self._name} has no masked-LM head that could be X-MOD's.",
            hint="Give a model such as AdapterHub/xmod-base, saved with its head.",
        )

    def _check_tied(self, tensor: str, ours: str) -> None:
        owner = TIED_NAMES[ours]
        stored = self._weights.by_name.get(owner)
        if stored is None or stored.digest(owner) != self._weights.by_name[tensor].digest(tensor):
            raise ModelError(
                f"{self._name} has a masked-LM head that does not share the word embeddings.",
                hint="X-MOD's shares them: take the head of the model that it was made from.",
            )

    def adapters(self) -> dict[str, AdapterSources]:
        codes = config_languages(self._config)
        folders = sorted(
            entry.name
            for entry in self._path.iterdir()
            if CODE.fullmatch(entry.name) and (entry / DESCRIPTION_NAME).is_file()
        )
        found = {}
        absent = []
        for code in [*codes, *(folder for folder in folders if folder not in codes)]:
            adapter = self._adapter(code, has_folder=code in folders)
            if adapter is None:
                absent.append(code)
            else:
                found[code] = adapter
        if absent:
            raise ModelError(
                f"{self._name} lists languages that it has no adapter of: {listed(absent)}.",
                hint="Lay the folder of each beside the model, under its code: a language's id is "
                "its place in `languages`.",
            )
        return found

    def _adapter(self, code: str, *, has_folder: bool) -> AdapterSources | None:
        inside = self._adapter_in_model(code)
        if not has_folder:
            return inside
        label = f"{self._name}/{code}"
        opened = open_adapter(self._path / code, self._shape, label)
        if opened.name != code:
            raise ModelError(
                f"{label} holds an adapter of another name, {shown(opened.name)}.",
                hint="Give the folder the name of its language, as `save_all_adapters` does.",
            )
        sources = opened.sources(code)
        if inside is not None and list(digests(inside)) != list(digests(sources)):
            raise ModelError(
                f"{self._name} has {code} twice, in the model and in the folder {code}, and they "
                "differ.",
                hint="Remove the folder, or delete the adapter from the model.",
            )
        return sources

    def _adapter_in_model(self, code: str) -> AdapterSources | None:
        files = {
            self._weights.by_name[tensor].path: self._weights.by_name[tensor]
            for tensor in self._weights.by_name
            if (match := ADAPTER_NAME.fullmatch(tensor)) and match["name"] == code
        }
        if not files:
            return None
        if len(files) > 1:
            raise ModelError(
                f"{self._name} has the adapter of {code} in several files.",
                hint="Save it in one file: `save_pretrained` with a larger max_shard_size.",
            )
        (file,) = files.values()
        label = f"{code} of {self._name}"
        check_bottleneck(
            {"model_type": "xmod", "version": LIBRARY_VERSION, "config": self._config_of(code)},
            self._shape,
            label,
        )
        tensors = adapter_sources(file, code, self._shape, label)
        return {our_name(tensor, code): source_of(file, tensor) for tensor in tensors}

    def _config_of(self, code: str) -> object:
        """Return what config.json says of an adapter in the model."""
        adapters = self._config.get("adapters")
        fields = adapters if isinstance(adapters, Mapping) else {}
        names, configs = fields.get("adapters"), fields.get("config_map")
        if not isinstance(names, Mapping) or not isinstance(configs, Mapping):
            return None
        key = names.get(code)
        return configs.get(key) if isinstance(key, str) else None


def digests(sources: Mapping[str, TensorSource]) -> Iterator[tuple[str, str]]:
    """Yield the name and the digest of each tensor."""
    for name, source in sources.items():
        yield name, digest_of(source.info, source.chunks())


def _plain_config(config: Mapping[str, Any], languages: list[str]) -> dict[str, Any]:
    """Return upstream's config without what the library adds."""
    dropped = {name for name in ("id2label", "label2id") if config.get(name) is None}
    dropped.update(_FIELDS_OF_THE_LIBRARY)
    values = {name: value for name, value in config.items() if name not in dropped}
    return values | {"architectures": ["XmodForMaskedLM"], "languages": languages}

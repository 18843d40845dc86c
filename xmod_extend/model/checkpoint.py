"""A checkpoint on disk, opened by its headers and read tensor by tensor.

`lm_head.decoder.weight` and `.bias` are other names of the word embeddings and of `lm_head.bias`. A
file that stores them a second time is accepted if they are the same, and they count as extra.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmod_extend.errors import ModelError
from xmod_extend.model.config import check_extendable, read_config
from xmod_extend.model.names import ADAPTER_NAME, TIED_NAMES, WORD_EMBEDDINGS, rename_language
from xmod_extend.model.tensors import TORCH_NAMES, TensorInfo
from xmod_extend.model.upstream import check_usable, make_xmod_config
from xmod_extend.model.validation import (
    check_depth,
    check_head,
    check_languages,
    check_shapes,
    expected_shapes,
)
from xmod_extend.model.weights import Weights, open_weights

if TYPE_CHECKING:
    import torch
    from transformers import XmodConfig


class Checkpoint:
    """An X-MOD masked language model in a folder. Make one with `open_checkpoint`.

    Attributes:
        path: The folder.
        config: config.json as it is; never changed.
        languages: Its codes, where a code's position is its id.
        weights: Its files of weights, and in which of them each tensor lies.
        extra_names: Tensors that `XmodForMaskedLM` does not have, such as a pooler's, and tied
            weights that are stored twice.
    """

    def __init__(self, path: Path, config: dict[str, Any], weights: Weights) -> None:
        self.path = path
        self.config = config
        self.weights = weights
        self.languages: list[str] = list(config.get("languages", ["en_XX"]))
        check_depth(self.weights.by_name, self.xmod_config())
        expected = expected_shapes(self.xmod_config())
        infos = {name: self.info(name) for name in self.weights.by_name}
        check_shapes(infos, expected, self.xmod_config())
        self._expected = expected
        self.extra_names = [name for name in self.weights.by_name if name not in expected]

    def names(self) -> list[str]:
        """Return all tensors, those of `extra_names` too."""
        return list(self.weights.by_name)

    def shared_names(self) -> list[str]:
        """Return the shared weights, in upstream's order, each once."""
        return [name for name in self._expected if not ADAPTER_NAME.fullmatch(name)]

    def adapter_names(self, language: str) -> list[str]:
        """Return the names of one language's tensors, by layer, also for a code that is new."""
        template = self.languages[0]
        return [
            rename_language(name, template, language)
            for name in self._expected
            if f".adapter_modules.{template}." in name
        ]

    def info(self, name: str) -> TensorInfo:
        return self.weights.by_name[name].info(name)

    def read(self, name: str) -> torch.Tensor:
        """Return the tensor, in memory of its own and in the dtype of the file."""
        return self.weights.by_name[name].read(name)

    def iter_bytes(self, name: str) -> Iterator[memoryview]:
        return self.weights.by_name[name].iter_bytes(name)

    def digest(self, name: str) -> str:
        """Return the SHA-256 over the tensor's dtype, shape and bytes."""
        return self.weights.by_name[name].digest(name)

    @property
    def files(self) -> list[Path]:
        """The files that hold weights."""
        return [file.path for file in self.weights.files]

    @property
    def num_parameters(self) -> int:
        """Parameters of the masked language model, tied weights once."""
        return sum(self.info(name).num_elements for name in self._expected)

    @property
    def num_bytes(self) -> int:
        """Size of the files that hold weights."""
        return sum(file.stat().st_size for file in self.files)

    @property
    def dtype(self) -> str:
        """The shared weights' dtype, as config.json spells it (`float32`)."""
        return TORCH_NAMES[self.info(WORD_EMBEDDINGS).dtype]

    @property
    def adapter_dtype(self) -> str:
        """The adapters' dtype, in safetensors' spelling (`F32`)."""
        return self.info(self.adapter_names(self.languages[0])[0]).dtype

    def xmod_config(self, *, languages: Sequence[str] | None = None) -> XmodConfig:
        """Return transformers' config, optionally with other languages.

        A `default_language` that is not among the languages is dropped.

        Raises:
            ModelError: transformers refuses a value of config.json.
        """
        return make_xmod_config(self.config, languages=languages)


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a folder by its config and the headers of its weights; no weight is read.

    Raises:
        ModelError: It is not a complete X-MOD masked language model; the message says what is
            missing, damaged or contradictory.
    """
    config = read_config(path)
    check_extendable(config, path.name)
    weights = open_weights(path)
    languages = config.get("languages", ["en_XX"])
    check_head(weights.by_name, path.name)
    check_languages(weights.by_name, languages, path.name)
    checkpoint = Checkpoint(path, config, weights)
    check_usable(config)
    _check_tied(checkpoint)
    return checkpoint


def _check_tied(checkpoint: Checkpoint) -> None:
    """Refuse tied weights that are stored twice and differ: transformers would not tie them."""
    for alias, owner in TIED_NAMES.items():
        if alias not in checkpoint.extra_names:
            continue
        if checkpoint.digest(alias) != checkpoint.digest(owner):
            raise ModelError(
                f"{checkpoint.path.name} stores {alias} and {owner} with different values, "
                "although its config ties them.",
                hint="Only X-MODs whose LM head shares the word embeddings can be extended.",
            )

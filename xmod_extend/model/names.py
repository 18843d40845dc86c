"""The names of an X-MOD's tensors.

    roberta.embeddings.*                                          shared
    roberta.encoder.layer.N.*                                     shared
    roberta.encoder.layer.N.output.adapter_modules.CODE.*         one language
    lm_head.*                                                     shared

A model without an LM head may lack the `roberta.` at the beginning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

WORD_EMBEDDINGS = "roberta.embeddings.word_embeddings.weight"
LAYER_PREFIX = "roberta.encoder.layer."
HEAD_NAMES = (
    "lm_head.dense.weight",
    "lm_head.dense.bias",
    "lm_head.layer_norm.weight",
    "lm_head.layer_norm.bias",
    "lm_head.bias",
)
"""What the LM head has besides the word embeddings, which it shares."""

TIED_NAMES = {
    "lm_head.decoder.weight": WORD_EMBEDDINGS,
    "lm_head.decoder.bias": "lm_head.bias",
}
"""The LM head's names for weights that X-MOD owns under another name (upstream's tied weights)."""

OLD_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
"""Ends of the names of buffers that old versions of transformers saved; no weights."""

ADAPTER_NAME = re.compile(
    r"(?:roberta\.)?encoder\.layer\.\d+\.output\.adapter_modules\."
    r"(?P<language>[^.]+)\.dense[12]\.(?:weight|bias)"
)
"""The name of a tensor that belongs to one language."""


def adapter_languages(names: Iterable[str]) -> list[str]:
    """Return the codes that have adapter tensors among `names`, in order of appearance."""
    matches = (ADAPTER_NAME.fullmatch(name) for name in names)
    return list(dict.fromkeys(match["language"] for match in matches if match))


def rename_language(name: str, language: str, to: str) -> str:
    """Return what a tensor of one language's adapter is called in the adapter of another."""
    return name.replace(f".adapter_modules.{language}.", f".adapter_modules.{to}.")

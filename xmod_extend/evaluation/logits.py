"""The logits of languages on a fixed probe, as hashes, in little memory.

The maths is upstream's own, but nothing as large as the word embeddings is ever in memory: the
rows of the probe's tokens are picked out of them, and the LM head multiplies with one block of rows
after another. They are two thirds of xmod-base's shared weights, so that a checkpoint of its shape
can be verified in less memory than a single language of it takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.model.names import WORD_EMBEDDINGS
from xmod_extend.model.tensors import read_rows

if TYPE_CHECKING:
    import torch
    from transformers import XmodForMaskedLM

BLOCK_ROWS = 8192
"""Words that the LM head scores at a time."""

Probe = Mapping[str, Sequence[Sequence[int]]]
"""Rows of `input_ids` and of `attention_mask`."""


def logits_digests(
    checkpoint: Checkpoint, languages: Sequence[str], probe: Probe
) -> dict[str, str]:
    """Return the SHA-256 of each language's logits: of one block of words after another."""
    import torch
    from torch.nn import functional as F

    from xmod_extend.model.slice import free_slice

    if not languages:
        return {}
    with torch.inference_mode():
        model = _load_body(checkpoint, languages[0])
        features = dict(_features(model, checkpoint, languages, probe))
        bias: torch.Tensor = model.lm_head.bias
        hashes = {code: hashlib.sha256() for code in languages}
        first = 0
        for rows in _word_embeddings(checkpoint):
            block = slice(first, first + len(rows))
            for code, values in features.items():
                logits = F.linear(values, rows, bias[block])
                hashes[code].update(logits.contiguous().numpy().data)
            first += len(rows)
    free_slice(model)
    return {code: sha.hexdigest() for code, sha in hashes.items()}


def _load_body(checkpoint: Checkpoint, language: str) -> XmodForMaskedLM:
    """Load a slice whose word embeddings have no memory."""
    import torch
    from transformers import XmodForMaskedLM

    from xmod_extend.model.slice import FP32, fill_slice

    with torch.device("meta"):
        model = XmodForMaskedLM(checkpoint.xmod_config(languages=[language]))
    names = [name for name in checkpoint.shared_names() if name != WORD_EMBEDDINGS]
    fill_slice(model, checkpoint, language, names=names, precision=FP32)
    return model


def _features(
    model: XmodForMaskedLM, checkpoint: Checkpoint, languages: Sequence[str], probe: Probe
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield what the LM head multiplies with the word embeddings, (B, T, D), for each language."""
    import torch
    from transformers.activations import gelu

    from xmod_extend.model.slice import load_adapter

    ids = torch.tensor(probe["input_ids"])
    embeddings: Any = model.roberta.embeddings
    pad = embeddings.padding_idx
    inputs = {
        "inputs_embeds": checkpoint.weights.by_name[WORD_EMBEDDINGS].map(WORD_EMBEDDINGS)[ids],
        "position_ids": embeddings.create_position_ids_from_input_ids(ids, pad, 0),
        "attention_mask": torch.tensor(probe["attention_mask"]),
        "lang_ids": torch.zeros(len(ids), dtype=torch.long),
    }
    inputs["inputs_embeds"] = inputs["inputs_embeds"].float()
    head = model.lm_head
    for number, code in enumerate(languages):
        if number:
            load_adapter(model, checkpoint, code)
        # A config may ask for a tuple instead.
        hidden = model.roberta(**inputs, return_dict=True).last_hidden_state
        yield code, head.layer_norm(gelu(head.dense(hidden)))


def _word_embeddings(checkpoint: Checkpoint) -> Iterator[torch.Tensor]:
    file = checkpoint.weights.by_name[WORD_EMBEDDINGS]
    for rows in read_rows(file, WORD_EMBEDDINGS, BLOCK_ROWS):
        yield rows.float()

"""Hashes of logits: upstream's, and computed without the word embeddings as a whole."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import LANGUAGES, make_checkpoint
from safetensors.torch import load_file, save_file
from transformers import XmodForMaskedLM

from xmod_extend.evaluation import logits
from xmod_extend.evaluation.logits import logits_digests
from xmod_extend.evaluation.verify import probe_inputs
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.names import WORD_EMBEDDINGS


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("pre_norm", [False, True], ids=["post-norm", "pre-norm"])
def test_blocks_together_are_upstreams_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pre_norm: bool, kind: str
) -> None:
    monkeypatch.setattr(logits, "BLOCK_ROWS", 50)
    path = make_checkpoint(tmp_path / "base", pre_norm=pre_norm, kind=kind)
    checkpoint = open_checkpoint(path)
    probe = probe_inputs(checkpoint)
    digests = logits_digests(checkpoint, LANGUAGES, probe)
    model = XmodForMaskedLM.from_pretrained(path)
    inputs: dict[str, Any] = {name: torch.tensor(rows) for name, rows in probe.items()}
    for number, code in enumerate(LANGUAGES):
        with torch.inference_mode():
            whole = model(**inputs, lang_ids=torch.full((2,), number)).logits
        sha = hashlib.sha256()
        for block in whole.split(50, dim=-1):
            sha.update(block.contiguous().numpy().data)
        assert sha.hexdigest() == digests[code]


def test_the_word_embeddings_are_never_read_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base"))
    names: list[str] = []
    read = Checkpoint.read

    def note(self: Checkpoint, name: str) -> torch.Tensor:
        names.append(name)
        return read(self, name)

    monkeypatch.setattr(Checkpoint, "read", note)
    logits_digests(checkpoint, LANGUAGES, probe_inputs(checkpoint))
    assert len(names) > 40
    assert WORD_EMBEDDINGS not in names


def test_a_word_in_the_last_block_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logits, "BLOCK_ROWS", 50)
    path = make_checkpoint(tmp_path / "base")
    checkpoint = open_checkpoint(path)
    probe = probe_inputs(checkpoint)
    before = logits_digests(checkpoint, ["de_DE"], probe)
    tensors = load_file(path / "model.safetensors")
    used = {token for row in probe["input_ids"] for token in row}
    unused = max(set(range(120)) - used)
    assert unused >= 100
    tensors[WORD_EMBEDDINGS][unused] += 1
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    assert logits_digests(open_checkpoint(path), ["de_DE"], probe) != before
    assert logits_digests(checkpoint, [], probe) == {}

"""The fingerprint: the same for the same shared weights, and it tells which part is another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from checkpoints import make_checkpoint, make_model, save_bin
from packed import add
from transformers import XmodForMaskedLM

from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.packs.fingerprint import Fingerprint, fingerprint_shared


def fingerprint(path: Path) -> Fingerprint:
    return fingerprint_shared(open_checkpoint(path))


def test_it_depends_on_nothing_but_the_shared_weights(tmp_path: Path) -> None:
    base = make_checkpoint(tmp_path / "base")
    expected = fingerprint(base)
    assert fingerprint(add(base, tmp_path / "more", "quz_PE")) == expected
    model = XmodForMaskedLM.from_pretrained(base)
    model.save_pretrained(tmp_path / "sharded", max_shard_size="40KB")
    assert fingerprint(tmp_path / "sharded") == expected
    shutil.copytree(base, tmp_path / "bin")
    (tmp_path / "bin/model.safetensors").unlink()
    save_bin(model.state_dict(), tmp_path / "bin")
    assert fingerprint(tmp_path / "bin") == expected


@pytest.mark.parametrize(
    ("pre_norm", "name", "part"),
    [
        (False, "roberta.embeddings.LayerNorm.bias", "embeddings"),
        (False, "roberta.encoder.layer.1.output.dense.bias", "layer 1"),
        (True, "roberta.encoder.layer.0.output.adapter_layer_norm.bias", "layer 0"),
        (True, "roberta.encoder.LayerNorm.weight", "encoder"),
        (False, "lm_head.bias", "lm head"),
    ],
)
def test_one_value_changes_it_and_its_part(
    tmp_path: Path, pre_norm: bool, name: str, part: str
) -> None:
    model = make_model(pre_norm=pre_norm)
    model.save_pretrained(tmp_path / "before")
    with torch.no_grad():
        model.get_parameter(name).view(-1)[0] += 1
    model.save_pretrained(tmp_path / "after")
    before, after = fingerprint(tmp_path / "before"), fingerprint(tmp_path / "after")
    assert before.sha256 != after.sha256
    assert before.differing_parts(after) == part == after.differing_parts(before)


def test_another_type_is_another_fingerprint(tmp_path: Path) -> None:
    full = fingerprint(make_checkpoint(tmp_path / "full"))
    half = fingerprint(make_checkpoint(tmp_path / "half", dtype=torch.bfloat16))
    assert full.sha256 != half.sha256


def test_many_layers_are_counted() -> None:
    parts = {f"layer.{i}": f"{i:016d}" for i in range(12)}
    one = Fingerprint(sha256="0" * 64, parts=parts)
    other = Fingerprint(sha256="1" * 64, parts=dict.fromkeys(parts, "f" * 16))
    assert one.differing_parts(other) == "12 layers"
    # A pack may say of its parts what it likes.
    silent = Fingerprint(sha256="1" * 64, parts=parts)
    assert one.differing_parts(silent) == "something that it does not tell of"

"""The proof of a part: it holds for fewer languages, and for nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import make_checkpoint
from safetensors.torch import load_file, save_file

from xmod_extend.errors import ModelError
from xmod_extend.evaluation.verify_part import verify_part
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.names import ADAPTER_NAME

KEPT = ["en_XX", "sw_KE"]


@pytest.fixture
def whole(tmp_path: Path) -> Checkpoint:
    return open_checkpoint(make_checkpoint(tmp_path / "whole"))


def take_part(
    whole: Checkpoint,
    folder: Path,
    change: Callable[[dict[str, torch.Tensor]], object],
    **config: Any,
) -> Path:
    """Writes a part as anybody might, and changes something in it."""
    folder.mkdir()
    tensors = {}
    for name, values in load_file(whole.path / "model.safetensors").items():
        match = ADAPTER_NAME.fullmatch(name)
        if match is None or match["language"] in KEPT:
            tensors[name] = values
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(whole.config | {"languages": KEPT} | config))
    return folder


def nothing(_: object) -> None:
    pass


def test_fewer_languages_are_no_difference(whole: Checkpoint, tmp_path: Path) -> None:
    part = take_part(whole, tmp_path / "part", nothing, default_language="sw_KE")
    found = verify_part(part, whole, KEPT)
    assert found.differences == ()
    assert found.languages_compared == tuple(KEPT)
    assert found.tensors_compared == len(open_checkpoint(part).names())


def shift(tensors: dict[str, torch.Tensor]) -> None:
    tensors["lm_head.bias"] = tensors["lm_head.bias"] + 1e-6


def swap(tensors: dict[str, torch.Tensor]) -> None:
    for name in list(tensors):
        if ".en_XX." in name:
            other = name.replace(".en_XX.", ".sw_KE.")
            tensors[name], tensors[other] = tensors[other], tensors[name]


@pytest.mark.parametrize(
    ("change", "config", "expected"),
    [
        (shift, {}, "lm_head.bias has other values"),
        (swap, {}, "sw_KE gives other logits"),
        (nothing, {"languages": KEPT[::-1]}, "Its languages are sw_KE, en_XX"),
        (nothing, {"hidden_act": "relu"}, "config.json: hidden_act differs"),
        (nothing, {"pad_token_id": 3}, "en_XX gives other logits"),
    ],
)
def test_anything_else_is(
    whole: Checkpoint,
    tmp_path: Path,
    change: Callable[[dict[str, torch.Tensor]], object],
    config: dict[str, Any],
    expected: str,
) -> None:
    part = take_part(whole, tmp_path / "part", change, **config)
    found = verify_part(part, whole, KEPT)
    assert any(expected in difference for difference in found.differences), found.differences


def test_a_part_that_is_damaged_is_an_error(whole: Checkpoint, tmp_path: Path) -> None:
    part = take_part(whole, tmp_path / "part", lambda tensors: tensors.pop("lm_head.bias"))
    with pytest.raises(ModelError):
        verify_part(part, whole, KEPT)

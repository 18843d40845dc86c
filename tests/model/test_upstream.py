"""What only verification or the output's users would stumble over is known before training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import make_checkpoint, make_config
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM
from transformers.utils import logging as transformers_logging

from xmod_extend.errors import ModelError
from xmod_extend.model.config import check_extendable, longest_input
from xmod_extend.model.upstream import check_usable, loading_faults

GOOD: dict[str, Any] = make_config().to_dict()


def check(**changes: Any) -> None:
    """All that is checked of a config before text is read."""
    config = json.loads(json.dumps(GOOD | changes))
    check_extendable(config, "base")
    check_usable(config)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no padding": ({"pad_token_id": None}, "pad_token_id is null"),
    "padding before all": ({"pad_token_id": -1}, "pad_token_id is -1"),
    "padding behind all": ({"pad_token_id": 120}, "pad_token_id is 120"),
    "padding in words": ({"pad_token_id": "1"}, 'pad_token_id is "1"'),
    "flash": ({"attn_implementation": "flash_attention_2"}, "FlashAttention2"),
    "flash within": ({"_attn_implementation": "flash_attention_2"}, "FlashAttention2"),
    "no attention": ({"attn_implementation": "nope"}, "cannot use: .*nope"),
    "8 bits": ({"quantization_config": {"load_in_8bit": True}}, "quantization_config"),
    "some bits": ({"quantization_config": {}}, "quantization_config"),
    "whole numbers": ({"dtype": "int8"}, "floating-point dtype"),
    "no dtype": ({"dtype": "float33"}, "float33"),
    "number as dtype": ({"dtype": 3}, "cannot use"),
    "chunks": ({"chunk_size_feed_forward": 3}, "chunk size 3"),
    "chunks in words": ({"chunk_size_feed_forward": "x"}, "cannot use"),
    "dropout above 1": ({"hidden_dropout_prob": 1.5}, "not from 0 to 1"),
    "dropout that is no number": ({"hidden_dropout_prob": float("nan")}, "not from 0 to 1"),
    "start values": ({"initializer_range": float("nan")}, "initializer_range is nan"),
    "epsilon": ({"layer_norm_eps": float("nan")}, "layer_norm_eps is nan"),
    "activation": ({"hidden_act": "nope"}, "describes no model"),
    "decoder": ({"is_decoder": True}, "configured as a decoder"),
    "labels": ({"id2label": 3}, "transformers refuses"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_verified_or_loaded_is_refused_from_the_config_alone(name: str) -> None:
    changes, expected = REFUSED[name]
    with pytest.raises(ModelError, match=expected) as caught:
        check(**changes)
    assert caught.value.hint and "\n" not in caught.value.message


@pytest.mark.parametrize("field", ["attn_implementation", "dtype", "hidden_act"])
def test_the_field_to_blame_is_named(field: str) -> None:
    with pytest.raises(ModelError) as caught:
        check(**{field: "nope"})
    assert f"The cause is {field}: " in (caught.value.hint or "")


HARMLESS: list[dict[str, Any]] = [
    {},
    {"return_dict": False},
    {"output_attentions": True},
    {"output_hidden_states": True},
    {"torchscript": True},
    {"attn_implementation": "eager"},
    {"quantization_config": None},
    {"architectures": ["BertForMaskedLM"]},
    {"auto_map": {"AutoModelForMaskedLM": "module.Class"}},
    {"dtype": "bfloat16"},
    {"hidden_dropout_prob": 1.0},
    {"pad_token_id": 0},
]


@pytest.mark.parametrize("changes", HARMLESS, ids=str)
def test_what_is_harmless_is_taken(changes: dict[str, Any]) -> None:
    state = torch.random.get_rng_state()
    check(**changes)
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_longest_input_is_counted_from_behind_the_padding() -> None:
    assert longest_input({"max_position_embeddings": 514}) == 512
    assert longest_input({"max_position_embeddings": 514, "pad_token_id": 5}) == 508
    assert longest_input({}) is None


def test_a_size_that_no_weights_bear_out_takes_neither_memory_nor_time() -> None:
    check(intermediate_size=10**9, num_hidden_layers=10**9, max_position_embeddings=10**9)


def test_a_folder_loads_or_its_fault_is_told(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "base")
    assert loading_faults(folder) == []
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.dense.bias"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (fault,) = loading_faults(folder)
    assert "does not find lm_head.dense.bias" in fault
    (folder / "tokenizer.json").write_text("{}")
    assert ["AutoTokenizer" in fault for fault in loading_faults(folder)] == [False, True]


def test_nothing_is_printed_and_the_callers_settings_are_given_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = make_checkpoint(tmp_path / "base")
    capfd.readouterr()
    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    check()
    loading_faults(folder)
    after = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    assert capfd.readouterr() == ("", "") and before == after
    assert AutoModelForMaskedLM.from_pretrained(folder) is not None

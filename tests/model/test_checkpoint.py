"""Opening a checkpoint: what is whole opens, and each kind of damage has its sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import LANGUAGES, make_checkpoint
from safetensors.torch import load_file, save_file
from transformers import XmodForMaskedLM, XmodModel

from xmod_extend.errors import ModelError
from xmod_extend.model.checkpoint import open_checkpoint

KINDS = ["safetensors", "sharded", "bin", "sharded-bin"]
WORDS = "roberta.embeddings.word_embeddings.weight"


def edit_config(path: Path, **changes: Any) -> None:
    file = path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def edit_weights(path: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(path / "model.safetensors")
    edit(tensors)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        open_checkpoint(path)
    assert caught.value.hint
    message = caught.value.message
    assert "\n" not in message
    assert len(message) < 300
    return message


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "base")


@pytest.mark.parametrize("pre_norm", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("kind", KINDS)
def test_opens_what_upstream_opens(tmp_path: Path, kind: str, pre_norm: bool) -> None:
    path = make_checkpoint(tmp_path / "base", kind=kind, pre_norm=pre_norm)
    checkpoint = open_checkpoint(path)
    upstream = XmodForMaskedLM.from_pretrained(path)
    assert checkpoint.languages == list(LANGUAGES)
    assert checkpoint.num_parameters == upstream.num_parameters()
    assert checkpoint.dtype == "float32"
    expected = {name for name, _ in upstream.named_parameters()}
    adapters = [name for code in LANGUAGES for name in checkpoint.adapter_names(code)]
    assert {*checkpoint.shared_names(), *adapters} == expected
    assert not set(checkpoint.shared_names()) & set(adapters)
    for name, parameter in upstream.named_parameters():
        assert torch.equal(checkpoint.read(name), parameter)
        assert checkpoint.info(name).shape == tuple(parameter.shape)


def test_adapter_names_are_by_layer_and_exist_for_new_codes(path: Path) -> None:
    checkpoint = open_checkpoint(path)
    prefix = "roberta.encoder.layer.{}.output.adapter_modules.quz_PE.{}"
    parts = ("dense1.weight", "dense1.bias", "dense2.weight", "dense2.bias")
    assert checkpoint.adapter_names("quz_PE") == [
        prefix.format(layer, part) for layer in range(2) for part in parts
    ]


def test_the_file_that_transformers_prefers_is_read(path: Path, tmp_path: Path) -> None:
    for kind, seed in [("sharded", 1), ("bin", 2), ("sharded-bin", 3)]:
        other = make_checkpoint(tmp_path / kind, kind=kind, seed=seed)
        for file in other.iterdir():
            if file.name != "config.json":
                file.replace(path / file.name)
    for expected in [
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ]:
        upstream = XmodForMaskedLM.from_pretrained(path)
        assert torch.equal(open_checkpoint(path).read(WORDS), upstream.get_parameter(WORDS))
        (path / expected).unlink()


def test_config_is_kept_as_it_is(path: Path) -> None:
    edit_config(path, my_note=[1, 2], default_language="de_DE")
    checkpoint = open_checkpoint(path)
    assert checkpoint.config == json.loads((path / "config.json").read_text())
    assert checkpoint.xmod_config().default_language == "de_DE"
    sliced = checkpoint.xmod_config(languages=["sw_KE"])
    assert sliced.languages == ["sw_KE"]
    assert sliced.default_language is None
    assert checkpoint.config["languages"] == list(LANGUAGES)


def test_extra_tensors_are_tolerated_and_listed(path: Path) -> None:
    edit_weights(
        path,
        lambda tensors: tensors.update(
            {
                "roberta.pooler.dense.weight": torch.zeros(32, 32),
                "roberta.embeddings.position_ids": torch.arange(34)[None],
            }
        ),
    )
    checkpoint = open_checkpoint(path)
    assert sorted(checkpoint.extra_names) == [
        "roberta.embeddings.position_ids",
        "roberta.pooler.dense.weight",
    ]
    assert not set(checkpoint.extra_names) & set(checkpoint.shared_names())


def test_tied_weights_that_are_stored_twice_must_be_the_same(path: Path) -> None:
    edit_weights(path, lambda t: t.update({"lm_head.decoder.weight": t[WORDS].clone()}))
    checkpoint = open_checkpoint(path)
    assert checkpoint.extra_names == ["lm_head.decoder.weight"]
    assert checkpoint.num_parameters == XmodForMaskedLM.from_pretrained(path).num_parameters()
    edit_weights(path, lambda t: t["lm_head.decoder.weight"].add_(1))
    assert "with different values" in refusal(path)


def test_an_untied_head_is_refused(path: Path) -> None:
    edit_config(path, tie_word_embeddings=False)
    assert "an untied LM head" in refusal(path)


def test_a_folder_without_a_config_says_what_it_holds(path: Path, tmp_path: Path) -> None:
    (path / "config.json").unlink()
    assert refusal(path).endswith("has no config.json; it holds model.safetensors.")
    assert "does not exist" in refusal(tmp_path / "nowhere")
    assert "is a file, not a folder" in refusal(path / "model.safetensors")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"model_type": ', "config.json is not JSON: Expecting value in line 1"),
        ("[1]", "config.json does not hold a JSON object"),
        ("\udcff", "config.json is not JSON: it is not UTF-8"),
        ('{"model_type": "bert"}', "base is a bert, not an X-MOD"),
        ("{}", "base has no `model_type`, so it is not an X-MOD"),
        ('{"model_type": "xmod", "languages": "en_XX"}', "is not a list of language codes"),
        ('{"model_type": "xmod", "languages": ["a", "b", "a"]}', "lists a twice"),
    ],
)
def test_a_config_of_something_else_is_refused(path: Path, text: str, expected: str) -> None:
    (path / "config.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    assert expected in refusal(path)


def test_a_value_that_transformers_refuses_is_named(path: Path) -> None:
    edit_config(path, hidden_size="large")
    message = refusal(path)
    assert "transformers refuses" in message
    assert "hidden_size" in message or "large" in message


def test_a_folder_without_weights_says_what_it_holds(path: Path) -> None:
    (path / "model.safetensors").rename(path / "tf_model.h5")
    assert refusal(path).endswith("has no weights; it holds config.json, tf_model.h5.")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "base", kind="sharded")
    (path / "model-00002-of-00004.safetensors").unlink()
    assert "model-00002-of-00004.safetensors that model.safetensors.index.json" in refusal(path)


@pytest.mark.parametrize("kind", ["sharded", "sharded-bin"])
def test_an_index_that_promises_too_much_is_refused(tmp_path: Path, kind: str) -> None:
    path = make_checkpoint(tmp_path / "base", kind=kind)
    (file,) = path.glob("*.index.json")
    index = json.loads(file.read_text())
    shards = sorted(set(index["weight_map"].values()))
    name = next(name for name, shard in index["weight_map"].items() if shard == shards[0])
    index["weight_map"][name] = shards[1]
    file.write_text(json.dumps(index))
    assert f"{shards[1]} lacks {name}" in refusal(path)


@pytest.mark.parametrize("index", ["{}", '{"weight_map": {"a": "../b.safetensors"}}'])
def test_an_index_that_is_none_is_refused(path: Path, index: str) -> None:
    (path / "model.safetensors").rename(path / "a.safetensors")
    (path / "model.safetensors.index.json").write_text(index)
    assert "has no `weight_map`" in refusal(path)


def test_a_checkpoint_without_an_lm_head_is_refused(path: Path) -> None:
    edit_weights(path, lambda t: [t.pop(name) for name in list(t) if name.startswith("lm_head")])
    assert "base has no masked-LM head" in refusal(path)


def test_a_bare_encoder_is_refused(path: Path, tmp_path: Path) -> None:
    XmodModel.from_pretrained(path, add_pooling_layer=False).save_pretrained(tmp_path / "encoder")
    assert "encoder has no masked-LM head" in refusal(tmp_path / "encoder")


def test_adapters_and_codes_must_agree(path: Path) -> None:
    edit_config(path, languages=["en_XX", "de_DE"])
    assert refusal(path) == "base has adapters that config.json does not list: sw_KE."
    edit_config(path, languages=[*LANGUAGES, "quz_PE"])
    assert refusal(path) == "base lists languages that have no adapter: quz_PE."


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"vocab_size": 100}, "vocab_size is 100, but there are 120 rows of word embeddings"),
        ({"hidden_size": 64}, "hidden_size is 64, but there are 32 columns"),
        ({"num_hidden_layers": 3}, "num_hidden_layers is 3, but there are 2 layers"),
        ({"num_hidden_layers": 1}, "num_hidden_layers is 1, but there are 2 layers"),
        ({"intermediate_size": 32}, "intermediate_size is 32, but there are 64"),
        ({"max_position_embeddings": 33}, "max_position_embeddings is 33, but there are 34"),
        ({"type_vocab_size": 2}, "type_vocab_size is 2, but there are 1 rows"),
        ({"adapter_reduction_factor": 4}, "a bottleneck of 8, but the adapters have 16"),
        ({"adapter_layer_norm": True}, "adapter_layer_norm.weight is missing"),
    ],
)
def test_a_config_of_other_sizes_is_refused(
    path: Path, changes: dict[str, Any], expected: str
) -> None:
    edit_config(path, **changes)
    message = refusal(path)
    assert expected in message
    assert re.search(r"disagrees?\)", message)


def test_a_missing_and_a_misshapen_tensor_are_named(path: Path) -> None:
    name = "roberta.encoder.layer.1.attention.self.query.weight"
    edit_weights(path, lambda t: t.update({name: torch.zeros(3, 32)}))
    assert f"{name} should be 32 x 32 and is 3 x 32 (1 tensor disagrees)" in refusal(path)
    edit_weights(path, lambda t: t.pop(name))
    assert f"{name} is missing" in refusal(path)


def test_integer_weights_are_refused(path: Path) -> None:
    edit_weights(path, lambda t: t.update({WORDS: t[WORDS].to(torch.int8)}))
    assert "is of type I8" in refusal(path)


def test_opening_reads_no_weights(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xmod_extend.model.safetensors_files import SafetensorsFile

    def refuse(*_: object) -> None:
        raise AssertionError("a weight was read")

    monkeypatch.setattr(SafetensorsFile, "read", refuse)
    monkeypatch.setattr(SafetensorsFile, "iter_bytes", refuse)
    assert open_checkpoint(path).num_parameters > 0

"""A whole checkpoint in AdapterHub's form, and back: the same tensors, or a sentence why not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import LANGUAGES, make_checkpoint
from safetensors.torch import load_file, save_file
from transformers import XmodForMaskedLM

import xmod_extend
from xmod_extend.errors import ModelError, UsageError
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.tokens.tokenizer import find_tokenizer_files

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def converted(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base in AdapterHub's form; to be copied, not changed."""
    output = tmp_path_factory.mktemp("whole") / "out"
    xmod_extend.convert_checkpoint(base, to="adapterhub", output=output)
    return output


@pytest.fixture
def whole(converted: Path, tmp_path: Path) -> Path:
    return shutil.copytree(converted, tmp_path / "whole")


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def change_tensors(folder: Path, change: Callable[[Tensors], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def restored(folder: Path) -> Path:
    output = folder.parent / "restored"
    done = xmod_extend.convert_checkpoint(folder, from_="adapterhub", output=output)
    assert done.form == "checkpoint"
    return output


def test_the_model_and_each_language_lie_where_the_library_looks(converted: Path) -> None:
    assert sorted(entry.name for entry in converted.iterdir() if entry.is_dir()) == sorted(
        LANGUAGES
    )
    config = json.loads((converted / "config.json").read_text())
    assert config["architectures"] == ["XmodAdapterModel"]
    assert config["languages"] == list(LANGUAGES)
    assert list(config["adapters"]["adapters"]) == ["en_XX"]
    assert config["prediction_heads"]["default"] == {
        "head_type": "masked_lm",
        "vocab_size": 120,
        "embedding_size": 32,
        "layers": 2,
        "activation_function": "gelu",
        "layer_norm": True,
        "bias": True,
        "shift_labels": False,
        "label2id": None,
    }
    tensors = load_file(converted / "model.safetensors")
    assert {name for name in tensors if name.startswith("heads.")} == {
        f"heads.default.{part}" for part in ("0.weight", "0.bias", "2.weight", "2.bias", "3.bias")
    }
    assert {name.split(".adapters.")[1][:5] for name in tensors if ".adapters." in name} == {
        "en_XX"
    }


@pytest.mark.parametrize("pre_norm", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("kind", ["safetensors", "sharded", "bin"])
def test_there_and_back_it_is_the_same_model(kind: str, pre_norm: bool, tmp_path: Path) -> None:
    base = make_checkpoint(tmp_path / "base", kind=kind, pre_norm=pre_norm)
    there = tmp_path / "there"
    done = xmod_extend.convert_checkpoint(base, to="adapterhub", output=there)
    assert (done.form, done.languages) == ("adapterhub-model", LANGUAGES)
    before, after = open_checkpoint(base), open_checkpoint(restored(there))
    assert after.languages == before.languages
    assert set(after.names()) == set(before.names()) - set(before.extra_names)
    assert all(after.digest(name) == before.digest(name) for name in after.names())
    was, now = before.xmod_config().to_dict(), after.xmod_config().to_dict()
    assert {field for field in was if was[field] != now.get(field)} <= {"_name_or_path"}
    ids = torch.randint(5, 120, (3, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        one, other = (
            XmodForMaskedLM.from_pretrained(folder).eval()(ids, lang_ids=torch.arange(3)).logits
            for folder in (base, after.path)
        )
    assert torch.equal(one, other)


def test_the_tokenizer_comes_along_both_ways(base: Path, whole: Path) -> None:
    for folder in (whole, restored(whole)):
        for file in find_tokenizer_files(base):
            assert (folder / file.name).read_bytes() == file.read_bytes()


def test_what_the_library_adds_when_it_saves_changes_nothing(base: Path, whole: Path) -> None:
    """A pooler that it drew, its own name for the embeddings, heads of tasks, null labels."""

    def add(tensors: Tensors) -> None:
        words = tensors["roberta.embeddings.word_embeddings.weight"]
        tensors["heads.default.3.weight"] = words.clone()
        tensors["roberta.prompt_tuning.base_model_embeddings.weight"] = words.clone()
        tensors["heads.ner.1.weight"] = torch.zeros(5, 32)
        tensors["heads.ner.1.bias"] = torch.zeros(5)

    change_tensors(whole, add)
    change_config(whole, id2label=None, label2id=None)
    output = whole.parent / "out"
    done = xmod_extend.convert_checkpoint(whole, from_="adapterhub", output=output)
    assert done.notes == ("'heads.ner' is no part of an X-MOD.",)
    before, after = open_checkpoint(base), open_checkpoint(output)
    assert {name: after.digest(name) for name in after.names()} == {
        name: before.digest(name) for name in before.names()
    }


def test_a_model_with_upstreams_head_and_all_languages_inside_is_read(
    base: Path, whole: Path
) -> None:
    """This is what the library saves of an XmodForMaskedLM with several adapters."""
    config = json.loads((whole / "config.json").read_text())
    config["adapters"]["adapters"] = dict.fromkeys(LANGUAGES, "xmod")
    change_config(whole, adapters=config["adapters"], prediction_heads={})

    def move(tensors: Tensors) -> None:
        parts = {"0.": "dense.", "2.": "layer_norm.", "3.": ""}
        for name in [name for name in tensors if name.startswith("heads.default.")]:
            part = name.removeprefix("heads.default.")
            tensors["lm_head." + parts[part[:2]] + part[2:]] = tensors.pop(name)
        for language in LANGUAGES:
            tensors |= load_file(whole / language / "adapter.safetensors")
            shutil.rmtree(whole / language)

    change_tensors(whole, move)
    before, after = open_checkpoint(base), open_checkpoint(restored(whole))
    assert {name: after.digest(name) for name in after.names()} == {
        name: before.digest(name) for name in before.names()
    }


def test_a_folder_of_another_language_is_one_more(base: Path, whole: Path) -> None:
    """Its id comes after those that the model lists."""
    xmod_extend.convert_checkpoint(base, to="adapterhub", lang="de_DE", output=whole / "ay_BO")
    described = whole / "ay_BO" / "adapter_config.json"
    described.write_text(described.read_text().replace("de_DE", "ay_BO"))
    path = whole / "ay_BO" / "adapter.safetensors"
    tensors = load_file(path)
    save_file({name.replace("de_DE", "ay_BO"): value for name, value in tensors.items()}, path)
    assert open_checkpoint(restored(whole)).languages == [*LANGUAGES, "ay_BO"]


def refuse(folder: Path, *, said: str) -> None:
    output = folder.parent / "refused"
    with pytest.raises(ModelError) as caught:
        xmod_extend.convert_checkpoint(folder, from_="adapterhub", output=output)
    assert said in caught.value.message
    assert caught.value.hint
    assert not output.exists()


def test_a_language_that_is_missing_is_named(whole: Path) -> None:
    shutil.rmtree(whole / "de_DE")
    refuse(whole, said="lists languages that it has no adapter of: de_DE")


def test_a_language_that_is_there_twice_and_differs_is_refused(whole: Path) -> None:
    path = whole / "en_XX" / "adapter.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(path).items()}, path)
    refuse(whole, said="has en_XX twice, in the model and in the folder en_XX, and they differ")


def test_a_folder_with_another_name_than_its_adapter_is_refused(whole: Path) -> None:
    (whole / "de_DE").rename(whole / "fr_XX")
    change_config(whole, languages=["en_XX", "sw_KE"])
    refuse(whole, said="fr_XX holds an adapter of another name, 'de_DE'")


def test_another_kind_of_adapter_in_a_folder_is_refused(whole: Path) -> None:
    described = whole / "sw_KE" / "adapter_config.json"
    values = json.loads(described.read_text())
    values["config"]["non_linearity"] = "relu"
    described.write_text(json.dumps(values))
    refuse(whole, said="sw_KE computes with 'relu'")


def test_another_kind_of_adapter_in_the_model_is_refused(whole: Path) -> None:
    shutil.rmtree(whole / "en_XX")
    config = json.loads((whole / "config.json").read_text())
    config["adapters"]["config_map"]["xmod"]["original_ln_after"] = True
    change_config(whole, adapters=config["adapters"])
    refuse(whole, said="en_XX of ")
    change_config(whole, adapters={"adapters": {"en_XX": ["xmod"]}, "config_map": {}})
    refuse(whole, said="does not say what kind of adapter it is")


@pytest.mark.parametrize("field", ["activation_function", "layers", "bias", "head_type"])
def test_another_head_is_refused(field: str, whole: Path) -> None:
    heads = json.loads((whole / "config.json").read_text())["prediction_heads"]
    heads["default"][field] = "other"
    change_config(whole, prediction_heads=heads)
    refuse(whole, said="has no masked-LM head that could be X-MOD's")


def test_a_head_with_weights_of_its_own_is_refused(whole: Path) -> None:
    change_tensors(whole, lambda tensors: tensors.update({"heads.default.3.weight": torch.ones(2)}))
    refuse(whole, said="does not share the word embeddings")


def test_a_part_of_the_head_that_is_missing_is_named(whole: Path) -> None:
    change_tensors(whole, lambda tensors: tensors.pop("heads.default.3.bias"))
    refuse(whole, said="lm_head.bias is missing")


def test_an_invertible_part_is_refused(whole: Path) -> None:
    name = "roberta.invertible_adapters.en_XX.F.0.weight"
    change_tensors(whole, lambda tensors: tensors.update({name: torch.ones(2)}))
    refuse(whole, said="has an invertible part")


def test_a_plain_checkpoint_needs_no_conversion(base: Path, tmp_path: Path) -> None:
    refuse(shutil.copytree(base, tmp_path / "base"), said="is a plain checkpoint of X-MOD already")


@pytest.mark.parametrize("code", ["../../en_XX", "..", "a/b", "/tmp", ""])
def test_a_code_that_leads_out_of_the_folder_is_refused(code: str, whole: Path) -> None:
    change_config(whole, languages=["en_XX", code])
    refuse(whole, said="which is no code of a language")


def test_nothing_is_written_outside_of_the_output(tmp_path: Path) -> None:
    base = make_checkpoint(tmp_path / "base", languages=("en_XX", "de_DE"))
    change_config(base, languages=["en_XX", "../de_DE"])
    tensors = load_file(base / "model.safetensors")
    renamed = {name.replace("de_DE", "../de_DE"): value for name, value in tensors.items()}
    save_file(renamed, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError):
        xmod_extend.convert_checkpoint(base, to="adapterhub", output=tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["base"]


def test_options_of_a_language_have_no_use_for_a_whole_model(whole: Path, base: Path) -> None:
    for options in ({"base": base}, {"lang": "de_DE"}, {"tokenizer": base}):
        with pytest.raises(UsageError, match="has no use here"):
            xmod_extend.convert_checkpoint(
                whole, from_="adapterhub", output=whole.parent / "out", **options
            )


@pytest.mark.parametrize("name", ["LICENSE", "vocab.txt"])
def test_a_link_out_of_the_folder_is_not_followed(whole: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "id_rsa").write_text("secret")
    (whole / name).symlink_to(tmp_path / "id_rsa")
    refuse(whole, said="is a link out of its folder")

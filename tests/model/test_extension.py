"""Extending: the base's own bytes and one file more."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from checkpoints import LANGUAGES, extend, make_checkpoint, new_adapter, plan_to_extend
from safetensors.torch import load_file
from transformers import XmodForMaskedLM

from xmod_extend.errors import LanguageError, ModelError
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.extension import extended_config


@pytest.fixture
def base(tmp_path: Path) -> Checkpoint:
    return open_checkpoint(make_checkpoint(tmp_path / "base"))


def test_the_base_is_kept_byte_for_byte(base: Checkpoint, tmp_path: Path) -> None:
    target = extend(base, tmp_path / "deep" / "down" / "out")
    assert [file.name for file in sorted(target.iterdir())] == [
        ".xmod-extend.json",
        "config.json",
        "model-base.safetensors",
        "model-quz_PE.safetensors",
        "model.safetensors.index.json",
        "run.json",
    ]
    original = (base.path / "model.safetensors").read_bytes()
    assert (target / "model-base.safetensors").read_bytes() == original
    pack = load_file(target / "model-quz_PE.safetensors")
    adapter = new_adapter(base)
    assert pack.keys() == adapter.keys()
    assert all(torch.equal(pack[name], adapter[name]) for name in adapter)
    assert [entry.name for entry in target.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("pre_norm", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("kind", ["safetensors", "sharded", "bin", "sharded-bin"])
def test_upstream_loads_every_tensor(tmp_path: Path, kind: str, pre_norm: bool) -> None:
    base = open_checkpoint(make_checkpoint(tmp_path / "base", kind=kind, pre_norm=pre_norm))
    extend(base, tmp_path / "out")
    model, report = XmodForMaskedLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    assert model.config.languages == [*LANGUAGES, "quz_PE"]
    before = XmodForMaskedLM.from_pretrained(base.path)
    for name, parameter in before.named_parameters():
        assert torch.equal(model.get_parameter(name), parameter)
    for name, tensor in new_adapter(base).items():
        assert torch.equal(model.get_parameter(name), tensor)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_parameters"] == model.num_parameters()
    assert index["metadata"]["total_size"] == 4 * model.num_parameters()
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert open_checkpoint(tmp_path / "out").num_parameters == model.num_parameters()


def test_a_second_language_adds_one_file(base: Checkpoint, tmp_path: Path) -> None:
    extend(base, tmp_path / "one")
    one = open_checkpoint(tmp_path / "one")
    extend(one, tmp_path / "two", "fo_FO")
    two = open_checkpoint(tmp_path / "two")
    assert two.languages == [*LANGUAGES, "quz_PE", "fo_FO"]
    for name in ("model-base.safetensors", "model-quz_PE.safetensors"):
        assert (two.path / name).read_bytes() == (one.path / name).read_bytes()
    assert json.loads((two.path / "run.json").read_text()) == {"language": "fo_FO"}
    assert json.loads((two.path / "run-quz_PE.json").read_text()) == {"language": "quz_PE"}
    extend(two, tmp_path / "three", "ay_BO")
    records = sorted(file.name for file in (tmp_path / "three").glob("run*.json"))
    assert records == ["run-fo_FO.json", "run-quz_PE.json", "run.json"]


def test_the_adapter_takes_the_dtype_of_the_base(tmp_path: Path) -> None:
    base = open_checkpoint(make_checkpoint(tmp_path / "base", dtype=torch.bfloat16))
    extend(base, tmp_path / "out")
    pack = load_file(tmp_path / "out" / "model-quz_PE.safetensors")
    assert {tensor.dtype for tensor in pack.values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    "text",
    [
        '{\n    "languages": [\n        "a_A",\n        "b_B"\n    ],\n    "eps": 1e-05\n}\n',
        '{"architectures":["X"],"languages":["a_A"],"eps":1E-5}',
        '{"languages": [ "a_A" ], "other": {"languages": ["z"]}, "n": "é"}',
        '{"other": {"languages": ["z"]},\t"languages": ["a_A"]}',
        '{"eps": 1e-05}',
    ],
)
@pytest.mark.parametrize("added", [["quz_PE"], ["quz_PE", "ay_BO"]])
def test_nothing_of_the_config_changes_but_the_languages(
    base: Checkpoint, text: str, added: list[str], tmp_path: Path
) -> None:
    (base.path / "config.json").write_text(text, encoding="utf-8")
    base.config = json.loads(text)
    base.languages = base.config.get("languages", ["en_XX"])
    written = extended_config(base, added)
    expected = json.loads(text) | {"languages": [*base.languages, *added]}
    expected.setdefault("architectures", ["XmodForMaskedLM"])
    assert json.loads(written) == expected
    # What stood in the text stands in it still, in its spelling.
    spelled = [one for one in ("1e-05", "1E-5", '"n": "é"', '{"languages": ["z"]}') if one in text]
    assert all(one in written for one in spelled)


def test_the_config_keeps_its_formatting(base: Checkpoint) -> None:
    before = (base.path / "config.json").read_text()
    after = extended_config(base, ["quz_PE", "ay_BO"])
    assert after.replace(',\n    "quz_PE",\n    "ay_BO"', "") == before
    assert after != before


def test_figures_of_earlier_languages_come_along_under_their_names(
    base: Checkpoint, tmp_path: Path
) -> None:
    last = base.languages[-1]
    (base.path / "metrics.jsonl").write_text('{"step": 1}\n')
    (base.path / "metrics-ay_BO.jsonl").write_text('{"step": 2}\n')
    extend(base, tmp_path / "out")
    assert (tmp_path / "out" / f"metrics-{last}.jsonl").read_text() == '{"step": 1}\n'
    assert (tmp_path / "out" / "metrics-ay_BO.jsonl").read_text() == '{"step": 2}\n'


def test_several_languages_get_a_shard_each_and_their_ids_in_order(
    base: Checkpoint, tmp_path: Path
) -> None:
    adapters = {code: new_adapter(base, code) for code in ("quz_PE", "ay_BO")}
    extend(base, tmp_path / "out", adapters=adapters)
    written = open_checkpoint(tmp_path / "out")
    assert written.languages == [*LANGUAGES, "quz_PE", "ay_BO"]
    for code, adapter in adapters.items():
        for name, values in adapter.items():
            assert written.weights.by_name[name].path.name == f"model-{code}.safetensors"
            assert torch.equal(written.read(name), values)
    one, two = (
        plan_to_extend(base, tmp_path / "new", *codes).needed_bytes
        for codes in (["quz_PE"], ["quz_PE", "ay_BO"])
    )
    assert two - one == sum(values.numel() * 4 for values in adapters["ay_BO"].values())


def test_what_belongs_with_the_base_comes_along(base: Checkpoint, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "spm.model", "LICENSE", "README.md", "optimizer.pt"):
        (base.path / name).write_text(name)
    names = {file.name for file in extend(base, tmp_path / "own").iterdir()}
    assert {"tokenizer.json", "spm.model", "LICENSE"} <= names
    assert not {"README.md", "optimizer.pt"} & names
    other = tmp_path / "sentencepiece.bpe.model"
    other.write_text("pieces")
    extend(base, tmp_path / "other", tokenizer_files=[other])
    names = {file.name for file in (tmp_path / "other").iterdir()}
    assert {"sentencepiece.bpe.model", "LICENSE"} <= names
    assert not {"tokenizer.json", "spm.model"} & names


def test_a_wrong_adapter_is_refused_before_anything_is_written(
    base: Checkpoint, tmp_path: Path
) -> None:
    adapter = new_adapter(base)
    name = next(iter(adapter))
    cases = {
        "names differ": {key: adapter[key] for key in adapter if key != name},
        "has the shape": adapter | {name: torch.zeros(3)},
        "not finite in F32": adapter | {name: torch.full_like(adapter[name], torch.nan)},
    }
    for expected, wrong in cases.items():
        with pytest.raises(ModelError, match=expected):
            extend(base, tmp_path / "out", adapters={"quz_PE": wrong})
    with pytest.raises(LanguageError, match="base has de_DE already"):
        extend(base, tmp_path / "out", "de_DE")
    assert [entry.name for entry in tmp_path.iterdir()] == ["base"]


def test_values_too_large_for_the_base_are_refused(tmp_path: Path) -> None:
    base = open_checkpoint(make_checkpoint(tmp_path / "base", dtype=torch.float16))
    adapter = {name: tensor * 1e6 for name, tensor in new_adapter(base).items()}
    with pytest.raises(ModelError, match="not finite in F16"):
        extend(base, tmp_path / "out", adapters={"quz_PE": adapter})


@pytest.mark.parametrize("name", ["model-quz_PE.safetensors", "run-quz_PE.json", "README.model"])
def test_a_name_that_the_base_owns_is_known_before_training(tmp_path: Path, name: str) -> None:
    folder = make_checkpoint(tmp_path / "base", kind="sharded")
    index = folder / "model.safetensors.index.json"
    if name.endswith(".safetensors"):
        shard = sorted(folder.glob("model-*.safetensors"))[0]
        index.write_text(index.read_text().replace(shard.name, name))
        shard.rename(folder / name)
    else:
        (folder / name).write_text("{}")
    base, codes = open_checkpoint(folder), ["quz_PE", "ay_BO"]
    if name == "README.model":
        plan_to_extend(base, tmp_path / "out", *codes)
        return
    with pytest.raises(ModelError, match=f"a file named {name} already"):
        plan_to_extend(base, tmp_path / "out", *codes)


def test_what_goes_along_must_be_readable(
    base: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base.path / "LICENSE").write_text("terms")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "LICENSE")
    with pytest.raises(ModelError, match="LICENSE cannot be read: permission is denied"):
        plan_to_extend(base, tmp_path / "out", "quz_PE")

"""Describing a checkpoint from its headers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from checkpoints import LANGUAGES, make_checkpoint
from transformers import XmodForMaskedLM, XmodModel

from xmod_extend.errors import ModelError
from xmod_extend.model.info import describe, recorded_base


@pytest.mark.parametrize("kind", ["safetensors", "sharded", "bin", "sharded-bin"])
def test_the_figures_are_upstreams(tmp_path: Path, kind: str) -> None:
    path = make_checkpoint(tmp_path / "base", kind=kind, pre_norm=True, default_language="de_DE")
    info = describe(path)
    upstream = XmodForMaskedLM.from_pretrained(path)
    adapter = upstream.roberta.encoder.layer[0].output.adapter_modules["en_XX"]
    per_language = 2 * sum(parameter.numel() for parameter in adapter.parameters())
    assert info.num_parameters == upstream.num_parameters()
    assert info.num_parameters_per_language == per_language
    assert info.num_shared_parameters == info.num_parameters - 3 * per_language
    assert info.languages == LANGUAGES
    assert info.default_language == "de_DE"
    assert (info.num_layers, info.hidden_size, info.vocab_size) == (2, 32, 120)
    assert info.max_length == 32
    assert info.pre_norm
    assert info.has_lm_head
    assert info.dtypes == ("float32",)
    assert info.num_bytes == sum(file.num_bytes for file in info.files)
    assert {file.name for file in info.files} <= {file.name for file in path.iterdir()}
    assert info.notes == ()
    assert json.loads(json.dumps(info.as_dict()))["languages"] == list(LANGUAGES)


def test_an_encoder_without_a_head_is_described(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "base", dtype=torch.bfloat16)
    XmodModel.from_pretrained(path, add_pooling_layer=False).save_pretrained(tmp_path / "encoder")
    info = describe(tmp_path / "encoder")
    assert not info.has_lm_head
    assert info.dtypes == ("bfloat16",)
    assert info.languages == LANGUAGES
    assert info.num_parameters_per_language == describe(path).num_parameters_per_language


def test_records_are_passed_through_and_oddities_noted(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "base")
    (path / "run.json").write_text('{"language": "fo_FO", "perplexity": 3.5}')
    (path / "run-quz_PE.json").write_text('{"language": "quz_PE"}')
    (path / "run-ay_BO.json").write_text("{")
    config = json.loads((path / "config.json").read_text())
    config["languages"] = ["en_XX", "de_DE", "fo_FO"]
    (path / "config.json").write_text(json.dumps(config))
    info = describe(path)
    assert list(info.records) == ["run-quz_PE.json", "run.json"]
    assert info.records["run.json"]["perplexity"] == 3.5
    assert len(info.notes) == 3
    assert "sw_KE" in info.notes[0]
    assert "fo_FO" in info.notes[1]
    assert "run-ay_BO.json" in info.notes[2]


def test_what_is_no_xmod_is_refused(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "base")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"vocab_size": "many"}))
    with pytest.raises(ModelError, match="vocab_size is 'many'"):
        describe(path)
    (path / "config.json").write_text('{"model_type": "roberta"}')
    with pytest.raises(ModelError, match="base is a roberta, not an X-MOD"):
        describe(path)


def test_describing_does_not_import_torch(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "base")
    code = (
        "import sys, pathlib; from xmod_extend.model.info import describe; "
        "describe(pathlib.Path(sys.argv[1])); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def record_base(path: Path, base: object) -> None:
    (path / "run.json").write_text(json.dumps({"base": base}))


def test_the_base_that_the_record_names_is_found(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "x")
    record_base(path, {"source": str(path), "commit": None})
    assert recorded_base(path).path == path
    record_base(path, {"source": "tiny", "commit": None})
    assert recorded_base(path).name == "tiny"
    record_base(path, {"source": "facebook/xmod-base", "commit": "c0ffee"})
    reference = recorded_base(path)
    assert (reference.repo_id, reference.revision) == ("facebook/xmod-base", "c0ffee")
    assert recorded_base(path, revision="main").revision == "main"


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        (None, "does not name a base"),
        ([], "does not name a base"),
        ({"source": 3, "commit": None}, "does not name a base"),
        ({"source": "gone/here", "commit": None}, "folder gone/here, which does not exist here"),
    ],
)
def test_a_record_without_a_base_is_told(tmp_path: Path, base: object, expected: str) -> None:
    with pytest.raises(ModelError, match=r"has no run\.json"):
        recorded_base(tmp_path)
    record_base(tmp_path, base)
    with pytest.raises(ModelError, match=expected) as caught:
        recorded_base(tmp_path)
    assert caught.value.hint == "Name the base with --base."

"""One language in AdapterHub's form: what is written, and what is refused when it is read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import make_checkpoint
from safetensors.torch import load_file, save_file

import xmod_extend
from xmod_extend.errors import LanguageError, ModelError, UsageError
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.packs.adapterhub import hub_name, our_name

OF_THE_LIBRARY = {
    "adapter_residual_before_ln": False,
    "cross_adapter": False,
    "dropout": 0.0,
    "factorized_phm_W": True,
    "factorized_phm_rule": False,
    "hypercomplex_nonlinearity": "glorot-uniform",
    "init_weights": "bert",
    "init_weights_seed": None,
    "inv_adapter": None,
    "inv_adapter_reduction_factor": None,
    "is_parallel": False,
    "learn_phm": True,
    "leave_out": [],
    "ln_after": False,
    "ln_before": False,
    "mh_adapter": False,
    "non_linearity": "gelu",
    "original_ln_after": False,
    "original_ln_before": True,
    "output_adapter": True,
    "phm_bias": True,
    "phm_c_init": "normal",
    "phm_dim": 4,
    "phm_init_range": 0.0001,
    "phm_layer": False,
    "phm_rank": 1,
    "scaling": 1.0,
    "shared_W_phm": False,
    "shared_phm_rule": True,
    "stochastic_depth": 0.0,
    "use_gating": False,
}
"""What adapters 1.3.0 itself saves for an X-MOD, but for what differs between the two shapes."""


@pytest.fixture
def folder(base: Path, tmp_path: Path) -> Path:
    """A language of the base in AdapterHub's form."""
    output = tmp_path / "adapter"
    xmod_extend.convert_checkpoint(base, to="adapterhub", lang="de_DE", output=output)
    return output


def tensors_of(checkpoint: Checkpoint, language: str) -> dict[str, torch.Tensor]:
    return {name: checkpoint.read(name) for name in checkpoint.adapter_names(language)}


@pytest.mark.parametrize(
    ("pre_norm", "differing"),
    [
        (False, {"residual_before_ln": False, "reduction_factor": 2}),
        (True, {"residual_before_ln": "post_add", "reduction_factor": 4}),
    ],
)
def test_a_language_is_what_the_library_itself_would_save(
    pre_norm: bool, differing: dict[str, Any], tmp_path: Path
) -> None:
    base = open_checkpoint(make_checkpoint(tmp_path / "base", pre_norm=pre_norm))
    output = tmp_path / "out"
    done = xmod_extend.convert_checkpoint(base.path, to="adapterhub", lang="de_DE", output=output)
    assert (done.form, done.languages, done.notes) == ("adapterhub-adapter", ("de_DE",), ())
    assert sorted(entry.name for entry in output.iterdir()) == [
        ".xmod-extend.json",
        "adapter.safetensors",
        "adapter_config.json",
        "pytorch_adapter.bin",
    ]
    described = json.loads((output / "adapter_config.json").read_text())
    assert described == {
        "config": OF_THE_LIBRARY | differing,
        "hidden_size": 32,
        "model_class": "XmodAdapterModel",
        "model_name": None,
        "model_type": "xmod",
        "name": "de_DE",
        "version": "adapters.1.3.0",
    }
    expected = {hub_name(name): tensor for name, tensor in tensors_of(base, "de_DE").items()}
    assert min(expected) == "roberta.encoder.layer.0.output.adapters.de_DE.adapter_down.0.bias"
    in_pickle = torch.load(output / "pytorch_adapter.bin", weights_only=True)
    for stored in (load_file(output / "adapter.safetensors"), in_pickle):
        assert set(stored) == set(expected)
        assert all(torch.equal(stored[name], expected[name]) for name in stored)


def test_names_go_there_and_back(base: Path) -> None:
    for name in open_checkpoint(base).adapter_names("sw_KE"):
        assert our_name(hub_name(name), "sw_KE") == name
        assert our_name(hub_name(name).removeprefix("roberta."), "sw_KE") == name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("only", ["adapter.safetensors", "pytorch_adapter.bin"])
def test_a_language_there_and_back_is_the_pack_that_it_would_have_been(
    dtype: torch.dtype, kind: str, only: str, tmp_path: Path
) -> None:
    base = make_checkpoint(tmp_path / "base", dtype=dtype, kind=kind)
    there, back, packed = (tmp_path / name for name in ("there", "back", "packed"))
    xmod_extend.convert_checkpoint(base, to="adapterhub", lang="sw_KE", output=there)
    other = {"adapter.safetensors", "pytorch_adapter.bin"} - {only}
    (there / other.pop()).unlink()
    done = xmod_extend.convert_checkpoint(there, from_="adapterhub", base=base, output=back)
    assert (done.form, done.languages) == ("pack", ("sw_KE",))
    xmod_extend.pack_language(base, "sw_KE", packed, progress=False)
    for name in ("model-sw_KE.safetensors", "adapter_config.json"):
        assert (back / name).read_bytes() == (packed / name).read_bytes()


def test_the_pack_can_be_installed_under_another_code(
    folder: Path, base: Path, tmp_path: Path
) -> None:
    pack, output = tmp_path / "pack", tmp_path / "out"
    done = xmod_extend.convert_checkpoint(
        folder, from_="adapterhub", base=base, lang="gsw_CH", output=pack
    )
    assert done.languages == ("gsw_CH",)
    xmod_extend.install_packs(base, pack, output, progress=False)
    installed = open_checkpoint(output)
    assert installed.languages[-1] == "gsw_CH"
    ours = tensors_of(installed, "gsw_CH").values()
    theirs = tensors_of(open_checkpoint(base), "de_DE").values()
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_a_name_that_is_no_code_needs_one(folder: Path, base: Path, tmp_path: Path) -> None:
    described = folder / "adapter_config.json"
    described.write_text(described.read_text().replace('"de_DE"', '"german"'))
    for path, load, save in (
        (folder / "adapter.safetensors", load_file, save_file),
        (folder / "pytorch_adapter.bin", torch.load, torch.save),
    ):
        save({name.replace("de_DE", "german"): value for name, value in load(path).items()}, path)
    convert = {"from_": "adapterhub", "base": base, "output": tmp_path / "out"}
    with pytest.raises(LanguageError) as caught:
        xmod_extend.convert_checkpoint(folder, **convert)
    assert "'german', which is not the code of a language" in caught.value.message
    assert "--lang" in (caught.value.hint or "")
    with pytest.raises(LanguageError, match="not a language code"):
        xmod_extend.convert_checkpoint(folder, **convert, lang="German")
    assert xmod_extend.convert_checkpoint(folder, **convert, lang="de_CH").form == "pack"


def refuse(folder: Path, base: Path, *, pattern: str) -> None:
    output = folder.parent / "refused"
    with pytest.raises(ModelError) as caught:
        xmod_extend.convert_checkpoint(folder, from_="adapterhub", base=base, output=output)
    assert pattern in caught.value.message
    assert caught.value.hint and caught.value.exit_code == 4
    assert not output.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reduction_factor": 16}, "has the reduction factor 16, and the model has 2"),
        ({"reduction_factor": {"1": 2, "default": 2}}, "has the reduction factor {'1': 2"),
        ({"reduction_factor": True}, "has the reduction factor True"),
        ({"non_linearity": "relu"}, "computes with 'relu', and the model with 'gelu'"),
        ({"non_linearity": None}, "computes with None"),
        ({"inv_adapter": "nice"}, "has an invertible part ('nice')"),
        ({"invertible_adapter": {"block_type": "glow"}}, "has an invertible part"),
        ({"architecture": "lora", "r": 8}, "is of the kind 'lora'"),
        ({"architecture": "prefix_tuning"}, "is of the kind 'prefix_tuning'"),
        ({"leave_out": [0, 1]}, "leaves out layers ([0, 1])"),
        ({"mh_adapter": True}, "has mh_adapter = True"),
        ({"output_adapter": False}, "has output_adapter = False"),
        ({"original_ln_before": False}, "has original_ln_before = False"),
        ({"original_ln_after": True}, "has original_ln_after = True"),
        ({"residual_before_ln": "post_add"}, "has residual_before_ln = 'post_add'"),
        ({"residual_before_ln": True}, "has residual_before_ln = True"),
        ({"ln_after": True}, "has ln_after = True"),
        ({"is_parallel": True}, "has is_parallel = True"),
        ({"scaling": "learned"}, "has scaling = 'learned'"),
        ({"scaling": 2.0}, "has scaling = 2.0"),
        ({"use_gating": True}, "has use_gating = True"),
        ({"phm_layer": True}, "has phm_layer = True"),
    ],
)
def test_another_kind_of_adapter_is_refused_in_a_sentence(
    changes: dict[str, Any], said: str, folder: Path, base: Path
) -> None:
    described = folder / "adapter_config.json"
    values = json.loads(described.read_text())
    values["config"] |= changes
    described.write_text(json.dumps(values))
    refuse(folder, base, pattern=said)


@pytest.mark.parametrize("field", ["original_ln_after", "original_ln_before", "residual_before_ln"])
def test_a_field_that_is_left_out_means_what_the_library_takes_it_for(
    field: str, folder: Path, base: Path
) -> None:
    described = folder / "adapter_config.json"
    values = json.loads(described.read_text())
    del values["config"][field]
    described.write_text(json.dumps(values))
    refuse(folder, base, pattern=f"has {field} = ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "roberta"}, "`model_type` is 'roberta'"),
        ({"config": "seq_bn"}, "its `config` is 'seq_bn'"),
        ({"config": None}, "its `config` is None"),
        ({"hidden_size": 768}, "is for a hidden size of 768"),
        ({"name": ["de_DE"]}, "has no name"),
        ({"name": "fr_XX"}, "lacks a tensor"),
        ({"name": "d\x1b[2Je"}, "lacks a tensor"),
    ],
)
def test_a_description_of_something_else_is_refused(
    change: dict[str, Any], said: str, folder: Path, base: Path
) -> None:
    described = folder / "adapter_config.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | change))
    refuse(folder, base, pattern=said)


def test_activations_of_the_library_before_it_had_versions(folder: Path, base: Path) -> None:
    described = folder / "adapter_config.json"
    values = json.loads(described.read_text())
    del values["version"]
    described.write_text(json.dumps(values))
    refuse(folder, base, pattern="computes with 'gelu_new'")
    values["config"]["non_linearity"] = "gelu_orig"
    described.write_text(json.dumps(values))
    done = xmod_extend.convert_checkpoint(
        folder, from_="adapterhub", base=base, output=folder.parent / "out"
    )
    assert done.form == "pack"


Tensors = dict[str, torch.Tensor]


def without_a_layer(tensors: Tensors) -> str:
    for name in [name for name in tensors if ".layer.1." in name]:
        del tensors[name]
    return "there is no roberta.encoder.layer.1.output.adapters.de_DE.adapter_down.0.weight"


def with_a_layer_more(tensors: Tensors) -> str:
    for name in [name for name in tensors if ".layer.1." in name]:
        tensors[name.replace(".layer.1.", ".layer.2.")] = tensors[name].clone()
    return "holds 4 tensors that no language of X-MOD has"


def with_an_invertible_part(tensors: Tensors) -> str:
    tensors["roberta.invertible_adapters.de_DE.F.0.weight"] = torch.zeros(4, 4)
    return "holds an invertible part"


def narrower(tensors: Tensors) -> str:
    for name, tensor in tensors.items():
        if "adapter_down.0.weight" in name:
            tensors[name] = tensor[:8].clone()
    return "is F32 of shape (8, 32), and the model needs floats of shape (16, 32)"


def of_integers(tensors: Tensors) -> str:
    name = next(iter(tensors))
    tensors[name] = tensors[name].to(torch.int64)
    return "is I64 of shape"


def of_two_types(tensors: Tensors) -> str:
    name = next(iter(tensors))
    tensors[name] = tensors[name].to(torch.float16)
    return "has tensors of several types (F16, F32)"


def not_finite(tensors: Tensors) -> str:
    tensors[next(iter(tensors))][0] = float("nan")
    return "not finite"


@pytest.mark.parametrize("in_pickle", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize(
    "change",
    [
        without_a_layer,
        with_a_layer_more,
        with_an_invertible_part,
        narrower,
        of_integers,
        of_two_types,
        not_finite,
    ],
)
def test_other_tensors_are_refused_in_a_sentence(
    change: Callable[[Tensors], str], in_pickle: bool, folder: Path, base: Path
) -> None:
    tensors = load_file(folder / "adapter.safetensors")
    said = change(tensors)
    if in_pickle:
        (folder / "adapter.safetensors").unlink()
        torch.save(tensors, folder / "pytorch_adapter.bin")
    else:
        save_file(tensors, folder / "adapter.safetensors")
    refuse(folder, base, pattern=said)


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


def test_nothing_in_a_strangers_folder_is_run_or_fetched_from_elsewhere(
    folder: Path, base: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere.safetensors"
    (folder / "adapter.safetensors").rename(elsewhere)
    (folder / "adapter.safetensors").symlink_to(elsewhere)
    refuse(folder, base, pattern="is a link to a file outside of it")
    (folder / "adapter.safetensors").unlink()
    torch.save({"a": Harmful(tmp_path / "was-run")}, folder / "pytorch_adapter.bin")
    refuse(folder, base, pattern="holds code")
    assert not (tmp_path / "was-run").exists()
    (folder / "pytorch_adapter.bin").unlink()
    refuse(folder, base, pattern="has no weights")
    (folder / "adapter_config.json").unlink()
    refuse(folder, base, pattern="has no adapter_config.json")


def test_what_is_left_out_or_cannot_be_installed_is_said(
    folder: Path, base: Path, tmp_path: Path
) -> None:
    (folder / "head_config.json").write_text("{}")
    tensors = load_file(folder / "adapter.safetensors")
    halves = {name: tensor.half() for name, tensor in tensors.items()}
    save_file(halves, folder / "adapter.safetensors")
    done = xmod_extend.convert_checkpoint(
        folder, from_="adapterhub", base=base, output=tmp_path / "out"
    )
    assert ["which weights" in note for note in done.notes] == [True, False, False]
    assert "head beside the adapter" in done.notes[1]
    assert "is in float16" in done.notes[2] and "cannot be installed" in done.notes[2]


def test_a_shape_that_the_library_cannot_compute_is_refused(tmp_path: Path) -> None:
    base = make_checkpoint(
        tmp_path / "base", adapter_layer_norm=False, adapter_reuse_layer_norm=False
    )
    for options in ({"lang": "de_DE"}, {}):
        with pytest.raises(ModelError, match="has no layer norm before its language adapters"):
            xmod_extend.convert_checkpoint(
                base, to="adapterhub", output=tmp_path / "out", **options
            )
    assert not (tmp_path / "out").exists()


def test_the_model_that_an_adapter_belongs_to_must_be_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one language adapter") as caught:
        xmod_extend.convert_checkpoint(folder, from_="adapterhub", output=tmp_path / "out")
    assert "--base" in (caught.value.hint or "")


def test_an_output_that_is_there_is_replaced_only_when_told(
    folder: Path, base: Path, tmp_path: Path
) -> None:
    options = {"to": "adapterhub", "lang": "en_XX", "output": folder}
    with pytest.raises(UsageError, match="not empty"):
        xmod_extend.convert_checkpoint(base, **options)
    xmod_extend.convert_checkpoint(base, **options, force=True)
    assert json.loads((folder / "adapter_config.json").read_text())["name"] == "en_XX"
    (folder / "notes.txt").write_text("years of work")
    with pytest.raises(UsageError, match=r"notes\.txt, which xmod-extend did not write"):
        xmod_extend.convert_checkpoint(base, **options, force=True)
    copied = shutil.copytree(base, tmp_path / "base")
    with pytest.raises(UsageError, match="lies in"):
        xmod_extend.convert_checkpoint(copied, **options | {"output": copied / "out"})

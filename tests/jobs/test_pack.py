"""Packing: one language, its bytes, and what is known of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from checkpoints import make_checkpoint
from packed import Heard, add, bytes_of, pack

from xmod_extend.errors import CheckFailedError, LanguageError, ModelError, UsageError
from xmod_extend.jobs import pack as packing
from xmod_extend.jobs.pack import pack_language
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.packs.fingerprint import fingerprint_shared
from xmod_extend.packs.pack import open_pack

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture
def extended(base: Path, tmp_path: Path) -> Path:
    return add(base, tmp_path / "extended", "quz_PE", "ay_BO")


def test_an_added_language_is_packed_with_its_own_file(extended: Path, tmp_path: Path) -> None:
    result = pack_language(extended, "ay_BO", tmp_path / "pack", callback=Heard())
    assert result.same_file
    assert sorted(bytes_of(tmp_path / "pack")) == [
        ".xmod-extend.json",
        "README.md",
        "adapter_config.json",
        "model-ay_BO.safetensors",
        "run.json",
    ]
    for name in ("model-ay_BO.safetensors", "run.json"):
        assert (tmp_path / "pack" / name).read_bytes() == (extended / name).read_bytes()
    assert json.loads(json.dumps(result.to_dict()))["num_bytes"] == result.num_bytes
    # An earlier language has its code in the names of its documents, and not in a pack.
    pack(extended, "quz_PE", tmp_path / "other")
    record = (extended / "run-quz_PE.json").read_bytes()
    assert (tmp_path / "other/run.json").read_bytes() == record


@pytest.mark.parametrize("pre_norm", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("kind", ["safetensors", "sharded", "bin", "sharded-bin"])
def test_a_base_s_own_language_is_packed_tensor_by_tensor(
    tmp_path: Path, kind: str, pre_norm: bool
) -> None:
    path = make_checkpoint(tmp_path / "base", kind=kind, pre_norm=pre_norm)
    checkpoint = open_checkpoint(path)
    result = pack_language(path, "de_DE", tmp_path / "pack", callback=Heard())
    assert not result.same_file and not result.has_record
    opened = open_pack(tmp_path / "pack")
    assert sorted(opened.weights.names) == sorted(checkpoint.adapter_names("de_DE"))
    for name in opened.weights.names:
        assert torch.equal(opened.weights.read(name), checkpoint.read(name))
    assert opened.description.shape.pre_norm is pre_norm
    assert opened.description.shared == fingerprint_shared(checkpoint)
    assert opened.record_file is None


def test_packed_again_it_is_the_same_bytes(extended: Path, tmp_path: Path) -> None:
    first, second = (
        bytes_of(pack(extended, "quz_PE", tmp_path / name / "pack")) for name in ("one", "two")
    )
    assert first == second
    # So it is when it replaces itself, and from a copy of the checkpoint elsewhere.
    shutil.copytree(extended, tmp_path / "copy")
    pack(tmp_path / "copy", "quz_PE", tmp_path / "one" / "pack", force=True)
    assert bytes_of(tmp_path / "one" / "pack") == first


def test_the_base_is_named_only_by_its_id_on_the_hub(base: Path, tmp_path: Path) -> None:
    known = add(base, tmp_path / "known", "quz_PE", source="someone/xmod", commit=COMMIT)
    local = add(base, tmp_path / "local", "quz_PE", source="/home/someone/xmod")
    odd = add(base, tmp_path / "odd", "quz_PE", source="../../etc", commit=COMMIT)
    for number, (folder, code, expected) in enumerate(
        [
            (known, "quz_PE", ("someone/xmod", COMMIT)),
            (known, "de_DE", ("someone/xmod", COMMIT)),
            (local, "quz_PE", (None, None)),
            (odd, "quz_PE", (None, None)),
        ]
    ):
        result = pack_language(folder, code, tmp_path / f"pack-{number}", callback=Heard())
        assert (result.base_model, result.base_revision) == expected
        written = (tmp_path / f"pack-{number}" / "adapter_config.json").read_text()
        assert "/home" not in written and "etc" not in written


def test_a_licence_is_named_or_asked_for(extended: Path, tmp_path: Path) -> None:
    heard = Heard()
    pack_language(extended, "quz_PE", tmp_path / "none", callback=heard)
    assert any(
        "no licence is named" in warning and "--license" in warning for warning in heard.warnings
    )
    assert open_pack(tmp_path / "none").description.license is None
    assert "license" not in (tmp_path / "none/README.md").read_text().split("---")[1]
    heard = Heard()
    pack_language(extended, "quz_PE", tmp_path / "one", license="cc-by-4.0", callback=heard)
    assert not heard.warnings
    assert open_pack(tmp_path / "one").description.license == "cc-by-4.0"
    assert "cc-by-4.0" in (tmp_path / "one/README.md").read_text()
    pack(extended, "quz_PE", tmp_path / "own", license="other:our-terms-1.0")
    assert open_pack(tmp_path / "own").description.license == "other:our-terms-1.0"
    with pytest.raises(UsageError, match="--license"):
        pack(extended, "quz_PE", tmp_path / "two", license="do what\nyou like")


def test_a_record_that_cannot_be_read_is_left_out(extended: Path, tmp_path: Path) -> None:
    (extended / "run.json").write_text('{"schema_version": 1, "language": "ay_BO"}')
    heard = Heard()
    result = pack_language(extended, "ay_BO", tmp_path / "pack", callback=heard)
    assert not result.has_record and not (tmp_path / "pack/run.json").exists()
    assert any("no run record" in warning for warning in heard.warnings)


def test_what_cannot_be_packed_is_refused(extended: Path, tmp_path: Path) -> None:
    with pytest.raises(LanguageError, match="has no language quz_BO"):
        pack(extended, "quz_BO", tmp_path / "pack")
    with pytest.raises(UsageError, match="only read"):
        pack(extended, "quz_PE", extended / "pack")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/thesis.tex").write_text("years of work")
    for force in (False, True):
        with pytest.raises(UsageError):
            pack(extended, "quz_PE", tmp_path / "taken", force=force)
    with pytest.raises(ModelError, match="does not exist"):
        pack(tmp_path / "nowhere/at/all", "quz_PE", tmp_path / "pack")
    assert (tmp_path / "taken/thesis.tex").read_text() == "years of work"
    assert not (tmp_path / "pack").exists()


def test_values_that_are_not_finite_are_not_shared(base: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(base, own)
    checkpoint = open_checkpoint(own)
    name = checkpoint.adapter_names("de_DE")[0]
    raw = bytearray((own / "model.safetensors").read_bytes())
    file = checkpoint.weights.by_name[name]
    start = file._data_start + file._entries[name][1]  # type: ignore[attr-defined]
    raw[start : start + 4] = b"\x00\x00\xc0\x7f"
    (own / "model.safetensors").write_bytes(raw)
    with pytest.raises(ModelError, match="not finite"):
        pack(own, "de_DE", tmp_path / "pack")
    assert not (tmp_path / "pack").exists()


def test_an_interruption_leaves_nothing(
    extended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("xmod_extend.packs.writing.open_pack", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pack(extended, "quz_PE", tmp_path / "deep" / "pack")
    assert [entry.name for entry in tmp_path.iterdir()] == ["extended"]


def test_what_was_damaged_while_it_was_written_is_not_kept(
    extended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = packing.language_shard

    def another(checkpoint: object, language: str) -> object:
        shard = whole(open_checkpoint(extended), "ay_BO")
        return type(shard)("model-quz_PE.safetensors", shard.file)  # type: ignore[attr-defined,call-arg]

    monkeypatch.setattr(packing, "language_shard", another)
    with pytest.raises((CheckFailedError, ModelError)):
        pack(extended, "quz_PE", tmp_path / "pack")
    assert [entry.name for entry in tmp_path.iterdir()] == ["extended"]

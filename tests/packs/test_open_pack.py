"""Opening a pack that anybody may have made."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path

import pytest
import torch
from checkpoints import make_checkpoint
from packed import pack
from safetensors.torch import load_file, save_file

from xmod_extend.errors import ModelError
from xmod_extend.model.info import describe
from xmod_extend.packs.pack import open_pack


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    base = make_checkpoint(folder / "base")
    return pack(base, "de_DE", folder / "pack")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    return Path(shutil.copytree(made, tmp_path / "pack"))


WEIGHTS = "model-de_DE.safetensors"


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        open_pack(folder)
    assert caught.value.exit_code == 4 and caught.value.hint
    return caught.value.message


def test_it_is_whole(folder: Path) -> None:
    opened = open_pack(folder)
    assert opened.language == "de_DE" and len(opened.weights.names) == 8


@pytest.mark.parametrize("name", [WEIGHTS, "adapter_config.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"has no {name}" in refused(folder)


def test_what_is_no_pack_says_what_it_is(tmp_path: Path) -> None:
    assert "whole checkpoint" in refused(make_checkpoint(tmp_path / "base"))
    (tmp_path / "empty").mkdir()
    assert "it holds nothing" in refused(tmp_path / "empty")
    assert "does not exist" in refused(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    assert "is a file" in refused(tmp_path / "file")


def test_where_a_checkpoint_is_needed_the_hint_is_to_install_it(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"has no config\.json") as caught:
        describe(folder)
    assert "xmod-extend install" in str(caught.value.hint)


def edit(folder: Path, change: str) -> None:
    tensors = load_file(folder / WEIGHTS)
    name = next(iter(tensors))
    if change == "missing":
        del tensors[name]
    elif change == "renamed":
        tensors[name.replace("de_DE", "en_XX")] = tensors.pop(name)
    elif change == "surplus":
        tensors["roberta.embeddings.word_embeddings.weight"] = torch.zeros(2, 2)
    elif change == "shape":
        tensors[name] = torch.zeros(3, 3)
    elif change == "dtype":
        tensors[name] = tensors[name].to(torch.float16)
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize("change", ["missing", "renamed", "surplus", "shape", "dtype"])
def test_other_tensors_than_it_says_are_refused(folder: Path, change: str) -> None:
    edit(folder, change)
    assert "is not what adapter_config.json says" in refused(folder)


def test_a_shape_that_the_file_does_not_have_is_refused_before_anything_is_read(
    folder: Path,
) -> None:
    values = json.loads((folder / "adapter_config.json").read_text())
    for size in (64, 1_000_000):
        values["hidden_size"] = size
        (folder / "adapter_config.json").write_text(json.dumps(values))
        assert "is not what adapter_config.json says" in refused(folder)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"PK\x03\x04 a pickle in a zip",
        b"\x80\x04\x95 a pickle",
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 2) + b"{}" + bytes(100),
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    ],
    ids=["empty", "zip", "pickle", "huge", "longer", "deep", "pointer"],
)
def test_what_is_no_safetensors_file_is_refused(folder: Path, raw: bytes) -> None:
    (folder / WEIGHTS).write_bytes(raw)
    assert refused(folder)


@pytest.mark.parametrize("name", [WEIGHTS, "adapter_config.json", "run.json"])
def test_a_link_out_of_the_pack_is_not_followed(folder: Path, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes((folder / name).read_bytes() if (folder / name).exists() else b"{}")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(secret)
    assert f"{name} of {folder} is a link to a file outside of it." == refused(folder)
    (folder / name).unlink()
    (folder / name).symlink_to("nowhere")
    assert "cannot be read" in refused(folder)


def test_links_into_the_cache_of_the_hub_are_followed(folder: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--someone--quz"
    snapshot, blobs = repository / "snapshots" / ("c" * 40), repository / "blobs"
    for new in (snapshot, blobs):
        new.mkdir(parents=True)
    for number, file in enumerate(sorted(folder.iterdir())):
        shutil.copy(file, blobs / str(number))
        (snapshot / file.name).symlink_to(Path("../../blobs") / str(number))
    assert open_pack(snapshot).description == open_pack(folder).description


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("name", [WEIGHTS, "adapter_config.json", "run.json"])
def test_a_pipe_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert "is not a regular file" in refused(folder)

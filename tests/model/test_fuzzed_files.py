"""Files of a checkpoint with anything in them are read, or refused with a sentence."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import make_checkpoint
from fuzzing import bounded, cases, dump, mutate_bytes, mutate_json, seeds
from hypothesis import example, given

from xmod_extend.files.ownership import (
    CHECKPOINT,
    MARK_NAME,
    checkpoint_files,
    find_foreign,
    read_mark,
    remove_files,
    write_mark,
)
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.config import check_extendable, read_config
from xmod_extend.model.info import describe
from xmod_extend.model.safetensors_files import SafetensorsFile
from xmod_extend.model.torch_files import PickleFile
from xmod_extend.model.weights import open_weights
from xmod_extend.tokens.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("fuzzed") / "base")


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("fuzzed") / "sharded", kind="sharded")


class Content(bytes):
    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


@pytest.fixture(scope="module")
def weights(folder: Path) -> Content:
    return Content((folder / "model.safetensors").read_bytes())


def read_whole(file: Any) -> None:
    """All tensors of at most 1 MB."""
    for name in file.names:
        if file.info(name).num_bytes < 1_000_000:
            file.read(name)
            file.digest(name)


def with_header(header: bytes, data: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + data


@cases(60)
@given(seed=seeds)
def test_any_header(folder: Path, weights: bytes, tmp_path_factory: Any, seed: int) -> None:
    size = int.from_bytes(weights[:8], "little")
    header = dump(mutate_json(json.loads(weights[8 : 8 + size]), seed))
    file = folder / "model.safetensors"
    file.write_bytes(with_header(header, weights[8 + size :]))
    with bounded():
        read_whole(SafetensorsFile(file))
    with bounded():
        read_whole(open_checkpoint(folder).weights.files[0])


@cases(60)
@given(seed=seeds)
def test_any_bytes_of_a_header(folder: Path, weights: bytes, seed: int) -> None:
    size = int.from_bytes(weights[:8], "little")
    file = folder / "model.safetensors"
    file.write_bytes(mutate_bytes(weights[: 8 + size], seed) + weights[8 + size :])
    with bounded():
        read_whole(SafetensorsFile(file))
    with bounded():
        describe(folder)


@cases(60)
@given(seed=seeds)
def test_any_index(sharded: Path, seed: int) -> None:
    file = sharded / "model.safetensors.index.json"
    original = file.read_bytes()
    try:
        mutated = dump(mutate_json(json.loads(original), seed))
        file.write_bytes(mutated if seed % 2 else mutate_bytes(original, seed))
        with bounded():
            open_weights(sharded)
        with bounded():
            open_checkpoint(sharded)
    finally:
        file.write_bytes(original)


@cases(60)
@given(seed=seeds)
def test_any_config(tmp_path_factory: Any, sharded: Path, seed: int) -> None:
    file = sharded / "config.json"
    original = file.read_bytes()
    try:
        file.write_bytes(dump(mutate_json(json.loads(original), seed)))
        with bounded():
            describe(sharded)
        with bounded():
            check_extendable(read_config(sharded), "it")
        with bounded():
            open_checkpoint(sharded)
    finally:
        file.write_bytes(original)


def pickled(tensors: dict[str, Any], *, in_zip: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensors, buffer, _use_new_zipfile_serialization=in_zip)
    return buffer.getvalue()


TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.zeros(4, dtype=torch.bfloat16),
    "c": torch.ones(1, dtype=torch.int64),
}


@pytest.mark.filterwarnings("ignore")
@cases(60)
@given(seed=seeds)
@pytest.mark.parametrize("in_zip", [True, False])
def test_any_pickle(tmp_path_factory: Any, in_zip: bool, seed: int) -> None:
    content = pickled(TENSORS, in_zip=in_zip)
    if in_zip and seed % 2:
        content = with_entry(content, "data.pkl", lambda raw: mutate_bytes(raw, seed))
    else:
        content = mutate_bytes(content, seed)
    file = tmp_path_factory.getbasetemp() / "pytorch_model.bin"
    file.unlink(missing_ok=True)  # a mapping of the old one may be left
    file.write_bytes(content)
    with bounded():
        read_whole(PickleFile(file))


def with_entry(content: bytes, name: str, change: Any) -> bytes:
    """A zip file with one of its entries changed, and all sums right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.namelist():
            raw = old.read(entry)
            new.writestr(entry, change(raw) if entry.endswith(name) else raw)
    return buffer.getvalue()


ODD_TENSORS: dict[str, Any] = {
    "complex": torch.zeros(2, dtype=torch.complex64),
    "sparse": torch.eye(3).to_sparse(),
    "meta": torch.empty(2, device="meta"),
    "expanded": torch.zeros(1).expand(1 << 40),
    "strided": torch.zeros(9).as_strided((3, 3), (1, 1)),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "single": torch.zeros(300, dtype=torch.int64).as_strided((1,), (204,)),
    "empty": torch.zeros(0, 3),
    "scalar": torch.tensor(1.0),
    "float8": torch.zeros(2).to(torch.float8_e4m3fnuz),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ODD_TENSORS)
def test_odd_tensors(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.ones(1), "b": ODD_TENSORS[kind]}, file)
    with bounded():
        read_whole(PickleFile(file))


class Evil:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_runs_something_runs_nothing(tmp_path: Path, protocol: int) -> None:
    proof = tmp_path / "ran"
    file = tmp_path / "pytorch_model.bin"
    for evil in (
        Evil(Path.touch, proof),
        Evil(eval, f"open({str(proof)!r}, 'w')"),
        Evil(exec, f"open({str(proof)!r}, 'w')"),
        Evil(torch.load, str(file)),
        Evil(__import__, "antigravity"),
    ):
        file.unlink(missing_ok=True)
        file.write_bytes(pickle.dumps({"a": evil}, protocol))
        with bounded():
            PickleFile(file)
            pytest.fail("it was opened")
        torch.save({"a": evil}, file, pickle_protocol=max(protocol, 2))
        with bounded():
            PickleFile(file)
            pytest.fail("it was opened")
        assert not proof.exists()


@cases(25)
@given(seed=seeds)
def test_any_tokenizer(base: Path, tmp_path_factory: Any, seed: int) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed-tokenizer"
    folder.mkdir(exist_ok=True)
    names = ("tokenizer.json", "tokenizer_config.json")
    for name in names:
        (folder / name).write_bytes((base / name).read_bytes())
    chosen = folder / names[seed % 2]
    original = chosen.read_bytes()
    mutated = dump(mutate_json(json.loads(original), seed))
    chosen.write_bytes(mutated if seed % 3 else mutate_bytes(original, seed))
    (folder / "config.json").write_bytes((base / "config.json").read_bytes())
    with bounded():
        load_tokenizer(folder, vocab_size=120)


@cases(40)
@given(seed=seeds)
@example(seed=0)
def test_any_mark(tmp_path_factory: Any, seed: int) -> None:
    folder = tmp_path_factory.mktemp("marked")
    around = folder.parent / "around.txt"
    around.write_text("mine")
    (folder / "config.json").write_text("{}")
    write_mark(folder, CHECKPOINT, files={"config.json": {"size": 2}, "../around.txt": {}})
    mark = json.loads((folder / MARK_NAME).read_bytes())
    (folder / MARK_NAME).write_bytes(dump(mutate_json(mark, seed)))
    with bounded():
        read_mark(folder, CHECKPOINT)
        files = checkpoint_files(folder) or {}
        find_foreign(folder, files)
        remove_files(folder, files)
    assert around.read_text() == "mine"

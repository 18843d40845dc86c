"""Files of tensors: what is read is what was written, and damage is named."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from xmod_extend.errors import ModelError
from xmod_extend.model.safetensors_files import SafetensorsFile, write_safetensors
from xmod_extend.model.tensors import (
    TensorInfo,
    read_as,
    tensor_bytes,
    tensor_info,
)
from xmod_extend.model.torch_files import PickleFile

TENSORS = {
    "matrix": torch.arange(12, dtype=torch.float32).reshape(3, 4),
    "half": torch.randn(5).to(torch.bfloat16),
    "flags": torch.tensor([True, False, True]),
    "scalar": torch.tensor(7, dtype=torch.int64),
    "empty": torch.zeros(0, 3),
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return tmp_path / "model.safetensors"


def write_raw(path: Path, header: object, data: bytes = b"") -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path


def test_reads_what_the_library_wrote(saved: Path) -> None:
    file = SafetensorsFile(saved)
    assert set(file.names) == set(TENSORS)
    assert file.metadata == {"format": "pt"}
    for name, tensor in TENSORS.items():
        assert file.info(name) == tensor_info(tensor)
        assert file.info(name).num_bytes == tensor.numel() * tensor.element_size()
        read = file.read(name)
        assert read.dtype == tensor.dtype
        assert torch.equal(read, tensor)
        assert b"".join(bytes(piece) for piece in file.iter_bytes(name, 7)) == bytes(
            tensor_bytes(tensor)
        )


def test_a_mapping_is_the_tensor_and_is_read_when_it_is_used(saved: Path, tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "model.bin")
    for file in (SafetensorsFile(saved), PickleFile(tmp_path / "model.bin")):
        before = file.path.read_bytes()
        for name, tensor in TENSORS.items():
            mapped = file.map(name)
            assert mapped.dtype == tensor.dtype
            assert torch.equal(mapped, tensor)
        file.map("matrix").zero_()
        assert file.path.read_bytes() == before


def test_a_tensor_that_is_not_aligned_is_not_mapped(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    raw = json.dumps({"pair": entry}).encode()
    raw += b" " * (1 - len(raw) % 4)
    path = write_raw(tmp_path / "model.safetensors", raw, tensor_bytes(torch.tensor([1.0, 2.0])))
    assert (8 + len(raw)) % 4
    assert SafetensorsFile(path).map("pair").tolist() == [1.0, 2.0]


def test_a_tensor_is_read_in_another_dtype(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(3, 5)
    columns = torch.randn(4, 6).t()
    save_file({"values": values}, tmp_path / "model.safetensors")
    torch.save({"values": values, "columns": columns}, tmp_path / "model.bin")
    files = (SafetensorsFile(tmp_path / "model.safetensors"), PickleFile(tmp_path / "model.bin"))
    for file in files:
        for dtype in (torch.float32, torch.bfloat16, torch.float64):
            assert torch.equal(read_as(file, "values", dtype), values.to(dtype))
    pickled = files[1]
    assert torch.equal(read_as(pickled, "columns", torch.float64), columns.double())
    assert torch.equal(pickled.read("columns"), columns)
    pieces = [bytes(piece) for piece in pickled.iter_bytes("columns", 16)]
    assert len(pieces) == 6
    assert b"".join(pieces) == bytes(tensor_bytes(columns))


def test_what_is_read_can_be_changed_without_changing_the_file(saved: Path) -> None:
    file = SafetensorsFile(saved)
    file.read("matrix").zero_()
    assert torch.equal(file.read("matrix"), TENSORS["matrix"])


def test_the_library_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "written.safetensors"
    # A name with a character outside ASCII makes the header's bytes and characters differ.
    tensors = {"ñ": torch.randn(3, 3), **TENSORS}
    write_safetensors(
        path, ((name, tensor_info(t), [tensor_bytes(t)]) for name, t in tensors.items())
    )
    loaded = load_file(path)
    assert set(loaded) == set(tensors)
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    header_bytes = int.from_bytes(path.read_bytes()[:8], "little")
    assert header_bytes % 8 == 0
    assert SafetensorsFile(path).metadata == {"format": "pt"}


def test_a_writer_that_is_given_too_few_bytes_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="3 of 8 bytes"):
        write_safetensors(tmp_path / "x", [("a", TensorInfo("F32", (2,)), [b"abc"])])


def test_digest_tells_dtype_shape_and_bytes_apart(tmp_path: Path) -> None:
    same = {
        "a": torch.zeros(4),
        "b": torch.zeros(4),
        "shape": torch.zeros(2, 2),
        "dtype": torch.zeros(4, dtype=torch.int32),
        "sign": torch.tensor([0.0, 0.0, 0.0, -0.0]),
    }
    save_file(same, tmp_path / "t.safetensors")
    file = SafetensorsFile(tmp_path / "t.safetensors")
    assert file.digest("a") == file.digest("b")
    assert len({file.digest(name) for name in file.names}) == 4


def test_a_truncated_file_is_named_with_its_sizes(saved: Path) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[:-10])
    with pytest.raises(ModelError) as caught:
        SafetensorsFile(saved)
    assert caught.value.message == (
        f"model.safetensors is truncated: {len(whole):,} bytes expected, {len(whole) - 10:,} found."
    )
    assert caught.value.hint


def test_a_file_that_shrinks_while_open_is_an_error(saved: Path) -> None:
    file = SafetensorsFile(saved)
    saved.write_bytes(saved.read_bytes()[:100])
    with pytest.raises(ModelError, match="ended while matrix was read"):
        file.read("matrix")
    with pytest.raises(ModelError, match="ended while matrix was read"):
        list(file.iter_bytes("matrix"))


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "data", "expected"),
    [
        (b"{", b"", "it is not JSON"),
        ([], b"", "it is not a JSON object"),
        ({"a": F32 | {"dtype": "F3"}}, bytes(8), "unknown dtype 'F3'"),
        ({"a": F32 | {"shape": [3]}}, bytes(8), "8 bytes where its shape needs 12"),
        ({"a": F32 | {"shape": [-2]}}, bytes(8), "that are not counts"),
        ({"a": F32 | {"shape": 2}}, bytes(8), "lacks a dtype"),
        ({"a": F32 | {"data_offsets": [8, 16]}}, bytes(16), "starts at byte 8, not at 0"),
        ({"a": F32, "b": F32}, bytes(8), "starts at byte 0, not at 8"),
        ({"a": "F32"}, bytes(8), "lacks a dtype"),
        ({"a": F32}, bytes(9), "longer than its header says: "),
        ({"__metadata__": [1], "a": F32}, bytes(8), "its metadata is not a JSON object"),
    ],
)
def test_a_damaged_header_is_named(
    tmp_path: Path, header: object, data: bytes, expected: str
) -> None:
    with pytest.raises(ModelError, match=expected) as caught:
        SafetensorsFile(write_raw(tmp_path / "m.safetensors", header, data))
    assert caught.value.message.startswith("m.safetensors ")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not a safetensors file: it has only 0 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"<!doctype html><html>", "header length of"),
        ((1000).to_bytes(8, "little") + b"{}", "its header needs 1,008 bytes, 10 found"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=expected):
        SafetensorsFile(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        SafetensorsFile(tmp_path / "m.safetensors")


@pytest.mark.parametrize("in_zip", [True, False], ids=["zip", "legacy"])
def test_a_pickle_is_read_like_a_safetensors_file(
    tmp_path: Path, saved: Path, in_zip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pytorch_model.bin"
    transposed = {**TENSORS, "matrix": TENSORS["matrix"].t().contiguous().t()}
    torch.save(transposed, path, _use_new_zipfile_serialization=in_zip)
    # Renewing the mapping all the time must not be seen from outside.
    monkeypatch.setattr(PickleFile, "RENEW_AFTER_BYTES", 0)
    file, twin = PickleFile(path), SafetensorsFile(saved)
    assert set(file.names) == set(twin.names)
    for name in file.names:
        assert file.info(name) == twin.info(name)
        assert torch.equal(file.read(name), twin.read(name))
        assert file.digest(name) == twin.digest(name)


def test_tied_weights_and_old_buffers_of_a_pickle_are_left_out(tmp_path: Path) -> None:
    words, bias = torch.randn(6, 2), torch.randn(6)
    state = {
        "roberta.embeddings.word_embeddings.weight": words,
        "roberta.embeddings.position_ids": torch.arange(4),
        "lm_head.bias": bias,
        "lm_head.decoder.weight": words,
        "lm_head.decoder.bias": bias.clone(),
    }
    torch.save(state, tmp_path / "m.bin")
    assert PickleFile(tmp_path / "m.bin").names == (
        "roberta.embeddings.word_embeddings.weight",
        "lm_head.bias",
        "lm_head.decoder.bias",
    )


class RunsCode:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code ran",))


@pytest.mark.parametrize("plain", [True, False])
def test_code_in_a_pickle_is_refused_and_does_not_run(
    tmp_path: Path, plain: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.bin"
    if plain:
        path.write_bytes(pickle.dumps({"a": RunsCode()}, protocol=2))
    else:
        torch.save({"a": RunsCode()}, path)
    with pytest.raises(ModelError) as caught:
        PickleFile(path)
    assert "code ran" not in capsys.readouterr().out
    assert caught.value.message.startswith("m.bin ")
    if not plain:
        assert "holds code" in caught.value.message


def test_a_pickle_of_something_else_is_named(tmp_path: Path) -> None:
    torch.save({"step": 3}, tmp_path / "m.bin")
    with pytest.raises(ModelError, match="does not hold a dictionary of tensors"):
        PickleFile(tmp_path / "m.bin")


@pytest.mark.parametrize("keep", [0, 3, 200, 600])
def test_a_truncated_pickle_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "m.bin"
    torch.save(TENSORS, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"^m\.bin is "):
        PickleFile(path)

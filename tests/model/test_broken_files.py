"""What is wrong with a base's files is named as what it is."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from checkpoints import make_checkpoint
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from xmod_extend.errors import ModelError
from xmod_extend.model.base import resolve_base
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.config import check_extendable, read_config
from xmod_extend.model.info import describe
from xmod_extend.model.upstream import check_usable
from xmod_extend.tokens.tokenizer import load_tokenizer

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"


def refusal(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        open_checkpoint(path)
    assert caught.value.hint and "\n" not in caught.value.message
    return caught.value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "base")


HEAD = ["dense.weight", "dense.bias", "layer_norm.weight", "layer_norm.bias", "bias"]


@pytest.mark.parametrize("part", HEAD)
def test_the_part_of_the_head_that_is_missing_is_named(path: Path, part: str) -> None:
    file = path / "model.safetensors"
    tensors = load_file(file)
    del tensors[f"lm_head.{part}"]
    save_file(tensors, file, metadata={"format": "pt"})
    assert refusal(path).message.endswith(f"lacks a part of its masked-LM head: lm_head.{part}.")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "pytorch_model.bin"])
def test_a_pointer_of_git_lfs_is_one_whatever_it_stands_for(tmp_path: Path, name: str) -> None:
    kind = "bin" if name.endswith(".bin") else "safetensors"
    path = make_checkpoint(tmp_path / "base", kind=kind)
    (path / name).write_bytes(POINTER)
    error = refusal(path)
    assert f"{name} is a Git LFS pointer" in error.message
    assert error.hint == f"Fetch the file with `git lfs pull` in {path}."


def test_a_tokenizer_of_git_lfs_is_one(path: Path) -> None:
    (path / "tokenizer.json").write_bytes(POINTER)
    with pytest.raises(ModelError, match=r"tokenizer\.json, .* is a Git LFS pointer"):
        load_tokenizer(path, vocab_size=120)


@pytest.mark.parametrize("kind", ["bin", "safetensors", "sharded"])
def test_what_may_not_be_read_is_not_damaged(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_checkpoint(tmp_path / "base", kind=kind)
    opened = Path.open

    def refuse(file: Path, *arguments: Any, **named: Any) -> Any:
        if file.suffix in (".bin", ".safetensors"):
            raise PermissionError(13, "Permission denied", str(file))
        return opened(file, *arguments, **named)

    monkeypatch.setattr(Path, "open", refuse)
    error = refusal(path)
    assert error.message.endswith("cannot be read: Permission denied.")
    assert "Ask the owner of" in (error.hint or "")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_in_the_hubs_cache_the_file_to_delete_is_named(path: Path, name: str) -> None:
    blob = path.parent / "blobs" / "c0ffee"
    blob.parent.mkdir()
    content = (path / name).read_bytes()
    blob.write_bytes(content[: len(content) // 2])
    (path / name).unlink()
    (path / name).symlink_to(blob)
    assert (
        refusal(path).hint == f"Delete {blob}, to which it is a link, and it is downloaded again."
    )


def test_a_config_that_is_a_folder_is_one(path: Path) -> None:
    (path / "config.json").unlink()
    (path / "config.json").mkdir()
    assert "config.json is a folder" in refusal(path).message


JSON = {
    "deep": ("[" * 100_000, "is nested deeper"),
    "long": ('{"a": ' + "9" * 5000 + "}", "a number of more than 4,300 digits"),
    "cut": ('{"a": ', "is not JSON: Expecting value in line 1"),
    "bytes": (b"\xff\xfe", "is not UTF-8"),
    "array": ("[]", "does not hold a JSON object"),
}


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("file", ["config.json", "model.safetensors.index.json"])
def test_json_that_python_cannot_read_is_told(tmp_path: Path, file: str, name: str) -> None:
    content, expected = JSON[name]
    path = make_checkpoint(tmp_path / "base", kind="sharded")
    (path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert expected in refusal(path).message


def test_a_number_of_layers_that_nobody_has_is_told_at_once(path: Path) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 10**9}))
    assert "num_hidden_layers is 1,000,000,000, but there are 2 layers" in refusal(path).message


def test_a_header_that_is_nested_too_deep_is_damaged(path: Path) -> None:
    header = b"[" * 100_000
    (path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert "damaged header" in refusal(path).message


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-3, 200),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["gelu", "float32", "xmod", "en_XX", "sdpa", "Infinity", "../x"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
ODD_FIELDS = [
    "attn_implementation",
    "auto_map",
    "chunk_size_feed_forward",
    "default_language",
    "dtype",
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "pruned_heads",
    "quantization_config",
    "return_dict",
    "to_dict",
    "torch_dtype",
    "transformers_weights",
    "use_return_dict",
]


def check_all(path: Path) -> None:
    """All that is done with a config before training, and by `info`."""
    describe(path)
    config = read_config(path)
    check_extendable(config, path.name)
    resolve_base(str(path)).load_config()
    check_usable(config)
    open_checkpoint(path)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = make_checkpoint(tmp_path_factory.mktemp("fuzzed") / "base")
    return path, (path / "config.json").read_text()


@settings(max_examples=10)
@given(data=st.data())
def test_any_field_may_say_anything(fuzzed: tuple[Path, str], data: st.DataObject) -> None:
    path, text = fuzzed
    config = json.loads(text)
    fields = st.sampled_from([*sorted(config), *ODD_FIELDS])
    changes = data.draw(st.dictionaries(fields, values, min_size=1, max_size=2))
    (path / "config.json").write_text(json.dumps(config | changes))
    try:
        check_all(path)
    except ModelError as error:
        assert error.message and error.hint


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), edits=st.integers(1, 4))
@example(seed=0, edits=0)
def test_any_byte_may_be_another(fuzzed: tuple[Path, str], seed: int, edits: int) -> None:
    path, text = fuzzed
    content, rng = bytearray(text.encode()), random.Random(seed)
    for _ in range(edits):
        place = rng.randrange(len(content))
        if rng.random() < 0.5:
            content[place] = rng.choice(b'{}[]",:0129-.eE\x00\xff\nx')
        else:
            del content[place : place + rng.randrange(1, 6)]
    (path / "config.json").write_bytes(content)
    try:
        check_all(path)
    except ModelError as error:
        assert error.message and error.hint

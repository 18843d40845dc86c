"""A checkpoint from a stranger is read in bounded time and memory, and makes nothing run."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from checkpoints import make_checkpoint, new_adapter

from xmod_extend.errors import ModelError
from xmod_extend.files.ownership import CHECKPOINT, MARK_NAME, checkpoint_files, remove_files
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.config import MAX_JSON_BYTES, check_extendable, read_config
from xmod_extend.model.extension import extended_contents, trained_adapter
from xmod_extend.model.info import describe
from xmod_extend.model.safetensors_files import MAX_HEADER_BYTES
from xmod_extend.model.upstream import check_usable

MANY = 100_000


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("strangers") / "stranger")


def read_all(path: Path) -> None:
    """All readings of a config and of weights that come before training."""
    describe(path)
    config = read_config(path)
    check_extendable(config, path.name)
    check_usable(config)
    open_checkpoint(path)


HOSTILE = {
    "attn_implementation": ("user/kernel", "asks for code from elsewhere"),
    "_attn_implementation": ("user/kernel", "asks for code from elsewhere"),
    "_attn_implementation_internal": ("paged|user/kernel", "asks for code from elsewhere"),
    "experts_implementation": ({"": "user/kernel@main:f"}, "asks for code from elsewhere"),
    "num_labels": (10**9, "num_labels is 1,000,000,000"),
    "languages": (["en_XX", "de_DE", "../../sw"], r"has '../../sw', which is no code"),
    "layer_norm_eps": (float("nan"), "is not JSON: it has the number NaN"),
    "hidden_dropout_prob": (float("-inf"), "is not JSON: it has the number -Infinity"),
}


@pytest.mark.parametrize("field", HOSTILE)
def test_a_hostile_field_is_refused_at_once(stranger: Path, field: str, tmp_path: Path) -> None:
    value, expected = HOSTILE[field]
    config = json.loads((stranger / "config.json").read_text()) | {field: value}
    path = copy_with_config(stranger, tmp_path / "copy", json.dumps(config))
    started = time.process_time()
    with pytest.raises(ModelError, match=expected):
        read_all(path)
    assert time.process_time() - started < 5


def test_many_languages_are_counted_in_no_time(stranger: Path, tmp_path: Path) -> None:
    config = json.loads((stranger / "config.json").read_text())
    config["languages"] += [f"l{number}" for number in range(MANY)]
    path = copy_with_config(stranger, tmp_path / "copy", json.dumps(config))
    started = time.process_time()
    with pytest.raises(ModelError, match="l0, l1, l2, l3, l4, l5 and 99,994 more") as caught:
        read_all(path)
    assert len(caught.value.message) < 300
    assert time.process_time() - started < 5


@pytest.mark.parametrize("code", ["\x1b]0;x\x07", "a b", "", "x" * 65, "en\u202eXX", "a/b", "né"])
def test_a_code_is_made_of_letters_and_digits(stranger: Path, code: str, tmp_path: Path) -> None:
    config = json.loads((stranger / "config.json").read_text()) | {"languages": [code]}
    path = copy_with_config(stranger, tmp_path / "copy", json.dumps(config))
    with pytest.raises(ModelError, match="is no code of a language") as caught:
        describe(path)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json", "run.json"])
def test_a_long_json_file_is_not_read_to_its_end(tmp_path: Path, name: str) -> None:
    path = make_checkpoint(tmp_path / "base", kind="sharded")
    file = path / name
    # A sparse file: it takes no room on the disk, and would take all of the memory.
    with file.open("wb") as stream:
        stream.truncate(1 << 40)
    if name == "run.json":
        assert describe(path).notes == ("run.json has more than 16 MB, which no such file has.",)
    else:
        with pytest.raises(ModelError, match="has more than 16 MB"):
            read_all(path)


@pytest.mark.parametrize("filler", [b"[],", b'{"":0},', b'"a":[0,0,0],'])
def test_a_dense_header_of_the_longest_kind_takes_bounded_memory(
    tmp_path: Path, filler: bytes
) -> None:
    path = make_checkpoint(tmp_path / "base")
    body = filler * ((MAX_HEADER_BYTES - 100) // len(filler))
    header = b'{"x":[' + body + b"0]}" if filler != b'"a":[0,0,0],' else b"{" + body + b'"x":0}'
    assert len(header) <= MAX_HEADER_BYTES
    (path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from xmod_extend.errors import ModelError\n"
        "from xmod_extend.model.safetensors_files import SafetensorsFile\n"
        "try:\n    SafetensorsFile(Path(sys.argv[1]))\n"
        "except ModelError as error:\n    print(error.message[:60])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path / "model.safetensors")],
        capture_output=True,
        text=True,
        check=True,
    )
    message, kilobytes = ran.stdout.splitlines()
    assert "damaged header" in message
    assert int(kilobytes) < 2_000_000


def test_a_header_longer_than_any_is_not_read(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "base")
    with (path / "model.safetensors").open("wb") as stream:
        stream.write((1 << 39).to_bytes(8, "little"))
        stream.truncate(1 << 40)
    with pytest.raises(ModelError, match="give a header length of 549,755,813,888"):
        open_checkpoint(path)


def test_a_tensor_that_is_all_holes_is_refused_by_its_shape(tmp_path: Path) -> None:
    """Nothing is allocated for what the config does not describe."""
    path = make_checkpoint(tmp_path / "base")
    size = 1 << 40
    header = json.dumps(
        {
            "roberta.embeddings.word_embeddings.weight": {
                "dtype": "F32",
                "shape": [size // 4],
                "data_offsets": [0, size],
            }
        }
    ).encode()
    with (path / "model.safetensors").open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.truncate(8 + len(header) + size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError):
        read_all(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_code_of_a_repository_is_neither_loaded_nor_asked_for(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fields that make others' loaders import a module change nothing here."""

    def refuse(*_: Any) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    path = shutil.copytree(base, tmp_path / "base")
    (path / "modeling_evil.py").write_text("open('ran', 'w')\n")
    for name in ("config.json", "tokenizer_config.json"):
        values = json.loads((path / name).read_text())
        values["auto_map"] = {
            "AutoConfig": "modeling_evil.Evil",
            "AutoModelForMaskedLM": "stranger/evil--modeling_evil.Evil",
            "AutoTokenizer": ["modeling_evil.Evil", "modeling_evil.Evil"],
        }
        (path / name).write_text(json.dumps(values))
    monkeypatch.chdir(tmp_path)
    read_all(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["LICENSE", "run.json", "vocab.txt", "tokenizer.json"])
def test_a_link_out_of_the_folder_is_not_followed_into_an_output(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "id_rsa"
    secret.write_text("secret")
    path = make_checkpoint(tmp_path / "base")
    (path / name).symlink_to(secret)
    base = open_checkpoint(path)
    adapter = trained_adapter(base, "quz_PE", new_adapter(base))
    with pytest.raises(ModelError, match=f"{name} is a link out of its folder"):
        extended_contents(base, {"quz_PE": adapter})


def test_nor_is_one_among_the_files_of_a_tokenizer_that_was_found(tmp_path: Path) -> None:
    secret = tmp_path / "id_rsa"
    secret.write_text("secret")
    path = make_checkpoint(tmp_path / "base")
    (path / "vocab.txt").symlink_to(secret)
    base = open_checkpoint(path)
    adapter = trained_adapter(base, "quz_PE", new_adapter(base))
    with pytest.raises(ModelError, match=r"vocab\.txt is a link out of its folder"):
        extended_contents(base, {"quz_PE": adapter}, tokenizer_files=[path / "vocab.txt"])


def test_links_of_the_hubs_cache_are_followed(tmp_path: Path) -> None:
    snapshot = make_checkpoint(tmp_path / "models--user--x" / "snapshots" / "c0ffee")
    blob = tmp_path / "models--user--x" / "blobs" / "00000000"
    blob.parent.mkdir(parents=True)
    blob.write_text("MIT")
    (snapshot / "LICENSE").symlink_to(os.path.relpath(blob, snapshot))
    base = open_checkpoint(snapshot)
    adapter = trained_adapter(base, "quz_PE", new_adapter(base))
    assert extended_contents(base, {"quz_PE": adapter}).companions["LICENSE"].read_text() == "MIT"


MARKS: list[Any] = [
    [],
    7,
    {"made_by": "xmod-extend", "kind": CHECKPOINT, "files": ["a"]},
    {"made_by": "xmod-extend", "kind": CHECKPOINT, "files": {"x": 1, "config.json": {"size": "7"}}},
    {"made_by": "xmod-extend", "kind": CHECKPOINT, "files": {"config.json": {"sha256": []}}},
]


@pytest.mark.parametrize("mark", MARKS, ids=str)
def test_a_strangers_mark_makes_nothing_ours(tmp_path: Path, mark: Any) -> None:
    from xmod_extend.errors import UsageError
    from xmod_extend.files.output_folder import check_target

    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / MARK_NAME).write_text(json.dumps(mark))
    with pytest.raises(UsageError, match="replaces nothing else"):
        check_target(folder, force=True)


def test_a_strangers_mark_removes_nothing_elsewhere(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("years of work")
    folder = tmp_path / "folder"
    folder.mkdir()
    names = ["../thesis.tex", str(thesis), "x/../../thesis.tex", "..", "", "\0", "\ud800"]
    mark = {"made_by": "xmod-extend", "kind": CHECKPOINT, "files": {name: {} for name in names}}
    (folder / MARK_NAME).write_text(json.dumps(mark))
    files = checkpoint_files(folder)
    assert files is not None and set(files) == set(names)
    remove_files(folder, files)
    assert thesis.read_text() == "years of work" and not folder.exists()


def test_deep_and_endless_marks_are_none(tmp_path: Path) -> None:
    (tmp_path / MARK_NAME).write_text("[" * MANY)
    assert checkpoint_files(tmp_path) is None
    with (tmp_path / MARK_NAME).open("wb") as stream:
        stream.truncate(MAX_JSON_BYTES * 2)
    assert checkpoint_files(tmp_path) is None


def copy_with_config(source: Path, target: Path, config: str) -> Path:
    target.mkdir()
    (target / "model.safetensors").symlink_to(source / "model.safetensors")
    (target / "config.json").write_text(config)
    return target

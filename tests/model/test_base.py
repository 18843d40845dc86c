"""Finding the base: folders, the bundled one, and the Hub with all that can go wrong there."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoints import make_checkpoint
from hub_server import COMMIT, Hub, serve

from xmod_extend.errors import HubError, ModelError, UsageError, XmodExtendError
from xmod_extend.hub.client import HubRepository
from xmod_extend.model.base import BaseReference, choose_files, resolve_base
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.tokens.tokenizer import fetch_tokenizer


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with one X-MOD, and an empty cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setenv("HF_TOKEN", "")
    # The Hub's client waits between its attempts.
    monkeypatch.setattr(time, "sleep", lambda _: None)
    folder = make_checkpoint(tmp_path / "original")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    files |= {"sentencepiece.bpe.model": b"pieces", "README.md": b"card", "LICENSE": b"terms"}
    files |= {"pytorch_model.bin": b"x", "flax_model.msgpack": b"x", "onnx/model.onnx": b"x"}
    with serve(Hub(files={"someone/xmod-small": files})) as server:
        yield server


def on_hub(
    hub: Hub, base: str = "someone/xmod-small", revision: str | None = None
) -> BaseReference:
    return resolve_base(base, revision=revision, endpoint=hub.endpoint)


def refusal(reference: BaseReference, kind: type[XmodExtendError] = HubError) -> XmodExtendError:
    with pytest.raises(kind) as caught:
        reference.fetch()
    assert "\n" not in caught.value.message
    assert caught.value.message.endswith(".")
    assert caught.value.hint
    return caught.value


def test_a_folder_comes_before_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_base("someone/model").repo_id == "someone/model"
    make_checkpoint(tmp_path / "someone" / "model")
    reference = resolve_base("someone/model")
    assert reference.repo_id is None
    assert reference.name == "model"
    assert reference.commit is None
    assert reference.load_config()["model_type"] == "xmod"
    assert open_checkpoint(reference.fetch()).languages


def test_a_folder_has_no_revisions(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"revision \(v1\)"):
        resolve_base(str(tmp_path), revision="v1")


@pytest.mark.parametrize("revision", ["v1.0", "refs/pr/3", "c0ffee"])
def test_an_id_may_carry_its_revision(revision: str) -> None:
    for given in (None, revision):
        reference = resolve_base(f"someone/model@{revision}", revision=given)
        assert (reference.repo_id, reference.revision) == ("someone/model", revision)
        assert (reference.base, reference.name) == ("someone/model", "model")


def test_a_folder_with_an_at_sign_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "someone" / "model@v1.0").mkdir(parents=True)
    assert resolve_base("someone/model@v1.0").path == Path("someone/model@v1.0")
    (tmp_path / "someone" / "model").mkdir()
    assert resolve_base("someone/model@v2.0").revision == "v2.0"


def test_two_revisions_that_differ_are_refused() -> None:
    with pytest.raises(UsageError, match=r"v1 in someone/model@v1, and v2"):
        resolve_base("someone/model@v1", revision="v2")
    with pytest.raises(UsageError, match="names no revision"):
        resolve_base("someone/model@")


def test_an_id_with_a_revision_is_fetched(hub: Hub) -> None:
    assert open_checkpoint(on_hub(hub, "someone/xmod-small@v1.0").fetch()).languages
    assert "has no revision v9" in refusal(on_hub(hub, "someone/xmod-small@v9")).message


def test_a_folder_that_is_not_there_is_named_with_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "xmod-base").mkdir()
    with pytest.raises(ModelError, match="does not exist") as caught:
        resolve_base(str(tmp_path / "xmod-bsae"))
    assert caught.value.hint == f"Did you mean {tmp_path / 'xmod-base'}?"


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("", "The base is empty"),
        ("./nowhere", "The folder ./nowhere does not exist"),
        ("a/b/c", "The folder a/b/c does not exist"),
        ("~/surely/not/here", "does not exist"),
        ("xmod base", "neither a folder nor a name that the Hub allows"),
        ("someone/xmod--base", "neither a folder nor a name that the Hub allows"),
        (__file__, "is a file, not a folder"),
    ],
)
def test_what_is_no_base_is_refused(base: str, expected: str) -> None:
    with pytest.raises(ModelError, match=expected):
        resolve_base(base)


def test_the_bundled_base_is_found_by_name() -> None:
    try:
        reference = resolve_base("tiny")
    except ModelError as error:
        pytest.skip(error.message)
    assert reference.name == "tiny"
    assert open_checkpoint(reference.fetch()).languages == reference.load_config()["languages"]


def test_the_config_comes_alone_and_the_rest_in_one_format(hub: Hub) -> None:
    reference = on_hub(hub, revision="v1.0")
    assert reference.name == "xmod-small"
    assert reference.load_config()["model_type"] == "xmod"
    assert hub.downloads == ["config.json"]
    assert reference.commit == COMMIT
    folder = reference.fetch()
    assert sorted(hub.downloads) == [
        "LICENSE",
        "config.json",
        "model.safetensors",
        "sentencepiece.bpe.model",
    ]
    assert open_checkpoint(folder).languages


def test_what_was_downloaded_serves_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    folder = on_hub(hub).fetch()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    reference = on_hub(hub)
    assert reference.fetch() == folder
    assert reference.commit == COMMIT


def test_what_was_downloaded_serves_without_a_network(hub: Hub) -> None:
    folder = on_hub(hub).fetch()
    hub.endpoint = "http://127.0.0.1:9"
    assert on_hub(hub).fetch() == folder


def test_half_a_download_does_not_serve_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    on_hub(hub).load_config()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "not completely in the cache" in refusal(on_hub(hub)).message


def test_offline_and_not_cached(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    error = refusal(on_hub(hub))
    assert "offline mode forbids" in error.message
    assert "HF_HUB_OFFLINE" in (error.hint or "")


def test_no_network_and_not_cached(hub: Hub) -> None:
    hub.endpoint = "http://127.0.0.1:9"
    assert "The Hub cannot be reached" in refusal(on_hub(hub)).message


def test_a_repository_that_is_not_there(hub: Hub) -> None:
    error = refusal(on_hub(hub, "someone/nothing"))
    assert error.message == "someone/nothing is neither a folder here nor a model on the Hub."
    error = refusal(on_hub(hub, "xmod-bas"))
    assert "facebook/xmod-base" in (error.hint or "")


def test_a_gated_repository(hub: Hub) -> None:
    hub.errors["someone/xmod-small"] = (403, "GatedRepo")
    assert "is gated" in refusal(on_hub(hub)).message


def test_a_revision_that_is_not_there(hub: Hub) -> None:
    error = refusal(on_hub(hub, revision="v1.1"))
    assert error.message == "someone/xmod-small has no revision v1.1."
    assert error.hint == "Did you mean v1.0?"


def test_a_server_that_is_down(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.errors["someone/xmod-small"] = (500, None)
    assert "status 500" in refusal(on_hub(hub)).message


def test_credentials_that_are_refused(hub: Hub) -> None:
    hub.errors["someone/xmod-small"] = (403, None)
    assert "refused someone/xmod-small (HTTP 403)" in refusal(on_hub(hub)).message


def test_a_repository_without_a_config(hub: Hub) -> None:
    del hub.files["someone/xmod-small"]["config.json"]
    assert "has no config.json on the Hub" in refusal(on_hub(hub), ModelError).message


def test_a_repository_of_another_model(hub: Hub) -> None:
    hub.files["someone/xmod-small"]["config.json"] = b'{"model_type": "bert"}'
    error = refusal(on_hub(hub), ModelError)
    assert error.message == "someone/xmod-small is a bert, not an X-MOD."
    assert hub.downloads == ["config.json"]


def test_a_repository_without_weights_for_pytorch(hub: Hub) -> None:
    for name in ("model.safetensors", "pytorch_model.bin"):
        del hub.files["someone/xmod-small"][name]
    assert "no weights that PyTorch can read" in refusal(on_hub(hub), ModelError).message


def test_a_download_that_breaks_off(hub: Hub) -> None:
    hub.broken.add("model.safetensors")
    error = refusal(on_hub(hub))
    assert "download of someone/xmod-small" in error.message or "reached" in error.message


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, "no space left"), (errno.EROFS, "cache cannot be written")],
)
def test_a_disk_that_refuses(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, number: int, expected: str
) -> None:
    import huggingface_hub

    def refuse(*_: object, **__: object) -> str:
        raise OSError(number, "no")

    reference = on_hub(hub)
    reference.load_config()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    assert expected in refusal(reference).message


def test_a_tokenizer_comes_without_the_weights(hub: Hub) -> None:
    folder = fetch_tokenizer(HubRepository("someone/xmod-small", endpoint=hub.endpoint))
    assert (folder / "sentencepiece.bpe.model").read_bytes() == b"pieces"
    assert sorted(hub.downloads) == ["config.json", "sentencepiece.bpe.model"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["config.json", "tf_model.h5"], []),
        (["config.json", "pytorch_model.bin"], ["config.json", "pytorch_model.bin"]),
        (
            ["model-00001-of-00001.safetensors", "model.safetensors.index.json", "run-a_B.json"],
            ["model-00001-of-00001.safetensors", "model.safetensors.index.json", "run-a_B.json"],
        ),
        (
            ["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json", "optimizer.bin"],
            ["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"],
        ),
        (["x/model.safetensors"], []),
    ],
)
def test_only_one_format_is_chosen(names: list[str], expected: list[str]) -> None:
    assert choose_files(names) == expected

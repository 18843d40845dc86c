"""Pulling through the Hub's cache: links, plain copies, one that cannot be written, none to ask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import Fault, Hub
from published import BASE_ID, files_of, hub_for_publishing, write_extended

import xmod_extend
from xmod_extend.errors import HubError
from xmod_extend.model.base import resolve_base
from xmod_extend.model.checkpoint import open_checkpoint

REPO = "someone/xmod-quz"


@pytest.fixture(scope="module")
def extended(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_extended(base, tmp_path_factory.mktemp("published") / "extended")


@pytest.fixture
def hub(
    tmp_path: Path, base: Path, extended: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hub]:
    """A Hub with a base and a checkpoint, and a client with an empty cache."""
    server = Hub(files={BASE_ID: files_of(base), REPO: files_of(extended)})
    with hub_for_publishing(server, monkeypatch, tmp_path / "cache"):
        yield server


def switch_off(patch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    patch.setattr(constants, "HF_HUB_OFFLINE", True)


def without_links(patch: pytest.MonkeyPatch) -> None:
    """As on a disk that knows no symbolic links."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no links here")

    patch.setattr(os, "symlink", refuse)
    patch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda *_, **__: False)


@pytest.mark.parametrize("has_links", [True, False], ids=["links", "copies"])
def test_what_was_pulled_is_read_again_without_the_hub(
    hub: Hub, extended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:
        without_links(monkeypatch)
    pulled = resolve_base(f"{REPO}@v1.0").fetch()
    assert (pulled / "config.json").is_symlink() == has_links
    requests = len(hub.requests)
    switch_off(monkeypatch)
    assert resolve_base(f"{REPO}@v1.0").fetch() == pulled
    assert open_checkpoint(pulled).languages[-1] == "quz_PE"
    assert xmod_extend.describe(f"{REPO}@v1.0").languages[-1] == "quz_PE"
    assert len(hub.requests) == requests
    packed = tmp_path / "pack"
    xmod_extend.pack_language(f"{REPO}@v1.0", "quz_PE", packed, progress=False)
    shard = "model-quz_PE.safetensors"
    assert (packed / shard).read_bytes() == (extended / shard).read_bytes()
    with pytest.raises(HubError, match="offline mode forbids"):
        resolve_base(f"{BASE_ID}@v1.0").load_config()


@pytest.mark.parametrize("has_links", [True, False], ids=["links", "copies"])
def test_what_lies_in_the_cache_is_published_again(
    hub: Hub, extended: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:
        without_links(monkeypatch)
    pulled = resolve_base(REPO).fetch()
    published = xmod_extend.push_to_hub(pulled, "someone/mirror", progress=False)
    assert published.commit
    files = hub.repositories["someone/mirror"].files
    for name in ("model-base.safetensors", "model-quz_PE.safetensors", "config.json"):
        assert files[name] == (extended / name).read_bytes()


def test_a_cache_that_cannot_be_written_is_read(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    pulled = resolve_base(REPO).fetch()
    opened = os.open

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    def open_to_read(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            refuse()
        return opened(path, flags, *rest, **named)

    for name in ("mkdir", "symlink", "rename", "replace", "unlink", "remove"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(os, "open", open_to_read)
    assert resolve_base(REPO).fetch() == pulled
    switch_off(monkeypatch)
    assert resolve_base(REPO).fetch() == pulled


def test_a_cache_that_cannot_be_written_and_is_empty_is_said(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(HubError, match="cache cannot be written") as caught:
        resolve_base(REPO).fetch()
    assert "HF_HOME" in str(caught.value.hint)


def test_a_download_that_is_cut_goes_on_where_it_was(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "model-base.safetensors"
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1_000)
    hub.cut_downloads[name] = 1
    pulled = resolve_base(REPO).fetch()
    assert (pulled / name).read_bytes() == hub.repositories[REPO].files[name]
    (wanted,) = hub.ranges
    assert 0 < int(wanted.removeprefix("bytes=").removesuffix("-")) <= 63_360


@pytest.mark.parametrize("status", [503, 429])
def test_a_hub_that_is_busy_for_a_moment_is_waited_for(hub: Hub, status: int) -> None:
    hub.faults.append(
        Fault("/resolve/", status, method="GET", headers={"Retry-After": "1"}, times=1)
    )
    assert open_checkpoint(resolve_base(REPO).fetch()).languages[-1] == "quz_PE"

"""What writes a folder asks nobody: no connection is opened where all is on this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from published import write_extended

import xmod_extend


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """The connections that were tried, each of which fails; the Hub is not switched off."""
    from huggingface_hub import constants

    tried: list[object] = []

    def refuse(_: object, address: object) -> None:
        tried.append(address)
        raise ConnectionRefusedError("no network in this test")

    def refuse_name(host: object, *_: object, **__: object) -> None:
        tried.append(host)
        raise ConnectionRefusedError("no network in this test")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse_name)
    yield tried


@pytest.fixture(scope="module")
def extended(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_extended(base, tmp_path_factory.mktemp("local") / "extended")


def add(base: Path, extended: Path, corpus: Path, folder: Path) -> None:
    xmod_extend.add_language(
        lang="quz_PE",
        corpus=corpus,
        base=base,
        output=folder / "out",
        max_steps=1,
        batch_size=4,
        progress=False,
    )


def pack_and_install(base: Path, extended: Path, corpus: Path, folder: Path) -> None:
    xmod_extend.pack_language(extended, "quz_PE", folder / "pack", progress=False)
    xmod_extend.install_packs(base, [folder / "pack"], folder / "out", progress=False)


def slice_it(base: Path, extended: Path, corpus: Path, folder: Path) -> None:
    xmod_extend.slice_checkpoint(extended, ["quz_PE"], folder / "out", progress=False)


def remove(base: Path, extended: Path, corpus: Path, folder: Path) -> None:
    xmod_extend.remove_language(extended, "quz_PE", folder / "out", progress=False)


def verify(base: Path, extended: Path, corpus: Path, folder: Path) -> None:
    assert xmod_extend.verify_checkpoint(extended, base).identical
    (folder / "out").mkdir()


@pytest.mark.parametrize("work", [add, pack_and_install, slice_it, remove, verify])
def test_no_connection_is_opened(
    base: Path,
    extended: Path,
    corpus: Path,
    tmp_path: Path,
    connections: list[object],
    work: Callable[[Path, Path, Path, Path], None],
) -> None:
    work(base, extended, corpus, tmp_path)
    assert (tmp_path / "out").is_dir()
    assert connections == []

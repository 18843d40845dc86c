"""Packs and checkpoints that are on the Hub: only what is needed is fetched, of one commit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hub_server import COMMIT, Hub, serve
from packed import Heard, add, bytes_of, logits, pack

from xmod_extend.errors import HubError, ModelError
from xmod_extend.jobs.install import install_packs
from xmod_extend.jobs.pack import pack_language
from xmod_extend.packs.pack import open_pack
from xmod_extend.packs.source import resolve_pack


@pytest.fixture
def hub(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A base, an extended checkpoint, and a pack with a file that no pack needs."""
    extended = add(base, tmp_path / "extended", "quz_PE")
    packed = pack(extended, "quz_PE", tmp_path / "quz")
    files = {
        "someone/base": bytes_of(base),
        "someone/extended": bytes_of(extended),
        "other/quz": bytes_of(packed) | {"huge.bin": bytes(1000), "setup.py": b"import os"},
        "other/nothing": {"README.md": b"nothing"},
    }
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return Hub(files=files)


def test_a_pack_is_installed_by_its_id(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(hub):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        result = install_packs("someone/base", "other/quz@v1.0", tmp_path / "out", callback=Heard())
    assert result.installed[0].pack == "other/quz@v1.0"
    assert not {"huge.bin", "setup.py"} & set(hub.downloads)
    assert logits(tmp_path / "out") == logits(tmp_path / "extended")
    card = (tmp_path / "out/README.md").read_text()
    assert "base_model: someone/base" in card.replace('"', "")


def test_a_language_of_a_base_on_the_hub_names_it(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(hub):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        result = pack_language("someone/base", "de_DE", tmp_path / "de", callback=Heard())
    assert (result.base_model, result.base_revision) == ("someone/base", COMMIT)
    assert open_pack(tmp_path / "de").description.base_model == "someone/base"


def test_what_is_no_pack_costs_no_download(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(hub):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        for name in ("other/nothing", "someone/extended"):
            with pytest.raises(ModelError, match="so it is not a language pack"):
                resolve_pack(name).describe()
        with pytest.raises(HubError):
            resolve_pack("other/unknown").describe()
        with pytest.raises(HubError, match="no revision v9"):
            resolve_pack("other/quz@v9").describe()
    assert not hub.downloads

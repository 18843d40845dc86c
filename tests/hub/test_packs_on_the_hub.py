"""Packs and checkpoints that are on the Hub: only what is needed is fetched, of one commit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub, serve
from huggingface_hub import constants
from packed import add, bytes_of, logits, pack

from xmod_extend.errors import HubError, ModelError
from xmod_extend.packs.pack import open_pack
from xmod_extend.packs.source import resolve_pack


@pytest.fixture
def hub(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A base, an extended checkpoint, and a pack with files that no pack needs."""
    extended = add(base, tmp_path / "extended", "quz_PE")
    packed = pack(extended, "quz_PE", tmp_path / "quz")
    files = {
        "someone/base": bytes_of(base),
        "someone/extended": bytes_of(extended),
        "other/quz": bytes_of(packed) | {"huge.bin": bytes(1000), "setup.py": b"import os"},
        "other/nothing": {"README.md": b"nothing"},
    }
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with serve(Hub(files=files)) as server:
        yield server


def test_only_a_pack_s_own_files_are_fetched(hub: Hub, tmp_path: Path) -> None:
    reference = resolve_pack("other/quz@v1.0", endpoint=hub.endpoint)
    assert reference.describe().language == "quz_PE"
    assert set(hub.downloads) == {"adapter_config.json"}
    opened = reference.open()
    assert opened.path.name == COMMIT and opened.name == "other/quz@v1.0"
    assert opened.description == open_pack(tmp_path / "quz").description
    assert not {"huge.bin", "setup.py"} & set(hub.downloads)
    assert (opened.record_file is not None) and opened.record_file.name == "run.json"


def test_what_is_no_pack_costs_no_download(hub: Hub) -> None:
    for name in ("other/nothing", "someone/extended"):
        with pytest.raises(ModelError, match="so it is not a language pack"):
            resolve_pack(name, endpoint=hub.endpoint).describe()
    with pytest.raises(HubError):
        resolve_pack("other/unknown", endpoint=hub.endpoint).describe()
    with pytest.raises(HubError, match="no revision v9"):
        resolve_pack("other/quz@v9", endpoint=hub.endpoint).describe()
    assert not hub.downloads


@pytest.mark.slow
def test_packs_go_from_hub_to_hub(hub: Hub, tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    variables |= {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.endpoint}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "xmod_extend", *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=variables,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("pack", "someone/base", "--lang", "de_DE", "--output", "de")
    description = open_pack(tmp_path / "de").description
    assert (description.base_model, description.base_revision) == ("someone/base", COMMIT)
    out = run("install", "someone/base", "other/quz@main", "--output", "out", "--json")
    assert json.loads(out)["installed"][0]["pack"] == "other/quz@main"
    assert logits(tmp_path / "out") == logits(tmp_path / "extended")
    assert "base_model: someone/base" in (tmp_path / "out/README.md").read_text().replace('"', "")

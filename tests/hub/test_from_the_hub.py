"""The whole job against a Hub on this machine, from the id to the verified checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub, serve


@pytest.mark.slow
def test_a_base_on_the_hub_is_extended_and_then_again_without_network(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    files = {path.name: path.read_bytes() for path in base.iterdir() if path.is_file()}
    files |= {"flax_model.msgpack": b"not wanted", "pytorch_model.bin": b"not wanted"}

    def add(output: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "xmod_extend", "add", "--base", "someone/xmod-small"]
        command += ["--lang", "quz_PE", "--corpus", str(corpus), "--output", str(tmp_path / output)]
        variables = {name: v for name, v in os.environ.items() if name != "HF_HUB_OFFLINE"}
        return subprocess.run(
            [*command, "--max-steps", "1", "--batch-size", "4"],
            capture_output=True,
            text=True,
            env=variables | {"HF_HOME": str(tmp_path / "hf")} | environment,
            check=False,
        )

    with serve(Hub(files={"someone/xmod-small": files})) as hub:
        done = add("first", HF_ENDPOINT=hub.endpoint)
    assert done.returncode == 0, done.stderr
    assert not {"flax_model.msgpack", "pytorch_model.bin"} & set(hub.downloads)
    record = json.loads((tmp_path / "first" / "run.json").read_text())
    assert record["base"]["commit"] == COMMIT
    card = (tmp_path / "first" / "README.md").read_text()
    assert "base_model: someone/xmod-small" in card and '- "quz"' in card

    offline = add("second", HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
    shard = "model-base.safetensors"
    assert (tmp_path / "second" / shard).read_bytes() == files["model.safetensors"]

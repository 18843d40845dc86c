"""The benchmark of serving measures both on the same batches, and they give the same logits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from xmod_extend.model.base import resolve_base

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmarks" / "serving.py"


@pytest.mark.slow
def test_both_serve_the_same_bits(tmp_path: Path) -> None:
    options = ("--base", resolve_base("tiny").fetch(), "--langs", "en_XX", "es_XX", "--repeat", "1")
    done = subprocess.run(
        [sys.executable, SCRIPT, *options, "--json", tmp_path / "told.json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| yes |") == 3
    results = json.loads((tmp_path / "told.json").read_text())["results"]
    assert set(results) == {"ours fp32", "transformers fp32"}
    for report in results.values():
        assert 0 < report["loaded_peak_bytes"] <= report["peak_bytes"]
        assert report["load_cpu_seconds"] > 0
        assert set(report["batches"]) == {"1x32", "8x128", "8x128 mixed"}
        assert all(batch["cpu_seconds"] > 0 for batch in report["batches"].values())

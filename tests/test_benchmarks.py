"""The benchmarks run, and what they make and measure is what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "scripts" / "benchmarks"


@pytest.fixture
def made_text(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from made_text import made_text

    blocks = list(made_text(8_000_000))
    shorter = b"".join(made_text(1_000_000))
    assert blocks[0].startswith(shorter)
    return blocks


def test_made_text_is_the_same_again_and_like_a_corpus(made_text: list[bytes]) -> None:
    text = b"".join(made_text)
    assert 0 <= len(text) - 8_000_000 < 1_000
    assert text.endswith(b"\n")
    lines = text.decode().splitlines()
    filled = [line for line in lines if line]
    assert 0.005 < 1 - len(filled) / len(lines) < 0.02
    assert 0.005 < 1 - len(set(filled)) / len(filled) < 0.03
    assert 50 < len(text) / len(lines) < 150
    assert all(line == " ".join(line.split()) for line in lines)


@pytest.mark.slow
def test_the_corpus_benchmark_measures_both_on_the_same_text(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, BENCHMARKS / "corpus.py", "--size", "2MB", "--folder", tmp_path, "--json"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    costs = {cost["name"]: cost for cost in json.loads(ran.stdout)}
    assert list(costs) == ["xmod-extend", "xmod-extend, second start", "datasets, plain"]
    for cost in costs.values():
        assert 0 < cost["peak_anonymous_mb"] <= cost["peak_mb"] < 2_000
        assert cost["mb_per_second"] == pytest.approx(2 / cost["wall_seconds"], rel=1e-3)
    assert list(tmp_path.iterdir()) == []

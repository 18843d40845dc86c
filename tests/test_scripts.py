"""The scripts that the README and the demo rely on run, and say what they should."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running_scripts import SCRIPTS, run

import xmod_extend


@pytest.mark.slow
def test_settings_are_measured_on_the_same_texts(base: Path, corpus: Path, tmp_path: Path) -> None:
    held_out = corpus.parent / "held_out.txt"
    held_out.write_text("".join(corpus.read_text().splitlines(keepends=True)[::4]))
    results = tmp_path / "results.json"
    where = ["--base", base, "--markdown", "--json", results]
    for language in ("quz_PE", "ay_BO"):
        where += ["--text", language, corpus, held_out]
    printed = run("benchmarks/quality.py", *where, "max_steps=2", "max_steps=3,weight_decay=0.5")
    table = [line.split("|")[1:-1] for line in printed.splitlines() if line.startswith("| max")]
    cells = [[cell.strip() for cell in row] for row in table]
    assert [row[:2] for row in cells] == [
        ["max_steps=2", "2"],
        ["max_steps=3,weight_decay=0.5", "3"],
    ]
    written = json.loads(results.read_text())
    for row, shown in zip(written["rows"], cells, strict=True):
        quechua, aymara = row["perplexity"].values()
        # The two texts are one text under two names.
        assert quechua == aymara == pytest.approx(row["mean_perplexity"])
        assert shown[2:5] == [f"{quechua:.2f}"] * 3
    first, second = (row["perplexity"]["quz_PE"] for row in written["rows"])
    assert first != second


@pytest.mark.slow
def test_minimal_pairs_of_a_tiny_quechua(tmp_path: Path) -> None:
    corpus = SCRIPTS.parent / "corpora" / "quz_PE.txt"
    output = tmp_path / "tiny-quz"
    record = xmod_extend.add_language(
        lang="quz_PE", corpus=corpus, base="tiny", output=output, max_steps=60
    )
    assert record.evaluation is not None
    # The demonstration promises several-fold; 60 of its 300 steps are enough for three.
    assert record.evaluation.improvement.low > 3
    printed = run("minimal_pairs.py", output)
    assert printed.count(" by ") == 12 and "quz_PE" in printed

"""The benchmark that holds an added language against a twin that was pretrained with it."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from running_scripts import SCRIPTS, run

from xmod_extend.model.base import resolve_base

ROOT = Path(__file__).parents[2]


def config_of(checkpoint: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((checkpoint / "config.json").read_text())
    return config


def write_text(code: str, folder: Path) -> Path:
    lines = (ROOT / "corpora" / f"{code}.txt").read_text().splitlines(keepends=True)
    path = folder / f"{code}.txt"
    path.write_text("".join(lines[:600]))
    return path


@pytest.mark.slow
def test_a_twin_is_compared_with_added_languages(tmp_path: Path) -> None:
    text = write_text("quz_PE", tmp_path)
    training, held_out = tmp_path / "quz_PE.train.txt", tmp_path / "held_out.txt"
    lines = text.read_text().splitlines(keepends=True)
    training.write_text("".join(lines[:500]))
    held_out.write_text("".join(lines[500:]))
    work = tmp_path / "work"
    options: list[str | Path] = [work, "--tokenizer", resolve_base("tiny").fetch()]
    for code in ("en_XX", "es_XX"):
        options += ["--base", code, write_text(code, tmp_path)]
    options += ["--added", "quz_PE", training, held_out]
    options += ["--seeds", "1", "--steps", "3", "--width", "64", "--markdown"]
    options += ["--settings", "updates,init=mean", "max_steps=2"]
    printed = run("benchmarks/twin.py", *options)

    pair = work / "seed-0"
    assert list(config_of(pair / "base")["languages"]) == ["en_XX", "es_XX"]
    assert list(config_of(pair / "twin")["languages"]) == ["en_XX", "es_XX", "quz_PE"]
    record = json.loads((pair / "added" / "updates,init=mean" / "quz_PE" / "run.json").read_text())
    # As many steps of as many tokens of the language as the twin had.
    assert record["training"]["steps_done"] == 3
    assert record["training"]["batch_size"] * record["training"]["max_length"] == 512
    tables = printed.split("\n\n")
    rows = [line for line in tables[1].splitlines() if line.startswith("| quz_PE")]
    assert [row.split("|")[3].strip() for row in rows] == ["updates,init=mean", "max_steps=2"]
    scores = json.loads((pair / "scores" / "masked_perplexity.quz_PE.max_steps=2.json").read_text())
    assert scores["ratio"] == pytest.approx(scores["before"] / scores["after"])
    assert f"{scores['after']:.1f}" in rows[1]
    old = [line for line in tables[3].splitlines() if line.startswith(("| en_XX", "| es_XX"))]
    assert len(old) == 2

    # What is finished is not done again.
    made = {file: file.stat().st_mtime_ns for file in work.rglob("*") if file.is_file()}
    assert run("benchmarks/twin.py", *options) == printed
    assert made == {file: file.stat().st_mtime_ns for file in work.rglob("*") if file.is_file()}


@pytest.mark.slow
def test_a_language_more_changes_nothing_of_what_the_others_read(tmp_path: Path) -> None:
    """Both bases keep the same lines out, and their steps begin with the same loss."""
    texts = [("--text", code, write_text(code, tmp_path)) for code in ("en_XX", "es_XX", "de_DE")]
    tokenizer = resolve_base("tiny").fetch()
    for name, chosen in (("without", texts[:2]), ("with", texts)):
        words = [word for text in chosen for word in text]
        run(
            "benchmarks/small_base.py", tmp_path / name, "--tokenizer", tokenizer, "--width", "64",
            "--length", "128", "--steps", "1", *words,
        )  # fmt: skip
    for code in ("en_XX", "es_XX"):
        kept = [(tmp_path / name / "held_out" / f"{code}.txt").read_text() for name in
                ("without", "with")]  # fmt: skip
        assert kept[0] == kept[1] != ""
    assert config_of(tmp_path / "with")["max_position_embeddings"] == 130


def test_heads_begin_by_looking_at_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS / "benchmarks"))
    small_base = importlib.import_module("small_base")
    settings = small_base.Settings(hidden_size=192, num_heads=3, num_layers=1, block_tokens=32)
    model = small_base.new_model(settings)
    small_base.look_at_neighbours(model)
    tokens = torch.randint(4, 900, (1, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = model.roberta.embeddings(tokens)[0]
        attention = model.roberta.encoder.layer[0].attention.self
        queries, keys = (
            layer(hidden).view(32, 3, 64).transpose(0, 1)
            for layer in (attention.query, attention.key)
        )
        weights = (queries @ keys.mT / 8).softmax(-1)
    for head, offset in enumerate(small_base.OFFSETS[:3]):
        means = {place: float(weights[head].diagonal(place).mean()) for place in range(-4, 5)}
        assert max(means, key=means.__getitem__) == offset and means[offset] > 0.5

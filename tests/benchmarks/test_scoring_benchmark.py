"""The benchmark of scoring; and our pseudo-perplexities are those of minicons, token by token."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import xmod_extend
from xmod_extend.model.base import resolve_base
from xmod_extend.tokens.tokenizer import load_tokenizer

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "scripts" / "benchmarks"
UNREADABLE = (
    "Жук wasiman жукpi chayamurqan.",
    "Wasi жуж wasi, «жwasiж» 1,500 unuq'a!",
)
"""With letters that the bundled base lacks: alone, within a word, and as a whole word."""


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.fixture
def minicons(load: Any) -> Path:
    environments, name = load("environments"), load("scoring").ENVIRONMENT
    python: Path | None = environments.find_environment(name, environments.CACHE)
    if python is None:
        pytest.skip(f"make its environment with scripts/benchmarks/environments.py {name}")
    return python


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["pll", "within_word_l2r"])
def test_scores_are_those_of_minicons(
    load: Any, minicons: Path, metric: str, tmp_path: Path
) -> None:
    """But for `<unk>`, which minicons scores and we do not.

    Two more things are not comparable, and not here. What is written without spaces is one word to
    minicons, because the tokenizer splits at spaces alone. A sentence longer than the model can
    read is an error there.
    """
    tiny = resolve_base("tiny").fetch()
    vocab_size = json.loads((tiny / "config.json").read_text())["vocab_size"]
    tokenizer = load_tokenizer(tiny, vocab_size=vocab_size)

    def token_ids(line: str) -> list[int]:
        ids: list[int] = tokenizer.tokenizer.encode(line, add_special_tokens=False)
        return ids

    real = [
        line
        for language in ("quz_PE", "es_XX", "de_DE")
        for line in (ROOT / "corpora" / f"{language}.txt").read_text("utf-8").splitlines()[40:46]
    ]
    text = tmp_path / "text.txt"
    lines = [line for line in (*real, *UNREADABLE) if len(token_ids(line)) <= 62]
    text.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    base = load("scoring").with_default_language(tiny, "de_DE", tmp_path)
    script = BENCHMARKS / "contenders" / "minicons_scoring.py"
    options = ("--base", base, "--language", "de_DE", "--sentences", text, "--metric", metric)
    done = subprocess.run(
        [minicons, script, *options, "--batch", "7"],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    theirs: list[list[float]] = json.loads(done.stdout.splitlines()[-1])["scores"]

    state = xmod_extend.State(tiny, "de_DE")
    options_of_ours: dict[str, Any] = {"metric": "pseudo_perplexity", "precision": "fp32"}
    scored = xmod_extend.evaluate(state, text, progress=False, **options_of_ours)
    assert scored.sentences is not None
    losses = scored.sentences.losses[metric]
    num_unknown = 0
    for number, (line, their) in enumerate(zip(scored.sentences.lines, theirs, strict=True)):
        ids = token_ids(line)
        known = [index for index, token in enumerate(ids) if token != tokenizer.unk_id]
        num_unknown += len(ids) - len(known)
        ours = -losses.nats[losses.documents == number]
        assert len(their) == len(ids)
        assert ours.tolist() == pytest.approx([their[index] for index in known], abs=1e-4)
    assert num_unknown >= 3


def test_what_both_score_is_compared(load: Any) -> None:
    scoring = load("scoring")
    found = scoring.compare([[-1.0, -2.0], [-3.0]], [[-1.0, -2.5], [-3.0, -9.0]])
    assert found == {"most_apart": 0.5, "not_compared": 1}


def test_rates_are_of_the_median_and_of_the_forward_pass(load: Any) -> None:
    scoring = load("scoring")

    def entry(contender: str, metric: str, *seconds: float) -> Any:
        reports = [
            {
                "rows": 100,
                "cpu_seconds": one,
                "wall_seconds": 2 * one,
                "scores": [[-1.0]],
                "versions": {},
                "gpu": None,
                "peak_bytes": 10**9,
            }
            for one in seconds
        ]
        return scoring.Entry(contender, metric, reports=reports)

    entries = [
        entry("forward", "forward", 4.0, 5.0, 90.0),
        entry("ours", "pll", 10.0, 1.0, 10.0),
        entry("minicons", "pll", 20.0),
        scoring.Entry("minicons", "within_word_l2r", error="exit 1"),
    ]
    forward, ours, minicons, failed = scoring.summarise(entries, "cpu")
    assert forward["rows_per_cpu_second"] == 20 and forward["rows_per_wall_second"] == 10
    assert ours["of_forward"] == 0.5
    assert minicons["of_forward"] == 0.25 and minicons["most_apart"] == 0
    assert failed["error"] == "exit 1"


@pytest.mark.slow
def test_ours_is_measured_beside_the_forward_pass(load: Any, tmp_path: Path) -> None:
    written = tmp_path / "scoring.json"
    arguments = ["--base", resolve_base("tiny").fetch(), "--language", "de_DE", "--sentences", 5]
    arguments += ["--contenders", "ours", "forward", "--rounds", 1, "--json", written]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "scoring.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| ours | within_word_l2r |" in done.stdout
    rows = json.loads(written.read_text())["results"]
    assert [row["metric"] for row in rows] == ["forward", "pll", "within_word_l2r"]
    assert len({row["rows"] for row in rows}) == 1

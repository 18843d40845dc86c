"""`eval` and `compare` as they are typed: JSON, files of sentences, and refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from refusals import Invoke, assert_explained
from sentences import make_sentences

SCORE = {
    "metric", "perplexity", "nats_per_token", "bits_per_byte", "num_scored_tokens", "unk_rate",
    "low", "high", "signature",
}  # fmt: skip


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{line}\n" for line in make_sentences(30, seed=4)))
    return path


def run_json(invoke: Invoke, *arguments: object) -> dict[str, Any]:
    code, out, err = invoke(*arguments, "--json")
    assert code == 0, err
    parsed: dict[str, Any] = json.loads(out)
    assert parsed["schema_version"] == 1
    return parsed


def test_eval_prints_one_object_with_scores(
    invoke: Invoke, work: Path, base: Path, text: Path
) -> None:
    arguments = ("eval", base, "--lang", "de_DE", "--text", text)
    (score,) = run_json(invoke, *arguments)["scores"]
    assert set(score) >= SCORE and score["metric"] == "masked_perplexity"
    assert "precision:fp32" in score["signature"]
    both = run_json(invoke, *arguments, "--metric", "pseudo_perplexity")["scores"]
    assert [score["metric"] for score in both] == ["within_word_l2r", "pll"]
    assert all(set(score) >= SCORE for score in both)
    code, out, _ = invoke(*arguments, "-q")
    assert code == 0 and float(out) == pytest.approx(score["perplexity"], rel=1e-4)
    code, out, _ = invoke(*arguments)
    assert code == 0 and "95 % interval" in out and score["signature"] in out


def test_eval_of_pairs_prints_an_accuracy(
    invoke: Invoke, work: Path, base: Path, tmp_path: Path
) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("sen,wrong_sen\nKama tuna.,Tuna kama.\nPi tu ka.,Ka tu pi.\n")
    found = run_json(invoke, "eval", f"{base}:de_DE", "--text", file, "--metric", "minimal_pairs")
    (score,) = found["scores"]
    assert score["metric"] == "minimal_pairs" and 0 <= score["accuracy"] <= 1
    assert score["low"] <= score["accuracy"] <= score["high"]
    compared = run_json(
        invoke, "compare", f"{base}:none", f"{base}:de_DE", "--text", file,
        "--metric", "minimal_pairs",
    )  # fmt: skip
    assert compared["difference"] == pytest.approx(
        compared["after"]["accuracy"] - compared["before"]["accuracy"]
    )


def test_compare_prints_both_and_what_lies_between(
    invoke: Invoke, work: Path, base: Path, text: Path
) -> None:
    arguments = ("compare", f"{base}:untrained", base, "--lang", "sw_KE", "--text", text)
    found = run_json(invoke, *arguments, "--reference", f"en_XX={text}")
    assert set(found["before"]) >= SCORE and set(found["after"]) >= SCORE
    ratio = found["before"]["perplexity"] / found["after"]["perplexity"]
    assert found["ratio"] == pytest.approx(ratio)
    assert found["low"] <= found["ratio"] <= found["high"] and 0 < found["p_value"] <= 1
    assert found["references"][0]["identical"] is True
    code, out, _ = invoke(*arguments, "--reference", f"en_XX={text}")
    assert code == 0 and "the same on every token, to the bit" in out


def test_sentences_are_written_in_each_format(
    invoke: Invoke, work: Path, base: Path, text: Path
) -> None:
    arguments = ("compare", f"{base}:none", f"{base}:en_XX", "--text", text)
    for name in ("s.csv", "s.tsv", "s.jsonl", "s.parquet"):
        assert invoke(*arguments, "--sentences", name)[0] == 0
    rows = [json.loads(line) for line in Path("s.jsonl").read_text().splitlines()]
    # Of a short sentence no token may be hidden.
    assert [row["text"] for row in rows] == [
        line
        for number, line in enumerate(make_sentences(30, seed=4), start=1)
        if number in {row["line"] for row in rows}
    ]
    assert len(rows) > 20
    assert set(rows[0]) >= {"metric", "line", "before_perplexity", "after_perplexity", "ratio"}
    assert pq.read_table("s.parquet").to_pylist() == rows
    with Path("s.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["text"] for row in table] == [row["text"] for row in rows]
    assert float(table[3]["ratio"]) == rows[3]["ratio"]
    before = Path("s.csv").read_bytes()
    assert_explained(invoke(*arguments, "--sentences", "s.csv"), 2, "s.csv exists already")
    assert Path("s.csv").read_bytes() == before
    for path in Path().iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["eval", "BASE", "--lang", "quz_PE", "--text", "TEXT"], 4, "has no language quz_PE"),
        (["eval", "BASE", "--lang", "de_DX", "--text", "TEXT"], 4, "Did you mean de_DE"),
        (["eval", "BASE", "--text", "TEXT"], 2, "No language is named"),
        (["eval", "BASE:de_DE", "--text", "missing.txt"], 3, "missing.txt"),
        (["eval", "nowhere/at/all", "--lang", "de_DE", "--text", "TEXT"], 4, "does not exist"),
        (["eval", "BASE:de_DE", "--text", "TEXT", "--metric", "bleu"], 2, "--metric"),
        (["eval", "BASE:de_DE", "--text", "TEXT", "--sentences", "s.xls"], 2, "'.xls'"),
        (["eval", "BASE:de_DE", "--text", "TEXT", "--sentences", "no/s.csv"], 2, "does not exist"),
        (["compare", "BASE", "BASE", "--lang", "quz_PE", "--text", "TEXT"], 4, "no language quz"),
        (
            ["compare", "BASE:en_XX", "BASE:de_DE", "--text", "TEXT", "--reference", "x"],
            2,
            "a path",
        ),
        (
            ["compare", "BASE:en_XX", "BASE:de_DE", "--text", "TEXT", "--reference", "fi_FI=TEXT"],
            4,
            "has no language fi_FI",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused_and_leaves_nothing(
    invoke: Invoke,
    work: Path,
    base: Path,
    text: Path,
    arguments: list[str],
    code: int,
    expected: str,
) -> None:
    typed = [one.replace("BASE", str(base)).replace("TEXT", str(text)) for one in arguments]
    assert_explained(invoke(*typed), code, expected)
    assert list(work.iterdir()) == []

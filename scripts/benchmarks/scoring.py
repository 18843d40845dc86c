"""Measures how fast sentences get a pseudo-perplexity: ours, minicons, and how fast it could be.

usage: python scripts/benchmarks/scoring.py --base DIR --language CODE [--text FILE] [--sentences N]
           [--contenders NAME …] [--metrics pll within_word_l2r] [--batch N …] [--threads N]
           [--device cpu|cuda] [--precision fp32|bf16] [--rounds N] [--envs DIR] [--json FILE]

Contenders: `ours`; `forward`, the encoder of transformers with this one language on as many rows of
the same lengths and in the same batches, without a head; `minicons`, which runs in an environment
of its own, made once in --envs, and gets the language as the checkpoint's `default_language`, with
each --batch of sentences at a time. Each is a process whose time counts from when model and tokens
are there; memory is of the whole process, from outside. They take turns; the median counts.

minicons has all languages of the base in every pass, as transformers has; make_random_base.py
--languages 1 makes a base where that costs nothing. Where both score a token, the scores are
compared as well: the table says how far they are apart at most. minicons also scores `<unk>`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environments import CACHE, ensure_environment
from machine import describe_machine
from processes import ProcessFailedError, measure

HERE = Path(__file__).resolve().parent
ENVIRONMENT = "minicons-0.3.39"
CONTENDERS = ("ours", "forward", "minicons")
COLUMNS = ("contender", "metric", "rows", "rows/CPU s", "rows/s", "of forward", "peak GB", "apart")


@dataclass
class Entry:
    """One contender with one metric: what its processes told."""

    contender: str
    metric: str
    batch: int = 1
    reports: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None

    @property
    def name(self) -> str:
        return (
            f"{self.contender}, {self.batch} at a time"
            if self.contender == "minicons"
            else (self.contender)
        )


def main() -> None:
    given = parse_arguments()
    entries = [Entry("forward", "forward")] if "forward" in given.contenders else []
    for metric in given.metrics:
        if "ours" in given.contenders:
            entries.append(Entry("ours", metric))
        if "minicons" in given.contenders:
            entries += [Entry("minicons", metric, batch) for batch in given.batch]
    minicons = (
        ensure_environment(ENVIRONMENT, given.envs) if "minicons" in given.contenders else None
    )
    with tempfile.TemporaryDirectory() as folder:
        sentences = Path(folder) / "sentences.txt"
        lines = given.text.read_text(encoding="utf-8").splitlines()[: given.sentences]
        sentences.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        base = with_default_language(given.base, given.language, Path(folder))
        for _ in range(given.rounds):
            for entry in entries:
                if entry.error is None:
                    run(entry, minicons, base, sentences, given)
    rows = summarise(entries, given.device)
    print_table(rows, len(lines), given)
    if given.json:
        told = {"machine": describe_machine(), "command": sys.argv, "results": rows}
        given.json.write_text(json.dumps(told, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--language", required=True)
    parser.add_argument("--text", type=Path, default=HERE.parents[1] / "corpora" / "quz_PE.txt")
    parser.add_argument("--sentences", type=int, default=100, help="the first ones of the text")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--metrics", nargs="+", default=["pll", "within_word_l2r"])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8], help="of minicons")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--envs", type=Path, default=CACHE, help=f"default: {CACHE}")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def with_default_language(base: Path, language: str, folder: Path) -> Path:
    """The same checkpoint, as links, with a config that names the language."""
    copy = folder / base.name
    copy.mkdir()
    for file in base.iterdir():
        if file.name != "config.json":
            (copy / file.name).symlink_to(file.resolve())
    config = json.loads((base / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"default_language": language}))
    return copy


def run(
    entry: Entry, minicons: Path | None, base: Path, sentences: Path, given: argparse.Namespace
) -> None:
    """Runs one process of a contender; a failure ends this entry and no other."""
    is_ours = entry.contender != "minicons"
    python, script = (
        (sys.executable, "ours_scoring.py") if is_ours else (minicons, "minicons_scoring.py")
    )
    options = {
        "base": base,
        "language": given.language,
        "sentences": sentences,
        "metric": entry.metric,
        "precision": given.precision,
        "device": given.device,
        "batch": entry.batch,
        "threads": given.threads,
    }
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "OMP_NUM_THREADS": str(given.threads),
        "HF_HUB_OFFLINE": "1",
    }
    if is_ours:
        variables["PYTHONPATH"] = str(HERE.parents[1])
    try:
        done = measure([str(python), str(HERE / "contenders" / script), *words], variables)
    except ProcessFailedError as error:
        entry.error = str(error)
        print(f"{entry.name} {entry.metric}: {error}", file=sys.stderr)
        return
    told = json.loads(done.stdout.splitlines()[-1])
    told["peak_bytes"] = told["peak_gpu_bytes"] or done.peak_rss_bytes
    entry.reports.append(told)
    print(
        f"{entry.name} {entry.metric}: {told['rows']} rows, {told['cpu_seconds']:.1f} CPU s",
        file=sys.stderr,
    )


def summarise(entries: list[Entry], device: str) -> list[dict[str, Any]]:
    """The table's rows: rates, against the plain forward pass, and how far scores are apart."""
    clock = "cpu_seconds" if device == "cpu" else "wall_seconds"
    rows: list[dict[str, Any]] = []
    for entry in entries:
        row: dict[str, Any] = {"contender": entry.name, "metric": entry.metric}
        rows.append(row)
        if entry.error is not None:
            row["error"] = entry.error
            continue
        row["rows"] = entry.reports[0]["rows"]
        for name in ("cpu_seconds", "wall_seconds"):
            seconds = statistics.median(report[name] for report in entry.reports)
            row[f"rows_per_{name.removesuffix('s')}"] = row["rows"] / seconds
        row["peak_bytes"] = max(report["peak_bytes"] for report in entry.reports)
        row["versions"] = entry.reports[0]["versions"]
        row["gpu"] = entry.reports[0]["gpu"]
        row["rate"] = row[f"rows_per_{clock.removesuffix('s')}"]
    forward = next((row["rate"] for row in rows if row["metric"] == "forward" and "rate" in row), 0)
    for entry, row in zip(entries, rows, strict=True):
        if forward and "rate" in row:
            row["of_forward"] = row["rate"] / forward
        ours = next(
            (e for e in entries if e.contender == "ours" and e.metric == entry.metric), None
        )
        if entry.contender == "minicons" and ours is not None and ours.reports and entry.reports:
            row |= compare(ours.reports[0]["scores"], entry.reports[0]["scores"])
    return rows


def compare(ours: list[list[float]], others: list[list[float]]) -> dict[str, float]:
    """How far scores are apart in sentences of which both score every token, and how many are not.

    Of a sentence with an `<unk>` minicons has one score more.
    """
    same = [pair for pair in zip(ours, others, strict=True) if len(pair[0]) == len(pair[1])]
    apart = [abs(a - b) for pair in same for a, b in zip(*pair, strict=True)]
    return {"most_apart": max(apart, default=0.0), "not_compared": len(ours) - len(same)}


def print_table(rows: list[dict[str, Any]], num_sentences: int, given: argparse.Namespace) -> None:
    print(
        f"{given.base.name}, {given.language}, {num_sentences} sentences, {given.precision}, "
        f"{given.device}, {given.threads} thread(s)\n"
    )
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for row in rows:
        cells = [row["contender"], row["metric"]]
        if "error" in row:
            cells += [f"failed: {row['error']}", *[""] * (len(COLUMNS) - 3)]
        else:
            apart = f"{row['most_apart']:.0e} nats" if "most_apart" in row else ""
            cells += [
                f"{row['rows']:,}",
                f"{row['rows_per_cpu_second']:,.1f}",
                f"{row['rows_per_wall_second']:,.1f}",
                f"{row['of_forward']:.0%}" if "of_forward" in row else "",
                f"{row['peak_bytes'] / 1e9:.2f}",
                apart + (f", {row['not_compared']} left out" if row.get("not_compared") else ""),
            ]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()

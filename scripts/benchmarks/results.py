"""What the benchmark of training found: the rows of its table, and how they are written."""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from flops import Shape, flops_by_part, needed_products
from machine import has_fast_bf16

SCHEMA_VERSION = 1
MOST_DISAGREEMENT = 0.2
"""Between a rate from outside and by the contender's own clock; beyond, the row is marked."""
DOUBTFUL = (
    "(!) The difference of the runs and the contender's own clock disagree by more than "
    f"{MOST_DISAGREEMENT:.0%}: the machine was busy or the steps few. Raise --rounds or --steps."
)
COLUMNS = (
    "contender",
    "precision",
    "tokens/CPU s",
    "own clock (slowest–fastest step)",
    "tokens/wall s",
    "peak GB",
    "of the limit",
    "ours is",
)


@dataclass
class Run:
    """One process of a contender."""

    steps: int
    cpu_seconds: float
    wall_seconds: float
    peak_rss_bytes: int
    load_average: float
    """Of the machine in the last minute of the run: above --threads, others were at work too."""
    own_report: dict[str, Any]
    """What the contender says of itself; see contenders/harness.py."""


@dataclass
class Entry:
    """A contender in one precision: its runs, or why there are none."""

    contender: str
    precision: str
    runs: list[Run] = field(default_factory=list)
    error: str | None = None


def mean_masked_tokens(entries: list[Entry]) -> int | None:
    """Masked positions a step, as the contenders counted them; `None` if none ran."""
    counts = [n for entry in entries for run in entry.runs for n in run.own_report["masked_tokens"]]
    return round(sum(counts) / len(counts)) if counts else None


def limit_dtype(precision: str, machine: dict[str, Any], device: str) -> str:
    """What the products of a contender of this precision are at their fastest."""
    return precision if device == "cuda" or has_fast_bf16(machine) else "fp32"


def needed_work(shape: Shape) -> dict[str, Any]:
    """Operations a step and a token need, in GFLOP."""
    parts = {part: flops / 1e9 for part, flops in flops_by_part(needed_products(shape)).items()}
    total = sum(parts.values())
    return {
        "shape": asdict(shape),
        "gflop_per_step": total,
        "gflop_per_token": total / shape.rows,
        "gflop_per_step_by_part": parts,
    }


def summarise(
    entries: list[Entry],
    limits: dict[str, list[dict[str, Any]]],
    machine: dict[str, Any],
    given: argparse.Namespace,
) -> list[dict[str, Any]]:
    """The table's rows: rates, fraction of the limit, and ours as a multiple of each."""
    num_tokens = given.batch_size * given.max_length
    rate = "tokens_per_cpu_second" if given.device == "cpu" else "tokens_per_wall_second"
    rows = []
    for entry in entries:
        row: dict[str, Any] = {"contender": entry.contender, "precision": entry.precision}
        rows.append(row)
        if entry.error is not None:
            row["error"] = entry.error
            continue
        try:
            row |= rates_of(entry, num_tokens)
        except ValueError as error:
            row["error"] = str(error)
            continue
        ratio = row["tokens_per_cpu_second"] / row["own_clock_tokens_per_cpu_second"]
        row["doubtful"] = max(ratio, 1 / ratio) > 1 + MOST_DISAGREEMENT
        if measured := limits.get(limit_dtype(entry.precision, machine, given.device)):
            seconds = statistics.median(limit["seconds_per_step"] for limit in measured)
            row["limit_tokens_per_second"] = num_tokens / seconds
            row["fraction_of_limit"] = row[rate] * seconds / num_tokens
    ours = {
        row["precision"]: row[rate] for row in rows if row["contender"] == "ours" and rate in row
    }
    for row in rows:
        if rate in row and row["precision"] in ours:
            row["ours_times_as_fast"] = ours[row["precision"]] / row[rate]
    return rows


def rates_of(entry: Entry, num_tokens: int) -> dict[str, float]:
    """From the difference of longer and shorter runs, and by the contender's own clock.

    Raises:
        ValueError: The steps took less than start-up varies by.
    """
    fewest = min(run.steps for run in entry.runs)
    short = [run for run in entry.runs if run.steps == fewest]
    long = [run for run in entry.runs if run.steps > fewest]
    steps = _difference(long, short, "steps")
    cpu_seconds = _difference(long, short, "cpu_seconds")
    wall_seconds = _difference(long, short, "wall_seconds")
    if cpu_seconds <= 0 or wall_seconds <= 0:
        raise ValueError(f"{steps} steps are too few to be told from start-up; raise --steps")
    own_seconds = sorted(second for run in entry.runs for second in step_seconds(run))
    return {
        "tokens_per_cpu_second": num_tokens * steps / cpu_seconds,
        "tokens_per_wall_second": num_tokens * steps / wall_seconds,
        "own_clock_tokens_per_cpu_second": num_tokens / statistics.median(own_seconds),
        "own_clock_slowest_step": num_tokens / own_seconds[-1],
        "own_clock_fastest_step": num_tokens / own_seconds[0],
        "peak_bytes": max(run.own_report.get("peak_gpu_bytes", run.peak_rss_bytes) for run in long),
    }


def _difference(long: list[Run], short: list[Run], name: str) -> float:
    return sum(getattr(run, name) for run in long) - sum(getattr(run, name) for run in short)


def step_seconds(run: Run) -> list[float]:
    """CPU seconds of each step by the contender's own clock, but for the first, a warm-up."""
    clock = run.own_report["cpu_seconds"]
    return [after - before for before, after in pairwise(clock)][1:]


def print_table(
    rows: list[dict[str, Any]], work: dict[str, Any], given: argparse.Namespace
) -> None:
    out = sys.stderr if given.json == "-" else sys.stdout
    print(
        f"{given.shape}, batch {given.batch_size} x {given.max_length}, {given.threads} thread(s), "
        f"{given.device}: a step needs {work['gflop_per_step']:.1f} GFLOP, "
        f"a token {work['gflop_per_token']:.3f}\n",
        file=out,
    )
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", file=out)
    for row in rows:
        cells = [row["contender"], row["precision"]]
        if "error" in row:
            cells += [f"failed: {row['error']}", *[""] * (len(COLUMNS) - 3)]
        else:
            cells += [
                f"{row['tokens_per_cpu_second']:.1f}" + (" (!)" if row["doubtful"] else ""),
                f"{row['own_clock_tokens_per_cpu_second']:.1f} "
                f"({row['own_clock_slowest_step']:.1f}–{row['own_clock_fastest_step']:.1f})",
                f"{row['tokens_per_wall_second']:.1f}",
                f"{row['peak_bytes'] / 1e9:.2f}",
                f"{row['fraction_of_limit']:.1%}" if "fraction_of_limit" in row else "",
                f"{row['ours_times_as_fast']:.2f} x" if "ours_times_as_fast" in row else "",
            ]
        print("| " + " | ".join(cells) + " |", file=out)
    if any(row.get("doubtful") for row in rows):
        print("\n" + DOUBTFUL, file=out)


def write_json(
    given: argparse.Namespace,
    machine: dict[str, Any],
    work: dict[str, Any],
    limits: dict[str, list[dict[str, Any]]],
    rows: list[dict[str, Any]],
    entries: list[Entry],
) -> None:
    """Everything, down to the single runs, so that another reader can work out the rest."""
    result = {
        "schema_version": SCHEMA_VERSION,
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
        "options": {name: _plain(value) for name, value in vars(given).items()},
        "machine": machine,
        "needed": work,
        "limits": limits,
        "results": rows,
        "runs": [asdict(entry) for entry in entries],
    }
    text = json.dumps(result, indent=2) + "\n"
    if given.json == "-":
        sys.stdout.write(text)
    else:
        Path(given.json).write_text(text)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value

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
GPU_COLUMNS = (
    "contender",
    "precision",
    "tokens/s",
    "ms a step",
    "peak GB",
    "of the limit",
    "ours is",
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
        if given.device == "cuda":
            row |= rates_on_gpu(entry, num_tokens, warm_up=given.steps[0])
        else:
            row |= rates_of(entry, num_tokens)
        measured = limits.get(limit_dtype(entry.precision, machine, given.device))
        if measured and row[rate]:
            seconds = statistics.median(limit["seconds_per_step"] for limit in measured)
            row["limit_tokens_per_second"] = num_tokens / seconds
            row["fraction_of_limit"] = row[rate] * seconds / num_tokens
    ours = {
        row["precision"]: row[rate] for row in rows if row["contender"] == "ours" and row.get(rate)
    }
    for row in rows:
        if row.get(rate) and row["precision"] in ours:
            row["ours_times_as_fast"] = ours[row["precision"]] / row[rate]
    return rows


def rates_on_gpu(entry: Entry, num_tokens: int, *, warm_up: int) -> dict[str, float]:
    """By the contender's own clock, from the end of step `warm_up` to the end of the last.

    At both, the host has waited for the device. In between ours waits at every tenth step only, so
    that a single step has no time of its own.
    """
    seconds = []
    for run in entry.runs:
        clock = run.own_report["wall_seconds"]
        seconds.append((clock[-1] - clock[warm_up]) / (run.steps - warm_up))
    step = statistics.median(seconds)
    return {
        "tokens_per_wall_second": num_tokens / step,
        "milliseconds_per_step": 1000 * step,
        "peak_bytes": max(run.own_report["peak_gpu_bytes"] for run in entry.runs),
    }


def rates_of(entry: Entry, num_tokens: int) -> dict[str, float | bool | None]:
    """From the difference of longer and shorter runs, and by the contender's own clock.

    A rate is `None` where the longer runs took no longer: start-up varied by more than the steps.
    """
    own_seconds = sorted(second for run in entry.runs for second in step_seconds(run))
    own_rate = num_tokens / statistics.median(own_seconds)
    cpu_rate = _rate_of_difference(entry, num_tokens, "cpu_seconds")
    return {
        "tokens_per_cpu_second": cpu_rate,
        "tokens_per_wall_second": _rate_of_difference(entry, num_tokens, "wall_seconds"),
        "own_clock_tokens_per_cpu_second": own_rate,
        "own_clock_slowest_step": num_tokens / own_seconds[-1],
        "own_clock_fastest_step": num_tokens / own_seconds[0],
        "doubtful": cpu_rate is None
        or max(cpu_rate / own_rate, own_rate / cpu_rate) > 1 + MOST_DISAGREEMENT,
        "peak_bytes": max(
            run.own_report.get("peak_gpu_bytes", run.peak_rss_bytes) for run in entry.runs
        ),
    }


def _rate_of_difference(entry: Entry, num_tokens: int, clock: str) -> float | None:
    """Tokens a second of the steps by which the longer runs are longer."""
    fewest = min(run.steps for run in entry.runs)
    steps, seconds = 0, 0.0
    for run in entry.runs:
        sign = 1 if run.steps > fewest else -1
        steps += sign * run.steps
        seconds += sign * getattr(run, clock)
    return num_tokens * steps / seconds if seconds > 0 else None


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
    columns = GPU_COLUMNS if given.device == "cuda" else COLUMNS
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|", file=out)
    for row in rows:
        cells = [row["contender"], row["precision"]]
        if "error" in row:
            cells += [f"failed: {row['error']}", *[""] * (len(columns) - 3)]
        else:
            cells += [
                *(_gpu_rates(row) if given.device == "cuda" else _cpu_rates(row)),
                f"{row['peak_bytes'] / 1e9:.2f}",
                f"{row['fraction_of_limit']:.1%}" if "fraction_of_limit" in row else "",
                f"{row['ours_times_as_fast']:.2f} x" if "ours_times_as_fast" in row else "",
            ]
        print("| " + " | ".join(cells) + " |", file=out)
    if any(row.get("doubtful") for row in rows):
        print("\n" + DOUBTFUL, file=out)


def _cpu_rates(row: dict[str, Any]) -> list[str]:
    return [
        _number(row["tokens_per_cpu_second"]) + (" (!)" if row["doubtful"] else ""),
        f"{row['own_clock_tokens_per_cpu_second']:.1f} "
        f"({row['own_clock_slowest_step']:.1f}–{row['own_clock_fastest_step']:.1f})",
        _number(row["tokens_per_wall_second"]),
    ]


def _gpu_rates(row: dict[str, Any]) -> list[str]:
    return [f"{row['tokens_per_wall_second']:,.0f}", f"{row['milliseconds_per_step']:.1f}"]


def _number(rate: float | None) -> str:
    return "?" if rate is None else f"{rate:.1f}"


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

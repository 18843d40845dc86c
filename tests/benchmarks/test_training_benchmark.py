"""The benchmark of training: what it measures, how it counts, and that it outlives a failure."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "scripts" / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_a_process_is_measured_from_outside(load: Any) -> None:
    busy = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    memory = f"block = bytearray(200 << 20)\n{busy}\nprint('done')"
    report = load("processes").measure([sys.executable, "-c", memory], os.environ)
    assert report.stdout == "done\n"
    assert 0.5 <= report.cpu_seconds < 5
    assert report.wall_seconds >= 0.5
    assert 200 << 20 <= report.peak_rss_bytes < 2 << 30


def test_a_failed_process_says_why(load: Any) -> None:
    processes = load("processes")
    with pytest.raises(processes.ProcessFailedError, match=r"exit 1: ValueError: no such luck"):
        processes.measure([sys.executable, "-c", "raise ValueError('no such luck')"], os.environ)
    with pytest.raises(processes.ProcessFailedError, match="No such file"):
        processes.measure(["/no/such/interpreter"], os.environ)


def make_entry(load: Any, contender: str, *, start: float, step: float) -> Any:
    """Runs of 1 and 3 steps by a contender that takes `start` and then `step` seconds a step."""
    results = load("results")
    runs = [
        results.Run(
            steps=steps,
            cpu_seconds=start + step * steps,
            wall_seconds=2 * (start + step * steps),
            peak_rss_bytes=steps * 10**9,
            load_average=1.0,
            own_report={
                "cpu_seconds": [start + step * i for i in range(steps + 1)],
                "masked_tokens": [150, 160, 155][:steps],
            },
        )
        for steps in (1, 3)
    ]
    return results.Entry(contender, "fp32", runs)


def test_rates_are_of_the_difference_of_two_runs(load: Any, monkeypatch: Any) -> None:
    results = load("results")
    monkeypatch.setattr(sys, "argv", ["training.py"])
    given = load("training").parse_arguments()
    entries = [
        make_entry(load, "ours", start=20.0, step=8.0),
        make_entry(load, "transformers", start=90.0, step=32.0),
        results.Entry("adapters-1.3.0", "fp32", error="no network"),
        make_entry(load, "transformers-4.57.6", start=5.0, step=8.0),
    ]
    limits = {"fp32": [{"seconds_per_step": 3.0}, {"seconds_per_step": 5.0}]}
    entries[3].runs[0].cpu_seconds = 100.0
    entries[0].runs += make_entry(load, "ours", start=2.0, step=8.0).runs
    machine = {"flags": dict.fromkeys(load("machine").BF16_FLAGS, False)}
    ours, transformers, adapters, idle = results.summarise(entries, limits, machine, given)
    assert ours["tokens_per_cpu_second"] == 1024 / 8
    assert ours["own_clock_tokens_per_cpu_second"] == 1024 / 8
    assert ours["tokens_per_wall_second"] == 1024 / 16
    assert ours["peak_bytes"] == 3 * 10**9
    assert ours["fraction_of_limit"] == 0.5  # of 4 seconds, the median of both measurements
    assert transformers["ours_times_as_fast"] == 4
    assert not ours["doubtful"] and not transformers["doubtful"]
    assert adapters == {"contender": "adapters-1.3.0", "precision": "fp32", "error": "no network"}
    assert idle["tokens_per_cpu_second"] is None and idle["doubtful"]
    assert "fraction_of_limit" not in idle and "ours_times_as_fast" not in idle
    assert results.mean_masked_tokens(entries[1:2]) == round((150 + 150 + 160 + 155) / 4)


def test_own_clock_leaves_the_first_step_out(load: Any) -> None:
    entry = make_entry(load, "ours", start=20.0, step=8.0)
    entry.runs[1].own_report["cpu_seconds"] = [20.0, 120.0, 128.0, 132.0]
    rates = load("results").rates_of(entry, 1024)
    assert rates["own_clock_slowest_step"] == 1024 / 8
    assert rates["own_clock_fastest_step"] == 1024 / 4
    assert rates["own_clock_tokens_per_cpu_second"] == 1024 / 6


def test_a_difference_that_the_own_clock_denies_is_marked(
    load: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when the short run met a busy machine and the long one did not."""
    results = load("results")
    monkeypatch.setattr(sys, "argv", ["training.py"])
    given = load("training").parse_arguments()
    entry = make_entry(load, "ours", start=20.0, step=8.0)
    entry.runs[0].cpu_seconds += 6
    machine = {"flags": dict.fromkeys(load("machine").BF16_FLAGS, False)}
    rows = results.summarise([entry], {}, machine, given)
    assert rows[0]["doubtful"]
    results.print_table(rows, {"gflop_per_step": 1.0, "gflop_per_token": 0.1}, given)
    printed = capsys.readouterr().out
    assert "| 204.8 (!) |" in printed and results.DOUBTFUL in printed


def test_an_environment_is_made_once_and_again_when_its_versions_change(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments = load("environments")
    commands: list[list[str]] = []

    def note(command: list[str]) -> None:
        commands.append(command)
        (tmp_path / "other").mkdir(exist_ok=True)

    monkeypatch.setattr(environments, "_run", note)
    monkeypatch.setattr(environments, "REQUIREMENTS", {"other": ("torch==1", "x==2")})
    python = environments.ensure_environment("other", tmp_path)
    assert python == environments.ensure_environment("other", tmp_path)
    assert [command[1:3] for command in commands] == [["-m", "venv"], ["-m", "pip"]]
    assert commands[1][-2:] == ["torch==1", "x==2"]
    monkeypatch.setattr(environments, "REQUIREMENTS", {"other": ("torch==1", "x==3")})
    environments.ensure_environment("other", tmp_path)
    assert len(commands) == 4


def test_the_limit_adds_up_its_products(load: Any) -> None:
    import torch

    flops, rates = load("flops"), load("rates")
    twice = flops.Product(part="a", m=8, k=16, n=4, count=2, right_transposed=True)
    elsewhere = flops.Product(part="b", m=8, k=16, n=4, count=1, right_transposed=True)
    batched = flops.Product(part="b", m=3, k=5, n=7, count=1, batch=6, left_transposed=True)
    step = rates.measure_step([twice, elsewhere, batched], torch.float32, torch.device("cpu"))
    first, second = step["products"]
    assert (first["count"], second["count"]) == (3, 1)
    assert 0 < step["seconds_per_step"] == 3 * first["seconds"] + second["seconds"]
    assert second["gflop_per_second"] == 2 * 3 * 5 * 7 * 6 / second["seconds"] / 1e9


@pytest.mark.slow
def test_ours_and_transformers_are_measured_and_a_failure_loses_nothing(tmp_path: Path) -> None:
    arguments = (
        *("--shape", "tiny-for-tests", "--envs", tmp_path, "--contenders", "ours", "transformers"),
        *("--precision", "bf16", "fp32", "--batch-size", 4, "--max-length", 32, "--threads", 1),
        *("--steps", 1, 20, "--json", "-"),
    )
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "training.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    rows = {(row["contender"], row["precision"]): row for row in result["results"]}
    # Upstream's adapter loop fails under autocast.
    assert "dtypes match" in rows.pop(("transformers", "bf16"))["error"]
    assert len(rows) == 3
    for row in rows.values():
        # By the contender's own clock: so small a model takes less than start-up varies by.
        slowest, fastest = row["own_clock_slowest_step"], row["own_clock_fastest_step"]
        assert 0 < slowest <= row["own_clock_tokens_per_cpu_second"] <= fastest
        assert row["peak_bytes"] > 50e6
    assert result["limits"]["fp32"][0]["seconds_per_step"] > 0
    runs = {(entry["contender"], entry["precision"]): entry["runs"] for entry in result["runs"]}
    for short, long in (runs["ours", "fp32"], runs["transformers", "fp32"]):
        assert (short["steps"], long["steps"]) == (1, 20)
        assert len(long["own_report"]["losses"]) == 20
        # 3 layers x (32 x 16 x 2 weights + 16 + 32 biases)
        assert long["own_report"]["trainable_parameters"] == 3 * (2 * 32 * 16 + 16 + 32)
    # 15 % of 4 x 31 tokens behind the <s>
    assert 12 < result["needed"]["shape"]["masked"] < 26


def test_on_a_gpu_the_steps_between_two_waits_are_timed(load: Any, monkeypatch: Any) -> None:
    """Ours waits for the device at every tenth step: its clock stands still in between."""
    results = load("results")
    arguments = ["training.py", "--device", "cuda", "--steps", "10", "30"]
    monkeypatch.setattr(sys, "argv", arguments)
    given = load("training").parse_arguments()
    looks = [0.0, *[60.0] * 10, *[70.0] * 10, *[80.0] * 10]
    report = {"wall_seconds": looks, "masked_tokens": [150] * 30, "peak_gpu_bytes": 5 * 10**9}
    run = results.Run(
        steps=30,
        cpu_seconds=90.0,
        wall_seconds=90.0,
        peak_rss_bytes=10**9,
        load_average=1.0,
        own_report=report,
    )
    entries = [results.Entry("ours", "bf16", [run])]
    limits = {"bf16": [{"seconds_per_step": 0.25}]}
    machine = {"flags": dict.fromkeys(load("machine").BF16_FLAGS, False)}
    (row,) = results.summarise(entries, limits, machine, given)
    assert row["milliseconds_per_step"] == 1000
    assert row["tokens_per_wall_second"] == 1024
    assert row["fraction_of_limit"] == 0.25
    assert row["peak_bytes"] == 5 * 10**9
    results.print_table([row], {"gflop_per_step": 1.0, "gflop_per_token": 0.1}, given)

"""The arithmetic of the cost on paper."""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "scripts" / "benchmarks"
CONFIG = {
    "vocab_size": 250_002,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "adapter_reduction_factor": 2,
}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("scaling_model")


@pytest.fixture
def job(model: Any) -> Any:
    return model.Job(num_languages=1, config=CONFIG)


def test_the_gradient_is_the_adapter_in_fp32(model: Any) -> None:
    assert model.adapter_parameters(CONFIG) == 7_091_712
    assert model.GRADIENT_BYTES * model.adapter_parameters(CONFIG) == 28_366_848


def test_a_ring_sends_nearly_twice_the_gradient(model: Any) -> None:
    assert model.ring_seconds(8_000, 1, 1000.0, 1.0) == 0
    assert model.ring_seconds(8_000, 2, 1000.0, 0.0) == 8.0
    assert model.ring_seconds(8_000, 4, 1000.0, 0.5) == 12.0 + 6 * 0.5
    assert model.ring_seconds(8_000, 1 << 20, 1000.0, 0.0) == pytest.approx(16.0, rel=1e-5)


def test_a_step_is_its_parts(model: Any, job: Any) -> None:
    cluster = model.Cluster(num_gpus=16, peak_tflops=100.0, mfu=0.5, step_overhead_seconds=0.25)
    four = model.plan(job, cluster, 4)
    assert four.compute_seconds == model.step_flops(job, 8) / 50e12
    assert four.exchange_seconds == pytest.approx(1.5 * 28_366_848 / 450e9 + 6 * 10e-6)
    assert four.step_seconds == four.compute_seconds + four.exchange_seconds + 0.25
    assert four.language_seconds == 60 + 4000 * four.step_seconds
    assert four.gpu_hours_per_language == 4 * four.language_seconds / 3600
    # Beyond the node, the network is what the ring waits for.
    sixteen = model.plan(job, cluster, 16)
    assert sixteen.exchange_seconds == pytest.approx(15 / 8 * 28_366_848 / 50e9 + 30 * 10e-6)


def test_languages_queue_for_groups(model: Any, job: Any) -> None:
    ten = replace(job, num_languages=10)
    cluster = model.Cluster(num_gpus=9)
    assert [model.plan(ten, cluster, g).rounds for g in (1, 2, 4, 8)] == [2, 3, 5, 10]
    two = model.plan(ten, cluster, 2)
    assert two.total_seconds == 3 * two.language_seconds


def test_with_a_language_for_every_gpu_nothing_is_exchanged(model: Any, job: Any) -> None:
    thousand = replace(job, num_languages=1000)
    best = model.fastest_plan(thousand, model.Cluster(num_gpus=500))
    assert (best.gpus_per_language, best.exchange_seconds, best.rounds) == (1, 0, 2)
    alone = model.fastest_plan(job, model.Cluster(num_gpus=1))
    assert best.total_seconds == 2 * alone.total_seconds


def test_a_step_has_no_more_shares_than_sequences(model: Any, job: Any) -> None:
    cluster = model.Cluster(num_gpus=512)
    with pytest.raises(ValueError, match="64 GPUs a language"):
        model.plan(job, cluster, 64)
    assert model.fastest_plan(job, cluster).gpus_per_language <= job.batch_size


def test_the_tables_say_that_they_are_worked_out() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "scaling.py", "--gpus", "4", "--languages", "4", "8"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "on paper" in done.stdout and "28.4 MB" in done.stdout
    rows = [line.split("|")[1:5] for line in done.stdout.splitlines() if line.startswith("| ")]
    many = [[cell.strip() for cell in row] for row in rows[-2:]]
    assert many == [["4", "4", "1", "1"], ["8", "4", "1", "2"]]

"""What a run says it will take, before it begins."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from xmod_extend.evaluation.race import NUM_FINALISTS
from xmod_extend.jobs import estimate as estimate_module
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.estimate import Estimate, estimate_run
from xmod_extend.jobs.job import Job, prepare
from xmod_extend.jobs.options import AddOptions
from xmod_extend.jobs.records import plan_record
from xmod_extend.jobs.scoring import rank_existing
from xmod_extend.jobs.training import train_adapter


class Listener(Callback):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_stage(self, name: str) -> None:
        self.heard.append(name)

    def on_note(self, text: str) -> None:
        self.heard.append(text)


@pytest.fixture
def job(base: Path, corpus: Path, tmp_path: Path) -> Job:
    options = AddOptions(
        lang="quz_PE",
        base=str(base),
        corpus=(str(corpus),),
        output=tmp_path / "out",
        max_steps=6,
        batch_size=4,
    )
    return prepare(options, Listener())


def test_the_parts_are_worked_out_from_what_is_timed(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate_module, "_seconds_per_step", lambda job: 2.0)
    monkeypatch.setattr(estimate_module, "_seconds_per_token", lambda job: 0.01)
    found = estimate_run(job)
    held_out = job.text.held_out.num_tokens
    assert found.training_seconds == 6 * 2.0
    # One validation a step, of a text that is all of its own sample.
    assert found.validation_seconds == pytest.approx(6 * 0.01 * held_out)
    assert found.scoring_seconds == pytest.approx((NUM_FINALISTS + 1) * 0.01 * held_out)
    assert found.probing_seconds == pytest.approx(3 * 0.01 * held_out)
    parts = (found.probing_seconds, found.validation_seconds, found.scoring_seconds)
    assert found.total_seconds == pytest.approx(12.0 + sum(parts))
    plan = plan_record(job, found)
    assert plan.total_seconds == pytest.approx(found.total_seconds)
    resumed = estimate_run(job, steps_done=4, is_ranked=True)
    assert resumed.training_seconds == 2 * 2.0 and resumed.probing_seconds == 0.0
    assert resumed.validation_seconds == pytest.approx(found.validation_seconds / 3)


def test_a_run_has_the_same_bits_whether_it_was_timed_or_not(job: Job) -> None:
    def run() -> dict[str, torch.Tensor]:
        return train_adapter(job, rank_existing(job)).result.tensors

    untimed = run()
    generator = torch.get_rng_state()
    found = estimate_run(job)
    assert found.seconds_per_step > 0 and found.probing_seconds > 0
    assert torch.equal(torch.get_rng_state(), generator)
    timed = run()
    assert timed.keys() == untimed.keys()
    assert all(torch.equal(timed[name], untimed[name]) for name in timed)


def test_a_part_of_a_step_is_counted_as_often_as_there_are_parts(job: Job) -> None:
    options = dataclasses.replace(job.options, accumulation=4, batch_size=64)
    whole = dataclasses.replace(job, options=dataclasses.replace(job.options, batch_size=64))
    parts = dataclasses.replace(job, options=options)
    one, four = (estimate_run(each).seconds_per_step for each in (whole, parts))
    # As a machine with other work allows: a part alone would be a quarter.
    assert one > 0 and 0.3 * one < four


def test_processes_with_more_and_with_fewer_parts_sum_as_often(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums: list[int] = []
    monkeypatch.setattr(job.processes, "sum", lambda values: sums.append(len(values)))
    counts = []
    for accumulation in (1, 4):
        options = dataclasses.replace(job.options, accumulation=accumulation)
        estimate_run(dataclasses.replace(job, options=options))
        counts.append(len(sums))
        sums.clear()
    assert counts[0] == counts[1] > 0


def test_it_is_told_before_the_probe_and_in_plain_words(job: Job) -> None:
    listener = job.callback
    assert isinstance(listener, Listener)
    estimate_run(job)
    rank_existing(job)
    heard = listener.heard[listener.heard.index("Timing a training step") :]
    assert heard[1].startswith("about ") and " to go: probing " in heard[1]
    assert heard[2].startswith("Probing 3 existing adapters")
    hours = Estimate(
        num_steps=1000,
        seconds_per_step=114.4,
        probing_seconds=70.0,
        validation_seconds=160.0,
        scoring_seconds=300.0,
    )
    assert hours.describe() == (
        "about 31 h 56 min to go: probing 70 s, training 31 h 47 min (1,000 steps of 114 s), "
        "validating 3 min, scoring 5 min; worked out from a part of a step, with writing and "
        "verifying on top"
    )

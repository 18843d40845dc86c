"""metrics.jsonl and the trackers: what one sees of a run while it goes on and afterwards."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import xmod_extend
from xmod_extend.errors import UsageError
from xmod_extend.report.metrics import Metrics, Tracker, check_tracker
from xmod_extend.report.record import RunRecord
from xmod_extend.training.history import CurvePoint, StepReport


def step(number: int) -> StepReport:
    return StepReport(
        step=number, num_steps=9, loss=3.5, lr=0.001, num_tokens=64 * number, seconds=0.5 * number
    )


def validation(number: int) -> CurvePoint:
    return CurvePoint(step=number, train_loss=4.0, held_out_loss=3.75, lr=0.001)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_can_be_read_as_soon_as_its_step_is_done(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Metrics(path) as metrics:
        metrics.on_step(step(1))
        assert read(path) == [
            {"step": 1, "loss": 3.5, "lr": 0.001, "num_tokens": 64, "seconds": 0.5}
        ]
        metrics.on_validation(validation(1))
        assert read(path)[1] == {"step": 1, "train_loss": 4.0, "held_out_loss": 3.75, "lr": 0.001}


def test_a_resumed_run_cuts_back_what_it_does_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Metrics(path) as metrics:
        for number in (1, 2, 3):
            metrics.on_step(step(number))
            metrics.on_validation(validation(number))
    with path.open("a") as file:
        file.write('{"step": 2, "lo')
    with Metrics(path, last_step=2) as metrics:
        metrics.on_step(step(3))
    assert [(line["step"], "loss" in line) for line in read(path)] == [
        (1, True), (1, False), (2, True), (2, False), (3, True),
    ]  # fmt: skip
    with Metrics(path):
        assert path.read_text() == ""


def add(base: Path, corpus: Path, output: Path, **options: Any) -> RunRecord:
    return xmod_extend.add_language(
        lang="quz_PE", base=str(base), corpus=str(corpus), output=output, max_steps=20,
        batch_size=4, lr=0.02, **options,
    )  # fmt: skip


@pytest.mark.slow
def test_the_output_holds_every_step_and_validation(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    record = add(base, corpus, tmp_path / "out")
    lines = read(tmp_path / "out" / "metrics.jsonl")
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 21))
    assert record.training is not None
    curve = [line for line in lines if "held_out_loss" in line]
    assert curve == record.to_dict()["training"]["curve"]
    assert steps[-1]["num_tokens"] == record.training.num_tokens
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_an_interrupted_and_resumed_run_has_each_line_once(
    base: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Metrics, "on_validation", stop)
        with pytest.raises(KeyboardInterrupt):
            add(base, corpus, tmp_path / "out", save_minutes=0.0)
    assert [line["step"] for line in read(tmp_path / "out.run" / "metrics.jsonl")] == [1, 2]
    add(base, corpus, tmp_path / "out", resume=True)
    lines = read(tmp_path / "out" / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 21))
    assert [line["step"] for line in lines if "held_out_loss" in line] == list(range(2, 21, 2))


def test_tensorboard_gets_the_figures(base: Path, corpus: Path, tmp_path: Path) -> None:
    record = add(base, corpus, tmp_path / "out", report_to="tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "out.logs" / "quz_PE"))
    events.Reload()
    assert {"loss", "lr", "tokens_per_second", "held_out_loss"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 21))
    assert record.training is not None
    assert [event.value for event in events.Scalars("held_out_loss")] == pytest.approx(
        [point.held_out_loss for point in record.training.curve]
    )
    assert [event.value > 0 for event in events.Scalars("tokens_per_second")] == [True] * 20


class FakeRun:
    def __init__(self, fails_at: int | None) -> None:
        self.logged: list[tuple[dict[str, float], int]] = []
        self.fails_at, self.finished = fails_at, False

    def log(self, values: dict[str, float], step: int) -> None:
        if step == self.fails_at:
            raise ConnectionError("network is down")
        self.logged.append((values, step))

    def finish(self) -> None:
        self.finished = True


def pretend_wandb(monkeypatch: pytest.MonkeyPatch, run: FakeRun) -> dict[str, Any]:
    """A stand-in for wandb's module, for accelerate's own tracker to drive; returns what it got."""
    from accelerate.utils import LoggerType

    got: dict[str, Any] = {}
    module = types.ModuleType("wandb")

    def init(**values: Any) -> FakeRun:
        got.update(values)
        return run

    module.init = init  # type: ignore[attr-defined]
    module.config = types.SimpleNamespace(  # type: ignore[attr-defined]
        update=lambda values, **_: got.update(config=values)
    )
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setattr("accelerate.tracking._available_trackers", [LoggerType.WANDB])
    return got


def start_tracker(tmp_path: Path, said: list[str]) -> Tracker:
    options = {"lr": 0.02, "corpus": ["a.txt"]}
    return Tracker("wandb", "quz_PE", options=options, logs=tmp_path, last_step=0, warn=said.append)


def test_wandb_gets_the_figures_under_the_languages_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, said = FakeRun(None), []
    got = pretend_wandb(monkeypatch, run)
    with Metrics(tmp_path / "metrics.jsonl", tracker=start_tracker(tmp_path, said)) as metrics:
        metrics.on_step(step(1))
        metrics.on_validation(validation(1))
    assert got["project"] == "xmod-extend" and got["name"] == "quz_PE"
    assert got["config"]["lr"] == 0.02
    assert run.logged == [
        ({"loss": 3.5, "lr": 0.001, "tokens_per_second": 128.0}, 1),
        ({"held_out_loss": 3.75}, 1),
    ]
    assert run.finished and said == []


def test_trackio_is_ended_as_it_wants_to_be_and_keeps_off_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from accelerate.utils import LoggerType

    run, said, finished = FakeRun(None), [], []
    module = types.ModuleType("trackio")

    def init(**values: Any) -> FakeRun:
        print("Trackio project initialized:", values["project"])
        return run

    module.init = init  # type: ignore[attr-defined]
    module.config = {}  # type: ignore[attr-defined]
    module.finish = lambda: print("Run finished.") or finished.append(True)  # type: ignore
    monkeypatch.setitem(sys.modules, "trackio", module)
    monkeypatch.setattr("accelerate.tracking._available_trackers", [LoggerType.TRACKIO])
    tracker = Tracker("trackio", "fo_FO", options={}, logs=tmp_path, last_step=0, warn=said.append)
    with Metrics(tmp_path / "metrics.jsonl", tracker=tracker) as metrics:
        metrics.on_step(step(1))
    out, err = capsys.readouterr()
    assert out == "" and "initialized: xmod-extend" in err and "Run finished." in err
    assert [number for _, number in run.logged] == [1]
    assert finished == [True] and not run.finished and said == []


def test_a_tracker_that_fails_is_said_once_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, said = FakeRun(fails_at=2), []
    pretend_wandb(monkeypatch, run)
    path = tmp_path / "metrics.jsonl"
    with Metrics(path, tracker=start_tracker(tmp_path, said)) as metrics:
        for number in (1, 2, 3):
            metrics.on_step(step(number))
    assert [line["step"] for line in read(path)] == [1, 2, 3]
    assert [number for _, number in run.logged] == [1]
    assert len(said) == 1 and "network is down" in said[0]


def test_a_tracker_that_cannot_start_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("accelerate.tracking._available_trackers", [])
    tracker = start_tracker(tmp_path, said)
    tracker.log({"loss": 1.0}, 1)
    tracker.end()
    assert len(said) == 1 and "wandb" in said[0]


def test_a_missing_package_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="trackio") as caught:
        add(tmp_path / "no base", tmp_path / "no text", tmp_path / "out", report_to="trackio")
    assert caught.value.hint == "Install it: pip install trackio"
    check_tracker(None)


def test_another_tracker_is_refused(base: Path, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tensorboard, trackio, wandb"):
        add(base, corpus, tmp_path / "out", report_to="mlflow")

"""A run that was interrupted, however often, ends with the same bits as one that was not."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from checkpoints import make_checkpoint
from safetensors import safe_open
from safetensors.torch import save_file
from training_runs import adapter_bytes, configure, run_training

from xmod_extend.errors import UsageError
from xmod_extend.files.run_folder import saved_states, step_of
from xmod_extend.model.adapter import ADAPTER_TENSORS
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.slice import FP32, Precision
from xmod_extend.training import loop
from xmod_extend.training.history import StepReport
from xmod_extend.training.processes import LostProcessError, Processes
from xmod_extend.training.signals import Signals
from xmod_extend.training.state import StateFolder, state_bytes

BF16 = Precision(name="bf16", storage=torch.bfloat16, compute=torch.bfloat16)
ROUNDED = Precision(name="bf16", storage=torch.bfloat16, compute=torch.float32)


class CutError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "base", attention_probs_dropout_prob=0.1)


@pytest.mark.parametrize(
    ("precision", "changes"),
    [
        (FP32, {}),
        (FP32, {"dropout": True, "accumulation": 3, "gradient_checkpointing": True}),
        (BF16, {}),
        (BF16, {"dropout": True}),
        (ROUNDED, {}),
    ],
    ids=["fp32", "fp32, dropout in parts", "bf16", "bf16, dropout", "bf16 weights"],
)
def test_a_resumed_run_has_the_same_bits(
    base: Path, tmp_path: Path, precision: Precision, changes: dict[str, bool]
) -> None:
    config = configure(**changes)
    whole = run_training(base, config, precision=precision)
    for number, cuts in enumerate(([1], [5], [11], [2, 3, 7, 10])):
        folder = tmp_path / f"run-{number}"
        for cut in cuts:

            def stop(report: StepReport, cut: int = cut) -> None:
                if report.step == cut + 1:
                    raise CutError

            with pytest.raises(CutError):
                run_training(base, config, folder=folder, precision=precision, on_step=stop)
            assert step_of(saved_states(folder)[-1]) == cut
        result = run_training(base, config, folder=folder, precision=precision)
        assert result.resumed_at == cuts[-1]
        assert adapter_bytes(result) == adapter_bytes(whole)
        assert result.best_step == whole.best_step and result.num_tokens == whole.num_tokens
        assert result.curve == whole.curve


def test_a_run_that_was_done_is_done_again_at_once(base: Path, tmp_path: Path) -> None:
    first = run_training(base, configure(), folder=tmp_path / "run")
    steps: list[StepReport] = []
    again = run_training(base, configure(), folder=tmp_path / "run", on_step=steps.append)
    assert not steps and again.resumed_at == 12
    assert adapter_bytes(again) == adapter_bytes(first) and again.curve == first.curve


def test_states_hold_no_frozen_weight_and_two_are_kept(base: Path, tmp_path: Path) -> None:
    result = run_training(base, configure(), folder=tmp_path / "run")
    states = saved_states(tmp_path / "run")
    assert [step_of(path) for path in states] == [11, 12]
    size = len(adapter_bytes(result))
    for path in states:
        with safe_open(path, framework="pt") as file:
            sizes = {name: math.prod(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        adam = {f"{part}.{name}" for part in ADAPTER_TENSORS for name in ("exp_avg", "exp_avg_sq")}
        bases = {f"{part}.{name}" for part in ADAPTER_TENSORS[::2] for name in ("gram", "basis")}
        assert sizes.keys() - {"best", *bases} == {"values", *adam}
        assert sum(sizes[name] for name in adam) == 2 * size // 4
        # Two layers of a bottleneck on a hidden size of 32.
        assert sum(sizes.get(name, 0) for name in bases) in (2 * 2 * 32**2, 4 * 2 * 32**2)


def test_states_are_saved_as_often_as_asked(base: Path, tmp_path: Path) -> None:
    run_training(base, configure(), folder=tmp_path / "run", every_seconds=3600)
    assert [step_of(path) for path in saved_states(tmp_path / "run")] == [12]


def test_the_room_that_a_state_takes_is_known_before(base: Path, tmp_path: Path) -> None:
    run_training(base, configure(), folder=tmp_path / "run")
    checkpoint = open_checkpoint(base)
    names = checkpoint.adapter_names(checkpoint.languages[0])
    expected = state_bytes([checkpoint.info(name).shape for name in names])
    largest = max(path.stat().st_size for path in saved_states(tmp_path / "run"))
    # But for the header, with the curve in it.
    assert expected <= largest < expected + 10_000


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "half"])
def test_a_damaged_state_is_passed_over(base: Path, tmp_path: Path, damage: str) -> None:
    config, folder = configure(), tmp_path / "run"
    whole = run_training(base, config, folder=folder)
    newest = saved_states(folder)[-1]
    content = newest.read_bytes()
    if damage == "half":
        newest.unlink()
        (folder / f".{newest.name}.writing-1").write_bytes(content[: len(content) // 2])
    else:
        damaged = {"cut": content[:-1], "empty": b"", "other": b"x" * len(content)}
        newest.write_bytes(damaged[damage])
    result = run_training(base, config, folder=folder)
    assert result.resumed_at == 11 and adapter_bytes(result) == adapter_bytes(whole)


def test_a_state_of_another_run_is_refused_by_name(tmp_path: Path, base: Path) -> None:
    run_training(base, configure(), folder=tmp_path / "run")
    with pytest.raises(UsageError, match=r"lr was 0\.01 and is 0\.02") as caught:
        run_training(base, configure(lr=2e-2), folder=tmp_path / "run")
    assert caught.value.hint is not None and "--force" in caught.value.hint
    hashes = StateFolder(tmp_path / "run", {"lr": 1e-2, "steps": 12, "corpus": "ab" * 32})
    with pytest.raises(UsageError, match="the corpus is not the same"):
        hashes.load_newest()


def test_a_state_of_another_version_is_refused(base: Path, tmp_path: Path) -> None:
    """To start at step 1 without a word would cost the hours that it holds."""
    run_training(base, configure(), folder=tmp_path / "run")
    for path in saved_states(tmp_path / "run"):
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() | {"version": "1"}
        save_file(tensors, path, metadata)
    with pytest.raises(UsageError, match="another version"):
        run_training(base, configure(), folder=tmp_path / "run")


@pytest.fixture
def late_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses are looked at as seldom as on a GPU."""

    def is_time_to_look(run: loop._Run) -> bool:
        return run._steps_run % loop.STEPS_BETWEEN_LOOKS == 0

    monkeypatch.setattr(loop._Run, "_is_time_to_look", is_time_to_look)


class LosingProcesses(Processes):
    """Loses another process in the sum of one step."""

    def __init__(self, step: int) -> None:
        super().__init__(PartialState(cpu=True))
        self._steps_left = step

    def sum(self, values: torch.Tensor) -> None:
        self._steps_left -= 1
        if not self._steps_left:
            raise LostProcessError("lost")


@pytest.mark.usefixtures("late_looks")
@pytest.mark.parametrize("lost_at", [2, 9, 11, 13, 17, 24])
def test_a_state_that_is_saved_for_a_lost_process_is_that_of_its_step(
    base: Path, tmp_path: Path, lost_at: int
) -> None:
    config, folder = configure(24, num_validations=2), tmp_path / "run"
    whole = run_training(base, config)
    with pytest.raises(LostProcessError):
        run_training(
            base,
            config,
            folder=folder,
            every_seconds=3600,
            processes=LosingProcesses(lost_at),
        )
    assert [step_of(path) for path in saved_states(folder)] == [lost_at - 1]
    result = run_training(base, config, folder=folder)
    assert result.resumed_at == lost_at - 1
    assert adapter_bytes(result) == adapter_bytes(whole) and result.curve == whole.curve


def test_a_validation_that_was_cut_short_is_done_first(base: Path, tmp_path: Path) -> None:
    config, folder = configure(), tmp_path / "run"
    whole = run_training(base, config)

    def lose() -> None:
        raise LostProcessError("lost")

    for step in (3, 12):
        if step == 12:
            # As if the first three validations went well.
            run_until(9, base, folder)
        with pytest.raises(LostProcessError):
            run_training(base, config, folder=folder, before_validation=lose)
        assert step_of(saved_states(folder)[-1]) == step
    result = run_training(base, config, folder=folder)
    assert adapter_bytes(result) == adapter_bytes(whole) and result.curve == whole.curve


def run_until(step: int, base: Path, folder: Path) -> None:
    def stop(report: StepReport) -> None:
        if report.step == step + 1:
            raise CutError

    with pytest.raises(CutError):
        run_training(base, configure(), folder=folder, on_step=stop)


class Signalled(Signals):
    """A signal that is there from the start, and handed on to nobody."""

    arrived = True  # type: ignore[assignment]

    def hand_on(self) -> None:
        raise CutError


@pytest.mark.parametrize("is_late", [False, True])
def test_a_signal_saves_the_step_that_it_ends_at(
    base: Path, tmp_path: Path, request: pytest.FixtureRequest, is_late: bool
) -> None:
    if is_late:
        request.getfixturevalue("late_looks")
    config, folder = configure(24, num_validations=2), tmp_path / "run"
    whole = run_training(base, config)
    steps = []
    for _ in range(2):
        with pytest.raises(CutError):
            run_training(base, config, folder=folder, signals=Signalled())
        steps.append(step_of(saved_states(folder)[-1]))
    assert steps == ([10, 12] if is_late else [1, 2])
    assert adapter_bytes(run_training(base, config, folder=folder)) == adapter_bytes(whole)


@pytest.mark.parametrize("is_late", [False, True])
def test_a_run_that_is_asked_to_stop_ends_as_if_it_was_done(
    base: Path, tmp_path: Path, request: pytest.FixtureRequest, is_late: bool
) -> None:
    if is_late:
        request.getfixturevalue("late_looks")
    config, folder = configure(24, num_validations=2), tmp_path / "run"
    whole = run_training(base, config)
    result = run_training(base, config, folder=folder, is_asked_to_stop=lambda: True)
    assert result.stopped == loop.ASKED_TO_STOP
    assert result.steps_done == (10 if is_late else 1)
    # It had no validation yet, and so was given one.
    assert [point.step for point in result.curve] == [result.best_step] == [result.steps_done]
    assert adapter_bytes(run_training(base, config, folder=folder)) == adapter_bytes(whole)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_many_kills_change_no_bit(base: Path, tmp_path: Path, precision: str) -> None:
    """A real process is killed with SIGKILL at random moments, again and again."""
    script = Path(__file__).parent / "kill_many_times.py"
    done = subprocess.run(
        [sys.executable, script, base, tmp_path / "runs", precision, "25"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["kills"] >= 25 and told["differing"] == []
    assert told["with_a_state"] >= 10

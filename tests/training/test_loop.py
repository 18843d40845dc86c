"""The loop: order, validation, the best state, and what happens when a loss is not finite."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from checkpoints import make_checkpoint
from hypothesis import given
from hypothesis import strategies as st
from training_runs import adapter_bytes, run_training
from transformers import XmodForMaskedLM

from xmod_extend.errors import TrainingError, UsageError
from xmod_extend.model.adapter import adapter_set, random_adapter, set_adapter
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.slice import FP32, Precision, load_slice
from xmod_extend.objectives.masked import MaskingScheme
from xmod_extend.training import step as step_module
from xmod_extend.training.configuration import TrainingConfig, default_lr, default_num_steps
from xmod_extend.training.loop import TrainingResult, train
from xmod_extend.training.processes import Processes
from xmod_extend.training.step import Stepper

SCHEME = MaskingScheme(
    mask_id=119, special_ids=(0, 1, 2, 3, 119), vocabulary_size=120, mlm_probability=0.15, seed=7
)


class CountingBlocks:
    """Blocks whose second token is their own number."""

    max_length = 8

    def __init__(self, count: int) -> None:
        self.count = count

    def batches(self, batch_size: int, seed: int, start_step: int = 0) -> Iterator[np.ndarray]:
        for step in itertools.count(start_step):
            blocks = np.full((batch_size, self.max_length), 50)
            blocks[:, 0] = 0
            blocks[:, 1] = (np.arange(batch_size) + step * batch_size) % self.count
            yield blocks


def configure(num_steps: int, **changes: object) -> TrainingConfig:
    values = {"batch_size": 4, "lr": 1e-2, "seed": 0, "num_validations": 5}
    return TrainingConfig(num_steps=num_steps, **(values | changes))  # type: ignore[arg-type]


@given(st.integers(1, 500))
def test_the_learning_rate_rises_then_falls_and_never_reaches_zero(num_steps: int) -> None:
    config = configure(num_steps)
    rates = [config.lr_at(step) for step in range(num_steps)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(config.lr)
    assert all(a < b for a, b in itertools.pairwise(rates[: top + 1]))
    assert all(a >= b for a, b in itertools.pairwise(rates[top:]))
    assert min(rates) > 0


@given(st.integers(1, 10**9))
def test_default_steps_are_positive_and_grow_with_the_text(tokens: int) -> None:
    assert 1 <= default_num_steps(tokens) <= default_num_steps(2 * tokens) <= 10_000


def test_default_lr_falls_with_the_width() -> None:
    assert default_lr(192) > default_lr(768) > default_lr(1024) > 0


@pytest.fixture
def model(tmp_path: Path) -> XmodForMaskedLM:
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base"))
    made = load_slice(checkpoint, "quz_PE")
    set_adapter(made, random_adapter(made, seed=1))
    return made


def run(
    model: XmodForMaskedLM, config: TrainingConfig, validate: Callable[[], float]
) -> TrainingResult:
    return train(
        model,
        adapter_set(model),
        CountingBlocks(20),
        SCHEME.corrupt,
        config,
        processes=Processes(Accelerator(cpu=True)),
        validate=validate,
    )


def test_the_state_with_the_lowest_held_out_loss_is_kept(model: XmodForMaskedLM) -> None:
    scores = iter([3.0, 2.0, 2.5, 2.4, 2.9])
    seen = []

    def validate() -> float:
        seen.append(adapter_set(model).get_values())
        return next(scores)

    result = run(model, configure(10), validate)
    assert result.best_step == 4 and result.steps_done == 10 and result.stopped is None
    assert [point.step for point in result.curve] == [2, 4, 6, 8, 10]
    for name, values in seen[1].items():
        assert torch.equal(result.tensors[name], values)
        assert name.endswith("bias") or not torch.equal(values, seen[4][name])


def run_losses(base: Path, config: TrainingConfig, precision: Precision = FP32) -> list[float]:
    losses: list[float] = []
    run_training(
        base, config, precision=precision, on_step=lambda report: losses.append(report.loss)
    )
    return losses


def test_a_batch_in_parts_is_the_batch(tmp_path: Path) -> None:
    base = make_checkpoint(tmp_path / "base")
    whole, parts = (
        run_training(base, configure(3, batch_size=5, accumulation=accumulation))
        for accumulation in (1, 3)
    )
    for name, values in whole.tensors.items():
        torch.testing.assert_close(parts.tensors[name], values, rtol=1e-4, atol=1e-5)


def test_a_processor_works_through_a_large_batch_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = np.random.default_rng(0).integers(4, 119, (5, 16))
    model = load_slice(open_checkpoint(make_checkpoint(tmp_path / "base")), "quz_PE")
    hidden_state = 16 * model.config.hidden_size * 4
    parts, outcomes = {}, {}
    for num_rows, accumulation in ((5, 1), (2, 1), (1, 1), (0.5, 1), (2, 4), (5, 2)):
        monkeypatch.setattr(step_module, "CPU_MICRO_BATCH_BYTES", int(num_rows * hidden_state))
        set_adapter(model, random_adapter(model, seed=1))
        config = configure(1, batch_size=5, accumulation=accumulation)
        stepper = Stepper(
            model, adapter_set(model), SCHEME.corrupt, config, Processes(Accelerator(cpu=True))
        )
        prepared = stepper.prepare(0, batch)
        parts[num_rows, accumulation] = [len(p.input_ids) for _, p in prepared.micro_batches]
        stepper.run(prepared)
        outcomes[num_rows, accumulation] = stepper.values.clone()
    assert parts == {
        (5, 1): [5],
        (2, 1): [2, 2, 1],
        (1, 1): [1] * 5,
        (0.5, 1): [1] * 5,
        (2, 4): [2, 1, 1, 1],
        (5, 2): [3, 2],
    }
    assert outcomes[5, 1].abs().max() > 1e-3
    for adapter in outcomes.values():
        torch.testing.assert_close(adapter, outcomes[5, 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dropout", [False, True])
def test_checkpointing_changes_no_bit(tmp_path: Path, dropout: bool) -> None:
    base = make_checkpoint(tmp_path / "base", hidden_dropout_prob=0.2)
    kept, again = (
        run_training(base, configure(3, dropout=dropout, gradient_checkpointing=checkpointing))
        for checkpointing in (False, True)
    )
    assert adapter_bytes(again) == adapter_bytes(kept)


def test_fp16_trains_under_loss_scaling(tmp_path: Path) -> None:
    base = make_checkpoint(tmp_path / "base")
    fp16 = Precision(name="fp16", storage=torch.float16, compute=torch.float16)
    config = configure(30, lr=3e-3)
    losses = {each.name: run_losses(base, config, each) for each in (FP32, fp16)}
    assert losses["fp16"][0] == pytest.approx(losses["fp32"][0], rel=1e-2)
    assert losses["fp16"][-5:] == pytest.approx(losses["fp32"][-5:], rel=1e-2)
    untrained = run_losses(base, configure(30, lr=1e-12))
    assert losses["fp16"][-5:] != pytest.approx(untrained[-5:], rel=1e-2)


def test_no_shared_weight_moves(model: XmodForMaskedLM) -> None:
    before = {
        name: p.detach().clone() for name, p in model.named_parameters() if "quz_PE" not in name
    }
    run(model, configure(5, lr=1.0), lambda: 1.0)
    for name, parameter in model.named_parameters():
        if "quz_PE" not in name:
            assert torch.equal(parameter, before[name]) and parameter.grad is None, name


def test_a_bad_loss_after_a_validation_keeps_the_last_good_adapter(
    model: XmodForMaskedLM,
) -> None:
    scores = iter([2.0, float("nan")])
    result = run(model, configure(10), lambda: next(scores))
    assert result.best_step == 2 and result.steps_done == 4
    assert result.stopped is not None and "nan" in result.stopped
    assert all(bool(torch.isfinite(values).all()) for values in result.tensors.values())


def test_a_bad_loss_before_any_validation_is_an_error(model: XmodForMaskedLM) -> None:
    with pytest.raises(TrainingError, match="before any adapter"):
        run(model, configure(10), lambda: float("inf"))


@pytest.mark.parametrize("changes", [{"num_steps": 0}, {"lr": 0.0}, {"batch_size": 0}])
def test_a_wrong_setting_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        configure(**({"num_steps": 1} | changes))  # type: ignore[arg-type]


def test_a_base_that_lets_nothing_through_is_explained(model: XmodForMaskedLM) -> None:
    with torch.no_grad():
        model.lm_head.dense.weight.zero_()
    with pytest.raises(TrainingError, match="No gradient reaches the adapter"):
        run(model, configure(2), lambda: 1.0)

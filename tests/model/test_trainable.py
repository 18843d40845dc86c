"""The trainable set carries more than an adapter: one tensor more is trained, saved and written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from checkpoints import make_checkpoint
from training_runs import SCHEME, RandomBlocks, configure

from xmod_extend.model.adapter import adapter_set, random_adapter
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.slice import load_slice, rename_slot
from xmod_extend.model.trainable import Group, Tensors, TrainableSet
from xmod_extend.training.history import StepReport
from xmod_extend.training.loop import Saving, TrainingResult, train
from xmod_extend.training.processes import Processes
from xmod_extend.training.state import StateFolder

NORM = "roberta.encoder.layer.1.output.LayerNorm.weight"


class CutError(Exception):
    """Ends a run in its middle."""


def train_with_a_norm(base: Path, folder: Path, *, cut_at: int = 0) -> TrainingResult:
    """Train the adapter and the last layer's norm, from the newest state in `folder`."""
    model = load_slice(open_checkpoint(base), "quz_PE")

    def initial() -> Tensors:
        return random_adapter(model, seed=1) | {"0.norm": torch.ones(32)}

    trained = TrainableSet(model, [*adapter_set(model).groups, Group("norm", [NORM])], initial)
    trained.initialise()
    states = StateFolder(folder, {"steps": 8})
    saved = states.load_newest()
    states.begin()

    def cut(report: StepReport) -> None:
        if report.step == cut_at:
            raise CutError

    return train(
        model,
        trained,
        RandomBlocks(),
        SCHEME.corrupt,
        configure(8),
        processes=Processes(Accelerator(cpu=True)),
        validate=lambda: 1.0 + float(model.get_parameter(NORM).detach().sum().sin()),
        saving=Saving(folder=states, every_seconds=0, resume_from=saved),
        on_step=cut,
    )


def test_one_tensor_more_is_trained_and_resumed_to_the_same_bits(tmp_path: Path) -> None:
    base = make_checkpoint(tmp_path / "base")
    whole = train_with_a_norm(base, tmp_path / "whole")
    with pytest.raises(CutError):
        train_with_a_norm(base, tmp_path / "cut", cut_at=5)
    resumed = train_with_a_norm(base, tmp_path / "cut")
    assert resumed.resumed_at == 4
    assert whole.tensors.keys() == resumed.tensors.keys()
    for name, values in whole.tensors.items():
        assert torch.equal(values, resumed.tensors[name]), name
    assert (whole.tensors["0.norm"] - 1).abs().max() > 1e-3


def test_what_is_not_in_the_set_is_frozen(tmp_path: Path) -> None:
    model = load_slice(open_checkpoint(make_checkpoint(tmp_path / "base")), "quz_PE")
    trained = TrainableSet(model, [Group("norm", [NORM])], dict)
    trained.freeze_others()
    assert [name for name, p in model.named_parameters() if p.requires_grad] == [NORM]
    assert trained.num_parameters == 32


def test_a_set_that_names_a_tensor_twice_is_a_bug(tmp_path: Path) -> None:
    model = load_slice(open_checkpoint(make_checkpoint(tmp_path / "base")), "quz_PE")
    with pytest.raises(AssertionError, match="LayerNorm"):
        TrainableSet(model, [Group("a", [NORM]), Group("b", [NORM])], dict).freeze_others()


def test_values_are_written_under_the_names_of_the_parameters(tmp_path: Path) -> None:
    model = load_slice(open_checkpoint(make_checkpoint(tmp_path / "base")), "quz_PE")
    rename_slot(model, "ay_BO")
    adapter = adapter_set(model)
    trained = TrainableSet(model, [*adapter.groups, Group("norm", [NORM])], dict)
    named = trained.named_for_checkpoint(trained.get_values())
    parameters = dict(model.named_parameters())
    assert len(named) == 2 * 4 + 1 and NORM in named
    assert sum(".adapter_modules.ay_BO." in name for name in named) == 2 * 4
    for name, values in named.items():
        assert torch.equal(values, parameters[name])

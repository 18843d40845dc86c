"""Training on a CUDA device: the CPU's numbers, no waiting in the step, bits that come back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from checkpoints import make_checkpoint
from training_runs import SCHEME, RandomBlocks, adapter_bytes, configure, run_training

from xmod_extend.files.run_folder import saved_states, step_of
from xmod_extend.model.adapter import adapter_set, random_adapter, set_adapter
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.slice import FP32, Precision, load_slice
from xmod_extend.training.device import choose_precision
from xmod_extend.training.history import StepReport
from xmod_extend.training.processes import Processes
from xmod_extend.training.step import Stepper

pytestmark = pytest.mark.gpu

BF16 = Precision(name="bf16", storage=torch.bfloat16, compute=torch.bfloat16)
FP16 = Precision(name="fp16", storage=torch.float16, compute=torch.float16)


def losses_of(base: Path, precision: Precision, *, cpu: bool = False) -> list[float]:
    losses: list[float] = []
    run_training(
        base,
        configure(30, lr=3e-3),
        precision=precision,
        processes=Processes(Accelerator(cpu=cpu)),
        on_step=lambda report: losses.append(report.loss),
    )
    return losses


@pytest.mark.parametrize("pre_norm", [False, True])
def test_fp32_follows_the_cpu(tmp_path: Path, pre_norm: bool) -> None:
    base = make_checkpoint(tmp_path / "base", pre_norm=pre_norm)
    on_cpu, on_gpu = losses_of(base, FP32, cpu=True), losses_of(base, FP32)
    assert on_gpu == pytest.approx(on_cpu, rel=1e-3)


@pytest.mark.parametrize("precision", [BF16, FP16], ids=["bf16", "fp16"])
def test_half_precision_follows_fp32(tmp_path: Path, precision: Precision) -> None:
    base = make_checkpoint(tmp_path / "base")
    exact, rounded = losses_of(base, FP32), losses_of(base, precision)
    assert rounded == pytest.approx(exact, rel=2e-2)


def test_auto_is_bf16_where_the_card_has_it() -> None:
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    expected = torch.bfloat16 if has_bf16 else torch.float16
    assert choose_precision("auto", torch.device("cuda")).compute == expected


@pytest.mark.parametrize("precision", [FP32, BF16, FP16], ids=["fp32", "bf16", "fp16"])
def test_the_step_never_waits_for_the_device(tmp_path: Path, precision: Precision) -> None:
    device = torch.device("cuda")
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base"))
    model = load_slice(checkpoint, "quz_PE", precision=precision)
    set_adapter(model, random_adapter(model, seed=1))
    model.to(device)
    stepper = Stepper(
        model, adapter_set(model), SCHEME.corrupt, configure(), Processes(Accelerator())
    )
    batches = RandomBlocks().batches(4, 3)
    stepper.run(stepper.prepare(0, next(batches)))
    torch.cuda.set_sync_debug_mode("error")
    try:
        outcomes = [stepper.run(stepper.prepare(step, next(batches))) for step in (1, 2, 3)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.stack(outcomes).isfinite().all()


@pytest.mark.parametrize("precision", [FP32, BF16, FP16], ids=["fp32", "bf16", "fp16"])
def test_a_resumed_run_has_the_same_bits(tmp_path: Path, precision: Precision) -> None:
    base = make_checkpoint(tmp_path / "base")
    torch.use_deterministic_algorithms(True)

    class CutError(Exception):
        pass

    def stop(report: StepReport) -> None:
        if report.step == 7:
            raise CutError

    try:
        processes = Processes(Accelerator())
        whole = run_training(base, configure(), precision=precision, processes=processes)
        options = {"folder": tmp_path / "run", "precision": precision, "processes": processes}
        with pytest.raises(CutError):
            run_training(base, configure(), on_step=stop, **options)
        assert 0 < step_of(saved_states(tmp_path / "run")[-1]) < 7
        assert adapter_bytes(run_training(base, configure(), **options)) == adapter_bytes(whole)
    finally:
        torch.use_deterministic_algorithms(False)

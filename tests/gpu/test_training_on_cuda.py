"""Training on a CUDA device: the CPU's numbers, no waiting in the step, bits that come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import make_checkpoint
from training_runs import SCHEME, RandomBlocks, adapter_bytes, configure, run_training

import xmod_extend
from xmod_extend.files.run_folder import saved_states, step_of
from xmod_extend.model.adapter import adapter_set, random_adapter, set_adapter
from xmod_extend.model.batch import Batch
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.global_state import own_global_state
from xmod_extend.model.loss import token_losses
from xmod_extend.model.slice import FP32, Precision, load_slice
from xmod_extend.training.device import choose_precision, deterministic_kernels, make_processes
from xmod_extend.training.history import StepReport
from xmod_extend.training.processes import Processes
from xmod_extend.training.step import Stepper

pytestmark = pytest.mark.gpu

BF16 = Precision(name="bf16", storage=torch.bfloat16, compute=torch.bfloat16)
FP16 = Precision(name="fp16", storage=torch.float16, compute=torch.float16)
IN_EACH = pytest.mark.parametrize("precision", [FP32, BF16, FP16], ids=["fp32", "bf16", "fp16"])


@pytest.fixture(autouse=True)
def jobs_settings() -> Iterator[None]:
    """Every test runs under the settings of a job."""
    with own_global_state():
        yield


def processes_on(device: str) -> Processes:
    """One process on this device; accelerate would keep to the device that it met first."""
    state: Any = SimpleNamespace(
        num_processes=1, process_index=0, is_main_process=True, device=torch.device(device)
    )
    return Processes(state)


def losses_of(base: Path, precision: Precision, device: str = "cuda", **config: Any) -> list[float]:
    losses: list[float] = []
    run_training(
        base,
        configure(30, **({"lr": 3e-3} | config)),
        precision=precision,
        processes=processes_on(device),
        on_step=lambda report: losses.append(report.loss),
    )
    return losses


def test_jobs_run_on_the_device() -> None:
    assert make_processes().device.type == "cuda"


@pytest.mark.parametrize("pre_norm", [False, True])
def test_fp32_follows_the_cpu(tmp_path: Path, pre_norm: bool) -> None:
    base = make_checkpoint(tmp_path / "base", pre_norm=pre_norm)
    on_cpu, on_gpu = losses_of(base, FP32, "cpu"), losses_of(base, FP32)
    assert on_gpu == pytest.approx(on_cpu, rel=1e-3)
    # They would be the same to the bit if both had run on the same device.
    assert on_gpu != on_cpu


@pytest.mark.parametrize("precision", [BF16, FP16], ids=["bf16", "fp16"])
def test_half_precision_follows_fp32(tmp_path: Path, precision: Precision) -> None:
    base = make_checkpoint(tmp_path / "base")
    exact, rounded = losses_of(base, FP32), losses_of(base, precision)
    assert rounded == pytest.approx(exact, rel=2e-2)


@pytest.mark.parametrize(
    "saving",
    [{"accumulation": 3}, {"gradient_checkpointing": True}],
    ids=["parts", "checkpointing"],
)
def test_less_memory_is_the_same_result(tmp_path: Path, saving: dict[str, Any]) -> None:
    base = make_checkpoint(tmp_path / "base")
    assert losses_of(base, FP32, **saving) == pytest.approx(losses_of(base, FP32), rel=1e-3)


def test_checkpointing_draws_the_same_dropout(tmp_path: Path) -> None:
    base = make_checkpoint(tmp_path / "base")
    kept = losses_of(base, FP32, dropout=True)
    again = losses_of(base, FP32, dropout=True, gradient_checkpointing=True)
    assert again == pytest.approx(kept, rel=1e-3)
    assert kept != pytest.approx(losses_of(base, FP32), rel=1e-3)


def test_auto_is_bf16_where_the_card_has_it() -> None:
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    expected = torch.bfloat16 if has_bf16 else torch.float16
    assert choose_precision("auto", torch.device("cuda")).compute == expected


@IN_EACH
@pytest.mark.parametrize("pre_norm", [False, True])
def test_scores_follow_the_cpu(tmp_path: Path, precision: Precision, pre_norm: bool) -> None:
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base", pre_norm=pre_norm))
    blocks = next(RandomBlocks().batches(32, 5))
    batch = Batch.from_prediction(SCHEME.hide(blocks, 0))
    exact = token_losses(load_slice(checkpoint, "de_DE"), [batch])
    model = load_slice(checkpoint, "de_DE", precision=precision).to("cuda")  # type: ignore[arg-type]
    found = token_losses(model, [batch.to(torch.device("cuda"))])
    assert found.device.type == "cuda"
    close = 1e-4 if precision is FP32 else 5e-2
    assert found.tolist() == pytest.approx(exact.tolist(), abs=close)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("dropout", [False, True], ids=["without dropout", "with dropout"])
@pytest.mark.parametrize("precision", [FP32, BF16], ids=["fp32", "bf16"])
def test_the_step_never_waits_for_the_device(
    tmp_path: Path, precision: Precision, dropout: bool
) -> None:
    """But for fp16, whose gradients may overflow; and for the first basis, once in a run."""
    device = torch.device("cuda")
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base"))
    model = load_slice(checkpoint, "quz_PE", precision=precision)
    set_adapter(model, random_adapter(model, seed=1))
    model.to(device)
    config = configure(40, dropout=dropout)
    stepper = Stepper(model, adapter_set(model), SCHEME.corrupt, config, processes_on("cuda"))
    batches = RandomBlocks().batches(4, 3)
    outcomes = []
    for step in range(40):
        must_not_wait = step > 0 and step + 1 != config.num_adam_steps
        torch.cuda.set_sync_debug_mode("error" if must_not_wait else "default")
        try:
            with deterministic_kernels(device):
                outcomes.append(stepper.run(stepper.prepare(step, next(batches))))
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert torch.stack(outcomes).isfinite().all()


@IN_EACH
def test_attention_adds_up_in_one_order(precision: Precision) -> None:
    """At a real size, where the fused kernels do otherwise; also where cuBLAS cannot be told to."""

    def gradients() -> list[torch.Tensor]:
        torch.manual_seed(0)
        shape = (8, 12, 512, 64)
        parts = [torch.randn(shape, device="cuda", dtype=precision.compute) for _ in range(3)]
        for part in parts:
            part.requires_grad_()
        torch.nn.functional.scaled_dot_product_attention(*parts).square().sum().backward()
        return [part.grad for part in parts if part.grad is not None]

    def is_same_again() -> bool:
        first = gradients()
        return all(
            torch.equal(one, other)
            for _ in range(5)
            for one, other in zip(first, gradients(), strict=True)
        )

    device = torch.device("cuda")
    with deterministic_kernels(device):
        assert torch.get_deterministic_debug_mode() == 2
        assert is_same_again()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xmod_extend.training.device._multiplies", lambda device: False)
        with deterministic_kernels(device):
            assert torch.get_deterministic_debug_mode() == 0
            assert is_same_again()
    assert torch.get_deterministic_debug_mode() == 0


class CutError(Exception):
    """Ends a run in its midst."""


@IN_EACH
@pytest.mark.parametrize(
    "config", [{}, {"dropout": True}, {"gradient_checkpointing": True}], ids=str
)
def test_a_resumed_run_has_the_same_bits(
    tmp_path: Path, precision: Precision, config: dict[str, Any]
) -> None:
    base = make_checkpoint(tmp_path / "base")
    settings = configure(40, **config)

    def stop(report: StepReport) -> None:
        if report.step == 27:
            raise CutError

    options: dict[str, Any] = {"precision": precision, "processes": processes_on("cuda")}
    whole = run_training(base, settings, **options)
    options["folder"] = tmp_path / "run"
    with pytest.raises(CutError):
        run_training(base, settings, on_step=stop, **options)
    assert 0 < step_of(saved_states(tmp_path / "run")[-1]) < 27
    assert adapter_bytes(run_training(base, settings, **options)) == adapter_bytes(whole)


def test_a_language_is_added_and_resumed_to_the_same_bytes(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"lang": "quz_PE", "corpus": corpus, "base": base, "max_steps": 60}

    class Cutter(xmod_extend.Callback):
        def on_step(self, report: StepReport) -> None:
            if report.step == 33:
                raise CutError

    whole = xmod_extend.add_language(**options, output=tmp_path / "whole", progress=False)
    again = options | {"output": tmp_path / "again", "save_minutes": 1e-4}
    with pytest.raises(CutError):
        xmod_extend.add_language(**again, callback=Cutter())
    assert 0 < step_of(saved_states(tmp_path / "again.run")[-1]) <= 40
    xmod_extend.add_language(**again, resume=True, progress=False)
    assert whole.evaluation is not None
    files = [tmp_path / run / "model-quz_PE.safetensors" for run in ("whole", "again")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert np.isfinite(whole.evaluation.after.perplexity)
    assert whole.evaluation.after.perplexity < whole.evaluation.before.perplexity

"""The device's settings while training, as far as a machine without a GPU can show them."""

from __future__ import annotations

import os

import pytest
import torch

from xmod_extend.model.global_state import CUBLAS_VARIABLE, own_global_state
from xmod_extend.training.device import deterministic_kernels

GPU = torch.device("cuda")


def settings() -> tuple[int, bool, bool]:
    return (
        torch.get_deterministic_debug_mode(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        torch.backends.cuda.flash_sdp_enabled(),
    )


@pytest.mark.parametrize("can_be_told", [True, False])
def test_a_gpu_adds_up_in_one_order_and_is_left_as_it_was(
    can_be_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where cuBLAS cannot be told any more, by an attention that has only one."""
    monkeypatch.setattr("xmod_extend.training.device._multiplies", lambda device: can_be_told)
    before = settings()
    with pytest.raises(KeyError), deterministic_kernels(GPU):
        assert settings() == ((2, False, True) if can_be_told else (0, False, False))
        raise KeyError
    assert settings() == before


def test_a_processor_needs_no_such_setting() -> None:
    before = settings()
    with deterministic_kernels(torch.device("cpu")):
        assert settings() == before


@pytest.mark.parametrize("value", [None, ":16:8"])
def test_a_job_leaves_the_users_variable_alone(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CUBLAS_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(CUBLAS_VARIABLE, value)
    with own_global_state():
        assert os.environ[CUBLAS_VARIABLE] == ":4096:8"
    assert os.environ.get(CUBLAS_VARIABLE) == value

"""Whatever a caller has set for the process: the same adapter, and all of it is given back."""

from __future__ import annotations

import locale
import os
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

import xmod_extend
from xmod_extend.errors import ModelError
from xmod_extend.model.global_state import own_global_state


@contextmanager
def put(read: Callable[[], Any], write: Callable[[Any], object], value: Any) -> Iterator[None]:
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


def default_dtype() -> Any:
    return put(torch.get_default_dtype, torch.set_default_dtype, torch.float64)


def default_device() -> Any:
    return put(lambda: None, torch.set_default_device, "meta")


def deterministic() -> Any:
    read, write = torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode
    return put(read, write, 2)


def low_precision() -> Any:
    read, write = torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    return put(read, write, "medium")


@contextmanager
def low_precision_by_the_new_way() -> Iterator[None]:
    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this PyTorch has the old way only")
    mkldnn: Any = torch.backends.mkldnn
    with put(lambda: "none", lambda value: setattr(mkldnn.matmul, "fp32_precision", value), "bf16"):
        yield


def no_mkldnn() -> Any:
    mkldnn: Any = torch.backends.mkldnn
    return put(lambda: True, lambda value: setattr(mkldnn, "enabled", value), False)


def other_locale() -> Any:
    def write(value: str) -> None:
        for name in (value, "de_DE.UTF-8", "C.UTF-8", "C"):
            with suppress(locale.Error):
                locale.setlocale(locale.LC_ALL, name)
                return

    return put(lambda: locale.setlocale(locale.LC_ALL), write, "tr_TR.UTF-8")


@contextmanager
def strict_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@contextmanager
def own_accelerator() -> Iterator[None]:
    AcceleratorState._reset_state()
    Accelerator(mixed_precision="bf16", cpu=True)
    yield
    assert Accelerator(cpu=True).mixed_precision == "bf16"
    AcceleratorState._reset_state()


@contextmanager
def seeds() -> Iterator[None]:
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(11)
    yield


STATES: dict[str, Callable[[], Any]] = {
    "float64": default_dtype,
    "default device": default_device,
    "device block": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "deterministic": deterministic,
    "low precision": low_precision,
    "low precision, new": low_precision_by_the_new_way,
    "no mkldnn": no_mkldnn,
    "flush": lambda: put(lambda: False, torch.set_flush_denormal, True),
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True),
    "numpy errors": lambda: np.errstate(all="raise"),
    "seeds": seeds,
    "locale": other_locale,
    "umask": lambda: put(lambda: 0o022, os.umask, 0o077),
    "warnings": strict_warnings,
    "accelerator": own_accelerator,
}
TOGETHER = (
    ("float64", "inference_mode", "autocast", "low precision", "numpy errors", "umask"),
    ("default device", "no_grad", "deterministic", "low precision, new", "locale", "accelerator"),
    ("device block", "no mkldnn", "flush", "seeds", "warnings"),
)


def snapshot() -> list[Any]:
    """All that a job could leave otherwise than it was."""
    precision = []
    for owner in (torch.backends.mkldnn, torch.backends.cuda):
        precision.append(getattr(getattr(owner, "matmul", None), "fp32_precision", None))
    return [
        torch.get_default_dtype(),
        str(torch.get_default_device()),
        torch.is_autocast_enabled("cpu"),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_deterministic_debug_mode(),
        torch.is_anomaly_enabled(),
        torch.backends.mkldnn.enabled,
        precision,
        torch.get_num_threads(),
        torch.get_rng_state().tolist(),
        str(np.random.get_state()),
        random.getstate(),
        np.geterr(),
        locale.setlocale(locale.LC_ALL),
        list(warnings.filters),
        Path.cwd(),
    ]


def add(base: Path, corpus: Path, output: Path) -> bytes:
    record = xmod_extend.add_language(
        lang="quz_PE",
        corpus=corpus,
        base=base,
        output=output,
        max_steps=4,
        batch_size=4,
        lr=0.02,
        dropout=True,
    )
    assert record.evaluation is not None
    score = repr(record.evaluation.after).encode()
    return (output / "model-quz_PE.safetensors").read_bytes() + score


@pytest.fixture(scope="module")
def expected(base: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return add(base, corpus, tmp_path_factory.mktemp("undisturbed") / "out")


@pytest.mark.parametrize(
    "names",
    [
        TOGETHER[0],
        *(pytest.param(names, marks=pytest.mark.slow) for names in TOGETHER[1:]),
        *(pytest.param((name,), marks=pytest.mark.slow) for name in STATES),
    ],
    ids=", ".join,
)
def test_the_callers_settings_change_nothing_and_are_given_back(
    base: Path, corpus: Path, tmp_path: Path, expected: bytes, names: tuple[str, ...]
) -> None:
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(STATES[name]())
        before = snapshot()
        made = add(base, corpus, tmp_path / "out")
        assert snapshot() == before
        probed = xmod_extend.probe_corpus(corpus, base=base)
        assert xmod_extend.verify_checkpoint(tmp_path / "out", base).identical
        xmod_extend.check_corpus(corpus, base=base)
        with pytest.raises(ModelError):
            xmod_extend.verify_checkpoint(tmp_path, base)
        assert snapshot() == before
    assert made == expected
    assert probed == xmod_extend.probe_corpus(corpus, base=base)


def test_an_error_gives_all_of_it_back() -> None:
    with ExitStack() as stack:
        for name in ("float64", "device block", "no_grad", "low precision", "numpy errors"):
            stack.enter_context(STATES[name]())
        before = snapshot()
        with pytest.raises(KeyboardInterrupt), own_global_state():
            torch.manual_seed(1)
            assert torch.get_default_dtype() == torch.ones(1).dtype == torch.float32
            assert torch.ones(1, requires_grad=True).sum().requires_grad
            raise KeyboardInterrupt
        assert snapshot() == before

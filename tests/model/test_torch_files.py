"""A pickle is opened only by a torch that reads it safely, and names what it would have run."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from xmod_extend.errors import ModelError
from xmod_extend.model.torch_files import PickleFile, load_pickle


@pytest.mark.parametrize("version", ["2.6.0", "2.9.1+cu128", "1.13.1"])
def test_no_pickle_is_opened_with_a_torch_that_is_known_to_be_unsafe(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"weight": torch.ones(2)}, path)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", torch.torch_version.TorchVersion(version))
        patch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
        with pytest.raises(ModelError) as caught:
            PickleFile(path)
    assert f"torch {version} does not read these safely" in caught.value.message
    assert "safetensors" in (caught.value.hint or "")
    for safe in ("2.10.0", "2.13.0+cpu", "3.0.0a0"):
        monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion(safe))
        assert PickleFile(path).names == ("weight",)


def test_a_class_without_behaviour_is_read_only_where_it_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"args": Namespace(lr=0.1), "model": {"weight": torch.ones(2)}}, path)
    with pytest.raises(ModelError, match=r"holds code, .* is not loaded: argparse\.Namespace\.$"):
        load_pickle(path)
    loaded = load_pickle(path, inert=[Namespace])
    assert isinstance(loaded, dict) and loaded["args"].lr == 0.1
    # What was expected in one file is not from then on in others.
    with pytest.raises(ModelError, match="holds code"):
        load_pickle(path)
    file = PickleFile(path, part=lambda whole: whole["model"], inert=[Namespace])  # type: ignore[index]
    assert torch.equal(file.read("weight"), torch.ones(2))

"""AdapterHub's library and transformers 4 compute what we do, in an environment of their own."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from checkpoints import extend, make_checkpoint
from sample_text import write_tokenizer

import xmod_extend
from xmod_extend.model.base import resolve_base
from xmod_extend.model.checkpoint import open_checkpoint

SCRIPTS = Path(__file__).parents[2] / "scripts"
WAYS = (
    "plain",
    "load_adapter",
    "AdapterSetup",
    "whole as it is",
    "whole, set_active_adapters",
    "whole, AdapterSetup",
    "whole, BatchSplit",
    "made there, bin, as a pack installed here",
    "made there, safetensors, as a pack installed here",
    "saved there as a whole, converted back",
)


@pytest.fixture
def proof(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS / "benchmarks"))
    monkeypatch.syspath_prepend(str(SCRIPTS / "interoperability"))
    return importlib.import_module("adapterhub")


@pytest.fixture
def python(proof: Any) -> Path:
    environments = importlib.import_module("environments")
    python: Path | None = environments.find_environment(proof.ENVIRONMENT, environments.CACHE)
    if python is None:
        pytest.skip(
            f"make its environment with scripts/benchmarks/environments.py {proof.ENVIRONMENT}"
        )
    return python


def check(proof: Any, found: dict[str, float]) -> None:
    assert tuple(found) == WAYS
    assert all(difference <= proof.TOLERANCE for difference in found.values()), found


@pytest.mark.slow
def test_a_pre_norm_model_computes_the_same_there_and_back(
    proof: Any, python: Path, tmp_path: Path
) -> None:
    base = make_checkpoint(tmp_path / "base", pre_norm=True)
    write_tokenizer(base)
    extended = extend(open_checkpoint(base), tmp_path / "extended", "quz_PE")
    (tmp_path / "work").mkdir()
    check(proof, proof.prove(base, extended, tmp_path / "work", python))


@pytest.mark.slow
def test_a_language_that_was_added_to_tiny_computes_the_same_there_and_back(
    proof: Any, python: Path, tmp_path: Path
) -> None:
    """Its norms are those of xmod-base."""
    corpus = SCRIPTS.parent / "corpora" / "quz_PE.txt"
    extended = tmp_path / "extended"
    xmod_extend.add_language(
        lang="quz_PE", corpus=corpus, base="tiny", output=extended, max_steps=3, progress=False
    )
    (tmp_path / "work").mkdir()
    check(proof, proof.prove(resolve_base("tiny").fetch(), extended, tmp_path / "work", python))


@pytest.mark.slow
def test_the_script_prints_the_figures_and_notices_a_difference(
    proof: Any, python: Path, tmp_path: Path
) -> None:
    base = make_checkpoint(tmp_path / "base")
    write_tokenizer(base)
    extended = extend(open_checkpoint(base), tmp_path / "extended", "quz_PE")
    # Languages that are loaded into another base compute something else there.
    other = make_checkpoint(tmp_path / "other", seed=9)
    done = subprocess.run(
        [sys.executable, SCRIPTS / "interoperability" / "adapterhub.py", other, extended],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    figures = dict(reversed(line.split(maxsplit=1)) for line in done.stdout.splitlines())
    assert tuple(figures) == WAYS
    differing = {way for way, difference in figures.items() if float(difference) > proof.TOLERANCE}
    assert differing == {"load_adapter", "AdapterSetup"}
    assert '"adapters": "1.3.0"' in done.stderr

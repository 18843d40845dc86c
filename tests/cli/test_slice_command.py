"""`slice` as a shell sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xmod_extend", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_slice_is_written_and_its_ids_are_listed(tmp_path: Path) -> None:
    small = tmp_path / "small"
    done = run("slice", "tiny", "--langs", "es_XX,en_XX", "--output", small)
    assert done.returncode == 0, done.stderr
    assert "Its ids: es_XX is 0, en_XX is 1 (" in done.stdout
    assert "the logits of 2 languages bit for bit" in done.stdout
    again = run("slice", small, "--langs", "en_XX", "--langs", "es_XX", "--output", small)
    assert again.returncode == 2
    assert "only read" in again.stderr
    one = tmp_path / "one"
    quiet = run("slice", small, "--langs", "en_XX", "--output", one, "-q")
    assert (quiet.stdout, quiet.stderr) == (f"{one}\n", "")
    verified = run("verify", one, "--base", small)
    assert verified.returncode == 6
    assert "This is a slice of small, without 1 of the base's 2 languages" in verified.stdout
    found = run("slice", small, "--langs", "es_XX,en_XX", "--output", one, "--force", "--json")
    assert json.loads(found.stdout)["schema_version"] == 1
    assert json.loads(found.stdout)["languages"] == ["es_XX", "en_XX"]


def test_a_wrong_code_is_explained(tmp_path: Path) -> None:
    done = run("slice", "tiny", "--langs", "es_MX", "--output", tmp_path / "small")
    assert done.returncode == 4
    assert "tiny has no language 'es_MX'" in done.stderr
    assert "Did you mean es_XX?" in done.stderr
    assert not (tmp_path / "small").exists()

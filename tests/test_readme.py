"""The README's commands work as they are written."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
SHELL = [
    line.strip()
    for language, block in BLOCKS
    if language == "sh"
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]
PYTHON = [block for language, block in BLOCKS if language == "python"]


def test_every_script_it_names_exists_and_can_be_run() -> None:
    scripts = {line.split()[0] for line in SHELL if line.startswith("scripts/")}
    assert {"scripts/demo", "scripts/test"} <= scripts
    for script in scripts:
        assert os.access(ROOT / script, os.X_OK), script


def test_every_option_it_names_exists() -> None:
    from typer.main import get_command

    from xmod_extend.cli.app import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    named = [line for line in SHELL if line.startswith("xmod-extend ")]
    assert named
    for line in named:
        words = shlex.split(line, comments=True)
        known = {option for p in commands[words[1]].params for option in p.opts}
        for word in words[2:]:
            assert not word.startswith("-") or word in known, line


@pytest.mark.slow
def test_its_commands_run(tmp_path: Path) -> None:
    """In the README's order, in a folder that holds the sample corpora; training is cut short."""
    (tmp_path / "corpora").symlink_to(ROOT / "corpora")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for line in SHELL:
        if not line.startswith("xmod-extend ") or "--base tiny" not in line:
            continue
        if line.startswith("xmod-extend add") and "--plan" not in line:
            line += " --max-steps 20"
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert PYTHON
    for block in PYTHON:
        code = block.replace('base="tiny"', 'base="tiny", max_steps=20')
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"

"""Windows and macOS lack some of what Linux has; the package does without it, or asks first.

Linux is what all other tests run on. These machines are stood in for by taking away what they lack.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from other_system import MODULES_NOT_ON_WINDOWS, NOT_ON_WINDOWS

import xmod_extend

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "xmod_extend"
LACKING = {
    f"{module.__name__}.{name}"
    for module, names in NOT_ON_WINDOWS.items()
    for name in names.split()
} | set(MODULES_NOT_ON_WINDOWS)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="takes away what Linux has")


def run_on(system: str, *command: object) -> str:
    done = subprocess.run(
        [sys.executable, TESTS / "other_system.py", system, *map(str, command)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNDEFAULTENCODING": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_languages_are_added_on_windows(base: Path, corpus: Path, tmp_path: Path) -> None:
    one, another = ("--lang", "quz_PE", "--corpus", corpus), ("--lang", "ay_BO", "--corpus", corpus)
    output = tmp_path / "extended"
    options = ("--base", base, "--output", output, "--max-steps", 4)
    printed = run_on(
        "windows",
        *("add", *one, *options, "--save-minutes", 0.0001),
        *(",", "info", output, ","),
        # Processes side by side; the result takes the place of what is there.
        *("add", *one, *another, *options, "--jobs", 2, "--force"),
    )
    assert "4: en_XX, de_DE, sw_KE, quz_PE" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["extended"]


@pytest.mark.slow
def test_a_language_is_added_on_macos(base: Path, corpus: Path, tmp_path: Path) -> None:
    options = ("--base", base, "--output", tmp_path / "extended", "--max-steps", 4)
    run_on("macos", "add", "--lang", "quz_PE", "--corpus", corpus, *options)
    assert [path.name for path in tmp_path.iterdir()] == ["extended"]


@pytest.mark.parametrize("system", ["windows", "macos"])
def test_the_command_line_starts(system: str) -> None:
    assert run_on(system, "--version").split()[-1] == xmod_extend.__version__


def names_used(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """What may be lacking, with the function or other statement that would have to ask for it."""
    for statement in [
        part
        for each in tree.body
        for part in (each.body if isinstance(each, ast.ClassDef) else [each])
    ]:
        for node in ast.walk(statement):
            if isinstance(node, ast.Attribute):
                yield statement, ast.unparse(node)
            elif isinstance(node, ast.Import):
                yield from ((statement, alias.name) for alias in node.names)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_what_may_be_lacking_is_asked_for(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    if not any(name.rsplit(".", 1)[-1] in source for name in LACKING):
        return
    for statement, name in names_used(ast.parse(source)):
        if name in LACKING:
            asking = ast.unparse(statement)
            questions = ("hasattr(", "getattr(", "sys.platform", "except (ImportError")
            assert any(question in asking for question in questions), f"{name} in:\n{asking}"

"""A module imports only from stages before its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "xmod_extend"

STAGES = (
    "errors",
    "arguments",
    "options",
    "languages",
    "files",
    "hub",
    "text",
    "tokens",
    "objectives",
    "model",
    "training",
    "evaluation",
    "report",
    "packs",
    "jobs",
    "cli",
)
"""From left to right: the way of the data. `__init__` and `__main__` may name everything."""

MODULES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem[:2] != "__"
)


def stage_of(module: str) -> int:
    return STAGES.index(module.split(".")[1])


def imports(path: Path) -> set[str]:
    """The package's own modules that a file imports when it runs; those for types alone do not."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name for name in found if name.startswith("xmod_extend.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_to_the_left(path: Path) -> None:
    own = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    later = {name for name in imports(path) if stage_of(name) > stage_of(own)}
    assert not later, f"{own} imports {later}"


def test_only_the_command_line_prints_or_exits() -> None:
    guilty = []
    for path in MODULES:
        if path.parent.name == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name in ("print", "exit", "quit", "sys.exit", "os._exit"):
                    guilty.append(f"{path.name}:{node.lineno} {name}")
    assert not guilty


def test_the_public_names_exist_and_are_listed() -> None:
    import xmod_extend

    assert xmod_extend.__all__ == sorted(xmod_extend.__all__)
    for name in xmod_extend.__all__:
        assert getattr(xmod_extend, name) is not None
    with pytest.raises(AttributeError):
        xmod_extend.nothing  # noqa: B018

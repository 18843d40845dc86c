"""Docstrings open with a verb in the imperative, so that a list of them reads as one text."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "xmod_extend"
MODULES = sorted(PACKAGE.rglob("*.py"))
NO_VERBS = set(
    "The A An That Which What Whether Where When Who How Why One All Each Every Some Any No "
    "Several Only About As At Behind By For From In Its Of On To With Within Plain".split()
)
"""Openings of noun phrases and of fragments."""
VERBS_IN_S = {"Pass", "Guess", "Address", "Discuss", "Process", "Cross", "Bias"}


def functions(path: Path) -> list[tuple[str, str]]:
    """The functions of a module whose docstring is not a noun phrase by right, with it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef):
            continue
        decorators = " ".join(map(ast.unparse, node.decorator_list))
        # A property is a thing, and on_... tells what happened.
        if "property" in decorators or node.name.startswith("on_"):
            continue
        if (docstring := ast.get_docstring(node)) is not None:
            found.append((node.name, docstring))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_function_says_what_it_does(path: Path) -> None:
    for name, docstring in functions(path):
        first = docstring.split()[0].rstrip(",:")
        is_verb = re.fullmatch(r"[A-Z][a-z]+", first) and first not in NO_VERBS
        is_third_person = first.endswith("s") and first not in VERBS_IN_S
        assert is_verb and not is_third_person, f"{name}: {docstring.splitlines()[0]}"


def test_no_docstring_begins_with_a_fragment() -> None:
    fragments = [
        f"{path.name}:{number} {line.strip()}"
        for path in MODULES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.match(r'\s*"""(Of|That|Which)\b', line)
    ]
    assert not fragments

"""What a refused command looks like, whatever was wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

Result = tuple[int, str, str]
Invoke = Callable[..., Result]

PROGRESS = re.compile(r"(error|hint|warning): .+|  .+|.+ \.\.\.")
"""Each line on stderr is one of these; a library's own line is none of them."""
LOWER_CASE = re.compile(
    r"\w+: (the|a|an|did|give|use|there|only|check|add|download|put|write|name|choose|one|no) "
)


def listing(*folders: Path) -> list[str]:
    return sorted(str(path) for folder in folders for path in folder.rglob("*"))


def assert_explained(result: Result, code: int, expected: str) -> None:
    """The right exit code, one error that a reader understands, and nothing else."""
    found, out, err = result
    assert found == code, err
    assert out == ""
    lines = err.splitlines()
    assert all(PROGRESS.fullmatch(line) for line in lines), err
    errors = [line for line in lines if line.startswith("error: ")]
    hints = [line for line in lines if line.startswith("hint: ")]
    assert len(errors) == 1 and len(hints) <= 1, err
    assert lines[-1 - len(hints)] == errors[0]
    assert errors[0].endswith((".", "?")) and not errors[0].endswith("..")
    assert all(line.endswith((".", "?")) for line in hints)
    # A sentence begins with a capital letter, unless it begins with a name that was given.
    assert not any(LOWER_CASE.match(line) for line in errors + hints), err
    assert re.search(expected, " ".join(errors + hints)), err
    assert "Unexpected" not in err and "Traceback" not in err

"""How long idle threads spin is bounded by the command line alone, and only where nobody chose."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from xmod_extend.cli import SPIN_VARIABLE, WAIT_VARIABLES, bound_waiting


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WAIT_VARIABLES:
        # Set first, so that what is set in a test is taken back as well.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_the_command_line_bounds_it_before_torch_is_loaded() -> None:
    code = (
        "import atexit, os, sys\n"
        "import xmod_extend\n"
        f"before = {SPIN_VARIABLE!r} in os.environ or 'torch' in sys.modules\n"
        f"atexit.register(lambda: print(before, os.environ.get({SPIN_VARIABLE!r})))\n"
        "sys.argv[1:] = ['--version']\n"
        "from xmod_extend.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False 1000"


@pytest.mark.parametrize("name", WAIT_VARIABLES)
def test_what_the_user_chose_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setenv(name, "passive")
    bound_waiting()
    assert {name: os.environ.get(name) for name in WAIT_VARIABLES} == {
        other: "passive" if other == name else None for other in WAIT_VARIABLES
    }


def test_nothing_is_done_where_torch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)
    bound_waiting()
    assert SPIN_VARIABLE not in os.environ

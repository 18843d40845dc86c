"""The notebooks run from the first cell to the last, use what is public, and carry no output."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

import xmod_extend

FOLDER = Path(__file__).parent.parent / "scripts" / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
SECONDS = 900
"""For one cell: a busy machine is no reason to fail."""
STRICT = "import warnings\n\nwarnings.simplefilter('error')"

each_notebook = pytest.mark.parametrize("name", NAMES)


def read(name: str) -> NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_there_is_one_for_each_question() -> None:
    assert NAMES == ["before_and_after", "is_it_good_enough", "zero_shot_transfer"]


@each_notebook
def test_it_is_valid_and_has_no_output(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None
        assert not cell.metadata
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.cells[0].source.startswith("# ")


@each_notebook
def test_the_first_cell_installs_where_nothing_is_installed(name: str) -> None:
    first = code_cells(read(name))[0]
    guard, install = first.splitlines()[-2:]
    assert guard == 'if importlib.util.find_spec("xmod_extend") is None:'
    assert install == '    %pip install -q "xmod-extend[notebook]"'


@each_notebook
def test_it_says_in_one_place_what_to_change(name: str) -> None:
    cells = read(name).cells
    (place,) = (i for i, cell in enumerate(cells) if "facebook/xmod-base" in cell.source)
    assert "the only one to change" in cells[place].source
    assert 'BASE = "tiny"' in cells[place + 1].source


@each_notebook
def test_it_uses_what_is_public(name: str) -> None:
    for source in code_cells(read(name))[1:]:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("xmod_extend"):
                assert node.module == "xmod_extend"
                assert {alias.name for alias in node.names} <= set(xmod_extend.__all__)
            if isinstance(node, ast.Attribute):
                assert not node.attr.startswith("_")
        for used in re.findall(r"\bxmod_extend\.(\w+)", source):
            assert used in xmod_extend.__all__


@pytest.mark.slow
@each_notebook
def test_it_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = read(name)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STRICT))
    work = tmp_path / "work"
    work.mkdir()
    resources = {"metadata": {"path": str(work)}}
    # A cell that raises, or warns, fails the test with its traceback.
    NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [kind for output in outputs for kind in output.get("data", {})]
    assert shown.count("text/html") >= 2 and shown.count("image/png") >= 1
    streams = [output for output in outputs if output.output_type == "stream"]
    # A notebook shows stderr as if something was wrong.
    assert {output.name for output in streams} == {"stdout"}
    written = "".join(output.text for output in streams)
    assert "Warning" not in written and "Traceback" not in written

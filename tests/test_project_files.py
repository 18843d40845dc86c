"""The files for contributors, for GitHub and for citing say what is so."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

import xmod_extend

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
YAML_FILES = [
    *sorted(path for path in GITHUB.rglob("*") if path.suffix in (".yml", ".yaml")),
    ROOT / ".pre-commit-config.yaml",
    ROOT / "CITATION.cff",
]
FORMS = sorted(
    path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"
)
CONTRIBUTING = (GITHUB / "CONTRIBUTING.md").read_text(encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    # As GitHub reads it: "on" is a word, not a truth value.
    values = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    assert isinstance(values, dict)
    return values


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", YAML_FILES, ids=relative)
def test_each_yaml_file_can_be_read(path: Path) -> None:
    assert read(path)
    assert yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FORMS, ids=relative)
def test_an_issue_form_is_one_that_github_shows(path: Path) -> None:
    form = read(path)
    assert form["name"] and form["description"]
    fields = [element for element in form["body"] if element["type"] != "markdown"]
    assert any(field.get("validations", {}).get("required") == "true" for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)
    for field in fields:
        assert field["type"] in ("input", "textarea", "dropdown", "checkboxes")
        assert field["attributes"]["label"]


def test_there_is_a_form_for_each_kind_of_report() -> None:
    assert [path.stem for path in FORMS] == ["bug", "feature", "language"]


def test_the_workflow_runs_what_ci_runs() -> None:
    workflow = read(GITHUB / "workflows" / "checks.yml")
    assert set(workflow["on"]) == {"push", "pull_request"}
    (job,) = workflow["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    claimed = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for version in job["strategy"]["matrix"]["python-version"]:
        assert f"Programming Language :: Python :: {version}" in claimed


def test_ci_builds_the_package_and_runs_all_tests() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert "scripts/build" in lines
    # Fails where there is no browser, so that no test is left out unnoticed.
    assert "scripts/install_browser" in lines
    # Last, because its closing line is the summary of the run.
    assert lines[-1] == "exec scripts/test --all"


def test_a_commit_is_checked_as_ci_checks_it() -> None:
    (repository,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    hooks = [hook["entry"] for hook in repository["hooks"]]
    lines = (ROOT / "scripts" / "test").read_text(encoding="utf-8").splitlines()
    checks = [line for line in lines if line.startswith(".venv/bin/") and "pytest" not in line]
    assert hooks == checks


@pytest.mark.parametrize("path", sorted(GITHUB.glob("*.md")), ids=relative)
def test_what_a_page_for_contributors_names_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"(?<![\w./])((?:docs|scripts|tests|xmod_extend)/[\w./]+\w)", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (GITHUB / name).exists(), name


def test_commands_of_contributing_can_be_run() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", CONTRIBUTING, flags=re.DOTALL)
    scripts = {line.split()[0] for block in blocks for line in block.splitlines()}
    assert scripts == {"scripts/install", "scripts/test", "scripts/build", "scripts/demo"}
    for script in scripts:
        assert os.access(ROOT / script, os.X_OK), script


def test_the_citation_is_of_this_version() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"] == "xmod-extend"
    assert citation["message"]
    assert citation["authors"] == [{"name": "The xmod-extend authors"}]
    assert citation["version"] == xmod_extend.__version__
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert citation["license"] == pyproject["project"]["license"]


def test_the_version_is_written_in_one_place() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in pyproject["project"]
    assert pyproject["project"]["dynamic"] == ["version"]
    assert pyproject["tool"]["setuptools"]["dynamic"]["version"] == {
        "attr": "xmod_extend.__version__"
    }


def test_the_newest_release_of_the_changelog_is_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[([\d.]+)\] - (\d{4}-\d{2}-\d{2})$", text, flags=re.MULTILINE)
    released = read(ROOT / "CITATION.cff")["date-released"]
    assert releases[0] == (xmod_extend.__version__, released)
    assert date.fromisoformat(released)


def test_the_citation_names_the_paper_of_x_mod() -> None:
    (paper,) = read(ROOT / "CITATION.cff")["references"]
    names = [author["family-names"] for author in paper["authors"]]
    assert names == ["Pfeiffer", "Goyal", "Lin", "Li", "Cross", "Riedel", "Artetxe"]
    assert paper["year"] == "2022"
    assert [entry["value"] for entry in paper["identifiers"]] == ["arXiv:2205.06266"]


UNSAFE = re.compile(
    r"eval|exec|compile|__import__|os\.system|os\.popen"
    r"|(pickle|dill|cloudpickle|marshal|shelve|joblib)\.(load|loads|open|Unpickler)"
    r"|yaml\.(load|load_all|full_load|unsafe_load)"
)


def test_nothing_but_what_security_names_can_run_what_a_file_holds() -> None:
    found = []
    for path in sorted((ROOT / "xmod_extend").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            given = {each.arg: ast.unparse(each.value) for each in node.keywords}
            safe = {"weights_only": "True"} if name == "torch.load" else {}
            safe |= {
                key: "False"
                for key in ("trust_remote_code", "allow_pickle", "shell")
                if key in given
            }
            if any(given.get(key) != value for key, value in safe.items()) or UNSAFE.fullmatch(
                name
            ):
                found.append(f"{path.relative_to(ROOT).as_posix()} {name}")
    # The workers of one command, which speak over their own pipes.
    assert found == ["xmod_extend/text/workers.py pickle.load"] * 3


def test_no_two_test_files_have_one_name() -> None:
    """pytest imports them by their names alone."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []

"""The README and docs/ name what there is: scripts, options, files, headings, public names."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from documents import DOCUMENTS, NOT_RUN, ROOT, all_commands, read_blocks
from typer.main import get_command

import xmod_extend
from xmod_extend.cli.app import app

MOST_WORDS = 900


def test_the_readme_can_be_read_in_one_sitting() -> None:
    assert len(DOCUMENTS["README.md"].read_text(encoding="utf-8").split()) <= MOST_WORDS


def test_every_command_is_one_that_a_test_runs() -> None:
    commands = all_commands()
    assert set(NOT_RUN) <= set(commands)
    for command in commands:
        words = shlex.split(command)
        assert command in NOT_RUN or words[0] == "xmod-extend" or "xmod_extend" in words, command


def test_every_script_exists_and_can_be_run() -> None:
    scripts = {command for command in all_commands() if command.startswith("scripts/")}
    assert scripts == {"scripts/demo", "scripts/test"}
    for script in scripts:
        assert os.access(ROOT / script, os.X_OK), script


def test_the_output_in_the_readme_is_that_of_the_demonstration() -> None:
    (shown,) = (
        block.commands[0]
        for block in read_blocks(DOCUMENTS["README.md"])
        if block.language == "console"
    )
    demo = (ROOT / "scripts" / "demo").read_text(encoding="utf-8").replace("\\\n", " ")
    (run,) = re.findall(r"^\.venv/bin/(xmod-extend add .*?) \$force$", demo, flags=re.MULTILINE)
    assert [word if word != "$output" else "tiny-quz" for word in shlex.split(run)] == shlex.split(
        shown
    )


def test_every_option_exists() -> None:
    known = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
    }
    for command in all_commands():
        words = shlex.split(command)
        own = [place for place, word in enumerate(words) if word in ("xmod-extend", "xmod_extend")]
        if not own or words[1] == "--version":
            continue
        name, *rest = words[own[0] + 1 :]
        for word in rest:
            assert not word.startswith("-") or word in known[name], command


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_option_in_a_sentence_exists(name: str) -> None:
    text = re.sub(r"```.*?```", "", DOCUMENTS[name].read_text(encoding="utf-8"), flags=re.DOTALL)
    options = {
        option
        for command in get_command(app).commands.values()  # type: ignore[attr-defined]
        for parameter in command.params
        for option in parameter.opts
    }
    for option in re.findall(r"`(-{1,2}[a-z][a-z-]*)", text):
        assert option in options, option


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    path = DOCUMENTS[name]
    for link in re.findall(r"\]\((?!https://)([^)]+)\)", path.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), link
        assert not anchor or anchor in anchors(there), link


def anchors(path: Path) -> set[str]:
    """The names that GitHub gives to a document's headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_public_name_exists(name: str) -> None:
    text = DOCUMENTS[name].read_text(encoding="utf-8")
    for public in re.findall(r"xmod_extend\.([A-Za-z_]+)", text):
        assert public in xmod_extend.__all__, public


def test_the_guide_and_the_pages_on_sharing_name_all_that_is_public() -> None:
    pages = ("guide", "sharing", "combining", "publishing", "using")
    text = " ".join(DOCUMENTS[f"docs/{page}.md"].read_text(encoding="utf-8") for page in pages)
    named = set(re.findall(r"xmod_extend\.([A-Za-z_]+)", text))
    assert set(xmod_extend.__all__) - named <= {"RunRecord", "__version__", "parse_language"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_variable_of_ours_exists(name: str) -> None:
    source = " ".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "xmod_extend").rglob("*.py")
    )
    for variable in re.findall(r"XMOD_EXTEND_\w+", DOCUMENTS[name].read_text(encoding="utf-8")):
        assert f'"{variable}"' in source, variable

"""A command's help: every option once, under its group's heading, with its choices and default."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest
from refusals import Invoke

from xmod_extend.jobs.options import ALIASES, AddOptions, CorpusOptions
from xmod_extend.options import OptionGroup, flag, options_of

PANELS = ["What", "Text", "Training", "Output", "Running"]
Help = Callable[..., str]


@pytest.fixture
def show_help(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> Help:
    def show(command: str, columns: int = 80) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        code, out, err = invoke(command, "--help")
        assert (code, err) == (0, "")
        return out

    return show


def panels(text: str) -> dict[str, str]:
    """The text below each heading."""
    parts = re.split(r"^(\w+):\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def described(text: str) -> dict[str, str]:
    """The text of each option, in one line."""
    parts = re.split(r"^  (?:-\w, )?(--[a-z-]+)", text, flags=re.MULTILINE)
    return {
        name: " ".join(re.sub(r"-\n +", "-", words).split())
        for name, words in zip(parts[1::2], parts[2::2], strict=True)
    }


@pytest.mark.parametrize("columns", [80, 40])
def test_add_shows_each_option_in_its_panel_with_choices_and_default(
    show_help: Help, columns: int
) -> None:
    found = panels(show_help("add", columns))
    assert list(found) == [*PANELS, "Help", "Examples"]
    shown = {panel: described(text) for panel, text in found.items()}
    for option in options_of(AddOptions).values():
        text = shown[option.panel].pop(flag(option.name))
        assert option.help in text
        assert "|".join(option.choices) in text
        assert option.is_required or "[default: " in text
    assert set(shown["Output"]) == {"--json", "--quiet"}
    assert set(shown["Running"]) == {"--config", "--plan-file", "--jobs"}
    assert not shown["What"] and not shown["Text"] and not shown["Training"]


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("--seed", "0"),
        ("--dropout", "off"),
        ("--save-minutes", "10"),
        ("--max-steps", "by the size of the corpus"),
        ("--lr", "by the width of the base"),
        ("--json", "off"),
    ],
)
def test_add_shows_a_default_whatever_it_is(show_help: Help, name: str, default: str) -> None:
    assert described(show_help("add"))[name].endswith(f"[default: {default}]")


@pytest.mark.parametrize(
    "command", ["add", "check", "probe", "transfer", "verify", "info", "pack", "install", "remove"]
)
def test_a_help_fits_a_narrow_terminal_and_cuts_no_name(show_help: Help, command: str) -> None:
    wide, narrow = show_help(command, 80), show_help(command, 40)
    assert described(wide).keys() == described(narrow).keys()
    assert max(map(len, wide.splitlines())) <= 80
    too_long = [line for line in narrow.splitlines() if len(line) > 40]
    assert all("|" in line or "://" in line for line in too_long), too_long


@pytest.mark.parametrize("command", ["check", "probe"])
def test_commands_that_share_options_describe_them_alike(show_help: Help, command: str) -> None:
    mine, adds = panels(show_help(command)), panels(show_help("add"))
    group: type[OptionGroup] = CorpusOptions
    for option in options_of(group).values():
        if option.name != "streaming":
            name, panel = flag(option.name), option.panel
            # Some versions of Typer escape the bracket.
            text = re.sub(r" \\?\[required\]$", "", described(mine[panel])[name])
            assert text == described(adds[panel])[name]
        assert (flag(option.name) in described(mine[option.panel])) is (option.name != "streaming")


@pytest.mark.parametrize("columns", [80, 40])
def test_add_names_each_alias_once_and_ends_with_three_examples(
    show_help: Help, columns: int
) -> None:
    text = show_help("add", columns)
    for alias in ALIASES:
        assert text.count(flag(alias)) == 1
    listed, examples = text.split("\nExamples:\n")
    assert "the number of processes" in " ".join(listed.split())
    assert examples.strip().count("\n\n") == 2
    assert examples.count("add") == 3


def test_each_example_is_a_command_that_add_accepts(show_help: Help, invoke: Invoke) -> None:
    for example in show_help("add").split("\nExamples:\n")[1].split("\n\n"):
        (command,) = re.findall(r"add (?:.|\n)+", example)
        words = shlex.split(command.replace("\\\n", ""))
        code, _, err = invoke(*words)
        # All that is wrong is that the texts are not here.
        assert code == 3 and re.search("no file|does not exist", err), err

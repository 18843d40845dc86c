"""Every hint can be followed: what it names exists, and what it meant is what was typed."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from refusals import Invoke, assert_explained
from typer.main import get_command

from xmod_extend.cli.app import app
from xmod_extend.cli.mistyped import NO_OPTION, OTHER_NAMES, hint_for_option

PACKAGE = Path(__file__).parent.parent.parent / "xmod_extend"
COMMANDS = {
    name: [option for parameter in command.params for option in parameter.opts]
    for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
}
KNOWN_OPTIONS = {
    "--help",
    "--version",
    *(each for options in COMMANDS.values() for each in options),
}

OTHER_PROGRAMS = {"git", "hf", "iconv", "torchrun", "accelerate", "file", "python", "pip"}
NOT_OUR_OPTIONS = {"--nproc-per-node"}
NAMES = re.compile(
    r"[a-z_]+(_[a-z]+)+|_?[A-Za-z_.]+\.[a-z]+|languages|tiny|X( --help)?|(- \{)?\w+:.*"
)
"""Fields, files, YAML and functions in backticks, and the base that comes with the package."""


def texts(node: ast.AST) -> Iterator[str]:
    """The literal texts of an expression; what is filled in is left out."""
    for each in ast.walk(node):
        if isinstance(each, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "X" for part in each.values
            )
        elif isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def hints() -> Iterator[tuple[str, str]]:
    """Where a hint stands, and its text: an argument or a variable of that name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            value: ast.AST | None = None
            if isinstance(node, ast.keyword) and node.arg == "hint":
                value = node.value
            elif isinstance(node, ast.Assign):
                targets = [getattr(target, "id", "") for target in node.targets]
                value = (
                    node.value if any(re.search("hint|HINT", each) for each in targets) else None
                )
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "error":
                value = ast.Tuple(elts=list(node.args[1:]), ctx=ast.Load())
            if value is not None:
                for text in texts(value):
                    yield f"{path.relative_to(PACKAGE)}: {text[:30]}", text


def test_there_are_hints() -> None:
    assert len(set(hints())) > 100


def test_every_option_that_a_text_names_exists() -> None:
    unknown = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name == "mistyped.py":
            continue
        for text in texts(ast.parse(path.read_text(encoding="utf-8"))):
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text):
                if option not in KNOWN_OPTIONS | NOT_OUR_OPTIONS:
                    unknown.add((path.name, option))
    assert not unknown


def test_every_command_that_a_hint_names_exists() -> None:
    unknown = set()
    for place, text in hints():
        for quoted in re.findall(r"`([^`]+)`", text):
            words = quoted.split()
            if words[0] == "xmod-extend" and len(words) > 1:
                words = words[1:]
            options = [word for word in words[1:] if word.startswith("--")]
            if words[0] in COMMANDS:
                unknown.update((place, each) for each in options if each not in COMMANDS[words[0]])
            elif words[0] not in OTHER_PROGRAMS and not NAMES.fullmatch(quoted):
                unknown.add((place, quoted))
    assert not unknown


def test_no_hint_names_a_command_that_is_only_planned() -> None:
    planned = r"\b(with|by|use|run|try) (eval|compare|report|push|remove|slice|convert|pack)\b"
    assert not [each for each in hints() if re.search(planned, each[1], re.IGNORECASE)]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--learningrate", "--learning-rate"),
        ("--random-seed", "--seed"),
        ("--epoch", "--epochs"),
        ("--lang-code", "--lang"),
        ("--language", "--lang"),
        ("--save-dir", "--output"),
        ("--corpora", "--corpus"),
        ("--batchsize", "--batch-size"),
        ("--maxsteps", "--max-steps"),
        ("--heldout", "--held-out"),
    ],
)
def test_what_an_unknown_option_meant(invoke: Invoke, work: Path, typed: str, meant: str) -> None:
    result = invoke("add", "--corpus", "x.txt", typed, "1")
    assert_explained(result, 2, rf"No such option: {typed}\. hint: Did you mean {meant}\?")


def test_what_others_have_an_option_for_is_told() -> None:
    for names, hint in NO_OPTION.items():
        for name in names:
            assert hint_for_option(name, COMMANDS["add"]) == hint
            assert name not in KNOWN_OPTIONS
    for name, meant in OTHER_NAMES.items():
        assert name not in COMMANDS["add"] and meant in COMMANDS["add"]
        assert hint_for_option(name, COMMANDS["add"]) == f"Did you mean {meant}?"
    assert hint_for_option("--train-file", COMMANDS["check"]) == "Did you mean --corpus?"
    assert hint_for_option("--learning-rate", COMMANDS["info"]) is None
    assert hint_for_option("--zzz", COMMANDS["add"]) is None


def test_a_pattern_without_quotes_is_answered_with_the_command_that_works(
    invoke: Invoke, work: Path, corpus: Path, base: Path
) -> None:
    lines = corpus.read_text().splitlines()
    for number in range(3):
        (work / f"part {number}.txt").write_text("\n".join(lines[number::3]))
    names = sorted(path.name for path in work.iterdir())
    result = invoke("check", "--corpus", *names, "--base", base, "-q")
    assert_explained(result, 2, r"and 3 words follow it: part 0\.txt, part 1\.txt")
    (command,) = re.findall("`(.+)`", result[2])
    assert "--corpus '*.txt' --base" in command
    assert invoke(*shlex.split(command)[1:])[:2] == (0, "800\n")
    (work / "other.txt").write_text("of another kind")
    result = invoke("check", "--base", base, "-q", "--corpus", *names)
    (command,) = re.findall("`(.+)`", result[2])
    assert "--corpus 'part 0.txt' --corpus 'part 1.txt' --corpus 'part 2.txt'" in command
    assert invoke(*shlex.split(command)[1:])[:2] == (0, "800\n")

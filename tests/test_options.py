"""Options: one list for flags, file and call; a mistake is named before anything is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xmod_extend.errors import UsageError
from xmod_extend.options import AddOptions, merge_options

GIVEN = {"lang": "quz_PE", "corpus": "a.txt"}


def test_one_path_or_several() -> None:
    assert merge_options(None, GIVEN).corpus == ("a.txt",)
    several = GIVEN | {"corpus": [Path("a.txt"), "b.txt"]}
    assert merge_options(None, several).corpus == ("a.txt", "b.txt")


def test_the_given_comes_before_the_file_before_the_default(tmp_path: Path) -> None:
    file = tmp_path / "add.yaml"
    file.write_text("lang: ay_BO\nbatch-size: 24\nlr: 5e-4\nheld_out: h.txt\nforce: true\n")
    options = merge_options(file, GIVEN)
    assert (options.lang, options.batch_size, options.lr) == ("quz_PE", 24, 5e-4)
    assert (options.held_out, options.force, options.seed) == ("h.txt", True, 0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"max_step": 3}, "max_steps"),
        ({"max_steps": 0}, "--max-steps"),
        ({"batch_size": -1}, "--batch-size"),
        ({"lr": float("nan")}, "--lr"),
        ({"lr": float("inf")}, "--lr"),
        ({"epochs": 0.0}, "--epochs"),
        ({"max_steps": 3, "epochs": 1.0}, "--epochs"),
        ({"mlm_probability": 1.0}, "--mlm-probability"),
        ({"precision": "fp8"}, "--precision"),
        ({"init": "best"}, "--init"),
        ({"seed": -1}, "--seed"),
        ({"max_length": 7}, "--max-length"),
        ({"corpus": []}, "--corpus"),
        ({"lang": None}, "--lang"),
    ],
)
def test_a_wrong_option_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        merge_options(None, GIVEN | changes)
    assert named in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("max_steps: many", "int"),
        ("max_steps: true", "int"),
        ("lr: true", "float"),
        ("force: 1", "bool"),
        ("seed: [1]", "int"),
        ("langs: x", "lang"),
    ],
)
def test_a_wrong_line_of_a_file_is_named(tmp_path: Path, line: str, named: str) -> None:
    file = tmp_path / "add.yaml"
    file.write_text(line + "\n")
    with pytest.raises(UsageError) as caught:
        merge_options(file, GIVEN)
    assert named in f"{caught.value.message} {caught.value.hint}"


def test_help_shows_the_options_of_add_language() -> None:
    import inspect

    import xmod_extend

    parameters = inspect.signature(xmod_extend.add_language).parameters
    assert set(parameters) == {*AddOptions.__dataclass_fields__, "observer"}
    assert parameters["base"].default == "facebook/xmod-base"


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "add.yaml"
    file.write_text("# nothing\n")
    assert merge_options(file, GIVEN) == merge_options(None, GIVEN)


def test_options_become_json_with_every_field() -> None:
    values = merge_options(None, GIVEN | {"output": "x"}).to_json()
    assert set(values) == set(AddOptions.__dataclass_fields__)
    assert values["corpus"] == ["a.txt"] and values["output"] == "x"

"""Options: one list for flags, file and call; a mistake is named before anything is done."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

import xmod_extend
from xmod_extend.errors import UsageError
from xmod_extend.jobs.options import AddOptions, merge_options

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
    assert set(parameters) == {*AddOptions.__dataclass_fields__, "callback", "progress"}
    assert parameters["base"].default == "facebook/xmod-base"


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "add.yaml"
    file.write_text("# nothing\n")
    assert merge_options(file, GIVEN) == merge_options(None, GIVEN)


def test_options_become_json_with_every_field() -> None:
    values = merge_options(None, GIVEN | {"output": "x"}).to_json()
    assert set(values) == set(AddOptions.__dataclass_fields__)
    assert values["corpus"] == ["a.txt"] and values["output"] == "x"


class Place(os.PathLike[str]):
    """A path of somebody's own kind."""

    def __fspath__(self) -> str:
        return "a.txt"


@pytest.mark.parametrize(
    ("name", "value", "plain"),
    [
        ("max_steps", np.int64(30), 30),
        ("batch_size", np.uint8(8), 8),
        ("seed", np.int32(3), 3),
        ("seed", None, 0),
        ("precision", None, "auto"),
        ("output", None, None),
        ("lr", np.float32(0.5), 0.5),
        ("lr", "1e-3", 1e-3),
        ("lr", 1, 1.0),
        ("epochs", np.int64(2), 2.0),
        ("dropout", np.True_, True),
        ("plan", np.bool_(False), False),
        ("lang", np.str_("ay_BO"), "ay_BO"),
        ("base", Path("base"), "base"),
        ("held_out", Place(), "a.txt"),
        ("output", "out", Path("out")),
        ("output", Place(), Path("a.txt")),
        ("corpus", Place(), ("a.txt",)),
        ("corpus", [PurePosixPath("a"), np.str_("b")], ("a", "b")),
        ("corpus", (name for name in "ab"), ("a", "b")),
    ],
)
def test_what_means_the_same_is_accepted_and_made_plain(name: str, value: Any, plain: Any) -> None:
    made = getattr(merge_options(None, GIVEN | {name: value}), name)
    assert made == plain and type(made) is type(plain)
    if isinstance(plain, tuple):
        assert {type(each) for each in made} == {str}


class Unspeakable:
    """What cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError


ODD = [
    "no",
    "false",
    "30",
    "",
    "a\0b",
    True,
    2,
    -1,
    2.5,
    float("nan"),
    10**5000,
    1j,
    b"a.txt",
    [],
    [1],
    ["a", None],
    {"a": 1},
    {"a"},
    object(),
    Unspeakable(),
    Path("a"),
    np.array([1, 2]),
    np.array(3),
    np.float64(0.5),
    torch.tensor(3),
    np.int64(2),
    iter(["a"]),
    AddOptions,
]
KINDS = {"bool": bool, "int": int, "float": float, "Path": Path().__class__}


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("name", AddOptions.__dataclass_fields__)
def test_an_odd_value_is_made_plain_or_refused_by_name(name: str, value: Any) -> None:
    steps = {} if name == "epochs" else {"max_steps": 5}
    try:
        made = getattr(merge_options(None, steps | GIVEN | {name: value}), name)
    except UsageError as error:
        assert error.message.startswith("--" + name.replace("_", "-")), error.message
        assert any(word in error.message for word in ("must be", "missing", "empty", "zero byte"))
        assert len(error.message) < 200 and "\n" not in error.message
        return
    kind = str(AddOptions.__dataclass_fields__[name].type).removesuffix(" | None")
    assert type(made) is (tuple if name in ("corpus", "reference") else KINDS.get(kind, str))


@given(
    st.sampled_from(sorted(AddOptions.__dataclass_fields__)),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
)
def test_a_file_and_a_call_are_judged_alike(name: str, value: Any) -> None:
    def outcome(made: Callable[[], AddOptions]) -> Any:
        try:
            return dataclasses.astuple(made())
        except UsageError as error:
            return "refused", error.hint

    given = {"max_steps": 5} | GIVEN | {name: value}
    loaded = yaml.safe_load(yaml.safe_dump(given, allow_unicode=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xmod_extend.jobs.options.read_yaml", lambda path: loaded)
        from_file = outcome(lambda: merge_options(Path("file"), {}))
    assert str(from_file) == str(outcome(lambda: merge_options(None, given)))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: xmod_extend.add_language(lang="quz_PE", corpus="a", plan="no"), "--plan is 'no'"),
        (lambda: xmod_extend.check_corpus(3), "--corpus is 3"),
        (lambda: xmod_extend.check_corpus("a", text_field=1), "--text-field is 1"),
        (lambda: xmod_extend.probe_corpus("a", base=None, encoding_errors="x"), "--encoding"),
        (lambda: xmod_extend.probe_corpus("a", base=4), "--base is 4"),
        (lambda: xmod_extend.probe_corpus("a", max_length="x"), "--max-length is 'x'"),
        (lambda: xmod_extend.verify_checkpoint(b"a", "tiny"), "checkpoint is b'a'"),
        (lambda: xmod_extend.verify_checkpoint("a", 3), "base is 3"),
        (lambda: xmod_extend.verify_checkpoint("tiny", "tiny", languages=3), "languages is 3"),
        (lambda: xmod_extend.describe(["tiny"]), "checkpoint is"),
        (lambda: xmod_extend.add_languages(plan_file=3), "plan_file is 3"),
        (lambda: xmod_extend.add_languages(languages=[], jobs="2"), "--jobs is '2'"),
        (lambda: xmod_extend.add_languages(languages=[{"lang": 3}]), r"entry 1 \(3\): lang in"),
    ],
)
def test_every_function_names_a_wrong_argument(call: Callable[[], object], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        call()


def test_text_paths_and_names_of_bases_are_understood_everywhere() -> None:
    assert xmod_extend.describe("tiny").num_layers == xmod_extend.describe(Path("tiny")).num_layers

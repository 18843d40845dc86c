"""`pack`, `install` and `remove` as a shell sees them: one line, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkpoints import make_checkpoint
from packed import add, pack
from refusals import Invoke, assert_explained


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """A folder with checkpoints and packs."""
    folder = tmp_path_factory.mktemp("things")
    add(base, folder / "extended", "quz_PE", "ay_BO")
    pack(folder / "extended", "quz_PE", folder / "quz")
    make_checkpoint(folder / "other", seed=5)
    make_checkpoint(folder / "relu", hidden_act="relu")
    return folder


def test_a_language_goes_out_and_in_again(
    invoke: Invoke, work: Path, base: Path, things: Path
) -> None:
    words = ("pack", things / "extended", "--lang", "ay_BO", "--output", "ay")
    code, out, err = invoke(*words, "--license", "mit", "-q")
    assert (code, out) == (0, "ay\n"), err
    assert "..." not in err
    code, out, err = invoke("install", base, things / "quz", "ay", "--output", "both", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["schema_version"] == 1
    assert [one["language"] for one in result["installed"]] == ["quz_PE", "ay_BO"]
    assert [one["license"] for one in result["installed"]] == [None, "mit"]
    code, out, err = invoke("remove", "both", "--lang", "quz_PE", "--output", "less", "--renumber")
    assert code == 0, err
    assert "New ids: ay_BO is 3" in out and "bit for bit" in out
    code, out, err = invoke("verify", "less", "--base", base)
    assert code == 0 and "added: ay_BO" in out
    assert sorted(path.name for path in work.iterdir()) == ["ay", "both", "less"]


def test_a_default_language_is_the_one_difference(
    invoke: Invoke, work: Path, base: Path, things: Path
) -> None:
    words = ("install", base, things / "quz", "--output", "out", "--default-language", "quz_PE")
    code, out, err = invoke(*words)
    assert code == 0, err
    sentence = "inputs without lang_ids were refused, and are read as quz_PE now"
    assert sentence in err and "As asked for: config.json: default_language" in out
    code, out, err = invoke("verify", "out", "--base", base)
    assert code == 6
    assert out.count("differs:") == 1 and sentence in out


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("pack", "extended", "--lang", "quz_BO", "--output", "o"), 4, "no language quz_BO"),
        (("pack", "relu", "--lang", "de_DE", "--output", "o", "--license", "a b"), 2, "--license"),
        (("pack", "nowhere/at/all", "--lang", "de_DE", "--output", "o"), 4, "does not exist"),
        (("pack", "extended", "--lang", "quz_PE"), 2, "--output"),
        (("install", "other", "quz", "--output", "o"), 4, "other shared weights.*--force"),
        (("install", "relu", "quz", "--output", "o", "--force"), 4, "hidden_act is gelu"),
        (("install", "extended", "quz", "--output", "o"), 4, "has already.*--as"),
        (("install", "other", "quz", "quz", "--output", "o"), 4, "has already.*--as"),
        (("install", "other", "extended", "--output", "o"), 4, "whole checkpoint"),
        (("install", "other", "--output", "o"), 2, "PACK"),
        (("install", "other", "quz", "--output", "o", "--as", "xq_XQ"), 4, "no registered"),
        (("install", "other", "quz", "--output", "o", "--text", "no.txt"), 3, "does not exist"),
        (("remove", "extended", "--lang", "quz_PE", "--output", "o"), 4, "ay_BO 4 -> 3.*--renum"),
        (("remove", "extended", "--lang", "de_DE", "--output", "o"), 4, "No run record"),
        (("remove", "extended", "--lang", "fo_FO", "--output", "o"), 4, "no language fo_FO"),
    ],
)
def test_what_is_refused(
    invoke: Invoke,
    work: Path,
    things: Path,
    words: tuple[str, ...],
    code: int,
    expected: str,
) -> None:
    named = [things / word if (things / word).exists() else word for word in words]
    assert_explained(invoke(*named), code, expected)
    assert list(work.iterdir()) == []


def test_a_folder_of_the_user_is_never_replaced(
    invoke: Invoke, work: Path, base: Path, things: Path
) -> None:
    mine = work / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    for words, option in (
        (("pack", things / "extended", "--lang", "quz_PE"), "--force"),
        (("install", base, things / "quz"), "--replace"),
        (("remove", things / "extended", "--lang", "ay_BO"), "--force"),
    ):
        refused = invoke(*words, "--output", mine)
        assert_explained(refused, 2, f"not empty.*{option}")
        refused = invoke(*words, "--output", mine, option)
        assert_explained(refused, 2, f"{option} replaces nothing else")
    assert [path.name for path in mine.iterdir()] == ["thesis.tex"]

"""What `convert` is asked for, on the command line and in Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import xmod_extend
from xmod_extend.cli.app import run
from xmod_extend.errors import HubError, LanguageError, UsageError

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Invoke:
    def call(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            run([*map(str, words)])
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return call


def test_each_form_prints_what_was_written_and_what_comes_next(
    base: Path, tmp_path: Path, invoke: Invoke
) -> None:
    one, whole, pack, again = (tmp_path / name for name in ("one", "whole", "pack", "again"))
    to, back = ("--to", "adapterhub"), ("--from", "adapterhub")
    code, out, _ = invoke("convert", base, *to, "--lang", "de_DE", "--output", one)
    assert code == 0
    assert f'model.load_adapter("{one}")' in out and 'set_active_adapters("de_DE")' in out
    code, out, _ = invoke("convert", base, *to, "--output", whole, "--json")
    described = json.loads(out)
    assert described.pop("num_bytes") > 10_000
    assert described == {
        "schema_version": 1,
        "output": str(whole),
        "form": "adapterhub-model",
        "languages": ["en_XX", "de_DE", "sw_KE"],
        "notes": [],
    }
    code, out, err = invoke("convert", one, *back, "--base", base, "--output", pack, "-q")
    assert (code, out) == (0, f"{pack}\n")
    assert "does not say which weights" in err
    code, out, _ = invoke("convert", whole, *back, "--output", again)
    assert code == 0 and f"xmod-extend info {again}" in out
    assert xmod_extend.describe(again).languages == xmod_extend.describe(base).languages


def test_a_refusal_is_a_sentence_with_its_exit_code(
    base: Path, tmp_path: Path, invoke: Invoke
) -> None:
    code, out, err = invoke(
        "convert", base, "--to", "adapterhub", "--lang", "de_AT", "--output", tmp_path / "out"
    )
    assert (code, out) == (4, "")
    assert "has no language de_AT" in err and "Did you mean de_DE?" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "Exactly one of --to and --from"),
        ({"to": "adapterhub", "from_": "adapterhub"}, "Exactly one of --to and --from"),
        ({"to": "fairseq"}, "--to fairseq is a form"),
        ({"from_": "onnx"}, "--from onnx is a form"),
        ({"to": "adapterhub", "base": "tiny"}, "--base has no use here"),
        ({"to": "adapterhub", "tokenizer": "tiny"}, "--tokenizer has no use here"),
        ({"from_": "fairseq", "lang": "de_DE"}, "--lang has no use here"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(
    options: dict[str, Any], said: str, base: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        xmod_extend.convert_checkpoint(base, output=tmp_path / "out", **options)
    assert said in caught.value.message and caught.value.hint


def test_an_adapter_on_the_hub_is_asked_for_there(tmp_path: Path) -> None:
    with pytest.raises(HubError):
        xmod_extend.convert_checkpoint(
            "AdapterHub/xmod-base-de_DE", from_="adapterhub", base="tiny", output=tmp_path / "out"
        )


def test_a_language_that_is_none_is_refused_before_anything_is_written(
    base: Path, tmp_path: Path
) -> None:
    with pytest.raises(LanguageError):
        xmod_extend.convert_checkpoint(base, to="adapterhub", lang="fr_XX", output=tmp_path / "out")
    assert not list(tmp_path.iterdir())

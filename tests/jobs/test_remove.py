"""Removing: one added language less, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkpoints import LANGUAGES, make_checkpoint
from packed import Heard, add, bytes_of, logits
from transformers import XmodForMaskedLM

from xmod_extend.errors import CheckFailedError, LanguageError, UsageError
from xmod_extend.evaluation.verify import verify_checkpoint
from xmod_extend.jobs import remove as removing
from xmod_extend.jobs.remove import remove_language
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.writer import CheckpointContents


@pytest.fixture
def extended(base: Path, tmp_path: Path) -> Path:
    return add(base, tmp_path / "extended", "quz_PE", "ay_BO", "fo_FO")


def remove(checkpoint: Path, lang: str, output: Path, **options: object) -> None:
    remove_language(checkpoint, lang, output, callback=Heard(), **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_last_one_leaves_what_was_there_before(
    base: Path, extended: Path, tmp_path: Path
) -> None:
    result = remove_language(extended, "fo_FO", tmp_path / "out", callback=Heard())
    assert result.renumbered == {} and result.languages == (*LANGUAGES, "quz_PE", "ay_BO")
    before, after = bytes_of(extended), bytes_of(tmp_path / "out")
    assert "model-fo_FO.safetensors" not in after
    for name in ("model-base.safetensors", "model-quz_PE.safetensors", "model-ay_BO.safetensors"):
        assert after[name] == before[name]
    # run.json always tells of the language that was added last.
    assert after["run.json"] == before["run-ay_BO.json"]
    assert after["run-quz_PE.json"] == before["run-quz_PE.json"]
    assert "run-ay_BO.json" not in after and "run-fo_FO.json" not in after
    assert verify_checkpoint(tmp_path / "out", base).added_languages == ("quz_PE", "ay_BO")
    both = add(base, tmp_path / "both", "quz_PE", "ay_BO")
    assert after["config.json"] == (both / "config.json").read_bytes()
    assert logits(tmp_path / "out") == logits(both)


def test_others_are_renumbered_only_when_that_is_said(
    base: Path, extended: Path, tmp_path: Path
) -> None:
    with pytest.raises(LanguageError, match="ay_BO 4 -> 3, fo_FO 5 -> 4") as caught:
        remove(extended, "quz_PE", tmp_path / "out")
    assert caught.value.exit_code == 4 and "--renumber" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()
    result = remove_language(extended, "quz_PE", tmp_path / "out", renumber=True, callback=Heard())
    assert result.renumbered == {"ay_BO": 3, "fo_FO": 4}
    found, old = logits(tmp_path / "out"), logits(extended)
    assert found == {code: old[code] for code in (*LANGUAGES, "ay_BO", "fo_FO")}
    model = XmodForMaskedLM.from_pretrained(tmp_path / "out")
    assert model.config.languages == [*LANGUAGES, "ay_BO", "fo_FO"]
    assert sorted(file.name for file in (tmp_path / "out").glob("run*")) == [
        "run-ay_BO.json",
        "run.json",
    ]
    assert (tmp_path / "out/run.json").read_bytes() == (extended / "run.json").read_bytes()
    assert "quz_PE" not in (tmp_path / "out/README.md").read_text()


def test_without_the_only_one_it_is_the_base_again(base: Path, tmp_path: Path) -> None:
    extended = add(base, tmp_path / "extended", "quz_PE")
    remove(extended, "quz_PE", tmp_path / "out")
    result = verify_checkpoint(tmp_path / "out", base)
    assert result.identical and not result.added_languages
    assert not {"run.json", "README.md"} & bytes_of(tmp_path / "out").keys()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "sharded", "bin"])
@pytest.mark.parametrize("pre_norm", [False, True], ids=["post-norm", "pre-norm"])
def test_a_language_among_others_in_a_file_is_taken_out_of_it(
    tmp_path: Path, kind: str, pre_norm: bool
) -> None:
    small = make_checkpoint(tmp_path / "small", languages=["en_XX"], pre_norm=pre_norm)
    # Saved by plain transformers, which puts all languages into its own files.
    whole = make_checkpoint(
        tmp_path / "whole", languages=["en_XX", "quz_PE", "ay_BO"], kind=kind, pre_norm=pre_norm
    )
    old = logits(whole)
    result = remove_language(
        whole, "quz_PE", tmp_path / "out", base=small, renumber=True, callback=Heard()
    )
    assert result.languages == ("en_XX", "ay_BO")
    assert logits(tmp_path / "out") == {code: old[code] for code in ("en_XX", "ay_BO")}
    opened = open_checkpoint(tmp_path / "out")
    assert not [name for name in opened.names() if "quz_PE" in name]


def test_only_an_added_language_is_removed(base: Path, extended: Path, tmp_path: Path) -> None:
    with pytest.raises(
        LanguageError, match=r"No run record of .* says that de_DE was added"
    ) as caught:
        remove(extended, "de_DE", tmp_path / "out", renumber=True)
    assert "--base" in str(caught.value.hint)
    with pytest.raises(LanguageError, match="is a language of"):
        remove(extended, "de_DE", tmp_path / "out", base=base, renumber=True)
    with pytest.raises(LanguageError, match="has no language quz_BO"):
        remove(extended, "quz_BO", tmp_path / "out")
    alone = make_checkpoint(tmp_path / "alone", languages=["en_XX"])
    with pytest.raises(LanguageError, match="only language"):
        remove(
            alone,
            "en_XX",
            tmp_path / "out",
            base=make_checkpoint(tmp_path / "b", languages=["de_DE"]),
        )
    with pytest.raises(UsageError, match="only read"):
        remove(extended, "fo_FO", extended / "out")
    assert not (tmp_path / "out").exists()


def test_a_default_that_is_removed_is_dropped_and_said(base: Path, tmp_path: Path) -> None:
    extended = add(base, tmp_path / "extended", "quz_PE", "ay_BO", default_language="ay_BO")
    heard = Heard()
    result = remove_language(extended, "ay_BO", tmp_path / "out", callback=heard)
    (warning,) = heard.warnings
    assert "were read as ay_BO, and are refused now" in warning
    assert result.default_language is None
    assert json.loads((tmp_path / "out/config.json").read_text())["default_language"] is None
    kept = remove_language(extended, "quz_PE", tmp_path / "kept", renumber=True, callback=Heard())
    assert kept.default_language == "ay_BO"


def test_what_differs_in_more_never_gets_its_name(
    extended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(checkpoint: object, kept: object, removed: object, **options: object) -> object:
        contents = make(checkpoint, kept, removed, **options)  # type: ignore[arg-type]
        config = json.loads(contents.config) | {"languages": [*LANGUAGES[::-1], *list(kept)[3:]]}  # type: ignore[call-overload]
        return CheckpointContents(**vars(contents) | {"config": json.dumps(config)})

    make = removing._contents
    monkeypatch.setattr(removing, "_contents", lose)
    with pytest.raises(CheckFailedError, match="differs in more than the language"):
        remove(extended, "fo_FO", tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["extended"]

"""A default language: set when it is asked for, said, and the one thing that verify finds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from packed import Heard, add
from transformers import XmodForMaskedLM

import xmod_extend
from xmod_extend.errors import CheckFailedError, LanguageError, UsageError
from xmod_extend.evaluation.verify import verify_checkpoint
from xmod_extend.jobs.checks import check_request
from xmod_extend.jobs.options import merge_options
from xmod_extend.jobs.output import verify_written
from xmod_extend.jobs.plan_file import combine_options
from xmod_extend.model.checkpoint import open_checkpoint

QUICK = {"max_steps": 2, "batch_size": 2}


@pytest.mark.slow
def test_add_sets_it_and_accepts_exactly_that(base: Path, corpus: Path, tmp_path: Path) -> None:
    heard = Heard()
    record = xmod_extend.add_language(
        lang="quz_PE",
        corpus=corpus,
        base=base,
        output=tmp_path / "out",
        default_language="quz_PE",
        callback=heard,
        **QUICK,
    )
    (note,) = (note for note in heard.notes if "default_language" in note)
    assert note == (
        'default_language was null and is "quz_PE": inputs without lang_ids were refused, and are '
        "read as quz_PE now."
    )
    assert record.options["default_language"] == "quz_PE"
    assert record.verification is not None
    assert record.verification.differences == (f"config.json: {note}",)
    assert not record.verification.identical
    result = verify_checkpoint(tmp_path / "out", base)
    assert result.differences == record.verification.differences
    assert result.added_languages == ("quz_PE",)
    # What it is for: no lang_ids, and the new adapter reads.
    model = XmodForMaskedLM.from_pretrained(tmp_path / "out").eval()
    ids = torch.tensor([[0, 7, 9, 2]])
    with torch.inference_mode():
        assert torch.equal(
            model(input_ids=ids).logits,
            model(input_ids=ids, lang_ids=torch.tensor([3])).logits,
        )


@pytest.mark.slow
def test_several_languages_set_one_of_theirs(base: Path, corpus: Path, tmp_path: Path) -> None:
    xmod_extend.add_languages(
        languages=[{"lang": code, "corpus": str(corpus)} for code in ("quz_PE", "ay_BO")],
        base=base,
        output=tmp_path / "out",
        default_language="ay_BO",
        callback=Heard(),
        **QUICK,
    )
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["default_language"] == "ay_BO"


def test_it_is_one_of_the_languages_and_one_for_all(base: Path, corpus: Path) -> None:
    options = {"lang": "quz_PE", "corpus": str(corpus), "base": str(base)}
    with pytest.raises(LanguageError, match="--default-language is quz_BO") as caught:
        check_request(merge_options(None, options | {"default_language": "quz_BO"}), Heard())
    assert "quz_PE" in str(caught.value.hint)
    heard = Heard()
    check_request(merge_options(None, options | {"default_language": "de_DE"}), heard)
    assert any("read as de_DE now" in note for note in heard.notes)
    with pytest.raises(UsageError, match="cannot differ between the languages"):
        combine_options([options | {"default_language": "de_DE"}], {}, {}, where="the file")


def test_it_is_never_set_by_itself(base: Path, tmp_path: Path) -> None:
    before = json.loads((base / "config.json").read_text())
    added = json.loads((add(base, tmp_path / "out", "quz_PE") / "config.json").read_text())
    assert added == before | {"languages": [*before["languages"], "quz_PE"]}


@pytest.mark.slow
def test_the_check_of_what_was_written_accepts_only_the_one_that_was_asked_for(
    base: Path, tmp_path: Path
) -> None:
    output = add(base, tmp_path / "out", "quz_PE", default_language="quz_PE")
    opened = open_checkpoint(base)
    found = verify_written(output, opened, ["quz_PE"], default_language="quz_PE")
    assert len(found.differences) == 1
    for asked in (None, "de_DE"):
        with pytest.raises(CheckFailedError, match="default_language"):
            verify_written(output, opened, ["quz_PE"], default_language=asked)
    plain = add(base, tmp_path / "plain", "quz_PE")
    with pytest.raises(CheckFailedError, match=r"it lacks this: config\.json: default_lang"):
        verify_written(plain, opened, ["quz_PE"], default_language="quz_PE")
    # One that the base has already is no difference.
    again = open_checkpoint(output)
    more = add(output, tmp_path / "more", "ay_BO", default_language="quz_PE")
    same = verify_written(more, again, ["ay_BO"], default_language="quz_PE")
    assert dataclasses.asdict(same)["differences"] == ()

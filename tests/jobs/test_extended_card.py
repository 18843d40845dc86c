"""The card of a checkpoint that was extended more than once, and the options that only it shows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from run_records import make_record

from xmod_extend.errors import UsageError
from xmod_extend.jobs.card import extended_subject
from xmod_extend.jobs.checks import Request
from xmod_extend.jobs.options import MOST_SAID, AddOptions
from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.report.card import CardSubject, model_card
from xmod_extend.report.record import RunRecord

FIRST = ("en_XX", "es_XX", "de_DE")


def subject_of(folder: Path, languages: tuple[str, ...], *added: RunRecord) -> CardSubject:
    options = SimpleNamespace(license="mit", default_language=None)
    base = SimpleNamespace(name="extended", repo_id=None, commit=None)
    request = SimpleNamespace(base=base, options=options, output=Path("out/both"))
    checkpoint = SimpleNamespace(path=folder, languages=list(languages), config={})
    return extended_subject(cast(Checkpoint, checkpoint), cast(Request, request), added)


def with_base(record: RunRecord, **changes: Any) -> RunRecord:
    return dataclasses.replace(record, base=dataclasses.replace(record.base, **changes))


def test_the_card_tells_of_what_was_added_before(tmp_path: Path) -> None:
    first = with_base(make_record(), source="someone/xmod-small@main", commit="c" * 40)
    (tmp_path / "run.json").write_text(first.to_json(), encoding="utf-8")
    second = with_base(
        make_record("hi_IN"),
        languages=(*FIRST, "quz_PE"),
        files={"model-base.safetensors": "8ff72130" * 8, "model-quz_PE.safetensors": "0" * 64},
    )
    subject = subject_of(tmp_path, (*FIRST, "quz_PE"), second)
    assert subject.described == ("quz_PE", "hi_IN")
    assert (subject.base_id, subject.base_revision) == ("someone/xmod-small", "c" * 40)
    card = model_card(subject)
    assert "base_model: someone/xmod-small\n" in card
    assert "an X-MOD with 3 languages, and 2 more" in card and "`hi_IN` is 4." in card
    assert "`model.safetensors` | `" + "8ff72130" * 8 in card


@pytest.mark.parametrize("found", ["nothing", "another", "damaged", "not the first"])
def test_a_part_of_the_truth_is_not_told(tmp_path: Path, found: str) -> None:
    records = {
        "another": make_record("th_TH").to_json(),
        "damaged": '{"schema_version": 1}',
        "not the first": with_base(make_record(), languages=("en_XX", "fr_XX")).to_json(),
    }
    if found in records:
        (tmp_path / "run.json").write_text(records[found], encoding="utf-8")
    second = with_base(make_record("hi_IN"), languages=(*FIRST, "quz_PE"))
    subject = subject_of(tmp_path, (*FIRST, "quz_PE"), second)
    assert subject.described == ("hi_IN",) and subject.base_name == "extended"
    assert "an X-MOD with 4 languages, and one more" in model_card(subject)


@pytest.mark.parametrize("name", ["corpus_license", "corpus_source"])
@pytest.mark.parametrize("text", ["", "  ", "a\nb", "a\x1b[31m", "a\u202eb", "x" * (MOST_SAID + 1)])
def test_what_is_said_of_the_text_is_one_line(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} is"):
        AddOptions(lang="quz_PE", corpus=("x",), **{name: text})


def test_what_is_said_is_in_the_record() -> None:
    options = AddOptions(
        lang="quz_PE",
        corpus=("x",),
        license="CC BY 4.0",
        corpus_license="CC0, ñawi",
        corpus_source=" https://example.org ",
    )
    written = options.to_json()
    assert written["license"] == "cc-by-4.0" and written["corpus_license"] == "CC0, ñawi"
    assert written["corpus_source"] == "https://example.org"

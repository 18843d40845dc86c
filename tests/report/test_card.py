"""The card: what it says, that the Hub's own library reads it, and that its code runs."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from card_parts import code_blocks, links, render
from checkpoints import extend
from huggingface_hub import ModelCard
from run_records import (
    make_corpus_report,
    make_evaluation,
    make_record,
    make_subject,
    make_training,
)

from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.report.card import card_for_repository, model_card
from xmod_extend.report.card_metadata import check_metadata
from xmod_extend.report.record import RunRecord
from xmod_extend.text.notices import _OF_A_LINE
from xmod_extend.text.report import Coverage


def test_it_says_what_was_added_to_what_and_how_well_it_went() -> None:
    card = model_card(make_subject(make_record()))
    for said in (
        "# tiny with Cusco Quechua\n",
        "an X-MOD with 3 languages, and one more: Cusco Quechua (Peru) (`quz_PE`)",
        "reads Cusco Quechua clearly better than it did before",
        "| `quz_PE`, added | 16.00 | 14.4 to 17.6 |",
        "how often each piece occurs in the training text | 131.00 |",
        "| `en_XX`, the best that the base has | 457.00 |",
        "94 tensors and 3 languages, all of them identical.\n",
        "8ff72130" * 8,
        "masked_perplexity:v2|seed:1",
        "hatun `____`q kanmi. | suma |",
        "suma 41% ✓",
        "arxiv.org/abs/2205.06266",
        "@software{xmod-extend,",
        "`quz_PE` is 3.",
    ):
        assert said in card, said


@pytest.mark.parametrize("what", ["checkpoint", "slice", "pack"])
def test_it_is_what_the_hubs_own_library_reads_and_writes(what: str) -> None:
    record = make_record()
    base = dataclasses.replace(record.base, source="facebook/xmod-base", commit="c" * 40)
    subject = make_subject(dataclasses.replace(record, base=base), what=what, license="cc-by-4.0")
    card = model_card(subject)
    read = ModelCard(card)
    assert ModelCard(str(read)).data.to_dict() == read.data.to_dict()
    assert check_metadata(card) == check_metadata(str(read)) == []
    data = read.data
    assert data.language == ["quz"] and data.license == "cc-by-4.0"
    assert data.base_model == "facebook/xmod-base"
    assert data.base_model_relation == ("adapter" if what == "pack" else "finetune")
    assert data.library_name == ("xmod-extend" if what == "pack" else "transformers")
    assert data.pipeline_tag == "fill-mask" and data.get("datasets") is None
    results = [(one.metric_type, one.metric_name, one.metric_value) for one in data.eval_results]
    assert results == [
        ("perplexity", "Masked perplexity before, with en_XX", 457.0),
        ("bits_per_byte", "Bits per byte before, with en_XX", 2.5),
        ("perplexity", "Masked perplexity after, with quz_PE", 16.0),
        ("bits_per_byte", "Bits per byte after, with quz_PE", 2.5),
    ]
    assert {one.metric_args["signature"] for one in data.eval_results} == {
        "masked_perplexity:v2|seed:1"
    }


def test_what_nobody_said_is_not_made_up() -> None:
    card = model_card(make_subject(make_record()))
    assert (
        "license" not in card.lower() and "licence" not in card.lower() and "base_model" not in card
    )
    assert "publish" not in card and "PATH" not in card


def test_what_was_said_of_license_and_text_stands_there() -> None:
    options = {
        "corpus": ["hf://datasets/someone/quechua@main/a.txt", "data/own.txt"],
        "corpus_license": "CC0 1.0",
        "corpus_source": "https://example.org/quechua?x=1",
    }
    card = model_card(make_subject(make_record(options=options), license="other:my-terms-1.0"))
    data = ModelCard(card).data
    assert (data.license, data.license_name) == ("other", "my-terms-1.0")
    assert data.datasets == ["someone/quechua"] and check_metadata(card) == []
    assert "Licence of the text: CC0 1.0\n" in card and "`my-terms-1.0`" in card
    assert {
        "https://example.org/quechua?x=1",
        "https://huggingface.co/datasets/someone/quechua",
    } <= links(card)


def test_a_text_that_the_base_cannot_read_has_no_results_in_the_metadata() -> None:
    coverage = Coverage(unknown_characters=0.7, words_hit=0.99, unknown_scripts=("Tibetan",))
    card = model_card(make_subject(make_record(corpus=make_corpus_report(coverage=coverage))))
    assert "model-index" not in card
    assert "This result means nothing" in card and "**The scores below mean nothing.**" in card
    assert "clearly better" not in card


def test_several_languages_have_a_section_each() -> None:
    quechua, hindi = make_record(), make_record("hi_IN")
    card = model_card(make_subject(quechua, hindi, default_language="hi_IN"))
    assert check_metadata(card) == [] and ModelCard(card).data.language == ["quz", "hi"]
    assert "# tiny with Cusco Quechua and Hindi\n" in card
    assert "`quz_PE` is 3 and `hi_IN` is 4." in card
    assert card.count("\n### Results: ") == card.count("\n### Limits: ") == 2
    assert "Where no language is chosen, it is `hi_IN`" in card
    assert 'set_default_language("quz_PE")' in card, "the example is Quechua"
    assert 'set_default_language("hi_IN")' not in model_card(
        make_subject(hindi, default_language="hi_IN")
    )


def test_a_pack_without_a_record_has_a_short_card() -> None:
    subject = make_subject(make_record(), what="pack", records={}, described=("ar_AR",))
    card = model_card(subject)
    assert "# Arabic for tiny\n" in card and "did not train it" in card
    assert len(card.splitlines()) < 60 and check_metadata(card) == []
    assert "## Results" not in card and "## Training" not in card


def test_scores_of_another_base_are_not_shown() -> None:
    record = make_record()
    card = model_card(make_subject(record, transplanted=("quz_PE",)))
    assert "against other shared weights than these" in card and check_metadata(card) == []
    for said in ("model-index", "clearly better", "## Results", "457", "What is unchanged"):
        assert said not in card
    assert "## Training" in card and "## Text" in card


def test_a_language_under_another_code_is_used_by_that() -> None:
    record = make_record()
    subject = make_subject(
        record, languages=("en_XX", "qu_PE"), described=("qu_PE",), records={"qu_PE": record}
    )
    card = model_card(subject)
    assert "`qu_PE`, added" in card and "It was trained as `quz_PE`." in card
    assert 'set_default_language("qu_PE")' in card and ModelCard(card).data.language == ["qu"]


def test_of_a_language_without_a_record_beside_others_is_said_that_nothing_is_known() -> None:
    record = make_record()
    subject = make_subject(
        record,
        languages=("en_XX", "quz_PE", "ay_BO"),
        described=("quz_PE", "ay_BO"),
    )
    card = model_card(subject)
    assert "How Aymara was trained is not recorded here." in card
    assert "an X-MOD with 1 language, and 2 more" in card
    assert card.count("### Results: ") == 1


def make_old(version: str) -> RunRecord:
    """A record as earlier versions wrote it."""
    evaluation = make_evaluation(samples=None, seen_words=None)
    fields: dict[str, Any] = {"evaluation": evaluation}
    if version == "0.1":
        bare = dataclasses.replace(
            evaluation, unigram=None, improvement_over_unigram=None, verdict=""
        )
        scores = {
            name: dataclasses.replace(getattr(evaluation, name), low=None, high=None)
            for name in ("before", "after")
        }
        fields["evaluation"] = dataclasses.replace(bare, **scores)
        fields["corpus"] = make_corpus_report(coverage=None, held_out_coverage=None, tokens=None)
        fields["training"] = make_training(num_epochs=None, adam_beta1=None)
    return make_record(**fields)


CASES = {
    "one": make_subject(make_record()),
    "several": make_subject(make_record(), make_record("th_TH"), license="mit"),
    "pack": make_subject(make_record("ar_AR"), what="pack"),
    "bare": make_subject(make_record(), what="pack", records={}),
    "0.1": make_subject(make_old("0.1")),
    "0.2": make_subject(make_old("0.2")),
    "plan": make_subject(make_record(evaluation=None, training=None, verification=None)),
    "streamed": make_subject(make_record(corpus=make_corpus_report(train_lines=0))),
    "warned": make_subject(make_record(warnings=("The text is small: expect a small gain.",))),
}


@pytest.mark.parametrize("case", CASES)
def test_no_part_is_empty_and_nothing_is_none(case: str) -> None:
    card = model_card(CASES[case])
    assert check_metadata(card) == []
    tokens = [token for token in render(card) if token.level == 0 and token.type != "inline"]
    for heading, after in itertools.pairwise(tokens):
        if heading.type == "heading_close":
            deeper = after.type == "heading_open" and after.tag > heading.tag
            assert after.type != "heading_open" or deeper, after
    assert "None" not in card and "nan" not in card and "  \n" not in card
    assert re.search(r"\n\n\n", card) is None and tokens[-1].type != "heading_close"
    # Every row of a table has as many cells as its head.
    text = re.sub(r"```.*?```", "", card, flags=re.DOTALL)
    for table in re.findall(r"(?:^\|.*\|$\n?)+", text, flags=re.MULTILINE):
        counts = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(counts) == 1, table


def test_advice_for_whoever_trains_is_not_for_the_reader() -> None:
    warnings = [f"3 of 9 lines have {one.what}, such as 'x. Y'. {one.advice}" for one in _OF_A_LINE]
    warnings += [
        "The training text is small (9 bytes): expect a small gain, and read the interval.",
        "9 lines are foreign. Relatives are mistaken; take out what is no text of the language.",
        "They flatter the score. --drop-near-duplicates leaves the training lines, 3, out.",
    ]
    missing = make_corpus_report().coverage
    assert missing is not None
    described = dataclasses.replace(missing, words_hit=0.2).describe_missing()
    assert described is not None
    card = model_card(make_subject(make_record(warnings=(*warnings, described))))
    for said in ("lines have markup", "is small (9 bytes).", "flatter the score.", "same blank"):
        assert said in card
    advised = re.findall(r"(?i)\b(take|get the|let the|extract|expect|train with|--drop)\b", card)
    assert not advised


def test_only_the_code_names_the_repository() -> None:
    subject = make_subject(make_record(), name="tiny", what="pack")
    card = model_card(subject)
    published = card_for_repository(card, "tiny", "ana/quechua-pack")
    assert "xmod-extend install tiny ana/quechua-pack --output tiny-quz_PE\n" in published
    assert published.replace("ana/quechua-pack", "tiny") == card

    card = model_card(make_subject(make_record(), name='it\'s "x" \\ 1'))
    edited = card.replace("## Use", 'Mine: it\'s "x" \\ 1\n\n## Use')
    published = card_for_repository(edited, 'it\'s "x" \\ 1', "ana/quechua")
    assert published.count('from_pretrained("ana/quechua")') == 2
    assert 'Mine: it\'s "x" \\ 1\n' in published
    assert card_for_repository(published, 'it\'s "x" \\ 1', "else/where") == published


@pytest.mark.parametrize("default", [None, "quz_PE"])
def test_the_code_runs_as_it_is_pasted(
    base: Path,
    tmp_path: Path,
    default: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    extended = extend(open_checkpoint(base), tmp_path / "with Quechua", "quz_PE")
    if default is not None:
        config = json.loads((extended / "config.json").read_text())
        (extended / "config.json").write_text(json.dumps(config | {"default_language": default}))
    subject = make_subject(make_record(), name="with Quechua", default_language=default)
    (block,) = code_blocks(model_card(subject), "python")
    assert ("set_default_language" in block) == (default is None)
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    assert len(ast.literal_eval(capsys.readouterr().out)) == 5

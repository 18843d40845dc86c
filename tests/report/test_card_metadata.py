"""A card's metadata: the Hub's rules, for every language that a card may be of."""

from __future__ import annotations

import dataclasses
import itertools
import json
from importlib.resources import files

import pytest
import yaml
from huggingface_hub import ModelCard
from run_records import make_record, make_subject

from xmod_extend.report.card import model_card
from xmod_extend.report.card_metadata import check_metadata
from xmod_extend.report.iso639 import is_iso639

XMOD_BASE = """
    en_XX id_ID vi_VN ru_RU fa_IR sv_SE ja_XX fr_XX de_DE ro_RO ko_KR hu_HU es_XX fi_FI uk_UA da_DK
    pt_XX no_XX th_TH pl_PL bg_BG nl_XX zh_CN he_IL el_GR it_IT sk_SK hr_HR tr_TR ar_AR cs_CZ lt_LT
    hi_IN zh_TW ca_ES ms_MY sl_SI lv_LV ta_IN bn_IN et_EE az_AZ sq_AL sr_RS kk_KZ ka_GE tl_XX ur_PK
    is_IS hy_AM ml_IN mk_MK be_BY la_VA te_IN eu_ES gl_ES mn_MN kn_IN ne_NP sw_KE si_LK mr_IN af_ZA
    gu_IN cy_GB eo_EO km_KH ky_KG uz_UZ ps_AF pa_IN ga_IE ha_NG am_ET lo_LA ku_TR so_SO my_MM or_IN
    sa_IN
""".split()


@pytest.mark.parametrize("code", [*XMOD_BASE, "quz_PE", "fo_FO", "ay_BO", "nan_TW", "nah_MX"])
def test_every_language_is_one_that_the_hub_knows(code: str) -> None:
    subject = make_subject(make_record(), what="pack", records={}, described=(code,))
    card = model_card(subject)
    assert check_metadata(card) == []
    assert ModelCard(card).data.language == [code.split("_")[0]]
    assert f'\nlanguage:\n- "{code.split("_")[0]}"\n' in card


def test_a_language_of_three_letters_has_two_where_there_are_two() -> None:
    records = [make_record(), dataclasses.replace(make_record(), language="que_PE", bcp47="qu-PE")]
    data = ModelCard(model_card(make_subject(*records))).data
    assert data.language == ["quz", "qu"] and data.language_bcp47 == ["quz-PE", "qu-PE"]


@pytest.mark.parametrize("code", ["qaa_XX", "qtz_PE", "zls_XX"])
def test_what_is_no_language_of_iso_639_is_a_tag_instead(code: str) -> None:
    language = code.split("_")[0]
    for changes in ({"what": "pack", "records": {}}, {}):
        record = dataclasses.replace(make_record(), language=code, bcp47=language)
        card = model_card(make_subject(record, **changes))
        assert check_metadata(card) == []
        fields = yaml.safe_load(card.split("---\n")[1])
        assert "language" not in fields and fields["language_bcp47"] == [language]


def test_a_record_names_no_tag_that_is_none() -> None:
    record = dataclasses.replace(make_record(), bcp47="x y]\n- evil")
    assert "language_bcp47" not in model_card(make_subject(record))


@pytest.mark.parametrize("base_id", ["/home/x", "a/b/c", "a b", "../x", "x--y/z", ""])
def test_a_base_that_is_no_id_is_not_named(base_id: str) -> None:
    card = model_card(make_subject(make_record(), base_id=base_id))
    assert "base_model" not in card and check_metadata(card) == []


def card_of(**fields: object) -> str:
    return f"---\n{yaml.safe_dump(fields)}---\n\n# x\n"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"language": [False]}, "`no` without quotes"),
        ({"language": "EN"}, "lower case"),
        ({"language": ["zh-CN"]}, "lower case"),
        ({"language": "quechua"}, "no code of ISO 639"),
        ({"language": ["en", "qaa"]}, "no code of ISO 639"),
        ({"language": ["iw"]}, "no code of ISO 639"),
        ({"language": [7]}, "must be text"),
        ({"language": None}, "has no value"),
        ({"license": "my own"}, "no license that the Hub knows"),
        ({"license": ["mit", 3]}, "no license that the Hub knows"),
        ({"license": "other"}, "needs a `license_name`"),
        ({"license": "other", "license_name": "My Terms"}, "lower case"),
        ({"base_model": "/home/x/base"}, "no id on the Hub"),
        ({"base_model": ["a/b", None]}, "no id on the Hub"),
        ({"base_model_relation": "child"}, "adapter or merge"),
        ({"datasets": ["my own texts"]}, "no id on the Hub"),
        ({"datasets": "https://huggingface.co/datasets/x"}, "no id on the Hub"),
        ({"tags": ["x", 3]}, "must be text"),
        ({"library_name": ["x"]}, "must be text"),
        ({"pipeline_tag": 5}, "must be text"),
        ({"model-index": "x"}, "must be a list"),
        ({"model-index": ["x"]}, "must be a mapping"),
        ({"model-index": [{"name": 3, "results": []}]}, "`model-index[0].name` is 3"),
        ({"model-index": [{"name": "x"}]}, "`model-index[0].results` is None"),
        ({"model-index": [{"name": "x", "results": [3]}]}, "results[0]` is 3"),
    ],
)
def test_what_the_hub_would_refuse_is_said(fields: dict[str, object], said: str) -> None:
    sentences = check_metadata(card_of(**fields))
    assert any(said in sentence for sentence in sentences), sentences


def result(**changes: object) -> dict[str, object]:
    fields = {
        "task": {"type": "fill-mask"},
        "dataset": {"type": "text", "name": "Text", "revision": "5503434"},
        "metrics": [{"type": "perplexity", "value": 3.5}],
    }
    return {"model-index": [{"name": "x", "results": [fields | changes]}]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": {}}, "task.type` is None"),
        ({"dataset": {"type": "text"}}, "dataset.name` is None"),
        (
            {"dataset": {"type": "text", "name": "Text", "revision": 5503434}},
            "revision` is 5503434",
        ),
        ({"dataset": {"type": "text", "name": "Text", "config": 7}}, "config` is 7"),
        ({"metrics": []}, "metrics` is []"),
        ({"metrics": [{"type": "perplexity"}]}, "value` is None"),
        ({"metrics": [{"type": "perplexity", "value": float("nan")}]}, "value` is nan"),
        ({"metrics": [{"type": 3, "value": 3}]}, "type` is 3"),
    ],
)
def test_results_are_read_field_by_field(changes: dict[str, object], said: str) -> None:
    assert check_metadata(card_of(**result())) == []
    assert any(said in sentence for sentence in check_metadata(card_of(**result(**changes))))


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ("---\n- a\n---\n", "not a mapping"),
        ("---\na: [\n---\n", "not YAML"),
        ("---\na: !!python/object:os.system x\n---\n", "not YAML"),
        ("---\nlicense: mit\nlicense: mit\n---\n", "`license` is given twice"),
        ("---\nx:\n  y: {a: 1, a: 2}\n---\n", "`a` is given twice"),
        ("---\n" + "[" * 5000 + "\n---\n", "not YAML"),
        ("x" * 10_000_001, "10,000,000 bytes"),
    ],
)
def test_what_is_no_metadata_is_said(card: str, said: str) -> None:
    (sentence,) = check_metadata(card)
    assert said in sentence and len(sentence) < 400


@pytest.mark.parametrize(
    "card",
    [
        "# no metadata\n",
        "---\n---\n# x\n",
        "---\n\n---\n# x\n",
        card_of(language=["en", "eng", "tok", "code", "multilingual"], license=["mit", "gpl-3.0"]),
        card_of(language="no", tags="one", base_model=["a/b", "gpt2"], datasets=["squad", "a/b"]),
        card_of(pipeline_tag="something-new", whatever={"x": [1, 2.5, True]}),
    ],
)
def test_what_the_hub_takes_is_not_refused(card: str) -> None:
    assert check_metadata(card) == []


def test_aliases_that_grow_are_read_in_no_time() -> None:
    names = "abcdefghij"
    lines = [f"{names[0]}: &{names[0]} [x, x]"]
    for before, name in itertools.pairwise(names):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]")
    assert check_metadata("---\n" + "\n".join(lines) + "\n---\n") == []


def test_iso_639_is_known_as_far_as_the_hub_asks() -> None:
    """Held against every word of two and three letters in the lists of iso639-lang 2.6.3 once."""
    for code in ("en", "eng", "que", "quz", "nah", "gsw", "tok", "nan", "fil", "bih"):
        assert is_iso639(code), code
    for code in ("qaa", "qtz", "aav", "sh", "iw", "xyz", "aoh", "im", "EN", "", "english"):
        assert not is_iso639(code), code


def test_the_bundled_base_has_no_other_languages() -> None:
    config = json.loads((files("xmod_extend") / "bases/tiny/config.json").read_text("utf-8"))
    assert set(config["languages"]) <= set(XMOD_BASE)

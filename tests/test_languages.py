"""Language codes: X-MOD's own are accepted, everything else is refused with a useful hint."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xmod_extend.errors import LanguageError
from xmod_extend.languages import Language, parse_language

XMOD_BASE = """
    en_XX id_ID vi_VN ru_RU fa_IR sv_SE ja_XX fr_XX de_DE ro_RO ko_KR hu_HU es_XX fi_FI uk_UA
    da_DK pt_XX no_XX th_TH pl_PL bg_BG nl_XX zh_CN he_IL el_GR it_IT sk_SK hr_HR tr_TR ar_AR
    cs_CZ lt_LT hi_IN zh_TW ca_ES ms_MY sl_SI lv_LV ta_IN bn_IN et_EE az_AZ sq_AL sr_RS kk_KZ
    ka_GE tl_XX ur_PK is_IS hy_AM ml_IN mk_MK be_BY la_VA te_IN eu_ES gl_ES mn_MN kn_IN ne_NP
    sw_KE si_LK mr_IN af_ZA gu_IN cy_GB eo_EO km_KH ky_KG uz_UZ ps_AF pa_IN ga_IE ha_NG am_ET
    lo_LA ku_TR so_SO my_MM or_IN sa_IN
""".split()


def refusal(code: str, existing: tuple[str, ...] = ()) -> LanguageError:
    with pytest.raises(LanguageError) as caught:
        parse_language(code, existing=existing)
    assert caught.value.exit_code == 4
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("code", XMOD_BASE)
def test_every_code_of_xmod_is_accepted(code: str) -> None:
    assert parse_language(code).code == code


def test_a_language_is_described_for_people_and_for_the_web() -> None:
    assert parse_language("quz_PE") == Language("quz_PE", "quz-PE", "Cusco Quechua (Peru)")
    assert parse_language("fo_XX") == Language("fo_XX", "fo", "Faroese")
    assert parse_language("eo_EO") == Language("eo_EO", "eo", "Esperanto")
    assert parse_language("tl_XX").bcp47 == "tl"  # not the macrolanguage that replaced it


@pytest.mark.parametrize(
    ("code", "near"),
    [
        ("quz-PE", "quz_PE"),
        ("QUZ_pe", "quz_PE"),
        ("quz.PE", "quz_PE"),
        (" quz_PE", "quz_PE"),
        ("quz", "quz_PE"),
        ("quz_PER", "quz_PE"),
        ("zh-Hans-CN", "zh_CN"),
        ("qzu_PE", "quz_PE"),
        ("que_PE", "qu_PE"),
        ("fao-FO", "fo_FO"),
        ("Faroese", "fo_FO"),
        ("swiss german", "gsw_CH"),
        ("en_UK", "en_GB"),
        ("quz_ZZ", "quz_PE"),
    ],
)
def test_a_slip_is_answered_with_the_code_that_was_meant(code: str, near: str) -> None:
    hint = refusal(code).hint
    assert hint is not None
    assert near in re.findall(r"\w+_\w+", hint)


@pytest.mark.parametrize(
    "code", ["", "_", "xx", "und_XX", "mul_XX", "zxx_XX", "de_QX", "de_ZZ", "qu_419", "to", "type"]
)
def test_what_is_no_language_with_a_region_is_refused(code: str) -> None:
    assert repr(code) in refusal(code).message


def test_a_language_that_the_base_has_is_refused() -> None:
    error = refusal("en_XX", existing=("de_DE", "en_XX"))
    assert error.message == "The base already has en_XX."
    assert "EN_xx" in refusal("en_XX", existing=("EN_xx",)).message


def test_the_same_language_of_another_region_is_another_language() -> None:
    assert parse_language("de_CH", existing=("de_DE",)).name == "German (Switzerland)"
    assert parse_language("quz_PE", existing=("qu_PE",)).code == "quz_PE"


@settings(deadline=None)
@given(st.text(max_size=12))
@example("quz_PE\n")
@example("ǆü_PE")
@example("quz_PE")
@example("\x00")
def test_any_text_is_accepted_as_it_is_or_refused_with_a_hint(code: str) -> None:
    try:
        language = parse_language(code)
    except LanguageError as error:
        assert error.hint
    else:
        assert re.fullmatch(r"[a-z]{2,3}_[A-Z]{2}", code)
        assert language.code == code


@settings(deadline=None)
@given(
    st.sampled_from(XMOD_BASE),
    st.sampled_from(["-", "_", ".", " "]),
    st.booleans(),
    st.booleans(),
)
def test_case_and_separator_are_all_that_a_hint_changes(
    code: str, separator: str, upper: bool, lower: bool
) -> None:
    language, region = code.split("_")
    written = (
        f"{language.upper() if upper else language}{separator}{region.lower() if lower else region}"
    )
    if written == code:
        assert parse_language(written).code == code
    else:
        assert refusal(written).hint == f"Did you mean {code}?"


@settings(deadline=None)
@example("sap_AB")  # withdrawn, with a region that does not exist
@given(st.from_regex(r"[a-z]{2,3}_[A-Z]{2}", fullmatch=True))
def test_every_code_that_a_hint_names_is_accepted(code: str) -> None:
    try:
        parse_language(code)
    except LanguageError as error:
        for near in re.findall(r"\b[a-z]{2,3}_[A-Z]{2}\b", error.hint or ""):
            assert parse_language(near).code == near


def test_importing_languages_does_not_import_torch() -> None:
    code = "import sys, xmod_extend.languages; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("code", "near"),
    [
        ("iw_IL", "he_IL"),
        ("in_ID", "id_ID"),
        ("ji_XX", "yi_XX"),
        ("jw_ID", "jv_ID"),
        ("mo_MD", "ro_MD"),
        ("sh_XX", "sr_XX"),
        ("iw-IL", "he_IL"),
    ],
)
def test_a_withdrawn_code_is_refused_whatever_the_base_has(code: str, near: str) -> None:
    for existing in ((), ("he_IL", "id_ID")):
        hint = refusal(code, existing=existing).hint
        assert hint is not None and near in hint


def test_every_alias_that_is_registered_is_refused() -> None:
    from langcodes.data_dicts import LANGUAGE_REPLACEMENTS

    plain = {
        old: new
        for old, new in LANGUAGE_REPLACEMENTS.items()
        if re.fullmatch("[a-z]{2,3}", old) and re.fullmatch("[a-z]{2,3}", new) and old != "tl"
    }
    assert len(plain) > 100
    for old, new in plain.items():
        assert refusal(f"{old}_XX", existing=(f"{new}_XX",)).hint


@pytest.mark.parametrize(
    ("code", "existing"),
    [("fil_PH", "tl_XX"), ("nb_NO", "no_XX"), ("no_XX", "nb_XX"), ("he_IL", "iw_IL")],
)
def test_a_second_code_of_a_language_of_the_base_is_refused(code: str, existing: str) -> None:
    assert f"already has {existing}" in refusal(code, existing=(existing,)).message
    assert parse_language(code).code == code


def test_a_narrower_or_a_neighbouring_language_is_another_one() -> None:
    for code, existing in (("nn_NO", "no_XX"), ("arb_EG", "ar_AR"), ("swc_CD", "sw_KE")):
        assert parse_language(code, existing=(existing,)).code == code

"""Licenses: the Hub's names, the nearest ones, and nothing that nobody said."""

from __future__ import annotations

import pytest

from xmod_extend.errors import UsageError
from xmod_extend.report.licenses import as_license, license_fields


@pytest.mark.parametrize(
    ("text", "license"),
    [
        ("cc-by-4.0", "cc-by-4.0"),
        ("CC BY 4.0", "cc-by-4.0"),
        (" Apache-2.0 ", "apache-2.0"),
        ("other:my-terms-1.0", "other:my-terms-1.0"),
        ("Other: my-terms", "other:my-terms"),
    ],
)
def test_a_license_has_the_hubs_name(text: str, license: str) -> None:
    assert as_license("--license", text) == license
    assert license_fields(license)["license"] == license.partition(":")[0]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("cc-by-4", "cc-by-4.0"),
        ("apache", "apache-2.0"),
        ("mine", "other:NAME"),
        ("other", "other:NAME"),
        ("other:My Terms", "other:NAME"),
        ("", "other:NAME"),
    ],
)
def test_what_the_hub_does_not_know_is_refused_with_the_nearest(text: str, hint: str) -> None:
    with pytest.raises(UsageError, match="--license is") as caught:
        as_license("--license", text)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (None, {}),
        ("MIT", {"license": "mit"}),
        ("other:x-1", {"license": "other", "license_name": "x-1"}),
        ("My own: terms!", {"license": "other", "license_name": "my-own-terms"}),
        ("\x00\u202e", {}),
        ("other", {"license": "other", "license_name": "other"}),
        ("x" * 500, {"license": "other", "license_name": "x" * 96}),
    ],
)
def test_what_a_stranger_named_fits_into_a_card(text: str | None, fields: dict[str, str]) -> None:
    assert license_fields(text) == fields

"""Cards that were edited on the Hub and written anew here: what of both is kept."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from xmod_extend.report.card_merge import (
    describe_edits,
    merge_cards,
    split_card,
    undo_edits,
    with_license,
)

BASE = """---
language:
- "quz"
tags:
- xmod
---
# A base with Quechua

It was trained on text.

## Results

| quz | 12 |

## Limits

None are known.
"""
EDITED = BASE.replace("on text.", "on text of our radio.\n\n![logo](logo.png)").replace(
    "tags:\n", 'license: "cc-by-4.0"\ntags:\n- quechua\n'
)
NEW = (
    BASE.replace('- "quz"\n', '- "quz"\n- "ay"\n')
    .replace("with Quechua", "with Quechua and Aymara")
    .replace("| quz | 12 |\n", "| quz | 12 |\n| ay | 9 |\n")
)


def metadata(card: str) -> dict[str, object]:
    fields = yaml.safe_load(split_card(card)[0])
    assert isinstance(fields, dict)
    return fields


def test_edits_of_both_sides_are_kept() -> None:
    merged = merge_cards(BASE, EDITED, NEW)
    assert merged.conflicts == ()
    assert "of our radio" in merged.text and "![logo](logo.png)" in merged.text
    assert "and Aymara" in merged.text and "| ay | 9 |" in merged.text
    assert metadata(merged.text) == {
        "language": ["quz", "ay"],
        "license": "cc-by-4.0",
        "tags": ["quechua", "xmod"],
    }


def test_a_card_that_nobody_edited_is_replaced() -> None:
    assert merge_cards(BASE, BASE, NEW).text == NEW
    assert merge_cards(BASE, BASE.replace("\n", "\r\n"), NEW).text == NEW


def test_an_edited_card_stays_as_it_is_where_nothing_new_is_said() -> None:
    assert merge_cards(BASE, EDITED, BASE).text == EDITED


def test_in_a_conflict_the_hub_wins_and_it_is_said() -> None:
    theirs = BASE.replace("| quz | 12 |", "| quz | twelve |").replace(
        "tags:", "pipeline_tag: fill-mask\ntags:"
    )
    ours = BASE.replace("| quz | 12 |", "| quz | 11 |").replace(
        "tags:", "pipeline_tag: feature-extraction\ntags:"
    )
    merged = merge_cards(BASE, theirs, ours)
    assert merged.text == theirs
    assert merged.conflicts == ("`pipeline_tag` in its metadata", "1 place in its text")


def test_a_field_that_was_taken_out_by_hand_stays_out_and_others_come() -> None:
    theirs = BASE.replace("tags:\n- xmod\n", "")
    assert "tags" not in metadata(merge_cards(BASE, theirs, NEW).text)
    ours = BASE.replace("tags:", "library_name: transformers\ntags:")
    assert metadata(merge_cards(BASE, theirs, ours).text)["library_name"] == "transformers"


def test_a_licence_that_was_named_once_is_not_taken_away() -> None:
    licensed = with_license(BASE, "mit")
    assert metadata(merge_cards(licensed, licensed, NEW).text)["license"] == "mit"


def test_metadata_without_a_text_get_the_text() -> None:
    theirs = "---\nlicense: mit\n---\n"
    merged = merge_cards(theirs, theirs, NEW)
    assert split_card(merged.text)[1] == split_card(NEW)[1]
    assert metadata(merged.text)["license"] == "mit"


def test_metadata_that_cannot_be_read_stay() -> None:
    theirs = BASE.replace("tags:", "tags: [")
    merged = merge_cards(BASE, theirs, NEW)
    assert "tags: [" in merged.text and "cannot be read" in merged.conflicts[0]
    assert "| ay | 9 |" in merged.text


@pytest.mark.parametrize("before", ["", "license: apache-2.0\n", "license:\n- a\n- b\n"])
def test_a_licence_is_written_into_the_metadata_alone(before: str) -> None:
    card = BASE.replace("tags:", f"{before}tags:")
    licensed = with_license(card, "cc-by-4.0")
    assert metadata(licensed) == {**metadata(BASE), "license": "cc-by-4.0"}
    assert split_card(licensed)[1] == split_card(card)[1]


def test_a_licence_of_ones_own_has_a_name() -> None:
    card = with_license(BASE, "other:terms-1.0")
    assert metadata(card) == {
        **metadata(BASE),
        "license": "other",
        "license_name": "terms-1.0",
    }
    assert metadata(with_license(card, "mit")) == {**metadata(BASE), "license": "mit"}


def test_a_card_without_metadata_gets_some() -> None:
    assert with_license("# Title\n", "mit") == '---\nlicense: "mit"\n---\n# Title\n'


LINES = st.lists(st.sampled_from(["a", "b", "", "@@ -1 +1 @@", "-x", "+y", "\u2028"]), max_size=8)


@given(LINES, LINES)
def test_edits_can_be_undone(written: list[str], published: list[str]) -> None:
    before, after = ("".join(f"{line}\n" for line in lines) for lines in (written, published))
    assert undo_edits(after, describe_edits(before, after)) == before


@given(LINES, LINES)
def test_a_change_of_one_side_alone_is_taken(base: list[str], changed: list[str]) -> None:
    before, after = ("".join(f"{line}\n" for line in lines) for lines in (base, changed))
    assert merge_cards(before, after, before).text == after
    assert merge_cards(before, before, after).text == after

"""report.html: what it says, what it leaves out, and that nothing of a user's becomes markup."""

from __future__ import annotations

import dataclasses
import html.parser
import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_records import (
    HOSTILE,
    SENTENCES,
    make_corpus_report,
    make_evaluation,
    make_record,
    make_samples,
    make_score,
    make_training,
)

from xmod_extend.evaluation.bootstrap import Improvement
from xmod_extend.evaluation.learning_curve import LearningCurve, LearningPoint
from xmod_extend.evaluation.parts import NearDuplicateScores, PartScore
from xmod_extend.evaluation.probe import Candidate
from xmod_extend.evaluation.seen_words import SeenWords
from xmod_extend.report.html import format_percent, html_report, is_report, show_piece, show_pieces
from xmod_extend.report.plain_words import headline
from xmod_extend.report.record import BaseRecord, ReferenceScore, RunRecord
from xmod_extend.text.near_duplicates import NearDuplicates, NearPair
from xmod_extend.text.report import Coverage


class Page(html.parser.HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def attributes(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name))]


def read(record: RunRecord) -> Page:
    return Page(html_report(record))


def test_the_page_says_what_was_added_to_what_and_how_well_it_went() -> None:
    page = read(make_record())
    assert "Cusco Quechua (Peru) quz_PE added to tiny" in page.text
    assert "reads Cusco Quechua clearly better than it did before" in page.text
    for figure in ("457", "131", "16", "28.6", "2,468", "14.4 to 17.6", "94 tensors"):
        assert figure in page.text, figure


def test_each_section_is_linked_to_and_headings_are_in_order() -> None:
    page = read(make_record())
    targets = page.attributes("id")
    assert len(set(targets)) == len(targets)
    links = page.attributes("href")
    assert links and {link.removeprefix("#") for link in links} <= {*targets}
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_the_page_names_nothing_that_would_be_loaded() -> None:
    page = html_report(make_record())
    assert not Page(page).attributes("src")
    for word in ("http:", "https:", "//", "url(", "@import", "<script", "<link"):
        assert word not in page, word


def test_a_record_read_back_gives_the_same_page() -> None:
    record = make_record()
    again = RunRecord.from_dict(json.loads(record.to_json()))
    assert again == record
    assert html_report(again) == html_report(record)


def test_what_a_record_of_version_0_1_lacks_is_left_out() -> None:
    evaluation = make_evaluation(
        unigram=131.0,
        before=457.0,
        after=16.0,
        samples=None,
        verdict="",
    )
    scores = {
        name: make_score(perplexity, low=None, high=None)
        for name, perplexity in (("before", 457.0), ("after", 16.0))
    }
    evaluation = dataclasses.replace(
        evaluation, unigram=None, improvement_over_unigram=None, **scores
    )
    record = make_record(
        evaluation=evaluation,
        corpus=make_corpus_report(coverage=None, held_out_coverage=None, tokens=None),
        probe=(),
        verification=None,
        training=make_training(curve=(), num_epochs=None),
    )
    page = read(record)
    headings = {attributes["id"] for tag, attributes in page.tags if tag == "h2"}
    assert headings == {"result", "ladder", "text", "provenance"}
    assert "bare count" not in page.text
    assert "None" not in page.text


@pytest.mark.parametrize(
    ("before", "unigram", "after", "said"),
    [
        (457, 131, 16, "clearly better than it did before"),
        (457, 20, 16, "has learnt a little"),
        (457, 16, 16, "has hardly learnt"),
        (457, 10, 16, "has hardly learnt"),
        (16, 131, 16, "No clear gain"),
        (10, 131, 16, "made it worse"),
    ],
)
def test_the_headline_is_no_kinder_than_the_figures(
    before: float, unigram: float, after: float, said: str
) -> None:
    record = make_record(evaluation=make_evaluation(before, unigram, after))
    assert said in headline(record)
    assert f"among {after:.0f}" in headline(record) and f"among {before:.0f}" in headline(record)


def test_languages_that_the_base_knows_stand_on_the_ladder() -> None:
    references = tuple(
        ReferenceScore(language=code, files=("es.txt",), score=make_score(perplexity))
        for code, perplexity in (("es_XX", 61.5), ("xx_YY", 80.2))
    )
    record = make_record(evaluation=make_evaluation(references=references))
    page = read(record)
    assert "Spanish a language that the base knows, on its own text, es_XX" in page.text
    assert "61.5 55.4 to 67.7" in page.text and "xx_YY" in page.text
    assert "measured on other text" in page.text
    again = RunRecord.from_dict(json.loads(record.to_json()))
    assert again == record


def test_a_text_that_the_base_cannot_read_has_no_good_result() -> None:
    coverage = Coverage(unknown_characters=0.7, words_hit=0.99, unknown_scripts=("Tibetan",))
    record = make_record(corpus=make_corpus_report(coverage=coverage))
    assert "means nothing" in headline(record)
    assert "better" not in headline(record)


def make_hostile(value: Any) -> Any:
    """The same value with every text in it replaced by what would break out of a page."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, dict):
        return {HOSTILE + str(i): make_hostile(v) for i, v in enumerate(value.values())}
    if isinstance(value, tuple | list):
        return type(value)(make_hostile(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: make_hostile(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **fields)
    return value


def test_nothing_of_the_users_becomes_markup() -> None:
    harmless = read(make_record())
    record = make_hostile(make_record(warnings=("x",)))
    page = Page(html_report(record))
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in harmless.tags}
    names = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")} and "src" not in names
    # It is all there, as text, and no template was made of it.
    assert "<script>alert(1)</script>" in page.text and "{{ 7*7 }}" in page.text


@given(st.text(max_size=30), st.lists(st.text(max_size=5), max_size=6))
@settings(max_examples=50)
def test_any_text_makes_a_page(text: str, pieces: list[str]) -> None:
    samples = make_samples(["|".join(pieces)])
    record = make_record(
        language_name=text,
        bcp47=text,
        warnings=(text,),
        output=text,
        options={text: text},
        evaluation=make_evaluation(best_existing=text, samples=samples),
        base=BaseRecord(
            name=text, source=text, commit=text, languages=(), num_parameters=0, files={text: text}
        ),
    )
    assert is_report(html_report(record))


@given(st.floats(min_value=1.0) | st.just(math.nan), st.floats(min_value=1e-300, max_value=1e300))
@settings(max_examples=50)
def test_any_figures_make_a_page(perplexity: float, ratio: float) -> None:
    score = make_score(perplexity, low=1.0, high=perplexity)
    improvement = Improvement(ratio=ratio, low=ratio / 2, high=ratio * 2)
    evaluation = make_evaluation(
        after=16.0, improvement=improvement, improvement_over_unigram=improvement
    )
    evaluation = dataclasses.replace(evaluation, before=score, unigram=score)
    probe = (Candidate(language="en_XX", perplexity=perplexity, num_scored_tokens=1),)
    assert is_report(html_report(make_record(evaluation=evaluation, probe=probe)))


@pytest.mark.parametrize("language", SENTENCES)
def test_samples_are_in_their_language(language: str) -> None:
    page = read(make_record(language))
    for tag, attributes in page.tags:
        if attributes.get("class") in ("marked", "context"):
            assert (tag, attributes["dir"]) == ("p", "auto")
            assert attributes["lang"] == SENTENCES[language][1]
    for line in SENTENCES[language][2]:
        assert line.replace("|", "") in page.text


def test_only_what_the_program_wrote_is_known_as_its_report() -> None:
    assert is_report(html_report(make_record()))
    assert not is_report("<html><p>xmod-extend</p>")


@pytest.mark.parametrize(
    ("piece", "goes_on", "shown"),
    [
        (" wasi", True, "wasi"),
        ("kuna", True, "-kuna"),
        ("kuna", False, "kuna"),
        (".", True, "."),
        (" ", True, "(space)"),
        ("", True, "(space)"),
        ("ा", True, "◌ा"),
    ],
)
def test_a_piece_can_stand_alone(piece: str, goes_on: bool, shown: str) -> None:
    assert show_piece(piece, goes_on=goes_on) == shown


def test_pieces_keep_the_shapes_of_joined_letters() -> None:
    assert show_pieces(("المد", "رسة")) == ["المد", "رسة"]  # the letter at the cut joins nothing
    assert show_pieces(("الم", "درسة")) == ["الم\u200d", "\u200dدرسة"]
    assert show_pieces(("wasi", "kuna")) == ["wasi", "kuna"]
    assert show_pieces(("प", "ुस्तक")) == ["प", "◌ुस्तक"]


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0%"),
        (1, "100%"),
        (0.5, "50.0%"),
        (0.0123, "1.2%"),
        (0.004, "0.40%"),
        (0.00001, "under 0.01%"),
        (0.9999, "over 99.9%"),
    ],
)
def test_shares_are_never_rounded_to_nothing(share: float, shown: str) -> None:
    assert format_percent(share) == shown


def test_what_is_known_of_the_overlap_and_of_more_text_is_shown() -> None:
    part = PartScore(num_scored_tokens=90, before=457.0, after=18.5)
    none = PartScore(num_scored_tokens=3, before=None, after=None)
    evaluation = make_evaluation(
        seen_words=SeenWords(
            num_words=900,
            num_unseen=77,
            share_unseen=77 / 900,
            is_sample=False,
            seen=part,
            unseen=none,
        ),
        near_duplicates=NearDuplicateScores(near=part, others=part),
    )
    pair = NearPair(held_out=HOSTILE, train="Wasiykiqa hatunmi.", similarity=0.93)
    near = NearDuplicates(
        held_out_lines=31,
        compared_lines=400,
        share=31 / 400,
        train_lines=44,
        dropped=False,
        is_sample=False,
        examples=(pair,),
    )
    points = tuple(
        LearningPoint(
            share=share,
            num_tokens=int(share * 10_000),
            num_steps=10,
            perplexity=30 / share,
            low=None,
            high=None,
            seconds=1.0,
        )
        for share in (0.25, 0.5, 1.0)
    )
    curve = LearningCurve(
        points=points, last_doubling=None, expected_perplexity=None, sentence="More text helps."
    )
    record = make_record(
        evaluation=evaluation,
        corpus=make_corpus_report(near_duplicates=near),
        learning_curve=curve,
    )
    page = read(record)
    assert "77 of 900 held-out words (8.6%)" in page.text and "too few" in page.text
    assert "31 of 400 held-out lines (7.8%) nearly repeat" in page.text
    assert "<script>alert(1)</script>" in page.text and "93.0%" in page.text
    assert "More text helps." in page.text and "Would more text help?" in page.text
    assert "from 120 with 25.0% of the text to 30 with 100% of it" in " ".join(
        page.attributes("aria-label")
    )

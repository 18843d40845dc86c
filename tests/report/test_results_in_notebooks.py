"""What a result offers in a notebook: frames, plots, pages, and a word where a part is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from made_up_results import (
    TEXTS,
    TOKENS_EACH,
    make_comparison,
    make_evaluation,
    make_guesses,
    make_pair_comparison,
)
from run_records import make_record

import xmod_extend
from xmod_extend.errors import UsageError
from xmod_extend.evaluation.bootstrap import Improvement
from xmod_extend.evaluation.learning_curve import LearningPoint, describe_curve
from xmod_extend.report.record import RunRecord

BOTH = ("within_word_l2r", "pll")
RESULTS: dict[str, Callable[[], Any]] = {
    "evaluation": lambda: make_evaluation("quz_PE of x", 3.0),
    "comparison": make_comparison,
    "comparison by two metrics": lambda: make_comparison(BOTH),
    "comparison of pairs": make_pair_comparison,
    "evaluation of pairs": lambda: make_pair_comparison().after,
    "guesses": lambda: make_guesses("▁a", "b<i>", "▁", "▁$x$", "▁ሀ", "▁पु", "▁كت"),
}
results = pytest.mark.parametrize("make", RESULTS.values(), ids=list(RESULTS))
VOID = ("img", "br", "hr", "meta", "input")


class Page(HTMLParser):
    """The tags of a page, all closed, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_frame_has_a_row_for_each_sentence_with_its_text() -> None:
    comparison = make_comparison()
    frame = comparison.to_pandas()
    assert frame["text"].tolist() == list(TEXTS)
    assert frame["line"].tolist() == list(range(1, len(TEXTS) + 1))
    assert (frame["num_scored_tokens"] == TOKENS_EACH).all()
    # The rows add up to the scores.
    for side in ("before", "after"):
        score = getattr(comparison, side).score
        total = frame[f"{side}_nats"].sum() / frame["num_scored_tokens"].sum()
        assert np.exp(total) == pytest.approx(score.perplexity)
        single = getattr(comparison, side).to_pandas()
        assert single["perplexity"].tolist() == pytest.approx(frame[f"{side}_perplexity"].tolist())
    ratio = frame["before_perplexity"] / frame["after_perplexity"]
    assert frame["ratio"].tolist() == pytest.approx(ratio.tolist())


def test_a_frame_is_of_the_metric_that_is_named() -> None:
    comparison = make_comparison(BOTH)
    first, second = (comparison.to_pandas(metric) for metric in BOTH)
    assert comparison.to_pandas().equals(first)
    assert not first["before_nats"].equals(second["before_nats"])
    pairs = make_pair_comparison().to_pandas()
    assert pairs["right"].tolist() == list(TEXTS[::2])
    assert pairs["wrong"].tolist() == list(TEXTS[1::2])


def test_a_metric_that_was_not_measured_is_refused() -> None:
    comparison = make_comparison(BOTH)
    for result in (comparison, comparison.after):
        for method in (result.to_pandas, result.plot):
            with pytest.raises(UsageError, match="'masked_perplexity', which was not measured"):
                method("masked_perplexity")


@results
def test_a_page_escapes_what_users_wrote(make: Callable[[], Any]) -> None:
    source = make()._repr_html_()
    page = Page(source)
    assert not {"script", "img", "i", "u", "b", "style", "link"} & set(page.tags)
    assert "rgb" in source and "color:white" not in source and "color:black" not in source


def test_a_page_shows_scores_intervals_and_sentences() -> None:
    comparison = make_comparison()
    page = Page(comparison._repr_html_())
    for side in (comparison.before, comparison.after):
        score = side.score
        assert f"{score.perplexity:,.1f} ({score.low:,.1f} to {score.high:,.1f})" in page.text
        assert side.state in page.text
    gain = comparison.improvement
    assert f"{gain.ratio:.2f} ({gain.low:.2f} to {gain.high:.2f})" in page.text
    assert "Most improved" in page.text and "Hardest still" in page.text
    assert comparison.verdict in page.text
    best = max(comparison.rows(), key=lambda row: row["ratio"])
    assert best["text"][:40] in page.text.split("Hardest still")[0]
    assert '<td style="' in comparison._repr_html_() and 'dir="auto"' in comparison._repr_html_()


@results
def test_it_prints_in_a_few_lines(make: Callable[[], Any]) -> None:
    printed = repr(make())
    assert len(printed.splitlines()) <= 6 and len(printed) < 700


@results
def test_a_plot_is_drawn_on_a_figure_of_its_own(make: Callable[[], Any]) -> None:
    before = dict(matplotlib.rcParams)
    figure = make().plot()
    image = figure._repr_png_()
    assert image.startswith(b"\x89PNG") and len(image) > 5000
    assert isinstance(figure, matplotlib.figure.Figure)
    assert dict(matplotlib.rcParams) == before


def test_a_plot_neither_opens_a_window_nor_chooses_a_backend() -> None:
    code = """
import sys, matplotlib
from made_up_results import make_comparison, make_guesses
backend = dict.__getitem__(matplotlib.rcParams, "backend")
make_comparison().plot(); make_guesses("▁a").plot()
assert "matplotlib.pyplot" not in sys.modules
assert dict.__getitem__(matplotlib.rcParams, "backend") == backend
"""
    tests = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=tests, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_style_of_the_callers_does_not_make_a_plot_unreadable() -> None:
    with matplotlib.rc_context({"axes.facecolor": "black", "figure.facecolor": "black"}):
        figure = make_comparison().plot()
    white = (1.0, 1.0, 1.0, 1.0)
    assert figure.get_facecolor() == white
    assert all(axes.get_facecolor() == white for axes in figure.axes)


def test_one_sentence_alone_can_be_drawn() -> None:
    rows = list(make_comparison().rows())[:1]
    from xmod_extend.report.plots import plot_comparison, plot_evaluation

    comparison = make_comparison()
    assert plot_comparison(comparison._side_by_side(), rows)._repr_png_()
    row = {"perplexity": 12.0}
    assert plot_evaluation(comparison.after._rungs("after")[0], [row])._repr_png_()


@pytest.mark.parametrize(("package", "method"), [("pandas", "to_pandas"), ("matplotlib", "plot")])
@results
def test_a_missing_package_is_named_with_the_extra(
    make: Callable[[], Any], package: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"{method}\(\) needs {package}") as caught:
        getattr(make(), method)()
    assert "xmod-extend[notebook]" in str(caught.value.hint)


def test_a_learning_curve_is_drawn_where_there_is_one() -> None:
    improved = Improvement(ratio=1.3, low=1.2, high=1.4)
    points = tuple(
        LearningPoint(
            share=share, num_tokens=int(1000 * share), num_steps=9, perplexity=30 - 20 * share,
            low=29 - 20 * share, high=None if share == 0.5 else 31 - 20 * share, seconds=1.0,
        )
        for share in (0.25, 0.5, 1.0)
    )  # fmt: skip
    record = make_record(learning_curve=describe_curve(points, improved))
    assert record.plot_learning_curve()._repr_png_()
    with pytest.raises(UsageError, match="no learning curve"):
        make_record(learning_curve=None).plot_learning_curve()


def test_a_piece_is_labelled_as_readers_write_it() -> None:
    (gap,) = make_guesses("▁wasi", "kuna", "▁").gaps
    assert [guess.label for guess in gap.before] == ["wasi", "-kuna", "␣"]


def test_letters_are_drawn_only_in_fonts_that_have_them() -> None:
    from xmod_extend.report.fonts import families_for

    assert families_for("ñawi Ѣ") == ["DejaVu Sans"]
    # A code point that is assigned to nobody.
    assert families_for("\U000e0fff") in ([], ["DejaVu Sans"])


@pytest.fixture(scope="module")
def made(base: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return xmod_extend.add_language(
        lang="quz_PE",
        corpus=corpus,
        base=base,
        output=tmp_path_factory.mktemp("made") / "out",
        max_steps=10,
        batch_size=8,
        lr=0.02,
        progress=False,
    )


@pytest.fixture
def read(made: RunRecord) -> RunRecord:
    written = (Path(str(made.output)) / "run.json").read_text(encoding="utf-8")
    return RunRecord.from_dict(json.loads(written))


@pytest.mark.slow
def test_it_has_the_held_out_sentences(made: RunRecord, corpus: Path) -> None:
    evaluation = made.evaluation
    assert evaluation is not None
    frame = evaluation.to_pandas()
    assert set(frame["text"]) <= set(corpus.read_text(encoding="utf-8").splitlines())
    assert len(frame) == evaluation.after.num_documents
    assert frame["num_scored_tokens"].sum() == evaluation.after.num_scored_tokens
    mean = frame["after_nats"].sum() / frame["num_scored_tokens"].sum()
    assert np.exp(mean) == pytest.approx(evaluation.after.perplexity)
    assert frame["text"][0] in Page(evaluation._repr_html_()).text or len(frame) > 10


def test_they_are_not_written(made: RunRecord, read: RunRecord) -> None:
    assert read == made
    assert "sentences" not in made.to_dict()["evaluation"]
    assert made.evaluation is not None
    assert made.evaluation.to_dict() == made.to_dict()["evaluation"]
    assert json.loads(made.to_json()) == made.to_dict()


def test_a_record_that_was_read_says_that_it_has_none(read: RunRecord) -> None:
    assert read.evaluation is not None
    with pytest.raises(UsageError, match="no sentences") as caught:
        read.evaluation.to_pandas()
    assert "xmod_extend.compare" in str(caught.value.hint)
    assert read.evaluation.plot()._repr_png_()
    assert "token frequencies" in Page(read.evaluation._repr_html_()).text
    assert "token frequencies" in repr(read.evaluation)

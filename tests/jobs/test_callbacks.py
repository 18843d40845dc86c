"""What a notebook shows of a run: progress and warnings by default, and a record worth printing."""

from __future__ import annotations

import dataclasses
import io
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import xmod_extend
from xmod_extend.errors import UsageError
from xmod_extend.jobs.callbacks import Callback, ProgressBars, choose_callback
from xmod_extend.report.record import RunRecord
from xmod_extend.training.history import StepReport


def add(base: Path, corpus: Path, output: Path, **options: Any) -> RunRecord:
    defaults: dict[str, Any] = {"lang": "quz_PE", "max_steps": 2, "batch_size": 4}
    return xmod_extend.add_language(base=base, corpus=corpus, output=output, **defaults | options)


@pytest.fixture(scope="module")
def record(base: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return add(base, corpus, tmp_path_factory.mktemp("shown") / "out", progress=False)


@pytest.mark.slow
def test_a_call_shows_its_progress_and_warnings_on_stderr(
    base: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(base, corpus, tmp_path / "out", lr=1e-9)
    out, err = capsys.readouterr()
    assert out == ""
    for shown_text in ("Reading the corpus", "Training 2 steps", "held-out loss", "warning: "):
        assert shown_text in err
    xmod_extend.check_corpus(corpus, base=base)
    assert "Reading the corpus" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"progress": False}, {"callback": Callback()}])
def test_it_is_silent_where_that_was_asked_for_or_another_hears_it(
    base: Path,
    corpus: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    options: dict[str, Any],
) -> None:
    add(base, corpus, tmp_path / "out", plan=True, **options)
    xmod_extend.probe_corpus(corpus, base=base, **options)
    assert capsys.readouterr() == ("", "")


class Closed(io.StringIO):
    """A stream whose reader is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("stream", [None, Closed()])
def test_a_stream_that_nobody_reads_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with choose_callback(None, True) as callback:
        callback.on_stage("Training")
        callback.on_warning("It is short.")
        callback.on_step(report(1))


def report(step: int) -> StepReport:
    return StepReport(step=step, num_steps=4, loss=2.5, lr=0.1, num_tokens=step, seconds=1.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_that_is_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    bars = ProgressBars()
    for step in (1, 2, 4):
        bars.on_step(report(step))
    bar = bars._bar
    assert (bar.n, bar.total) == (4, 4) and "loss 2.500" in str(bar)
    bars.on_stage("Scoring")
    assert bars._bar is None and bar.disable


@pytest.mark.parametrize("options", [{"callback": Callback}, {"progress": "no"}])
def test_what_is_no_callback_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must be of type"):
        xmod_extend.add_language(lang="quz_PE", corpus="a.txt", **options)


@pytest.mark.slow
def test_a_record_prints_as_a_few_lines(record: RunRecord) -> None:
    text = str(record)
    assert text == repr(record) and len(text.splitlines()) <= 8 + len(record.warnings)
    assert record.evaluation is not None and record.output is not None
    for figure in (record.evaluation.before.perplexity, record.evaluation.after.perplexity):
        assert f"perplexity {figure:,.1f}" in text
    assert record.output in text


def test_a_records_table_is_html_whatever_its_words_are(record: RunRecord) -> None:
    odd = dataclasses.replace(record, output="<b>&.run", warnings=("<script>",))

    class Words(HTMLParser):
        tags, text = set[str](), ""

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.tags.add(tag)

        def handle_data(self, data: str) -> None:
            self.text += data

    words = Words()
    words.feed(odd._repr_html_())
    assert words.tags == {"table", "tr", "th", "td"}
    assert "<b>&.run" in words.text and "<script>" in words.text

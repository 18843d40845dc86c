"""`xmod-extend check`: what a corpus is like, and how well the base's tokenizer fits it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from rich.table import Table

from xmod_extend.cli.errors import error_boundary
from xmod_extend.cli.options import Json, Quiet, takes, typed
from xmod_extend.cli.output import Display, Output
from xmod_extend.files.sizes import describe_size
from xmod_extend.jobs.options import CorpusOptions
from xmod_extend.text.near_duplicates import shorten

if TYPE_CHECKING:
    from xmod_extend.text.report import CorpusReport

LEAST_SHARE = 0.001
"""Share of the letters below which a script is not named."""


@takes(CorpusOptions, without=["streaming"])
def check(*, json: Json = False, quiet: Quiet = False, **options: Any) -> None:
    """Report on a corpus: lines, duplicates, words, tokens per word, unknown tokens, scripts."""
    output = Output(as_json=json, quiet=quiet)
    with error_boundary(output):
        from xmod_extend.jobs.checks import check_inputs

        chosen = typed(options)
        check_inputs(CorpusOptions(**chosen))
        from xmod_extend.jobs.inspect import check_corpus

        display = Display(output)
        report = check_corpus(**chosen, callback=display)
        from xmod_extend.text.cache import measure_cache

        cache = measure_cache()
        output.note(
            f"  prepared text is kept in {cache.folder}: {describe_size(cache.num_bytes)} "
            f"of at most {describe_size(cache.limit_bytes)}"
        )
        output.result(
            dataclasses.asdict(report) | {"cache": cache._asdict() | {"folder": str(cache.folder)}},
            f"{report.kept_lines}",
            report_table(report),
            conclusion(report),
        )


def conclusion(report: CorpusReport) -> str:
    """Return whether the text can be used, in a sentence or two; the warnings were said before."""
    if report.unreadable:
        return report.verdict
    count = len(report.warnings)
    if not count:
        return f"This text can be used. {report.verdict}".strip()
    above = "the warning above says" if count == 1 else f"the {count} warnings above say"
    return f"This text can be used, but {above} what stands against it. {report.verdict}".strip()


def report_table(report: CorpusReport) -> Table:
    """Return the corpus report as two columns."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    for name, value in _rows(report):
        table.add_row(name, value)
    return table


def _rows(report: CorpusReport) -> list[tuple[str, Any]]:
    rows = [
        ("lines", f"{report.lines:,}"),
        ("kept", f"{report.kept_lines:,}"),
        ("empty", f"{report.empty_lines:,}"),
        ("duplicates", f"{report.duplicate_lines:,}"),
        ("words", f"{report.words:,}"),
        ("bytes", f"{report.bytes:,} ({describe_size(report.bytes)})"),
        ("scripts", _scripts(report.scripts)),
        ("for training", f"{report.train_lines:,} lines, {describe_size(report.train_bytes)}"),
        ("held out", f"{report.held_out_lines:,} lines, {describe_size(report.held_out_bytes)}"),
    ]
    if report.contaminated_lines:
        rows.append(("left out of training", f"{report.contaminated_lines:,} (held-out as well)"))
    if report.near_duplicate_lines:
        rows.append(
            ("left out as well", f"{report.near_duplicate_lines:,} (nearly held-out lines)")
        )
    rows += _near_rows(report) + _foreign_rows(report)
    if report.tokens is not None:
        rows.append(("tokens", f"{report.tokens:,}"))
        rows.append(("tokens per word", f"{report.fertility:.2f}"))
        rows.append(("unknown tokens", f"{report.unk_rate:.2%}"))
    if report.coverage is not None:
        rows.append(("unknown characters", f"{report.coverage.unknown_characters:.2%}"))
        rows.append(("words with any", f"{report.coverage.words_hit:.2%}"))
        if report.coverage.missing:
            rows.append(("the most frequent", " ".join(report.coverage.missing)))
    return rows


def _near_rows(report: CorpusReport) -> list[tuple[str, str]]:
    """Return how many held-out lines a training line nearly repeats, with two of the pairs."""
    near = report.near_duplicates
    if near is None:
        return []
    some = " of a sample" if near.is_sample else ""
    rows = [
        (
            "nearly repeated",
            f"{near.held_out_lines:,} of {near.compared_lines:,} held-out lines{some} "
            f"({near.share:.1%})",
        )
    ]
    examples = near.examples
    for pair in examples[:: max(1, len(examples) // 2)][:2]:
        rows += [
            (f"{pair.similarity:.0%} of it", shorten(pair.held_out)),
            ("in", shorten(pair.train)),
        ]
    return rows


def _foreign_rows(report: CorpusReport) -> list[tuple[str, str]]:
    """Return what a language identification found, if a model was given."""
    foreign = report.foreign_lines
    if foreign is None:
        return []
    some = " of a sample" if foreign.is_sample else ""
    rows = [
        ("identified as", f"{foreign.label}, of {foreign.lines:,} lines{some}"),
        ("as another", f"{foreign.share:.1%} (unsure {foreign.unsure:.1%})"),
    ]
    examples = {example.label: example.line for example in foreign.examples}
    return rows + [
        (f"{label} {share:.1%}", shorten(examples.get(label, "")))
        for label, share in list(foreign.labels.items())[:5]
    ]


def _scripts(shares: dict[str, float]) -> str:
    """Return the scripts with their shares; those that hardly occur only by their number."""
    shown = [
        # A name and its share stay on one line.
        f"{name}\N{NO-BREAK SPACE}{share:.1%}".replace(" ", "\N{NO-BREAK SPACE}")
        for name, share in shares.items()
        if share >= LEAST_SHARE
    ]
    others = len(shares) - len(shown)
    return ", ".join(shown) + (f" and {others} with less than {LEAST_SHARE:.1%}" if others else "")

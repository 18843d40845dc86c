"""`xmod-extend check`: what a corpus is like, and how well the base's tokenizer fits it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from rich.table import Table

from xmod_extend.cli import shared
from xmod_extend.cli.errors import error_boundary
from xmod_extend.cli.output import Display, Output, num_bytes

if TYPE_CHECKING:
    from xmod_extend.text.report import CorpusReport


def check(
    corpus: shared.Corpus,
    base: shared.Base = "facebook/xmod-base",
    revision: shared.Revision = None,
    held_out: shared.HeldOut = None,
    text_field: shared.TextField = "text",
    encoding_errors: shared.EncodingErrors = "strict",
    json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Report on a corpus: lines, duplicates, words, tokens per word, unknown tokens, scripts."""
    output = Output(as_json=json, quiet=quiet)
    with error_boundary(output):
        from xmod_extend.preflight import check_places

        check_places(corpus, held_out, base=base, revision=revision)
        from xmod_extend.inspection import check_corpus

        display = Display(output)
        report = check_corpus(
            corpus,
            base=base,
            revision=revision,
            held_out=held_out,
            text_field=text_field,
            encoding_errors=encoding_errors,
            observer=display,
        )
        output.minimal(dataclasses.asdict(report), f"{report.kept_lines}", report_table(report))


def report_table(report: CorpusReport) -> Table:
    """The corpus report as two columns."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    for name, value in _rows(report):
        table.add_row(name, value)
    return table


def _rows(report: CorpusReport) -> list[tuple[str, Any]]:
    scripts = ", ".join(f"{name} {share:.1%}" for name, share in report.scripts.items())
    rows = [
        ("lines", f"{report.lines:,}"),
        ("kept", f"{report.kept_lines:,}"),
        ("empty", f"{report.empty_lines:,}"),
        ("duplicates", f"{report.duplicate_lines:,}"),
        ("words", f"{report.words:,}"),
        ("bytes", f"{report.bytes:,} ({num_bytes(report.bytes)})"),
        ("scripts", scripts),
        ("for training", f"{report.train_lines:,} lines, {num_bytes(report.train_bytes)}"),
        ("held out", f"{report.held_out_lines:,} lines, {num_bytes(report.held_out_bytes)}"),
    ]
    if report.contaminated_lines:
        rows.append(("left out of training", f"{report.contaminated_lines:,} (held-out as well)"))
    if report.tokens is not None:
        rows.append(("tokens", f"{report.tokens:,}"))
        rows.append(("tokens per word", f"{report.fertility:.2f}"))
        rows.append(("unknown tokens", f"{report.unk_rate:.2%}"))
    return rows

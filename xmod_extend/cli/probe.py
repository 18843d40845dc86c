"""`xmod-extend probe`: how well each existing adapter already models a text."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from rich.table import Table

from xmod_extend.cli.errors import error_boundary
from xmod_extend.cli.options import Json, Quiet, takes, typed
from xmod_extend.cli.output import Display, Output
from xmod_extend.jobs.options import CorpusOptions

if TYPE_CHECKING:
    from xmod_extend.jobs.inspect import ProbeReport


@takes(CorpusOptions, without=["streaming"])
def probe(*, json: Json = False, quiet: Quiet = False, **options: Any) -> None:
    """Rank the base's existing adapters by their perplexity on the held-out part of a corpus."""
    output = Output(as_json=json, quiet=quiet)
    with error_boundary(output):
        from xmod_extend.jobs.checks import check_inputs

        chosen = typed(options)
        check_inputs(CorpusOptions(**chosen))
        output.note("Loading torch and transformers ...")
        from xmod_extend.jobs.inspect import probe_corpus

        display = Display(output)
        try:
            result = probe_corpus(**chosen, callback=display)
        finally:
            display.close()
        output.result(
            dataclasses.asdict(result),
            result.candidates[0].language,
            _table(result),
            *_notes(result),
            result.verdict,
        )


def _table(result: ProbeReport) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("language")
    table.add_column("perplexity", justify="right")
    table.add_column("scored tokens", justify="right")
    for candidate in result.candidates:
        table.add_row(
            candidate.language,
            f"{candidate.perplexity:,.1f}",
            f"{candidate.num_scored_tokens:,}",
        )
    table.add_row(
        "token frequencies",
        f"{result.unigram.perplexity:,.1f}",
        f"{result.unigram.num_scored_tokens:,}",
    )
    return table


def _notes(result: ProbeReport) -> list[str]:
    """Return the signatures of what was scored, and how rows on fewer tokens are to be read."""
    whole = result.unigram.num_scored_tokens
    signatures = dict.fromkeys(candidate.signature for candidate in result.candidates)
    notes = []
    if any(candidate.num_scored_tokens < whole for candidate in result.candidates):
        notes.append(
            "The perplexity of an adapter that was far behind on a sample is estimated from it, by "
            f"its ratio to {result.candidates[0].language} there. One signature for each number of "
            "scored tokens:"
        )
    return notes + [f"  {signature}" for signature in signatures]

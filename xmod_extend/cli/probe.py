"""`xmod-extend probe`: how well each existing adapter already models a text."""

from __future__ import annotations

import dataclasses

from rich.table import Table

from xmod_extend.cli import shared
from xmod_extend.cli.errors import error_boundary
from xmod_extend.cli.output import Display, Output


def probe(
    corpus: shared.Corpus,
    base: shared.Base = "facebook/xmod-base",
    revision: shared.Revision = None,
    held_out: shared.HeldOut = None,
    text_field: shared.TextField = "text",
    encoding_errors: shared.EncodingErrors = "strict",
    json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Rank the base's existing adapters by their perplexity on the held-out part of a corpus."""
    output = Output(as_json=json, quiet=quiet)
    with error_boundary(output):
        from xmod_extend.preflight import check_places

        check_places(corpus, held_out, base=base, revision=revision)
        output.note("Loading torch and transformers ...")
        from xmod_extend.inspection import probe_corpus

        display = Display(output)
        try:
            result = probe_corpus(
                corpus,
                base=base,
                revision=revision,
                held_out=held_out,
                text_field=text_field,
                encoding_errors=encoding_errors,
                observer=display,
            )
        finally:
            display.close()
        table = Table(box=None, pad_edge=False)
        table.add_column("language")
        table.add_column("perplexity", justify="right")
        table.add_column("masked tokens", justify="right")
        for candidate in result.candidates:
            table.add_row(
                candidate.language,
                f"{candidate.perplexity:,.1f}",
                f"{candidate.num_scored_tokens:,}",
            )
        output.minimal(
            dataclasses.asdict(result), result.candidates[0].language, table, result.signature
        )

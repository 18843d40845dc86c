"""`xmod-extend info`: what is in a checkpoint, without loading it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from xmod_extend.cli.errors import error_boundary
from xmod_extend.cli.options import CheckpointArgument, Json, Quiet
from xmod_extend.cli.output import Output
from xmod_extend.files.sizes import describe_size

if TYPE_CHECKING:
    from xmod_extend.model.info import CheckpointInfo


def info(checkpoint: CheckpointArgument, json: Json = False, quiet: Quiet = False) -> None:
    """Show a checkpoint's languages, sizes and origin."""
    output = Output(as_json=json, quiet=quiet)
    with error_boundary(output):
        from xmod_extend.model.info import describe

        described = describe(checkpoint)
        output.result(described.as_dict(), " ".join(described.languages), _table(described))


def _table(described: CheckpointInfo) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(described):
        table.add_row(name, value)
    return table


def _rows(described: CheckpointInfo) -> list[tuple[str, str]]:
    languages = ", ".join(described.languages)
    parameters = (
        f"{described.num_parameters:,}: {described.num_shared_parameters:,} shared, "
        f"{described.num_parameters_per_language:,} a language"
    )
    shape = (
        f"{described.num_layers} layers x {described.hidden_size}, "
        f"{'pre' if described.pre_norm else 'post'}-norm, vocabulary {described.vocab_size:,}, "
        f"up to {described.max_length} tokens"
    )
    rows = [
        ("languages", f"{len(described.languages)}: {languages}"),
        ("default language", described.default_language or "none (pass lang_ids)"),
        ("parameters", parameters),
        ("shape", shape),
        ("dtype", ", ".join(described.dtypes)),
        ("size", describe_size(described.num_bytes)),
    ]
    rows += [("file", f"{file.name} ({describe_size(file.num_bytes)})") for file in described.files]
    rows += [("added", _provenance(record)) for record in described.records.values()]
    rows += [("note", note) for note in described.notes]
    return rows


def _provenance(record: dict[str, Any]) -> str:
    try:
        scores = record["evaluation"]
        return (
            f"{record['language']} ({record['language_name']}) to {record['base']['source']}, "
            f"{record['created'][:10]}: held-out perplexity "
            f"{scores['before']['perplexity']:,.1f} ({scores['best_existing']}) -> "
            f"{scores['after']['perplexity']:,.1f}"
        )
    except (KeyError, TypeError):
        return "a run record of another version"

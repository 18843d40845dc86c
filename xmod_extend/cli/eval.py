"""`xmod-extend eval`: scores of one language of a checkpoint on a text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xmod_extend.cli.errors import error_boundary
from xmod_extend.cli.options import Json, Quiet, takes, typed
from xmod_extend.cli.output import Display, Output
from xmod_extend.cli.scores import score_table
from xmod_extend.jobs.measuring_options import MeasuringOptions

if TYPE_CHECKING:
    from xmod_extend.report.evaluation import Evaluation

Lang = Annotated[
    str | None,
    typer.Option(
        "--lang",
        metavar="CODE",
        rich_help_panel="What",
        help="The language whose adapter is scored. [default: the one named behind a colon]",
    ),
]
Revision = Annotated[
    str | None,
    typer.Option(
        "--revision",
        metavar="NAME",
        rich_help_panel="What",
        help="Branch, tag or commit of a checkpoint on the Hub. [default: its main branch]",
    ),
]
SentenceFile = Annotated[
    Path | None,
    typer.Option(
        "--sentences",
        metavar="FILE",
        rich_help_panel="Output",
        help="Write a row for each sentence to a new .csv, .tsv, .jsonl or .parquet file. "
        "[default: none]",
    ),
]
StateArgument = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT",
        help="Folder or Hub id of an X-MOD, or `tiny`. With :CODE, :best, :untrained or :none "
        "behind it: one of its languages, its adapter that reads the text best, a slot of random "
        "values, or no adapter.",
    ),
]


@takes(MeasuringOptions)
def evaluate(
    checkpoint: StateArgument,
    lang: Lang = None,
    revision: Revision = None,
    sentences: SentenceFile = None,
    json: Json = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Score one language of a checkpoint on a text that it was not trained on."""
    output = Output(as_json=json, quiet=quiet)
    with error_boundary(output):
        from xmod_extend.jobs.states import State, check_states
        from xmod_extend.report.sentence_file import check_sentence_file, write_sentence_file

        chosen = typed(options)
        measured = MeasuringOptions(**chosen)
        check_sentence_file(sentences)
        state = State.parse(checkpoint, revision=revision)
        check_states([state], measured.text, lang=lang)
        output.note("Loading torch and transformers ...")
        from xmod_extend.jobs.evaluate import evaluate as run

        display = Display(output)
        try:
            result = run(state, lang=lang, callback=display, **chosen)
        finally:
            display.close()
        if sentences is not None and output.is_first:
            write_sentence_file(sentences, result)
        output.result(
            result.to_dict(),
            f"{_figure(result):.6g}",
            score_table([(result.state, score) for score in result.scores]),
            *([f"The scores mean nothing. {result.unreadable}"] if result.unreadable else []),
            *(f"  {score.signature}" for score in result.scores),
            *([f"A row for each sentence is in {sentences}"] if sentences else []),
        )


def _figure(result: Evaluation) -> float:
    """Return the figure to lead with."""
    from xmod_extend.evaluation.minimal_pairs import PairScore

    score = result.score
    return score.accuracy if isinstance(score, PairScore) else score.perplexity

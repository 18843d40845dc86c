"""`xmod-extend compare`: two states side by side on the same tokens of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from xmod_extend.cli.errors import error_boundary
from xmod_extend.cli.eval import Lang, SentenceFile
from xmod_extend.cli.options import Json, Quiet, takes, typed
from xmod_extend.cli.output import Display, Output
from xmod_extend.cli.scores import score_table
from xmod_extend.jobs.measuring_options import MeasuringOptions
from xmod_extend.jobs.references import parse_references

if TYPE_CHECKING:
    from xmod_extend.report.evaluation import Comparison

Before = Annotated[
    str,
    typer.Argument(
        metavar="BEFORE",
        help="A checkpoint as for `eval`. One that lacks the language stands for the best of its "
        "adapters.",
    ),
]
After = Annotated[str, typer.Argument(metavar="AFTER", help="A checkpoint as for `eval`.")]
References = Annotated[
    list[str] | None,
    typer.Option(
        "--reference",
        metavar="CODE=PATH",
        rich_help_panel="Text",
        help="Text of a language that both checkpoints have, on which nothing may differ. May be "
        "given several times. [default: none]",
    ),
]


@takes(MeasuringOptions)
def compare(
    before: Before,
    after: After,
    lang: Lang = None,
    reference: References = None,
    sentences: SentenceFile = None,
    json: Json = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Compare two checkpoints, or two languages of one, on the same tokens of a text."""
    output = Output(as_json=json, quiet=quiet)
    with error_boundary(output):
        from xmod_extend.jobs.states import State, check_states
        from xmod_extend.report.sentence_file import check_sentence_file, write_sentence_file

        chosen = typed(options)
        measured = MeasuringOptions(**chosen)
        check_sentence_file(sentences)
        references = parse_references(reference or [])
        states = State.parse(before), State.parse(after)
        check_states(states, [*measured.text, *references.values()], lang=lang)
        output.note("Loading torch and transformers ...")
        from xmod_extend.evaluation.bootstrap import Improvement
        from xmod_extend.jobs.evaluate import compare as run

        display = Display(output)
        try:
            result = run(*states, lang=lang, reference=references, callback=display, **chosen)
        finally:
            display.close()
        if sentences is not None and output.is_first:
            write_sentence_file(sentences, result)
        improvement = result.improvement
        figure = (
            improvement.ratio if isinstance(improvement, Improvement) else improvement.difference
        )
        output.result(
            result.to_dict(),
            f"{figure:.6g}",
            score_table(_rows(result)),
            result.verdict,
            *_reference_lines(result),
            *(f"  {score.signature}" for score in result.after.scores),
            *([f"A row for each sentence is in {sentences}"] if sentences else []),
        )


def _rows(result: Comparison) -> list[tuple[str, Any]]:
    return [
        (evaluation.state, score)
        for both in zip(result.before.scores, result.after.scores, strict=True)
        for evaluation, score in zip((result.before, result.after), both, strict=True)
    ]


def _reference_lines(result: Comparison) -> list[str]:
    lines = []
    for reference in result.references:
        found = f"{reference.before.perplexity:,.1f} before and {reference.after.perplexity:,.1f}"
        said = "the same on every token, to the bit" if reference.identical else "it DIFFERS"
        lines.append(f"{reference.language}: perplexity {found} after; {said}")
    return lines

"""`xmod-extend transfer`: a task learnt in one language and scored in another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from xmod_extend.cli.errors import error_boundary
from xmod_extend.cli.options import CheckpointArgument, Json, Quiet, takes, typed
from xmod_extend.cli.output import Display, Output
from xmod_extend.jobs.transfer_options import TransferOptions

if TYPE_CHECKING:
    from xmod_extend.report.transfer import TransferResult

From = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="CODE",
        rich_help_panel="Task",
        help="Language that the task is learnt in, such as en_XX.",
    ),
]
To = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="CODE",
        rich_help_panel="Task",
        help="Language that it is scored in, such as quz_PE.",
    ),
]


@takes(TransferOptions, repeated=["merge", "corpus"])
def transfer(
    checkpoint: CheckpointArgument,
    source: From,
    target: To,
    json: Json = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Learn a task in one language and score it in another, each read with its own adapter."""
    output = Output(as_json=json, quiet=quiet)
    with error_boundary(output) as boundary:
        from xmod_extend.jobs.transfer_request import check_transfer

        chosen = TransferOptions(**typed(options))
        display = Display(output)
        request = check_transfer(
            checkpoint, source=source, target=target, options=chosen, callback=display
        )
        if chosen.output is not None:
            boundary.watch(chosen.output)
        output.note("Loading torch and transformers ...")
        from xmod_extend.jobs.transfer import run_transfer

        try:
            result = run_transfer(request, display)
        finally:
            display.close()
        effect = None if result.output is None else f"what was learnt is in {result.output}."
        output.result(
            result.to_dict(),
            f"{result.scores[0].value:.4f}",
            f"{result.source} to {result.target}, {result.num_test:,} test examples:",
            _scores(result),
            _classes(result),
            *_sentences(result),
            effect=effect,
        )


def _scores(result: TransferResult) -> Table:
    from xmod_extend.report.transfer import METRIC_NAMES, describe_state

    table = Table(box=None, pad_edge=False)
    table.add_column("read with")
    for name in (METRIC_NAMES[result.scores[0].metric], "95 % interval", "macro F1", "by seed"):
        table.add_column(name, justify="right")
    for score in result.scores:
        table.add_row(
            describe_state(score),
            _percent(score.value),
            f"{_percent(score.low)} to {_percent(score.high)}",
            _percent(score.macro_f1.value),
            ", ".join(map(_percent, score.by_seed)),
        )
    return table


def _classes(result: TransferResult) -> Table:
    """Return F1 of each label, with the target's adapter and with the others."""
    table = Table(box=None, pad_edge=False)
    table.add_column("F1 of")
    table.add_column("true", justify="right")
    for score in result.scores:
        table.add_column(score.state.replace("_", " "), justify="right")
    f1 = {score.state: {each.label: each.f1 for each in score.classes} for score in result.scores}
    counts = {each.label: each.num_true for score in result.scores for each in score.classes}
    for label, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        cells = [_percent(f1[score.state].get(label, 0.0)) for score in result.scores]
        table.add_row(label, f"{count:,}", *cells)
    return table


def _sentences(result: TransferResult) -> list[str]:
    """Return what the figures come to, and what they depend on."""
    from xmod_extend.report.transfer import describe_gain, describe_value

    lines = [f"The {result.target} adapter is {describe_gain(gain)}." for gain in result.gains]
    lines += filter(None, [result.advice])
    if result.dev is not None:
        lines.append(f"On the development set in {result.source}: {describe_value(result.dev)}.")
    if result.leaks is not None:
        leaks = result.leaks
        lines.append(
            f"Test examples in the corpus: {leaks.num_exact:,} of {leaks.num_examples:,} exactly, "
            f"{leaks.num_near:,} more nearly."
        )
        if leaks.value_without is not None:
            lines.append(f"Without them the first score is {_percent(leaks.value_without)}.")
        lines += [f"  {example}" for example in leaks.examples]
    lines += [result.intervals, f"  {result.signature}"]
    if result.output is not None:
        lines.append(f"What was learnt with seed 0 is in {result.output}.")
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"

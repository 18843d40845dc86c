"""`xmod-extend add`: the main job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from xmod_extend.cli.errors import Boundary, error_boundary
from xmod_extend.cli.options import Json, Quiet, takes, typed
from xmod_extend.cli.output import Display, Output, duration, num_bytes
from xmod_extend.errors import LanguagesFailedError, UsageError
from xmod_extend.jobs.options import ALIASES, AddOptions, merge_options, named_options
from xmod_extend.options import flag
from xmod_extend.training.options import PER_PROCESS

if TYPE_CHECKING:
    from xmod_extend.report.record import EvaluationRecord, RunRecord


def _alias_line() -> str:
    names = [
        f"{flag(alias)} for {flag(name)}"
        for alias, name in ALIASES.items()
        if name not in PER_PROCESS
    ]
    size, steps = map(flag, PER_PROCESS.values())
    return (
        f"Names of transformers' and AdapterHub's scripts are understood too: {', '.join(names)}; "
        f"and {size}, which times {steps} times the number of processes is the batch size."
    )


EPILOG = f"""
{_alias_line()}

Examples:

  # one language from one file
  xmod-extend add --lang quz_PE \\
    --corpus quechua.txt

  # many files; from the adapter that
  # fits best so far
  xmod-extend add --lang quz_PE \\
    --corpus 'texts/*.jsonl' \\
    --init nearest --output extended

  # two languages, each on two GPUs
  torchrun --nproc-per-node=2 \\
    -m xmod_extend add \\
    --lang quz_PE --corpus quz.txt \\
    --lang ay_BO --corpus ay.txt
"""


@takes(AddOptions, repeated=["lang"], for_a_run=True)
def add(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            rich_help_panel="Running",
            help="YAML file of the same options. [default: none]",
        ),
    ] = None,
    plan_file: Annotated[
        Path | None,
        typer.Option(
            "--plan-file",
            metavar="FILE",
            rich_help_panel="Running",
            help="YAML file with several languages and the options of each. [default: none]",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            rich_help_panel="Running",
            help="Languages that are trained at a time. [default: 1]",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Add a language: train its adapter on text, write the extended checkpoint, verify it."""
    output = Output(as_json=json, quiet=quiet)
    with error_boundary(output) as boundary:
        chosen = named_options(typed(options))
        languages = chosen.pop("lang", [])
        if plan_file is not None or len(languages) > 1:
            _add_several(output, boundary, config, plan_file, jobs, languages, chosen)
            return
        if jobs is not None:
            raise UsageError(
                "--jobs is given for one language.", hint="Leave it out, or use --plan-file."
            )
        if languages:
            chosen["lang"] = languages[0]
        merged = merge_options(config, chosen)
        from xmod_extend.jobs.checks import check_request

        display = Display(output)
        request = check_request(merged, display)
        boundary.watch(request.output)
        output.note("Loading torch and transformers ...")
        from xmod_extend.jobs.add import run_add

        try:
            record = run_add(request, display)
        finally:
            display.close()
        if output.is_first:
            _show(output, record)


def _add_several(
    output: Output,
    boundary: Boundary,
    config: Path | None,
    plan_file: Path | None,
    jobs: int | None,
    languages: list[str],
    chosen: dict[str, Any],
) -> None:
    from xmod_extend.jobs.checks import check_requests
    from xmod_extend.jobs.plan_file import pair_up, read_plan_file

    if plan_file is None:
        several = pair_up(languages, chosen.pop("corpus", []), config, chosen)
    elif config is not None:
        raise UsageError(
            "--config and --plan-file are both given.",
            hint="Put the options for all languages at the top of the plan file.",
        )
    else:
        if languages:
            chosen["lang"] = languages
        several = read_plan_file(plan_file, chosen)
    display = Display(output)
    requests = check_requests(several, display)
    boundary.watch(requests[0].output)
    output.note("Loading torch and transformers ...")
    from xmod_extend.jobs.add_many import run_add_many

    try:
        records = run_add_many(requests, display, jobs=1 if jobs is None else jobs)
    except LanguagesFailedError as error:
        display.close()
        if error.records and output.is_first:
            _show_several(output, error.records, error.failures)
        raise
    finally:
        display.close()
    if output.is_first:
        _show_several(output, records, {})


def _show_several(
    output: Output, records: Sequence[RunRecord], failures: Mapping[str, str]
) -> None:
    values: list[dict[str, Any]] = [record.to_dict() for record in records]
    values += [{"language": code, "error": sentence} for code, sentence in failures.items()]
    if records[0].plan is not None:
        seconds = sum(record.plan.estimated_seconds for record in records if record.plan)
        lines = [
            f"{record.language}: would train {record.plan.num_steps:,} steps, about "
            f"{duration(record.plan.estimated_seconds)}"
            for record in records
            if record.plan
        ]
        output.minimal(values, f"{seconds:.0f}", *lines, f"{duration(seconds)} in all")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("language")
    for name in (
        "best existing",
        "token frequencies",
        "added",
        "existing / added",
        "95 % interval",
    ):
        table.add_column(name, justify="right")
    for record in records:
        assert record.evaluation is not None
        before, after = record.evaluation.before, record.evaluation.after
        gain = record.evaluation.improvement
        table.add_row(
            f"{record.language}, {record.language_name}",
            f"{before.perplexity:,.1f} ({record.evaluation.best_existing})",
            _unigram(record.evaluation),
            f"{after.perplexity:,.1f}",
            f"{gain.ratio:.2f}",
            f"{gain.low:.2f} to {gain.high:.2f}",
        )
    proof = records[0].verification
    assert proof is not None
    output.minimal(
        values,
        str(records[0].output),
        "Held-out perplexity with the best existing adapter, by token frequencies and with the new "
        "adapter:",
        table,
        *(f"{record.language}: {_verdict(record.evaluation)}" for record in records),
        f"Verified: {proof.tensors_compared:,} tensors are the same byte for byte, and the logits "
        f"of {proof.languages_compared} languages bit for bit",
        f"In {records[0].output}",
        stands=f"it is in {records[0].output}.",
    )


def _show(output: Output, record: RunRecord) -> None:
    from xmod_extend.report.record import describe_epochs

    if record.plan is not None:
        plan = record.plan
        output.minimal(
            record.to_dict(),
            f"{plan.estimated_seconds:.0f}",
            f"Would train {plan.num_steps:,} steps, {plan.num_tokens:,} tokens "
            f"({describe_epochs(plan.num_epochs)}) at a peak learning rate of {plan.lr:g}: about "
            f"{duration(plan.estimated_seconds)} at {plan.seconds_per_step:.2f} s a step.",
            f"{plan.output} would need up to {num_bytes(plan.output_bytes)} of disk. Nothing was "
            "written.",
        )
        return
    assert record.evaluation is not None and record.verification is not None
    before, after = record.evaluation.before, record.evaluation.after
    proof = record.verification
    output.minimal(
        record.to_dict(),
        str(record.output),
        f"{record.language}, {record.language_name}, is in {record.output}",
        f"Held-out perplexity: {before.perplexity:,.1f} with {record.evaluation.best_existing}, "
        f"the best existing adapter; {_unigram(record.evaluation)} by token frequencies alone; "
        f"{after.perplexity:,.1f} with the new adapter",
        _verdict(record.evaluation),
        f"Verified: {proof.tensors_compared:,} tensors are the same byte for byte, and the logits "
        f"of {proof.languages_compared} languages bit for bit",
        f"  {after.signature}",
        f"Load it: AutoModelForMaskedLM.from_pretrained({str(record.output)!r}), then "
        f"model.set_default_language({record.language!r})",
        stands=f"it is in {record.output}.",
    )


def _unigram(evaluation: EvaluationRecord) -> str:
    # A record of version 0.1, which a resumed run of several languages may find, has none.
    return f"{evaluation.unigram.perplexity:,.1f}" if evaluation.unigram else "not measured"


def _verdict(evaluation: EvaluationRecord | None) -> str:
    assert evaluation is not None
    return f"{evaluation.verdict} {evaluation.advice}".strip()

"""What `add` prints at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from xmod_extend.cli.output import Output
from xmod_extend.cli.push import describe as describe_publication
from xmod_extend.cli.scores import score_table
from xmod_extend.files.sizes import describe_size
from xmod_extend.report.durations import duration

if TYPE_CHECKING:
    from xmod_extend.evaluation.score import Score
    from xmod_extend.jobs.publication import Publication
    from xmod_extend.report.record import EvaluationRecord, RunRecord


def show_one(output: Output, record: RunRecord, published: Publication | None = None) -> None:
    """Print what became of one language."""
    from xmod_extend.report.record import describe_epochs

    if record.plan is not None:
        plan = record.plan
        output.result(
            record.to_dict(),
            f"{plan.estimated_seconds:.0f}",
            f"Would train {plan.num_steps:,} steps, {plan.num_tokens:,} tokens "
            f"({describe_epochs(plan.num_epochs)}) at a peak learning rate of {plan.lr:g}: about "
            f"{duration(plan.estimated_seconds)} at {plan.seconds_per_step:.2f} s a step, and "
            f"{duration(plan.total_seconds)} with probing, validating and scoring.",
            f"{plan.output} would need up to {describe_size(plan.output_bytes)} of disk. Nothing "
            "was written.",
        )
        return
    assert record.evaluation is not None and record.verification is not None
    from xmod_extend.model.extension import REPORT_NAME

    proof = record.verification
    output.result(
        record.to_dict() | _published_value(published),
        "\n".join([str(record.output), *([published.url] if published else [])]),
        f"{record.language}, {record.language_name}, is in {record.output}",
        "Held-out text:",
        score_table(_ladder(record)),
        _verdict(record.evaluation),
        *_parts(record),
        *_curve(record),
        f"Verified: {proof.tensors_compared:,} tensors are the same byte for byte, and the logits "
        f"of {proof.languages_compared} languages bit for bit",
        f"  {record.evaluation.after.signature}",
        f"Look at it in a browser: {Path(str(record.output)) / REPORT_NAME}",
        f"Load it: AutoModelForMaskedLM.from_pretrained({str(record.output)!r}), then "
        f"model.set_default_language({record.language!r})",
        *(describe_publication(published) if published else ()),
        effect=f"it is in {record.output}.",
    )


def _ladder(record: RunRecord) -> list[tuple[str, Score]]:
    """Return what a score is held against, from the lowest rung to the added adapter."""
    evaluation = record.evaluation
    assert evaluation is not None
    rows = [(f"{evaluation.best_existing}, the best existing adapter", evaluation.before)]
    if evaluation.unigram is not None:
        rows.append(("token frequencies of the training text", evaluation.unigram))
    rows.append((f"{record.language}, the new adapter", evaluation.after))
    return rows + [
        (f"{reference.language}, on text of its own", reference.score)
        for reference in evaluation.references
    ]


def _published_value(published: Publication | None) -> dict[str, Any]:
    return {} if published is None else {"published": published.to_dict()}


def show_many(
    output: Output,
    records: Sequence[RunRecord],
    failures: Mapping[str, str],
    published: Publication | None = None,
) -> None:
    """Print what became of several languages, those that failed included."""
    values: list[dict[str, Any]] = [
        record.to_dict() | _published_value(published) for record in records
    ]
    values += [{"language": code, "error": sentence} for code, sentence in failures.items()]
    if records[0].plan is not None:
        seconds = sum(record.plan.estimated_seconds for record in records if record.plan)
        lines = [
            f"{record.language}: would train {record.plan.num_steps:,} steps, about "
            f"{duration(record.plan.estimated_seconds)}"
            for record in records
            if record.plan
        ]
        output.result(values, f"{seconds:.0f}", *lines, f"{duration(seconds)} in all")
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
    output.result(
        values,
        "\n".join([str(records[0].output), *([published.url] if published else [])]),
        "Held-out perplexity with the best existing adapter, by token frequencies and with the new "
        "adapter:",
        table,
        *(f"{record.language}: {_verdict(record.evaluation)}" for record in records),
        *(f"{record.language}: {part}" for record in records for part in _many_parts(record)),
        f"Verified: {proof.tensors_compared:,} tensors are the same byte for byte, and the logits "
        f"of {proof.languages_compared} languages bit for bit",
        f"In {records[0].output}, with a page for each to look at in a browser: "
        f"{_report_names(records)}",
        *(describe_publication(published) if published else ()),
        effect=f"it is in {records[0].output}.",
    )


def _report_names(records: Sequence[RunRecord]) -> str:
    """Return the names of the languages' reports; the last language's has no code in it."""
    from xmod_extend.model.extension import REPORT_NAME, earlier_name

    earlier = [earlier_name(REPORT_NAME, record.language) for record in records[:-1]]
    return ", ".join([*earlier, REPORT_NAME])


def _unigram(evaluation: EvaluationRecord) -> str:
    # A record of version 0.1, which a resumed run of several languages may find, has none.
    return f"{evaluation.unigram.perplexity:,.1f}" if evaluation.unigram else "not measured"


def _parts(record: RunRecord) -> list[str]:
    """Return what is to be said of parts of the held-out text."""
    evaluation, found = record.evaluation, record.corpus.near_duplicates
    said: list[str | None] = []
    if evaluation is not None and evaluation.seen_words is not None:
        said.append(evaluation.seen_words.describe())
    # Where they are too few to be warned about, they change nothing.
    if evaluation is not None and evaluation.near_duplicates is not None and found is not None:
        said.append(evaluation.near_duplicates.describe() if found.describe() else None)
    return [sentence for sentence in said if sentence]


def _many_parts(record: RunRecord) -> list[str]:
    """Return in sentences what `show_one` says of parts of the text and of more of it."""
    curve = record.learning_curve
    return [*_parts(record), *([curve.sentence] if curve else [])]


def _curve(record: RunRecord) -> list[Table | str]:
    """Return the learning curve as a table with what it says, if there is one."""
    if record.learning_curve is None:
        return []
    table = Table(box=None, pad_edge=False)
    for name in ("text", "tokens", "steps", "perplexity", "95 % interval"):
        table.add_column(name, justify="right")
    for point in record.learning_curve.points:
        table.add_row(
            f"{point.share:.0%}",
            f"{point.num_tokens:,}",
            f"{point.num_steps:,}",
            f"{point.perplexity:,.1f}",
            f"{point.low:,.1f} to {point.high:,.1f}" if point.low and point.high else "",
        )
    return [table, record.learning_curve.sentence]


def _verdict(evaluation: EvaluationRecord | None) -> str:
    assert evaluation is not None
    return f"{evaluation.verdict} {evaluation.advice}".strip()

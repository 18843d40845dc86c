"""Reference languages: what the base reaches on languages of its own, so that a score has a scale.

A perplexity of 20 is good or bad only beside others by the same measure. The languages that the
base was pretrained with show what it reaches where it had far more text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xmod_extend.errors import UsageError

if TYPE_CHECKING:
    from xmod_extend.jobs.job import Job
    from xmod_extend.report.record import ReferenceScore


def parse_references(spelled: Sequence[str]) -> dict[str, str]:
    """Return the texts of languages by their codes, from CODE=PATH.

    Raises:
        UsageError: One is spelled otherwise, or a code is named twice.
    """
    references: dict[str, str] = {}
    for one in spelled:
        code, sign, path = one.partition("=")
        if not (code and sign and path):
            raise UsageError(
                f"--reference is {one!r}; it must be a code and a path.",
                hint="For example: --reference es_XX=spanish.txt",
            )
        if code in references:
            raise UsageError(f"--reference names {code} twice.", hint="Leave one of them out.")
        references[code] = path
    return references


def score_references(job: Job) -> tuple[ReferenceScore, ...]:
    """Score the base's own languages on their texts, under the same masks; the slot is left with
    the last one.

    Raises:
        CorpusError: A text is missing, unreadable or empty.
    """
    from xmod_extend.evaluation.score import score
    from xmod_extend.jobs.measurement import prepare_measurement
    from xmod_extend.jobs.measuring_options import MeasuringOptions
    from xmod_extend.model.slice import load_adapter
    from xmod_extend.report.record import ReferenceScore
    from xmod_extend.text.measured_text import read_measured_text

    found = []
    for code, path in parse_references(job.options.reference).items():
        job.callback.on_stage(f"Scoring {code} on {path}")
        options = MeasuringOptions(text=(path,), max_length=job.text.max_length)
        measured = read_measured_text(options.text, text_field=job.options.text_field)
        prepared = prepare_measurement(
            measured.lines, measured.statistics.sha256, job.checkpoint, options
        )
        load_adapter(job.model, job.checkpoint, code)
        metric = prepared.masked
        (name,) = metric.names
        total = metric.num_copies
        losses = metric.losses(
            job.model,
            processes=job.processes,
            on_scored=lambda done: job.callback.on_scored(done, total),  # noqa: B023
        )
        scored = score(losses[name], prepared.scored_text(name, job.precision))
        job.callback.on_note(f"{code}: perplexity {scored.perplexity:,.1f}")
        found.append(ReferenceScore(language=code, files=measured.names, score=scored))
    return tuple(found)

"""The ladder of a result: every score that it stands beside, the best one first."""

from __future__ import annotations

from dataclasses import dataclass

from xmod_extend.evaluation.score import Score
from xmod_extend.report.axes import Axis, axis_from_one
from xmod_extend.report.record import RunRecord

NEW, EXISTING, FREQUENCIES, REFERENCE = "new", "existing", "frequencies", "reference"


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One score on the ladder."""

    kind: str
    language: str | None
    """The code of its adapter; None for token frequencies."""
    score: Score


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """All scores of a run, the best one first, and the axis that they stand on."""

    rungs: tuple[Rung, ...]
    axis: Axis


def build_ladder(record: RunRecord) -> Ladder | None:
    """Return the ladder of a record, or None if nothing was scored."""
    evaluation = record.evaluation
    if evaluation is None:
        return None
    rungs = [
        Rung(kind=NEW, language=record.language, score=evaluation.after),
        Rung(kind=EXISTING, language=evaluation.best_existing, score=evaluation.before),
    ]
    if evaluation.unigram is not None:
        rungs.append(Rung(kind=FREQUENCIES, language=None, score=evaluation.unigram))
    # A language that the base knows, on text that the user gave for it.
    rungs += [
        Rung(kind=REFERENCE, language=one.language, score=one.score)
        for one in evaluation.references
    ]
    highest = [rung.score.high or rung.score.perplexity for rung in rungs]
    return Ladder(
        rungs=tuple(sorted(rungs, key=lambda rung: rung.score.perplexity)),
        axis=axis_from_one(highest),
    )

"""What an evaluation or a comparison found, for a notebook, a table or a program."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from xmod_extend.errors import UsageError
from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.minimal_pairs import METRIC as MINIMAL_PAIRS
from xmod_extend.evaluation.minimal_pairs import pair_margins
from xmod_extend.evaluation.score import Score
from xmod_extend.report.cells import comparison_cell, evaluation_cell
from xmod_extend.report.extras import load_plots
from xmod_extend.report.frames import to_frame
from xmod_extend.report.side_by_side import (
    AnyImprovement,
    AnyScore,
    Kind,
    Row,
    Rung,
    SideBySide,
    Step,
    compared_row,
    rungs_of,
)
from xmod_extend.report.summary import summarize_rungs, summarize_step
from xmod_extend.text.lines import LinesInMemory, StoredLines

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """The scored lines of a text, with the losses of each metric."""

    lines: StoredLines | LinesInMemory
    losses: Mapping[str, TokenLosses]
    """By the metric's name."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation:
    """The scores of one state on one text, the one to lead with first.

    It prints as a line for each score, and shows as a page in a notebook.
    """

    state: str
    """The state in a few words."""
    checkpoint: str
    language: str | None
    """Code of the language whose adapter was scored, if it was one's."""
    text: tuple[str, ...]
    """The files."""
    scores: tuple[AnyScore, ...]
    unreadable: str | None = None
    """What the tokenizer does not know of the text, if that leaves the scores without meaning."""
    warnings: tuple[str, ...] = ()
    sentences: Sentences | None = field(default=None, repr=False, compare=False)
    """None if the scores were read from a record."""

    @property
    def score(self) -> AnyScore:
        """The score to lead with."""
        return self.scores[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain dicts, lists, strings and numbers, without the sentences."""
        return {
            "state": self.state,
            "checkpoint": self.checkpoint,
            "language": self.language,
            "text": list(self.text),
            "scores": [dataclasses.asdict(score) for score in self.scores],
            "unreadable": self.unreadable,
            "warnings": list(self.warnings),
        }

    def rows(self, metric: str | None = None) -> Iterator[Row]:
        """Yield a row for each scored sentence or pair.

        Args:
            metric: The name of a score; the one to lead with if None.

        Raises:
            UsageError: There is no such score.
        """
        sentences = _known(self.sentences)
        name = metric or self.score.metric
        if name == MINIMAL_PAIRS:
            yield from _pair_rows(sentences, {"margin_nats": sentences.losses})
            return
        summed = _losses(sentences.losses, name).by_document()
        texts = sentences.lines.take(summed.documents)
        for line, text, nats, count in zip(
            summed.documents.tolist(),
            texts,
            summed.nats.tolist(),
            summed.num_tokens.tolist(),
            strict=True,
        ):
            yield {
                "line": line + 1,
                "text": text,
                "num_scored_tokens": count,
                "nats": nats,
                "perplexity": float(np.exp(nats / count)),
            }

    def to_pandas(self, metric: str | None = None) -> pandas.DataFrame:
        """Return a frame with a row for each scored sentence or pair.

        Args:
            metric: See `rows`.

        Raises:
            UsageError: pandas is not installed.
        """
        return to_frame(self.rows(metric))

    def plot(self, metric: str | None = None) -> Figure:
        """Draw how the scores of the sentences are spread, and return the figure.

        Args:
            metric: See `rows`.

        Raises:
            UsageError: matplotlib is not installed.
        """
        plots = load_plots()
        rows = list(self.rows(metric))
        name = metric or self.score.metric
        rungs = [rung for rung in self._rungs("after") if rung.score.metric == name]
        figure: Figure = plots.plot_evaluation(rungs[0], rows)
        return figure

    def __repr__(self) -> str:
        return summarize_rungs(self._rungs("after"))

    def _repr_html_(self) -> str:
        rows = self.rows() if self.sentences is not None else ()
        result = SideBySide(verdict="", rungs=self._rungs("after"), steps=(), notes=self.warnings)
        return evaluation_cell(result, list(rows))

    def _rungs(self, kind: Kind) -> tuple[Rung, ...]:
        return rungs_of(self.state, kind, self.scores)


@dataclass(frozen=True, kw_only=True)
class ReferenceComparison:
    """A language that both checkpoints have, on text of its own: nothing may differ."""

    language: str
    before: Score
    after: Score
    identical: bool
    """Whether every token has the same cross-entropy, to the bit."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison:
    """Two states on the same tokens of one text.

    It prints as a few lines, and shows as a page in a notebook.
    """

    before: Evaluation
    after: Evaluation
    improvements: tuple[AnyImprovement, ...]
    """One for each score."""
    verdict: str = ""
    """The result in a sentence."""
    references: tuple[ReferenceComparison, ...] = ()

    @property
    def improvement(self) -> AnyImprovement:
        """The improvement to lead with."""
        return self.improvements[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain dicts, lists, strings and numbers, without the sentences.

        What is to be led with stands at the top; `comparisons` has all metrics.
        """
        return {
            "metric": self.before.score.metric,
            "before": _flat(self.before),
            "after": _flat(self.after),
            **dataclasses.asdict(self.improvement),
            "verdict": self.verdict,
            "comparisons": [
                {
                    "metric": before.metric,
                    "before": dataclasses.asdict(before),
                    "after": dataclasses.asdict(after),
                    **dataclasses.asdict(improvement),
                }
                for before, after, improvement in zip(
                    self.before.scores, self.after.scores, self.improvements, strict=True
                )
            ],
            "references": [dataclasses.asdict(reference) for reference in self.references],
        }

    def rows(self, metric: str | None = None) -> Iterator[Row]:
        """Yield a row for each scored sentence or pair.

        Args:
            metric: The name of a score; the one to lead with if None.

        Raises:
            UsageError: There is no such score.
        """
        before, after = _known(self.before.sentences), _known(self.after.sentences)
        name = metric or self.before.score.metric
        if name == MINIMAL_PAIRS:
            margins = {"before_margin_nats": before.losses, "after_margin_nats": after.losses}
            yield from _pair_rows(before, margins)
            return
        first = _losses(before.losses, name).by_document()
        second = _losses(after.losses, name).by_document()
        texts = before.lines.take(first.documents)
        for line, text, count, nats_before, nats_after in zip(
            first.documents.tolist(),
            texts,
            first.num_tokens.tolist(),
            first.nats.tolist(),
            second.nats.tolist(),
            strict=True,
        ):
            yield compared_row(line + 1, text, count, nats_before, nats_after)

    def to_pandas(self, metric: str | None = None) -> pandas.DataFrame:
        """Return a frame with a row for each scored sentence or pair, before and after.

        Args:
            metric: See `rows`.

        Raises:
            UsageError: pandas is not installed.
        """
        return to_frame(self.rows(metric))

    def plot(self, metric: str | None = None) -> Figure:
        """Draw the scores with their intervals and the sentences, and return the figure.

        Args:
            metric: Of the sentences; see `rows`.

        Raises:
            UsageError: matplotlib is not installed.
        """
        figure: Figure = load_plots().plot_comparison(self._side_by_side(), list(self.rows(metric)))
        return figure

    def __repr__(self) -> str:
        result = self._side_by_side()
        return "\n".join([summarize_rungs(result.rungs), *map(summarize_step, result.steps)])

    def _repr_html_(self) -> str:
        rows = self.rows() if self.before.sentences is not None else ()
        return comparison_cell(self._side_by_side(), list(rows))

    def _side_by_side(self) -> SideBySide:
        both = zip(self.before._rungs("before"), self.after._rungs("after"), strict=True)
        pairs = list(both)
        unchanged = [one.language for one in self.references if one.identical]
        changed = [one.language for one in self.references if not one.identical]
        notes = [*self.before.warnings]
        if unchanged:
            notes.append(f"Unchanged, to the bit, on text of its own: {', '.join(unchanged)}.")
        if changed:
            notes.append(f"Not the same as before on text of its own: {', '.join(changed)}.")
        return SideBySide(
            verdict=self.verdict,
            rungs=tuple(rung for pair in pairs for rung in pair),
            steps=tuple(
                Step(before=before, after=after, improvement=improvement)
                for (before, after), improvement in zip(pairs, self.improvements, strict=True)
            ),
            notes=tuple(notes),
        )


def _flat(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation with the fields of the score to lead with at its top."""
    return dataclasses.asdict(evaluation.score) | evaluation.to_dict()


def _pair_rows(
    sentences: Sentences, margins: Mapping[str, Mapping[str, TokenLosses]]
) -> Iterator[Row]:
    texts = list(sentences.lines)
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    columns = {
        name: pair_margins(next(iter(losses.values())), len(pairs))
        for name, losses in margins.items()
    }
    for number, (right, wrong) in enumerate(pairs):
        yield {
            "pair": number + 1,
            "right": right,
            "wrong": wrong,
            **{name: float(column[number]) for name, column in columns.items()},
        }


def _losses(losses: Mapping[str, TokenLosses], metric: str) -> TokenLosses:
    if metric not in losses:
        raise UsageError(
            f"metric is {metric!r}, which was not measured.",
            hint=f"There is {' and '.join(losses)}.",
        )
    return losses[metric]


def _known(sentences: Sentences | None) -> Sentences:
    if sentences is None:
        raise UsageError(
            "These scores have no sentences.",
            hint="Score them with xmod_extend.evaluate or compare.",
        )
    return sentences

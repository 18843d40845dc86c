"""What an evaluation or a comparison found, for a notebook, a table or a program."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xmod_extend.evaluation.bootstrap import Improvement
from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.minimal_pairs import METRIC as MINIMAL_PAIRS
from xmod_extend.evaluation.minimal_pairs import PairImprovement, PairScore, pair_margins
from xmod_extend.evaluation.score import Score
from xmod_extend.text.lines import LinesInMemory, StoredLines

AnyScore = Score | PairScore
AnyImprovement = Improvement | PairImprovement
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """The scored lines of a text, with the losses of each metric."""

    lines: StoredLines | LinesInMemory
    losses: Mapping[str, TokenLosses]
    """By the metric's name."""

    def texts(self, documents: Sequence[int]) -> list[str]:
        """Return the texts of documents, which are in ascending order."""
        found = []
        wanted = iter(documents)
        next_one = next(wanted, None)
        for number, line in enumerate(self.lines):
            if number == next_one:
                found.append(line)
                next_one = next(wanted, None)
                if next_one is None:
                    break
        return found


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of one state on one text, the one to lead with first."""

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
        """
        sentences = _known(self.sentences)
        name = metric or self.score.metric
        if name == MINIMAL_PAIRS:
            yield from _pair_rows(sentences, {"margin_nats": sentences.losses})
            return
        summed = _losses(sentences.losses, name).by_document()
        texts = sentences.texts(summed.documents.tolist())
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


@dataclass(frozen=True, kw_only=True)
class ReferenceComparison:
    """A language that both checkpoints have, on text of its own: nothing may differ."""

    language: str
    before: Score
    after: Score
    identical: bool
    """Whether every token has the same cross-entropy, to the bit."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two states on the same tokens of one text."""

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
        """
        before, after = _known(self.before.sentences), _known(self.after.sentences)
        name = metric or self.before.score.metric
        if name == MINIMAL_PAIRS:
            margins = {"before_margin_nats": before.losses, "after_margin_nats": after.losses}
            yield from _pair_rows(before, margins)
            return
        first = _losses(before.losses, name).by_document()
        second = _losses(after.losses, name).by_document()
        texts = before.texts(first.documents.tolist())
        for line, text, count, nats_before, nats_after in zip(
            first.documents.tolist(),
            texts,
            first.num_tokens.tolist(),
            first.nats.tolist(),
            second.nats.tolist(),
            strict=True,
        ):
            yield {
                "line": line + 1,
                "text": text,
                "num_scored_tokens": count,
                "before_nats": nats_before,
                "after_nats": nats_after,
                "before_perplexity": float(np.exp(nats_before / count)),
                "after_perplexity": float(np.exp(nats_after / count)),
                "ratio": float(np.exp((nats_before - nats_after) / count)),
            }


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
        raise ValueError(f"metric is {metric!r}; it must be one of {', '.join(losses)}")
    return losses[metric]


def _known(sentences: Sentences | None) -> Sentences:
    if sentences is None:
        raise ValueError("the scores were read from a record, which has no sentences")
    return sentences

"""Scores of a classification: accuracy, precision, recall and F1, with bootstrap intervals.

    S  sentences (or pairs) of the test set
    C  classes
    K  seeds

All scores come of three counts for each sentence and class: how often it is right, predicted and
true. So a resample of the sentences is a weighted sum, and words, sentences and spans are scored
by one code.

    precision = right / predicted    recall = right / true    F1 = 2 right / (predicted + true)

Micro scores are of the sums over all classes; where everything has exactly one label, micro F1 is
the accuracy. Macro F1 is the mean F1 of the classes that are true or predicted anywhere, as in
scikit-learn.

Source: Koehn 2004 for the bootstrap over sentences; van Rijsbergen 1979 for F1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Label = str | None

NUM_RESAMPLES = 1000
INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class ClassCounts:
    """What was right, predicted and true, sentence by sentence: (S, C) each."""

    classes: tuple[str, ...]
    right: Counts
    predicted: Counts
    true: Counts

    def totals(self, weights: Floats) -> Totals:
        """Return sums over the sentences, each as often as its weight says.

        Args:
            weights: (..., S)
        """
        return Totals(weights @ self.right, weights @ self.predicted, weights @ self.true)

    def of_sentences(self, chosen: Sequence[int]) -> ClassCounts:
        """Return the counts of some sentences alone."""
        rows = list(chosen)
        return ClassCounts(self.classes, self.right[rows], self.predicted[rows], self.true[rows])


@dataclass(frozen=True)
class Totals:
    """Counts over sentences, (..., C) each."""

    right: Floats
    predicted: Floats
    true: Floats

    def precision(self) -> Floats:
        return _ratio(self.right, self.predicted)

    def recall(self) -> Floats:
        return _ratio(self.right, self.true)

    def f1(self) -> Floats:
        """F1 of each class, (..., C)."""
        return _ratio(2 * self.right, self.predicted + self.true)

    def micro_f1(self) -> Floats:
        """F1 of the sums, (...)."""
        return _ratio(2 * self.right.sum(-1), self.predicted.sum(-1) + self.true.sum(-1))

    def accuracy(self) -> Floats:
        """Share of what is true that is right, (...)."""
        return _ratio(self.right.sum(-1), self.true.sum(-1))

    def macro_f1(self) -> Floats:
        """Mean F1 of the classes that are there, (...)."""
        is_there = (self.predicted + self.true) > 0
        return _ratio((self.f1() * is_there).sum(-1), is_there.sum(-1))


Metric = Callable[[Totals], Floats]
METRICS: dict[str, Metric] = {
    "accuracy": Totals.accuracy,
    "micro_f1": Totals.micro_f1,
    "macro_f1": Totals.macro_f1,
}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over seeds, with the interval that 95 % of the resamples are in."""

    value: float
    low: float
    high: float


def count_labels(
    true: Sequence[Sequence[Label]], predicted: Sequence[Sequence[Label]], classes: Sequence[str]
) -> ClassCounts:
    """Count the labels of each sentence; what has no true label is left out.

    Args:
        true: Labels of each sentence, one or one a word.
        predicted: As many.
        classes: All labels that may occur.
    """
    pairs = [
        [(t, p) for t, p in zip(row, guessed, strict=True) if t is not None]
        for row, guessed in zip(true, predicted, strict=True)
    ]
    return count(
        classes,
        right=[[t for t, p in row if t == p] for row in pairs],
        predicted=[[p for _, p in row if p is not None] for row in pairs],
        true=[[t for t, _ in row] for row in pairs],
    )


def count(
    classes: Sequence[str],
    *,
    right: Sequence[Sequence[Label]],
    predicted: Sequence[Sequence[Label]],
    true: Sequence[Sequence[Label]],
) -> ClassCounts:
    """Return how often each class is in each sentence's list of right, predicted and true ones."""
    column = {name: place for place, name in enumerate(classes)}

    def table(rows: Sequence[Sequence[Label]]) -> Counts:
        counts = np.zeros((len(rows), len(column)), dtype=np.int64)
        for place, row in enumerate(rows):
            for name in row:
                assert name is not None
                counts[place, column[name]] += 1
        return counts

    return ClassCounts(tuple(column), table(right), table(predicted), table(true))


class Bootstrap:
    """Resamples that all scores of a test set share, so that their differences are paired.

    Each resample draws the test's sentences anew and, where there are several seeds, the seeds too:
    an interval then covers both what other sentences and what other seeds would give.
    """

    def __init__(self, num_sentences: int, num_seeds: int, *, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        drawn = [
            np.bincount(random.integers(num_sentences, size=num_sentences), minlength=num_sentences)
            for _ in range(NUM_RESAMPLES)
        ]
        self._sentences = np.array(drawn, dtype=np.float64).reshape(NUM_RESAMPLES, num_sentences)
        self._seeds = random.multinomial(
            num_seeds, np.full(num_seeds, 1 / num_seeds), size=NUM_RESAMPLES
        ) / float(num_seeds)

    def estimate(self, by_seed: Sequence[ClassCounts], metric: Metric) -> Estimate:
        """Return the mean of a metric over the seeds."""
        return _estimate(_values(by_seed, metric).mean(), self._resampled(by_seed, metric))

    def difference(
        self, by_seed: Sequence[ClassCounts], other: Sequence[ClassCounts], metric: Metric
    ) -> Estimate:
        """Return how much higher the mean is than another's on the same sentences and seeds."""
        difference = _values(by_seed, metric).mean() - _values(other, metric).mean()
        resampled = self._resampled(by_seed, metric) - self._resampled(other, metric)
        return _estimate(difference, resampled)

    def _resampled(self, by_seed: Sequence[ClassCounts], metric: Metric) -> Floats:
        """Return the mean of a metric in each resample."""
        values = [metric(counts.totals(self._sentences)) for counts in by_seed]
        means: Floats = (self._seeds * np.stack(values, axis=1)).sum(axis=1)
        return means


def _values(by_seed: Sequence[ClassCounts], metric: Metric) -> Floats:
    """Return a metric of each seed."""
    return np.array([metric(counts.totals(np.ones(len(counts.true)))) for counts in by_seed])


def _estimate(value: float, resampled: Floats) -> Estimate:
    low, high = np.percentile(resampled, INTERVAL)
    return Estimate(value=float(value), low=float(low), high=float(high))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return a quotient, 0 where nothing was counted."""
    return np.divide(
        numerator,
        denominator,
        out=np.zeros(np.broadcast(numerator, denominator).shape, dtype=np.float64),
        where=denominator > 0,
    )

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

Source: van Rijsbergen 1979 for F1; `evaluation/bootstrap.py` for the intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xmod_extend.evaluation.bootstrap import NUM_RESAMPLES, SEED, interval
from xmod_extend.evaluation.losses import Floats

Counts = npt.NDArray[np.int64]
Label = str | None


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
        """Return F1 of each class, (..., C)."""
        return _ratio(2 * self.right, self.predicted + self.true)

    def micro_f1(self) -> Floats:
        """Return F1 of the sums, (...)."""
        return _ratio(2 * self.right.sum(-1), self.predicted.sum(-1) + self.true.sum(-1))

    def accuracy(self) -> Floats:
        """Return the share of what is true that is right, (...)."""
        return _ratio(self.right.sum(-1), self.true.sum(-1))

    def macro_f1(self) -> Floats:
        """Return the mean F1 of the classes that are there, (...)."""
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

    Args:
        num_sentences: S.
        num_seeds: K.
    """

    def __init__(self, num_sentences: int, num_seeds: int, *, seed: int = SEED) -> None:
        random = np.random.default_rng(seed)
        even = np.full(num_sentences, 1 / num_sentences)
        self._sentences = random.multinomial(num_sentences, even, NUM_RESAMPLES).astype(float)
        even = np.full(num_seeds, 1 / num_seeds)
        self._seeds = random.multinomial(num_seeds, even, NUM_RESAMPLES) / num_seeds

    def estimate(self, by_seed: Sequence[ClassCounts], metric: Metric) -> Estimate:
        """Return the mean of a metric over the seeds."""
        return self._estimate(values(by_seed, metric), self._resampled(by_seed, metric), least=0)

    def difference(
        self, by_seed: Sequence[ClassCounts], other: Sequence[ClassCounts], metric: Metric
    ) -> Estimate:
        """Return how much higher the mean is than another's on the same sentences and seeds."""
        return self._estimate(
            values(by_seed, metric) - values(other, metric),
            self._resampled(by_seed, metric) - self._resampled(other, metric),
            least=-1,
        )

    def _resampled(self, by_seed: Sequence[ClassCounts], metric: Metric) -> Floats:
        """Return a metric of each resample of the sentences, (NUM_RESAMPLES, K)."""
        resampled = [metric(counts.totals(self._sentences)) for counts in by_seed]
        return np.stack(resampled, axis=1)

    def _estimate(self, by_seed: Floats, resampled: Floats, *, least: float) -> Estimate:
        """Return the mean over the seeds, and its interval.

        Drawn with replacement, K seeds vary by the factor sqrt((K - 1) / K) less than they do.
        """
        num_seeds, num_sentences = len(by_seed), self._sentences.shape[1]
        means = resampled.mean(axis=1)
        if num_seeds > 1:
            drawn = (self._seeds * resampled).sum(axis=1)
            means = means + math.sqrt(num_seeds / (num_seeds - 1)) * (drawn - means)
        low, high = interval(np.clip(means, least, 1), num_sentences)
        return Estimate(value=float(by_seed.mean()), low=low, high=high)


def values(by_seed: Sequence[ClassCounts], metric: Metric) -> Floats:
    """Return a metric of each seed, (K,)."""
    return np.array([metric(counts.totals(np.ones(len(counts.true)))) for counts in by_seed])


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return a quotient, 0 where nothing was counted."""
    return np.divide(
        numerator,
        denominator,
        out=np.zeros(np.broadcast(numerator, denominator).shape, dtype=np.float64),
        where=denominator > 0,
    )

"""What each adapter makes of the test set, and what it comes to over all seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from xmod_extend.evaluation.classification import (
    METRICS,
    Bootstrap,
    ClassCounts,
    count_labels,
    values,
)
from xmod_extend.evaluation.spans import count_spans
from xmod_extend.jobs.prepared_task import PreparedTask
from xmod_extend.jobs.transfer_request import OUTSIDE
from xmod_extend.model.adapter import Adapter, random_adapter, read_adapter, set_adapter
from xmod_extend.report.transfer import ClassScore, LeakReport, TaskScore, TransferGain
from xmod_extend.text.labelled import LabelledText
from xmod_extend.tokens.labelled import LabelledRows
from xmod_extend.training.fine_tuning import predict

if TYPE_CHECKING:
    from torch import nn

    from xmod_extend.model.task_model import TaskModel

DEV = "dev"
MOST_EXAMPLES = 5
"""Leaked sentences that are shown."""

CountsByState = Mapping[str, Sequence[ClassCounts]]
"""For each state, what it got right with each seed."""


def score_states(
    task: PreparedTask, model: nn.Module, slice_: TaskModel, seed: int
) -> dict[str, ClassCounts]:
    """Count what the test set read with each adapter gives, and the dev set with the source's.

    Args:
        model: What was trained.
        slice_: The task's slice inside of it, whose slot takes the adapters.
        seed: Of an untrained slot.
    """
    request = task.request
    counts: dict[str, ClassCounts] = {}
    languages: dict[str, ClassCounts] = {}
    for state, language in task.states.items():
        if language in languages:
            counts[state] = languages[language]
            continue
        adapter: Adapter = (
            random_adapter(slice_, seed=seed)
            if language is None
            else read_adapter(task.checkpoint, language)
        )
        set_adapter(slice_, adapter)
        guesses = predict(model, task.test, device=task.device)
        counts[state] = _count(task, request.test, task.test, guesses)
        if language is not None:
            languages[language] = counts[state]
    if task.dev is not None and request.dev is not None:
        set_adapter(slice_, read_adapter(task.checkpoint, request.source))
        guesses = predict(model, task.dev, device=task.device)
        counts[DEV] = _count(task, request.dev, task.dev, guesses)
    return counts


def _count(
    task: PreparedTask, text: LabelledText, rows: LabelledRows, guesses: Sequence[Sequence[int]]
) -> ClassCounts:
    """Compare guesses with the labels, merged where that was asked for."""
    request, labels = task.request, task.labels
    predicted: list[list[str]] = [[] for _ in text.examples]
    for row, ids in zip(rows.rows, guesses, strict=True):
        predicted[row.example] += [labels[number] for number in ids]
    true = [[label for label in example.labels if label is not None] for example in text.examples]
    if request.train.task != "span":
        merged = [[list(map(request.class_of, row)) for row in side] for side in (true, predicted)]
        return count_labels(merged[0], merged[1], request.classes)

    def with_type(label: str) -> str:
        return label if label == OUTSIDE else f"{label[0]}-{request.class_of(label)}"

    spans = [[list(map(with_type, row)) for row in side] for side in (true, predicted)]
    return count_spans(spans[0], spans[1], request.classes)


def sum_up(task: PreparedTask, counts: CountsByState) -> dict[str, TaskScore]:
    """Return the score of each state over all seeds, and of the dev set if there is one."""
    languages = task.states | {DEV: task.request.source}
    return {
        state: _task_score(task, state, languages[state], by_seed)
        for state, by_seed in counts.items()
    }


def _task_score(
    task: PreparedTask, state: str, language: str | None, by_seed: Sequence[ClassCounts]
) -> TaskScore:
    bootstrap = Bootstrap(len(by_seed[0].true), len(by_seed))
    name, metric = main_metric(task)
    main = bootstrap.estimate(by_seed, METRICS[metric])
    return TaskScore(
        state=state,
        language=language,
        metric=name,
        value=main.value,
        low=main.low,
        high=main.high,
        by_seed=tuple(values(by_seed, METRICS[metric]).tolist()),
        micro_f1=bootstrap.estimate(by_seed, METRICS["micro_f1"]),
        macro_f1=bootstrap.estimate(by_seed, METRICS["macro_f1"]),
        classes=tuple(_class_scores(by_seed)),
    )


def main_metric(task: PreparedTask) -> tuple[str, str]:
    """Return the name of the metric to lead with, and which of `METRICS` it is."""
    return ("span_f1", "micro_f1") if task.request.train.task == "span" else ("accuracy",) * 2


def _class_scores(by_seed: Sequence[ClassCounts]) -> list[ClassScore]:
    every = np.ones(len(by_seed[0].true))
    totals = [counts.totals(every) for counts in by_seed]
    precision, recall, f1 = (
        np.mean([getattr(each, name)() for each in totals], axis=0)
        for name in ("precision", "recall", "f1")
    )
    return [
        ClassScore(
            label=label,
            precision=float(precision[place]),
            recall=float(recall[place]),
            f1=float(f1[place]),
            num_true=int(totals[0].true[place]),
        )
        for place, label in enumerate(by_seed[0].classes)
        if any(each.true[place] + each.predicted[place] for each in totals)
    ]


def find_gains(task: PreparedTask, counts: CountsByState) -> tuple[TransferGain, ...]:
    """Return how much better the target's adapter is than the others, on the same resamples."""
    target = counts["target"]
    bootstrap = Bootstrap(len(target[0].true), len(target))
    metric = METRICS[main_metric(task)[1]]
    gains = []
    for state, language in task.states.items():
        if state != "target":
            found = bootstrap.difference(target, counts[state], metric)
            gains.append(
                TransferGain(
                    over=state,
                    language=language,
                    difference=found.value,
                    low=found.low,
                    high=found.high,
                )
            )
    return tuple(gains)


def report_leaks(task: PreparedTask, counts: CountsByState) -> LeakReport | None:
    """Return what was found of the test in the corpus, and the score without it."""
    leaks, examples = task.leaks, task.request.test.examples
    if leaks is None:
        return None
    kept = [number for number in range(len(examples)) if number not in leaks.all]
    without = None
    if kept and leaks.all:
        chosen = [found.of_sentences(kept) for found in counts["target"]]
        without = float(values(chosen, METRICS[main_metric(task)[1]]).mean())
    return LeakReport(
        corpus=task.request.options.corpus,
        num_examples=len(examples),
        num_exact=len(leaks.exact),
        num_near=len(leaks.near),
        examples=tuple(examples[number].text for number in sorted(leaks.all)[:MOST_EXAMPLES]),
        value_without=without,
    )

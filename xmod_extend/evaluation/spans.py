"""Spans, such as names, in labels of the form IOB2: which there are, and which were found.

A span is right if its type, its first and its last word are. What begins with I- where no span of
its type is open begins one, as `conlleval` and seqeval by default have it.

Source: Tjong Kim Sang and De Meulder 2003, section 2.3 (`conlleval`); Nakayama 2018 (seqeval).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from xmod_extend.evaluation.classification import ClassCounts, Label, count


class Span(NamedTuple):
    """Neighbouring words of one type."""

    kind: str
    first: int
    last: int


def find_spans(labels: Sequence[Label]) -> list[Span]:
    """Return the spans of a sentence; a word without a label ends one."""
    spans: list[Span] = []
    is_open = False
    for place, label in enumerate(labels):
        mark, _, kind = (label or "O").partition("-")
        if mark not in ("B", "I"):
            is_open = False
        elif mark == "I" and is_open and spans[-1].kind == kind:
            spans[-1] = spans[-1]._replace(last=place)
        else:
            spans.append(Span(kind, place, place))
            is_open = True
    return spans


def span_types(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the types of the spans that these labels make, sorted."""
    return tuple(sorted({label.partition("-")[2] for label in labels if label != "O"}))


def count_spans(
    true: Sequence[Sequence[Label]], predicted: Sequence[Sequence[Label]], classes: Sequence[str]
) -> ClassCounts:
    """Count the spans of each sentence by their types."""
    right, guessed, wanted = [], [], []
    for row, guesses in zip(true, predicted, strict=True):
        ours, theirs = find_spans(guesses), find_spans(row)
        right.append([span.kind for span in ours if span in set(theirs)])
        guessed.append([span.kind for span in ours])
        wanted.append([span.kind for span in theirs])
    return count(classes, right=right, predicted=guessed, true=wanted)

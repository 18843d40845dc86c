"""A transfer that was asked for, checked before anything heavy is imported or trained.

The labelled files are read here: what is wrong with them is known in a second.
"""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass

from xmod_extend.arguments import PathOrName, as_path_or_name, as_text
from xmod_extend.errors import CorpusError, UsageError
from xmod_extend.files.output_folder import recover
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.checks import choose_max_length
from xmod_extend.jobs.states import require_language
from xmod_extend.jobs.transfer_options import TransferOptions
from xmod_extend.model.base import BaseReference, resolve_base
from xmod_extend.model.config import config_languages
from xmod_extend.model.writer import check_output
from xmod_extend.text.labelled import LabelledText, read_labelled
from xmod_extend.text.sources import check_paths

MOST_SHOWN = 5
OUTSIDE = "O"
"""The label of words that are in no span."""


@dataclass(frozen=True, kw_only=True)
class TransferRequest:
    """A task and two languages of a checkpoint that has both."""

    options: TransferOptions
    base: BaseReference
    source: str
    target: str
    train: LabelledText
    test: LabelledText
    dev: LabelledText | None
    merged: dict[str, str]
    """Name of a label that is merged with others to the name that all of them are scored under."""
    max_length: int

    @property
    def classes(self) -> tuple[str, ...]:
        """What is scored: labels, or the types of spans, merged."""
        return tuple(sorted(set(map(self.class_of, self.train.labels)) - self._uncounted))

    def class_of(self, label: str) -> str:
        """Return what a label is scored as; the type of a span without its B- or I-."""
        kind = label
        if self.train.task == "span" and label != OUTSIDE:
            kind = label.partition("-")[2]
        return self.merged.get(kind, kind)

    @property
    def _uncounted(self) -> set[str]:
        return {OUTSIDE} if self.train.task == "span" else set()


def check_transfer(
    checkpoint: PathOrName,
    *,
    source: str,
    target: str,
    options: TransferOptions,
    callback: Callback,
) -> TransferRequest:
    """Check the languages, the output and the labelled files.

    Raises:
        LanguageError: The checkpoint lacks one of the languages.
        ModelError: The checkpoint is no X-MOD.
        HubError: Its config.json cannot be had.
        CorpusError: A labelled file cannot be read, or its labels do not fit the training text's.
        UsageError: An option makes no sense, or the output cannot be written.
    """
    base = resolve_base(as_path_or_name("checkpoint", checkpoint))
    config = base.load_config()
    for language in (source, target):
        require_language(as_text("a language", language), config_languages(config), base.name)
    if source == target:
        raise UsageError(
            f"The task is learnt in {source} and tested in {target}, which is no transfer.",
            hint="Name another language with --to.",
        )
    max_length = choose_max_length(config, options.max_length, name=base.name)
    if options.output is not None:
        recover(options.output)
        check_output(options.output, force=options.force, source=base.path)
    check_paths(options.corpus)
    callback.on_stage("Reading the labelled text")
    train, test = _read(options.train, options), _read(options.test, options)
    dev = None if options.dev is None else _read(options.dev, options)
    request = TransferRequest(
        options=options,
        base=base,
        source=source,
        target=target,
        train=train,
        test=test,
        dev=dev,
        merged=options.merged(),
        max_length=max_length,
    )
    _check_merged(request)
    for other in filter(None, (test, dev)):
        _check_labels(request, other)
    return request


def _read(path: str, options: TransferOptions) -> LabelledText:
    return read_labelled(
        path, task=options.task, text_field=options.text_field, label_field=options.label_field
    )


def _check_merged(request: TransferRequest) -> None:
    """Refuse a name in --merge that no label has, and labels of which nothing can be told apart."""
    kinds = {
        label.partition("-")[2] if request.train.task == "span" else label
        for text in (request.train, request.test)
        for label in text.labels
    }
    for name in request.merged:
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1)
            raise UsageError(
                f"--merge names {name}, which is no label of {request.train.name}.",
                hint=f"Did you mean {near[0]}?" if near else f"It has {_shown(sorted(kinds))}.",
            )
    if len(set(map(request.class_of, request.train.labels))) < 2:
        raise CorpusError(
            f"{request.train.name} has one label only: {', '.join(request.classes)}.",
            hint="Give a text with at least two labels to tell apart.",
        )


def _check_labels(request: TransferRequest, text: LabelledText) -> None:
    """Refuse a text with another task or with labels that the training text does not teach."""
    train = request.train
    # A text whose spans all are outside looks like one with labels of words.
    if text.task != train.task and not (train.task == "span" and text.labels == (OUTSIDE,)):
        raise CorpusError(
            f"{text.name} has labels of another kind ({text.task}) than {train.name} "
            f"({train.task}).",
            hint="Give files of one form, or say what has labels with --task.",
        )
    taught = set(map(request.class_of, train.labels))
    unknown = Counter(
        label
        for example in text.examples
        for label in example.labels
        if label is not None and request.class_of(label) not in taught
    )
    if unknown:
        names = _shown([f"{label} ({count:,} times)" for label, count in unknown.most_common()])
        raise CorpusError(
            f"{text.name} has labels that {train.name} does not have: {names}.",
            hint=f"{train.name} has {_shown(list(train.labels))}; use the same names in both, or "
            "score labels as one with --merge A,B.",
        )


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return ", ".join(names[:MOST_SHOWN]) + more

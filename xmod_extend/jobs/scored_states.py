"""One state under a metric: its text read, its scores summed up, and what is to be said of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from xmod_extend.arguments import wrong_type
from xmod_extend.errors import CorpusError, UsageError
from xmod_extend.evaluation.minimal_pairs import METRIC as MINIMAL_PAIRS
from xmod_extend.evaluation.minimal_pairs import score_pairs
from xmod_extend.evaluation.score import score
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.measurement import PreparedMeasurement, prepare_measurement
from xmod_extend.jobs.measuring_options import MeasuringOptions
from xmod_extend.jobs.scorer import Scorer, Slot
from xmod_extend.jobs.states import State
from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.report.evaluation import Evaluation, Sentences
from xmod_extend.report.side_by_side import AnyScore
from xmod_extend.text.cleaning import clean_line
from xmod_extend.text.lines import LinesInMemory, StoredLines
from xmod_extend.text.measured_text import MIN_LINES, read_measured_text, read_pairs

SENTENCES = "sentences"
"""What a text is called that was given in Python."""
FEW_DOCUMENTS = 10
"""With fewer documents an interval is a rough one, and says so."""


@dataclass(frozen=True, kw_only=True)
class ScoredLines:
    """The lines to score; of pairs the sentences, right and wrong in turn."""

    lines: StoredLines | LinesInMemory
    sha256: str
    names: tuple[str, ...]
    num_pairs: int = 0


@dataclass(frozen=True, kw_only=True)
class OpenedState:
    """A state whose checkpoint is open."""

    state: State
    checkpoint: Checkpoint


def read_lines(options: MeasuringOptions, callback: Callback) -> ScoredLines:
    """Read the text that the options name, and tell of it.

    Raises:
        CorpusError: It is missing, unreadable, empty, or one line alone.
        HubError: It cannot be had from the Hub.
    """
    callback.on_stage("Reading the text")
    if options.metric == MINIMAL_PAIRS:
        right, wrong = options.fields
        pairs = read_pairs(options.text, (right, wrong), encoding_errors=options.encoding_errors)
        lines = tuple(sentence for pair in pairs for sentence in pair)
        sha256 = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
        return ScoredLines(
            lines=LinesInMemory(lines, sha256),
            sha256=sha256,
            names=options.text,
            num_pairs=len(pairs),
        )
    measured = read_measured_text(
        options.text, text_field=options.text_field, encoding_errors=options.encoding_errors
    )
    for note in measured.notes:
        callback.on_warning(note)
    kept, read = measured.statistics.lines, measured.num_read
    callback.on_note(
        f"{kept:,} lines" + (f" of {read:,}, each once and none empty" if kept < read else "")
    )
    return ScoredLines(
        lines=measured.lines, sha256=measured.statistics.sha256, names=measured.names
    )


def take_lines(sentences: Sequence[str], options: MeasuringOptions) -> ScoredLines:
    """Clean sentences as those of a file are: each once, and none empty.

    Raises:
        UsageError: They are no list of strings, or the metric wants pairs.
        CorpusError: There are fewer than two.
    """
    if options.metric == MINIMAL_PAIRS:
        raise UsageError(
            "minimal_pairs needs a file with two columns, not sentences.",
            hint="Write the pairs into a .tsv or .csv file and give it as text.",
        )
    listed = [] if isinstance(sentences, str | bytes) else list(sentences)
    if not listed or not all(isinstance(sentence, str) for sentence in listed):
        raise wrong_type("sentences", sentences, "a list of str")
    # A line break inside one would make it two.
    cleaned = [clean_line(" ".join(sentence.splitlines())) for sentence in listed]
    lines = tuple(dict.fromkeys(filter(None, cleaned)))
    if len(lines) < MIN_LINES:
        raise CorpusError(
            f"There are {len(lines)} different sentences, of which no interval can be told.",
            hint=f"Give at least {MIN_LINES}.",
        )
    sha256 = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
    return ScoredLines(lines=LinesInMemory(lines, sha256), sha256=sha256, names=(SENTENCES,))


def prepare_lines(
    text: ScoredLines,
    checkpoint: Checkpoint,
    options: MeasuringOptions,
    max_length: int | None = None,
) -> PreparedMeasurement:
    """Cut a text as a checkpoint's tokenizer does; see `prepare_measurement`."""
    return prepare_measurement(
        text.lines,
        text.sha256,
        checkpoint,
        options,
        max_length=max_length,
        num_pairs=text.num_pairs,
    )


def score_state(
    opened: OpenedState,
    text: ScoredLines,
    prepared: PreparedMeasurement,
    scorer: Scorer,
    callback: Callback,
) -> Evaluation:
    """Score a state; warnings are about the text, and so told once."""
    slot = find_slot(opened, prepared, scorer, callback)
    label = opened.state.label
    if opened.state.kind == "best":
        label = f"{slot.language}, {label}"
    losses = scorer.losses(slot, prepared, label)
    scores: tuple[AnyScore, ...]
    if text.num_pairs:
        (name,) = losses
        scores = (
            score_pairs(losses[name], text.num_pairs, prepared.scored_text(name, scorer.precision)),
        )
    else:
        scores = tuple(
            score(losses[name], prepared.scored_text(name, scorer.precision))
            for name in prepared.metric.names
        )
    warnings = _warnings(prepared, scores[0])
    for warning in warnings:
        callback.on_warning(warning)
    return Evaluation(
        state=label,
        checkpoint=str(opened.state.checkpoint),
        language=slot.language,
        text=text.names,
        scores=scores,
        unreadable=_unreadable(prepared),
        warnings=warnings,
        sentences=Sentences(lines=text.lines, losses=losses),
    )


def find_slot(
    opened: OpenedState, prepared: PreparedMeasurement | None, scorer: Scorer, callback: Callback
) -> Slot:
    """Return what a state has in its slot: of the best adapter, the language that it is of.

    Args:
        prepared: The scored text; where it and the state's own are missing, the first language
            stands for the best.

    Raises:
        XmodExtendError: The state's own text cannot be read or scored.
    """
    state, checkpoint = opened.state, opened.checkpoint
    if state.kind != "best":
        return Slot(checkpoint=checkpoint, kind=state.kind, language=state.language)
    language = _find_best(opened, prepared, scorer, callback)
    return Slot(checkpoint=checkpoint, kind="language", language=language)


def _find_best(
    opened: OpenedState, prepared: PreparedMeasurement | None, scorer: Scorer, callback: Callback
) -> str:
    """Return the language whose adapter reads best the state's own text, or the scored one."""
    state, checkpoint = opened.state, opened.checkpoint
    if state.text is not None:
        options = MeasuringOptions(text=(str(state.text),))
        prepared = prepare_lines(read_lines(options, callback), checkpoint, options)
    if prepared is None:
        return checkpoint.languages[0]
    return scorer.best_existing(checkpoint, prepared)


def _unreadable(prepared: PreparedMeasurement) -> str | None:
    coverage = prepared.coverage
    return coverage.describe_unreadable() if coverage.is_unreadable else None


def _warnings(prepared: PreparedMeasurement, first: AnyScore) -> tuple[str, ...]:
    found = []
    unreadable = _unreadable(prepared)
    if unreadable is not None:
        found.append(f"The scores mean nothing. {unreadable}")
    elif (missing := prepared.coverage.describe_missing()) is not None:
        found.append(missing)
    count = getattr(first, "num_documents", FEW_DOCUMENTS)
    if count < FEW_DOCUMENTS:
        found.append(f"The interval is of {count} lines only, and so a rough one.")
    undecided = getattr(first, "num_undecided", 0)
    if undecided:
        found.append(
            f"The sentences of {undecided:,} pairs are equally likely, often because the "
            "vocabulary lacks the letters in which they differ; they count as not found."
        )
    return tuple(found)

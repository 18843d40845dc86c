"""The run record: one JSON object with everything a model card or a report may say.

`run.json` in an extended checkpoint is this object. Readers check `schema_version`.
"""

from __future__ import annotations

import dataclasses
import html
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmod_extend.arguments import shown
from xmod_extend.errors import ModelError, UsageError
from xmod_extend.evaluation.bootstrap import Improvement
from xmod_extend.evaluation.learning_curve import LearningCurve
from xmod_extend.evaluation.parts import NearDuplicateScores
from xmod_extend.evaluation.probe import Candidate
from xmod_extend.evaluation.score import Score
from xmod_extend.evaluation.seen_words import SeenWords
from xmod_extend.languages import is_code
from xmod_extend.model.config import read_json_object
from xmod_extend.report.cells import comparison_cell
from xmod_extend.report.extras import load_plots
from xmod_extend.report.frames import to_frame
from xmod_extend.report.held_out import HeldOutSentences
from xmod_extend.report.plain_values import WrongValueError, from_plain
from xmod_extend.report.samples import Samples
from xmod_extend.report.side_by_side import Kind, Row, Rung, SideBySide, Step
from xmod_extend.report.summary import summarize_rungs, summarize_step
from xmod_extend.text.report import CorpusReport
from xmod_extend.training.history import CurvePoint

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

SCHEMA_VERSION = 1
LARGEST_BYTES = 16 << 20
"""The size of no run record: they are bounded, and have a megabyte at the most."""


@dataclass(frozen=True, kw_only=True)
class BaseRecord:
    """The base that was extended."""

    name: str
    source: str
    """A Hub id, a folder, or `tiny`, as the user wrote it."""
    commit: str | None
    """The commit of a base on the Hub."""
    languages: tuple[str, ...]
    num_parameters: int
    files: dict[str, str]
    """Name of a weights file -> SHA-256 of its bytes."""


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """How the adapter was trained."""

    init: str
    """`random`, `mean` or `from:CODE`; `nearest` is resolved to the language it found."""
    num_parameters: int
    num_steps: int
    steps_done: int
    best_step: int
    batch_size: int
    max_length: int
    lr: float
    warmup_fraction: float
    weight_decay: float
    adam_beta2: float
    clip_norm: float
    mlm_probability: float
    dropout: bool
    precision: str
    device: str
    num_tokens: int
    """Tokens trained on; one that is read twice counts twice."""
    num_epochs: float | None
    """None if the text was streamed and its end was not reached: its length is unknown."""
    seconds: float
    """The time of training alone."""
    curve: tuple[CurvePoint, ...]
    stopped: str | None
    adam_beta1: float | None = None
    """None in records of version 0.1, like the fields below."""
    adam_epsilon: float | None = None
    num_adam_steps: int | None = None
    """Steps of AdamW before SOAP's first basis; not less than the steps if all were AdamW's."""
    accumulation: int | None = None
    """Number of forward and backward passes that each process made for one step."""
    num_processes: int | None = None
    """Processes that shared each batch at the end of the run."""


@dataclass(frozen=True, kw_only=True)
class ReferenceScore:
    """What the base reaches on a language of its own, by the same measure."""

    language: str
    files: tuple[str, ...]
    score: Score


@dataclass(frozen=True, kw_only=True, repr=False)
class EvaluationRecord:
    """Scores of several predictors on the same hidden tokens of the held-out text.

    It prints as a few lines, and shows as a page in a notebook.
    """

    best_existing: str
    before: Score
    """Score of the best existing adapter."""
    after: Score
    """Score of the new adapter."""
    improvement: Improvement
    """The new one over the best existing one."""
    unigram: Score | None = None
    """Score of the token frequencies of the training text, or of the beginning of a stream; None in
    records of version 0.1, like the fields below."""
    improvement_over_unigram: Improvement | None = None
    verdict: str = ""
    """The result in two sentences."""
    advice: str = ""
    """Advice on what to try where the new adapter is not the best predictor."""
    seen_words: SeenWords | None = None
    """Scores of words that the training text has and of others; None if it was streamed, and in
    records of version 0.2, like the field below."""
    near_duplicates: NearDuplicateScores | None = None
    """Scores of lines that a training line nearly repeats and of others."""
    references: tuple[ReferenceScore, ...] = ()
    """Scores of the languages that `--reference` names."""
    samples: Samples | None = None
    """Lines of the held-out text, before and after; None in records of version 0.2."""
    sentences: HeldOutSentences | None = field(default=None, compare=False)
    """None in a record that was read from a file; it is not written."""

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain dicts, lists, strings and numbers, without the sentences."""
        values = dataclasses.asdict(dataclasses.replace(self, sentences=None))
        del values["sentences"]
        plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
        return plain

    def rows(self) -> Iterator[Row]:
        """Yield a row for each held-out sentence, before and after.

        Raises:
            UsageError: The record was read from a file, which has no sentences.
        """
        if self.sentences is None:
            raise UsageError(
                "This record was read from a file, which has scores but no sentences.",
                hint="Score sentences with xmod_extend.compare(BASE, CHECKPOINT, TEXT).",
            )
        return self.sentences.rows()

    def to_pandas(self) -> pandas.DataFrame:
        """Return a frame with a row for each held-out sentence, before and after.

        Raises:
            UsageError: As in `rows`, or pandas is not installed.
        """
        return to_frame(self.rows())

    def plot(self) -> Figure:
        """Draw the scores with their intervals and the sentences, if there are any.

        Raises:
            UsageError: matplotlib is not installed.
        """
        figure: Figure = load_plots().plot_comparison(self._side_by_side(), self._known_rows())
        return figure

    def __repr__(self) -> str:
        result = self._side_by_side()
        return "\n".join([summarize_rungs(result.rungs), *map(summarize_step, result.steps)])

    def _repr_html_(self) -> str:
        return comparison_cell(self._side_by_side(), self._known_rows())

    def _known_rows(self) -> list[Row]:
        return [] if self.sentences is None else list(self.sentences.rows())

    def _side_by_side(self) -> SideBySide:
        def rung(name: str, kind: Kind, score: Score) -> Rung:
            return Rung(name=name, kind=kind, score=score)

        before = rung(f"{self.best_existing}, the best existing adapter", "before", self.before)
        after = rung("the new adapter", "after", self.after)
        rungs, steps = [before], [Step(before=before, after=after, improvement=self.improvement)]
        if self.unigram is not None and self.improvement_over_unigram is not None:
            unigram = rung("token frequencies alone", "frequencies", self.unigram)
            gain = self.improvement_over_unigram
            rungs.append(unigram)
            steps.append(Step(before=unigram, after=after, improvement=gain))
        rungs += [
            rung(f"{one.language} on text of its own", "reference", one.score)
            for one in self.references
        ]
        return SideBySide(
            verdict=self.verdict,
            rungs=(*rungs, after),
            steps=tuple(steps),
            notes=(self.advice,) if self.advice else (),
        )


@dataclass(frozen=True, kw_only=True)
class VerificationRecord:
    """Figures of the comparison with the base."""

    identical: bool
    tensors_compared: int
    languages_compared: int
    differences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """The training that `--plan` describes."""

    num_steps: int
    num_tokens: int
    num_epochs: float | None
    """None if the text is streamed."""
    lr: float
    seconds_per_step: float
    """Worked out from parts of a step whose result is discarded."""
    estimated_seconds: float
    """Training alone."""
    output: str
    output_bytes: int
    probing_seconds: float = 0.0
    """Ranking the existing adapters."""
    validation_seconds: float = 0.0
    """All validations together."""
    scoring_seconds: float = 0.0
    """The whole held-out text, with the best existing adapter and with the new one."""

    @property
    def total_seconds(self) -> float:
        """All of it but writing and verifying."""
        parts = (self.probing_seconds, self.validation_seconds, self.scoring_seconds)
        return self.estimated_seconds + sum(parts)


def describe_epochs(num_epochs: float | None) -> str:
    """Return the epochs of a record in words."""
    if num_epochs is None:
        return "of a stream, not yet read to its end"
    return f"{num_epochs:.1f} epochs"


@dataclass(frozen=True, kw_only=True, repr=False)
class RunRecord:
    """The record of one added language, which `add_language` returns and writes.

    It prints as a few lines, and shows as a small table in a notebook; `to_dict` has everything.
    """

    language: str
    language_name: str
    bcp47: str
    base: BaseRecord
    options: dict[str, Any]
    corpus: CorpusReport
    tokenizer: str
    tokenizer_sha256: str
    probe: tuple[Candidate, ...]
    warnings: tuple[str, ...]
    versions: dict[str, str]
    created: str
    """UTC, ISO 8601."""
    seconds: float
    """Time from reading the text to the last score, since the run was last started."""
    plan: PlanRecord | None = None
    training: TrainingRecord | None = None
    evaluation: EvaluationRecord | None = None
    learning_curve: LearningCurve | None = None
    """Scores after training on parts of the text, if they were asked for."""
    verification: VerificationRecord | None = None
    output: str | None = None
    schema_version: int = SCHEMA_VERSION

    def __repr__(self) -> str:
        rows = self._summary()
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)

    def _repr_html_(self) -> str:
        cells = (
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
            for name, text in self._summary()
        )
        return f"<table>{''.join(cells)}</table>"

    def _summary(self) -> list[tuple[str, str]]:
        """Return the main results as pairs of a name and a text."""
        rows = [("language", f"{self.language}, {self.language_name}"), ("base", self.base.source)]
        if self.plan is not None:
            steps, seconds = self.plan.num_steps, self.plan.estimated_seconds
            rows.append(("plan", f"{steps:,} steps, about {seconds:,.0f} s; nothing was written"))
        if self.evaluation is not None:
            before, after = self.evaluation.before, self.evaluation.after
            gain = self.evaluation.improvement
            rows += [
                (
                    "before",
                    f"perplexity {before.perplexity:,.1f} with {self.evaluation.best_existing}",
                ),
                ("after", f"perplexity {after.perplexity:,.1f} with the new adapter"),
                ("before / after", f"{gain.ratio:.2f} ({gain.low:.2f} to {gain.high:.2f})"),
            ]
            if self.evaluation.unigram is not None:
                unigram = f"perplexity {self.evaluation.unigram.perplexity:,.1f}"
                rows.insert(-2, ("token frequencies", unigram))
            if self.evaluation.verdict:
                rows.append(("verdict", self.evaluation.verdict))
        if self.training is not None and self.training.stopped:
            rows.append(("ended early", self.training.stopped))
        if self.output is not None:
            rows.append(("output", self.output))
        return rows + [("warning", warning) for warning in self.warnings]

    def plot_learning_curve(self) -> Figure:
        """Draw how the score moved with more text, and return the figure.

        Raises:
            UsageError: There is no learning curve, or matplotlib is not installed.
        """
        if self.learning_curve is None:
            raise UsageError(
                "This record has no learning curve.",
                hint="Ask for it: add_language(..., learning_curve=True).",
            )
        figure: Figure = load_plots().plot_learning_curve(self.learning_curve)
        return figure

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain dicts, lists, strings and numbers."""
        record: dict[str, Any] = json.loads(self.to_json())
        return record

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunRecord:
        """Return the record that `to_dict` made these values of.

        Raises:
            ValueError: They are not a record's, or one of them is of another type.
        """
        record: RunRecord = from_plain(cls, values)
        return record

    def to_json(self) -> str:
        """Return the record as indented JSON, `schema_version` first."""
        plain = dataclasses.asdict(dataclasses.replace(self, evaluation=None))
        if self.evaluation is not None:
            plain["evaluation"] = self.evaluation.to_dict()
        values = {"schema_version": self.schema_version} | plain
        return json.dumps(values, indent=2, ensure_ascii=False, default=str) + "\n"


def read_record(path: Path) -> RunRecord:
    """Read a run record that anyone may have written.

    Raises:
        ModelError: It is no run record, is damaged, or is of another version.
    """
    if path.exists() and not path.is_file():
        raise ModelError(f"{path} is not a file.", hint="A run record is a file of JSON.")
    if path.is_file() and path.stat().st_size > LARGEST_BYTES:
        raise ModelError(
            f"{path} has {path.stat().st_size:,} bytes, more than any run record.",
            hint="Take the file as xmod-extend wrote it.",
        )
    values = read_json_object(path)
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ModelError(
            f"{path} has the schema_version {shown(version)}; this version reads {SCHEMA_VERSION}.",
            hint="Install the version of xmod-extend that wrote it, or a newer one.",
        )
    try:
        record = RunRecord.from_dict(values)
        if not is_code(record.language):
            raise WrongValueError(f"language is {shown(record.language)}, which is no code")
    except ValueError as error:
        raise ModelError(
            f"{path} is not a run record that this version can read: {error}.",
            hint="Install the newest version of xmod-extend, or take the file as it was written.",
        ) from error
    return record

"""The run record: one JSON object with everything a model card or a report may say.

`run.json` in an extended checkpoint is this object. Readers check `schema_version`.
"""

from __future__ import annotations

import dataclasses
import html
import json
import platform
import types
import typing
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from xmod_extend.evaluation.perplexity import Comparison, Score
from xmod_extend.evaluation.probe import Candidate
from xmod_extend.text.report import CorpusReport
from xmod_extend.training.history import CurvePoint

SCHEMA_VERSION = 1
PACKAGES = (
    "xmod-extend",
    "torch",
    "transformers",
    "datasets",
    "accelerate",
    "tokenizers",
    "safetensors",
)


@dataclass(frozen=True, kw_only=True)
class BaseRecord:
    """Which base was extended."""

    name: str
    source: str
    """What the user wrote: a Hub id, a folder, or `tiny`."""
    commit: str | None
    """Of a base on the Hub."""
    languages: tuple[str, ...]
    num_parameters: int
    files: dict[str, str]
    """Name of each weight file to the SHA-256 of its bytes."""


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """How the adapter came to be."""

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
    """Trained on, repeats counted."""
    num_epochs: float | None
    """None where the text was streamed, and not once to its end: how long it is, is not known."""
    seconds: float
    """Of training alone."""
    curve: tuple[CurvePoint, ...]
    stopped: str | None
    adam_beta1: float | None = None
    """None in records of version 0.1, as all that follows."""
    adam_epsilon: float | None = None
    num_adam_steps: int | None = None
    """Steps of AdamW before SOAP's first basis; with as many as there are, all were AdamW's."""
    accumulation: int | None = None
    """Parts that each process's share of a batch was worked through in."""
    num_processes: int | None = None
    """That shared each batch at the end."""


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """The same hidden tokens of the held-out text, by all that can guess them."""

    best_existing: str
    before: Score
    """With the best existing adapter."""
    after: Score
    """With the new one."""
    improvement: Comparison
    """The new one over the best existing one."""
    unigram: Score | None = None
    """By how often each token occurs in the training text, of a stream in its beginning; None in
    records of version 0.1, as all that follows."""
    improvement_over_unigram: Comparison | None = None
    verdict: str = ""
    """Where on this ladder the result stands, in two sentences."""
    advice: str = ""
    """What to try, where it does not stand on top."""


@dataclass(frozen=True, kw_only=True)
class VerificationRecord:
    """The proof that nothing else changed, in figures."""

    identical: bool
    tensors_compared: int
    languages_compared: int
    differences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """What training would be, for `--plan`."""

    num_steps: int
    num_tokens: int
    num_epochs: float | None
    """None of a text that is streamed."""
    lr: float
    seconds_per_step: float
    """Of one step that was tried and thrown away."""
    estimated_seconds: float
    output: str
    output_bytes: int


def describe_epochs(num_epochs: float | None) -> str:
    """Return the epochs of a record in words."""
    if num_epochs is None:
        return "of a stream, not yet read to its end"
    return f"{num_epochs:.1f} epochs"


@dataclass(frozen=True, kw_only=True, repr=False)
class RunRecord:
    """What `add_language` returns and writes.

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
    """From the reading of the text to the last score, since the run was last started."""
    plan: PlanRecord | None = None
    training: TrainingRecord | None = None
    evaluation: EvaluationRecord | None = None
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
        """Return what a reader wants to know first, as pairs of a name and a text."""
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

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers."""
        record: dict[str, Any] = json.loads(self.to_json())
        return record

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunRecord:
        """Return the record that `to_dict` made these values of."""
        record: RunRecord = _from_plain(cls, values)
        return record

    def to_json(self) -> str:
        """Return the record as indented JSON, `schema_version` first."""
        values = {"schema_version": self.schema_version} | dataclasses.asdict(self)
        return json.dumps(values, indent=2, ensure_ascii=False, default=str) + "\n"


def _from_plain(kind: Any, value: Any) -> Any:
    """Return a dataclass, a tuple of them, or a plain value, from what JSON made of it."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        options = [option for option in typing.get_args(kind) if option is not types.NoneType]
        return value if value is None or len(options) > 1 else _from_plain(options[0], value)
    if typing.get_origin(kind) is tuple:
        return tuple(_from_plain(typing.get_args(kind)[0], item) for item in value)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        kinds = typing.get_type_hints(kind)
        return kind(**{name: _from_plain(kinds[name], item) for name, item in value.items()})
    return value


def package_versions() -> dict[str, str]:
    """Versions of what computed the result, Python's among them."""
    return {"python": platform.python_version()} | {
        package: metadata.version(package) for package in PACKAGES
    }

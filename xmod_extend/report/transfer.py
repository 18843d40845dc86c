"""What a transfer came to: scores of each adapter on one test set, as a notebook shows them."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xmod_extend.evaluation.bootstrap import NUM_RESAMPLES
from xmod_extend.evaluation.classification import Estimate
from xmod_extend.report.extras import load_plots
from xmod_extend.report.frames import to_frame

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

STATES = {
    "target": "the language's adapter",
    "best_existing": "the best other adapter",
    "untrained": "an untrained slot",
    "source": "the source's adapter",
}
"""The adapters that read the test set, in words."""
METRIC_NAMES = {"accuracy": "accuracy", "span_f1": "span F1"}


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """Scores of one label, means over the seeds."""

    label: str
    precision: float
    recall: float
    f1: float
    num_true: int
    """How often it is right to give it."""


@dataclass(frozen=True, kw_only=True)
class TaskScore:
    """Scores of one adapter on one set of examples, means over the seeds."""

    state: str
    """`target`, `best_existing`, `untrained` or `source`; `dev` of the source on its own text."""
    language: str | None
    metric: str
    """`accuracy`, or `span_f1` of spans."""
    value: float
    low: float
    high: float
    by_seed: tuple[float, ...]
    micro_f1: Estimate
    macro_f1: Estimate
    classes: tuple[ClassScore, ...]


@dataclass(frozen=True, kw_only=True)
class TransferGain:
    """How much better the target's adapter is than another state on the same examples."""

    over: str
    language: str | None
    difference: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class LeakReport:
    """Test sentences that the language's adapter was trained on."""

    corpus: tuple[str, ...]
    num_examples: int
    num_exact: int
    """Test examples of which a sentence is a line of the corpus, but for case, punctuation and
    spaces."""
    num_near: int
    """Others that are nearly a line of it."""
    examples: tuple[str, ...]
    """A few of both."""
    value_without: float | None
    """The target's score on the other examples, if there are any."""


@dataclass(frozen=True, kw_only=True)
class TaskTraining:
    """How the task was learnt, once for each seed."""

    method: str
    """`lora`, or `full` if all shared weights were trained."""
    num_parameters: int
    """Trained ones, with the head."""
    num_steps: int
    batch_size: int
    lr: float
    lora_rank: int | None
    max_length: int
    num_tokens: int
    """Tokens of the training text, read once."""
    precision: str
    device: str
    seconds: float
    """For one seed, on average."""


@dataclass(frozen=True, kw_only=True)
class TransferResult:
    """Zero-shot transfer of a task from one language to another."""

    checkpoint: str
    source: str
    target: str
    task: str
    train: str
    test: str
    num_train: int
    num_test: int
    labels: tuple[str, ...]
    """Those that are scored, after merging."""
    seeds: tuple[int, ...]
    scores: tuple[TaskScore, ...]
    """The target first."""
    gains: tuple[TransferGain, ...]
    dev: TaskScore | None
    leaks: LeakReport | None
    training: TaskTraining
    intervals: str
    """What the intervals cover, in a sentence."""
    advice: str
    """What to try where the target's adapter helps no more than an untrained slot; else empty."""
    signature: str
    warnings: tuple[str, ...]
    output: str | None
    versions: dict[str, str]

    def score(self, state: str) -> TaskScore:
        """Return the score of a state."""
        return next(score for score in self.scores if score.state == state)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, dicts, texts and numbers."""
        return dataclasses.asdict(self)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame with a row for each score.

        Raises:
            UsageError: pandas is not installed.
        """
        names = ("state", "language", "metric", "value", "low", "high")
        return to_frame(
            {name: getattr(score, name) for name in names}
            | {"micro_f1": score.micro_f1.value, "macro_f1": score.macro_f1.value}
            | {f"f1_{each.label}": each.f1 for each in score.classes}
            for score in (*self.scores, *filter(None, [self.dev]))
        )

    def plot(self) -> Figure:
        """Return a matplotlib figure: the scores with their intervals, a mark for each adapter.

        Raises:
            UsageError: matplotlib is not installed.
        """
        metric = METRIC_NAMES[self.scores[0].metric]
        figure: Figure = load_plots().plot_shares(
            {describe_state(one): (one.value, one.low, one.high) for one in self.scores},
            title=f"{self.source} to {self.target}: {metric} on {self.num_test:,} examples",
        )
        return figure

    def _repr_html_(self) -> str:
        metric = METRIC_NAMES[self.scores[0].metric]
        rows = "".join(
            f"<tr><td>{html.escape(describe_state(score))}</td><td>{score.value:.1%}</td>"
            f"<td>{score.low:.1%} to {score.high:.1%}</td><td>{score.macro_f1.value:.1%}</td></tr>"
            for score in self.scores
        )
        caption = html.escape(f"{self.source} to {self.target}: {self.num_test:,} test examples")
        return (
            f"<table><caption>{caption}</caption><tr><th>read with</th><th>{metric}</th>"
            f"<th>95 % interval</th><th>macro F1</th></tr>{rows}</table>"
        )

    def __str__(self) -> str:
        lines = [f"{self.source} to {self.target}: {describe_value(self.scores[0])}"]
        return "\n".join([*lines, *map(describe_gain, self.gains)])


def describe_state(score: TaskScore) -> str:
    """Return which adapter read the examples, such as `best other adapter (en_XX)`."""
    name = STATES.get(score.state, score.state)
    return f"{name} ({score.language})" if score.language else name


def describe_value(score: TaskScore) -> str:
    """Return a score in words."""
    metric = METRIC_NAMES[score.metric]
    return f"{metric} {score.value:.1%} (95 % interval {score.low:.1%} to {score.high:.1%})"


def describe_gain(gain: TransferGain) -> str:
    """Return in a sentence how much better the target's adapter is than another."""
    if gain.low <= 0 <= gain.high:
        what = "not clearly better or worse than"
    else:
        what = "better than" if gain.difference > 0 else "worse than"
    other = STATES[gain.over] + (f" ({gain.language})" if gain.language else "")
    return (
        f"{what} {other}: {100 * gain.difference:+.1f} points "
        f"(95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    )


def advise(gains: Sequence[TransferGain]) -> str:
    """Return what to try if the target's adapter is not clearly better than an untrained slot."""
    if all(gain.low > 0 for gain in gains if gain.over == "untrained"):
        return ""
    return (
        "The adapter helps this task no more than an untrained slot, as far as these seeds show. "
        "More of them (--seeds), or an adapter that starts from another language's (add --init "
        "nearest), may show or do more."
    )


def describe_intervals(num_examples: int, num_seeds: int) -> str:
    """Return in a sentence what the intervals cover."""
    seeds = (
        f"and the {num_seeds} seeds: what other sentences and other seeds would give"
        if num_seeds > 1
        else "alone: the one seed is not covered, and others may differ by more"
    )
    return (
        f"Intervals hold 95 % of {NUM_RESAMPLES:,} resamples of the {num_examples:,} test examples "
        f"{seeds}."
    )

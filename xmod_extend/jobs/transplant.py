"""A transplanted adapter, scored before it is trusted.

Between other shared weights than those that it was trained with, an adapter may read its language
well, or worse than an adapter of another language does. Only a text tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xmod_extend.errors import UsageError
from xmod_extend.jobs.callbacks import Callback

if TYPE_CHECKING:
    from xmod_extend.evaluation.probe import Candidate


@dataclass(frozen=True, kw_only=True)
class TransplantScore:
    """A transplanted adapter beside the best adapter of the base, on the same tokens of a text."""

    text: str
    perplexity: float
    best_existing: str
    best_perplexity: float
    is_better: bool
    """Whether it is, beyond doubt, better than that one."""
    verdict: str


def pair_texts(texts: Sequence[str], codes: Sequence[str]) -> dict[str, str]:
    """Return the text that each pack is scored on, from PATH or CODE=PATH.

    Raises:
        UsageError: A code is none of theirs, or it is not said which pack a text is for.
    """
    paired: dict[str, str] = {}
    for entry in texts:
        code, equals, path = entry.partition("=")
        if code not in codes or not equals:
            code, path = codes[0], entry
            if len(codes) > 1:
                raise UsageError(
                    f"--text {entry} does not say which of the packs it is for.",
                    hint=f"Write it as --text {codes[0]}=PATH.",
                )
        if code in paired or not path:
            raise UsageError(
                f"--text is given twice for {code}." if path else f"--text {entry} has no path.",
                hint=f"Write it once, as --text {code}=PATH.",
            )
        paired[code] = path
    return paired


def score_transplant(
    base: Path, written: Path, code: str, text: str, name: str, callback: Callback
) -> TransplantScore:
    """Score a transplanted adapter beside the base's best one.

    Args:
        base: The base's folder.
        written: The folder that has the adapter too, before it gets its name.
        text: The file.
        name: What sentences call the base.

    Raises:
        CorpusError: The text is missing, unreadable or empty.
        ModelError: The scores are those of no working model.
    """
    from xmod_extend.evaluation.bootstrap import Improvement
    from xmod_extend.evaluation.score import Score
    from xmod_extend.evaluation.verdict import describe_comparison
    from xmod_extend.jobs.evaluate import compare
    from xmod_extend.jobs.states import State

    callback.on_stage(f"Scoring {code} on {text}, beside the best adapter of {name}")
    result = compare(
        State.best_existing(base), State(written, code), text, callback=_Quiet(callback)
    )
    before, after, gain = result.before.score, result.after.score, result.improvement
    assert isinstance(before, Score) and isinstance(after, Score)
    assert isinstance(gain, Improvement)
    best, unreadable = str(result.before.language), result.before.unreadable
    return TransplantScore(
        text=text,
        perplexity=after.perplexity,
        best_existing=best,
        best_perplexity=before.perplexity,
        is_better=gain.low > 1 and unreadable is None,
        verdict=describe_comparison(
            f"{best}, the best adapter of {name}",
            f"{code}, transplanted",
            gain,
            unreadable=unreadable,
        ),
    )


class _Quiet(Callback):
    """Leaves out stages and notes, which would name a folder that has no name yet."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback

    def on_warning(self, text: str) -> None:
        self._callback.on_warning(text)

    def on_candidate(self, candidate: Candidate, num_tokens: int) -> None:
        self._callback.on_candidate(candidate, num_tokens)

    def on_scored(self, done: int, total: int) -> None:
        self._callback.on_scored(done, total)

"""A ranking of the existing adapters by how well they already model a text.

Every adapter is scored on the same masked tokens, one in memory at a time. With 81 languages, most
are hopeless and show it within a few hundred tokens: by successive halving each round reads about
as many tokens, shared among a third of the languages of the round before, until the last three are
scored on the whole text. The best of them is the honest "before" of an added language: what the
base offers today.

Source: Jamieson and Talwalkar 2016 (arXiv 1502.07943), successive halving.
"""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xmod_extend.errors import ModelError
from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.masked_perplexity import MaskedText, masked_losses
from xmod_extend.model.loss import DIVERGED_NATS
from xmod_extend.model.slice import load_adapter
from xmod_extend.training.processes import Processes

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

    from xmod_extend.model.checkpoint import Checkpoint

ROUND_TOKENS = 24_576
"""Tokens read in one round, by all of its candidates together."""
KEPT_ONE_IN = 3
NUM_FINALISTS = 3
COVERED_TIMES = 5.0
"""A best adapter that reads a text so many times better than the median of the others likely knows
its language. Measured with a base of five languages: 12 and 30 times for text in one of them, 1.0
to 1.7 times for text in a sixth."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One existing language, scored on as much of the text as it lasted."""

    language: str
    perplexity: float
    """On the whole text. Of one that fell earlier it is reckoned from the tokens it was scored on:
    as many times the best one's as there."""
    num_scored_tokens: int
    scored_perplexity: float | None = None
    """Measured on those tokens; None in records of version 0.1, as the signature."""
    signature: str = ""
    """Signature of the measured one."""


@dataclass(frozen=True)
class ProbeResult:
    """Every existing language, the lowest perplexity first."""

    candidates: tuple[Candidate, ...]
    best_losses: TokenLosses
    """Token losses of the best candidate on the whole text."""

    @property
    def best(self) -> Candidate:
        return self.candidates[0]

    def to_bytes(self) -> bytes:
        """Return a safetensors file that `from_bytes` reads back exactly."""
        from safetensors.numpy import save

        candidates = [dataclasses.asdict(candidate) for candidate in self.candidates]
        arrays = dataclasses.asdict(self.best_losses)
        return save(arrays, {"candidates": json.dumps(candidates)})

    @classmethod
    def from_bytes(cls, content: bytes) -> ProbeResult:
        """Return the result that `to_bytes` wrote.

        Raises:
            ValueError: The bytes are something else.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            size = int.from_bytes(content[:8], "little")
            header = json.loads(content[8 : 8 + size])
            candidates = json.loads(header["__metadata__"]["candidates"])
            return cls(
                tuple(Candidate(**fields) for fields in candidates), TokenLosses(**load(content))
            )
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError("not a saved probe") from error


def probe_adapters(
    model: XmodForMaskedLM,
    checkpoint: Checkpoint,
    text: MaskedText,
    *,
    languages: Sequence[str] | None = None,
    processes: Processes | None = None,
    sign: Callable[[MaskedText], str] = lambda text: "",
    on_score: Callable[[Candidate], None] = lambda candidate: None,
) -> ProbeResult:
    """Rank the checkpoint's adapters on `text`.

    Args:
        model: A one-language slice of `checkpoint`; its slot is left with the last adapter scored.
        languages: Candidates; all of the checkpoint's by default.
        processes: See `measure_nats`.
        sign: Gives the signature of scores on a text.
        on_score: Called after each adapter, for a progress display.
    """
    remaining = list(languages or checkpoint.languages)
    rounds: list[list[Candidate]] = []
    while len(remaining) > NUM_FINALISTS:
        sample = text.sample(ROUND_TOKENS // len(remaining))
        ranked = _run_round(model, checkpoint, sample, remaining, processes, sign, on_score)
        remaining = [candidate.language for candidate, _ in ranked[: _num_kept(len(ranked))]]
        rounds.append([candidate for candidate, _ in ranked])
    finalists = _run_round(model, checkpoint, text, remaining, processes, sign, on_score)
    rounds.append([candidate for candidate, _ in finalists])
    return ProbeResult(_on_one_scale(rounds), finalists[0][1])


def _on_one_scale(rounds: Sequence[Sequence[Candidate]]) -> tuple[Candidate, ...]:
    """Rank every language by its last round, on the scale of the final one.

    Each round scores other tokens, so that perplexities of two rounds do not compare. The
    best one was in all rounds, and never behind one that fell: it is the common measure.
    """
    best = rounds[-1][0]
    last: dict[str, Candidate] = {}
    for ranked in rounds:
        best_here = next(other.perplexity for other in ranked if other.language == best.language)
        for candidate in ranked:
            times = candidate.perplexity / best_here
            rescaled = dataclasses.replace(candidate, perplexity=times * best.perplexity)
            last[candidate.language] = rescaled
    last |= {finalist.language: finalist for finalist in rounds[-1]}
    return tuple(sorted(last.values(), key=lambda c: (c.perplexity, c is not best)))


def planned_tokens(text: MaskedText, num_languages: int) -> int:
    """Return how many masked tokens are scored in all rounds together, which is what takes the
    time.

    The last round alone can take most of it: it reads the whole text.
    """
    total, remaining = 0, num_languages
    while remaining > NUM_FINALISTS:
        total += remaining * text.sample(ROUND_TOKENS // remaining).num_scored_tokens
        remaining = _num_kept(remaining)
    return total + remaining * text.num_scored_tokens


def _num_kept(num_candidates: int) -> int:
    return max(NUM_FINALISTS, math.ceil(num_candidates / KEPT_ONE_IN))


def coverage_warnings(probe: ProbeResult) -> tuple[str, ...]:
    """Return a sentence if one existing adapter stands out so far that the language is
    hardly new."""
    best, *others = (candidate.perplexity for candidate in probe.candidates)
    if not others or statistics.median(others) < COVERED_TIMES * best:
        return ()
    times = statistics.median(others) / best
    return (
        f"{probe.best.language} reads this text {times:.0f} times better than the base's other "
        f"languages do (perplexity {best:.1f}): the base may know this language already.",
    )


def _run_round(
    model: XmodForMaskedLM,
    checkpoint: Checkpoint,
    text: MaskedText,
    languages: Sequence[str],
    processes: Processes | None,
    sign: Callable[[MaskedText], str],
    on_score: Callable[[Candidate], None],
) -> list[tuple[Candidate, TokenLosses]]:
    """Score each language on `text`; the best first."""
    scored = []
    signature = sign(text)
    for language in languages:
        load_adapter(model, checkpoint, language)
        losses = masked_losses(model, text, processes=processes)
        if not losses.mean_nats < DIVERGED_NATS:
            raise _no_working_model(checkpoint, language, losses.mean_nats)
        scored.append((_candidate(language, losses, signature), losses))
        on_score(scored[-1][0])
    return sorted(scored, key=lambda pair: pair[0].perplexity)


def _candidate(language: str, losses: TokenLosses, signature: str) -> Candidate:
    return Candidate(
        language=language,
        perplexity=math.exp(losses.mean_nats),
        num_scored_tokens=losses.nats.size,
        scored_perplexity=math.exp(losses.mean_nats),
        signature=signature,
    )


def _no_working_model(checkpoint: Checkpoint, language: str, loss: float) -> ModelError:
    """Return what to say of a loss that no working model has: which weights are to blame, if any
    are."""
    suspects = (*checkpoint.shared_names(), *checkpoint.adapter_names(language))
    odd = [name for name in suspects if not bool(checkpoint.read(name).isfinite().all())]
    if odd:
        is_own = odd[0] in checkpoint.adapter_names(language)
        whose = f"of the {language} adapter" if is_own else "which all languages share"
        return ModelError(
            f"{odd[0]}, {whose}, has values that are not finite, so the base is damaged "
            f"({len(odd)} such tensors).",
            hint="Download the base again, or use another one.",
        )
    return ModelError(
        f"The base has a loss of {loss:g} with its {language} adapter on this text, which no "
        "working model has: its weights or its config.json are damaged.",
        hint="Download the base again, or use another one.",
    )

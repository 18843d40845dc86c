"""Which existing adapter already models the text best.

Every adapter is scored on the same masked tokens, one in memory at a time. With 81 languages, most
are hopeless and show it within a few hundred tokens: by successive halving, a third of the
candidates goes on to a sample three times as long, until the finalists are scored on the whole
text. The best of them is the honest "before" of an added language: what the base offers today.

Source: Jamieson and Talwalkar 2016 (arXiv 1502.07943), successive halving.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xmod_extend.evaluation.perplexity import MaskedText, TokenLosses, evaluate
from xmod_extend.model.slice import load_adapter

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

    from xmod_extend.model.checkpoint import Checkpoint

FIRST_SAMPLE_TOKENS = 512
"""Tokens read in the first round: some 75 of them masked."""
KEPT_ONE_IN = 3
NUM_FINALISTS = 3


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One existing language, scored on as much of the text as it lasted."""

    language: str
    perplexity: float
    num_scored_tokens: int


@dataclass(frozen=True)
class ProbeResult:
    """Every existing language, best first: those that went further stand before those that fell."""

    candidates: tuple[Candidate, ...]
    best_losses: TokenLosses
    """Token losses of the best candidate on the whole text."""

    @property
    def best(self) -> Candidate:
        return self.candidates[0]


def probe_adapters(
    model: XmodForMaskedLM,
    checkpoint: Checkpoint,
    text: MaskedText,
    *,
    languages: Sequence[str] | None = None,
    on_score: Callable[[Candidate], None] = lambda candidate: None,
) -> ProbeResult:
    """Ranks the checkpoint's adapters on `text`.

    Args:
        model: A one-language slice of `checkpoint`; its slot is left with the last adapter scored.
        languages: Candidates; all of the checkpoint's by default.
        on_score: Called after each adapter, for a progress display.
    """
    alive = list(languages or checkpoint.languages)
    fallen: list[Candidate] = []
    losses: dict[str, TokenLosses] = {}

    def run_round(sample: MaskedText) -> list[Candidate]:
        ranked = []
        for language in alive:
            load_adapter(model, checkpoint, language)
            losses[language] = evaluate(model, sample)
            candidate = Candidate(
                language=language,
                perplexity=math.exp(losses[language].mean_nats),
                num_scored_tokens=sample.num_scored_tokens,
            )
            on_score(candidate)
            ranked.append(candidate)
        return sorted(ranked, key=lambda candidate: candidate.perplexity)

    sample_tokens = FIRST_SAMPLE_TOKENS
    while len(alive) > NUM_FINALISTS and sample_tokens < text.num_tokens:
        ranked = run_round(text.sample(sample_tokens))
        kept = max(NUM_FINALISTS, math.ceil(len(ranked) / KEPT_ONE_IN))
        fallen = ranked[kept:] + fallen
        alive = [candidate.language for candidate in ranked[:kept]]
        sample_tokens *= KEPT_ONE_IN
        losses.clear()
    finalists = run_round(text)
    return ProbeResult(tuple(finalists + fallen), losses[finalists[0].language])

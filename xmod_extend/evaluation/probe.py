"""A ranking of the existing adapters by how well they already model a text.

Most adapters show long before a text is read that they are not the best one: all race over growing
parts of it (`evaluation.race`), and only the last few are scored on the whole text. The best of
these is the honest "before" of an added language: what the base offers today. To score them is a
step of its own, because training does not wait for it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xmod_extend.errors import ModelError
from xmod_extend.evaluation.losses import Floats, TokenLosses
from xmod_extend.evaluation.masked_perplexity import Block, MaskedText, masked_losses
from xmod_extend.evaluation.race import (
    NUM_FINALISTS,
    num_in_doubt,
    plan_rounds,
    spread_order,
)
from xmod_extend.evaluation.several_adapters import measure_each
from xmod_extend.model.loss import DIVERGED_NATS
from xmod_extend.model.slice import load_adapter
from xmod_extend.objectives.prediction import IGNORED
from xmod_extend.training.processes import Processes

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

    from xmod_extend.evaluation.race import Round
    from xmod_extend.model.checkpoint import Checkpoint

COVERED_TIMES = 5.0
"""A best adapter that reads a text so many times better than the median of the others likely knows
its language. Measured with a base of five languages: 12 and 30 times for text in one of them, 1.0
to 1.7 times for text in a sixth."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One existing language, scored on as much of the text as it lasted."""

    language: str
    perplexity: float
    """On what the best one was scored on in the end, which is the whole text once it was. Of one
    that was scored on less it is reckoned: as many times the best one's as there."""
    num_scored_tokens: int
    scored_perplexity: float | None = None
    """Measured on those tokens; None in records of version 0.1, as the signature."""
    signature: str = ""
    """Signature of the measured one."""


@dataclass(frozen=True)
class Ranking:
    """Every existing language, the lowest perplexity first."""

    candidates: tuple[Candidate, ...]
    finalists: tuple[str, ...]
    """The languages that are not behind the first one beyond doubt, and so are to be scored on the
    whole text."""

    @property
    def best(self) -> Candidate:
        return self.candidates[0]

    def to_bytes(self) -> bytes:
        """Return a safetensors file that `read_ranking` reads back exactly."""
        from safetensors.numpy import save

        candidates = [dataclasses.asdict(candidate) for candidate in self.candidates]
        described = {"candidates": candidates, "finalists": self.finalists}
        return save(self._arrays(), {name: json.dumps(value) for name, value in described.items()})

    def _arrays(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class ProbeResult(Ranking):
    """A ranking whose best language is scored on the whole text."""

    best_losses: TokenLosses
    """Token losses of the best candidate on the whole text."""

    def _arrays(self) -> dict[str, Any]:
        return dataclasses.asdict(self.best_losses)


def read_ranking(content: bytes) -> Ranking:
    """Return the ranking or the result that `to_bytes` wrote.

    Raises:
        ValueError: The bytes are something else.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])["__metadata__"]
        candidates = tuple(Candidate(**fields) for fields in json.loads(header["candidates"]))
        finalists = tuple(json.loads(header["finalists"]))
        arrays = load(content)
        if not arrays:
            return Ranking(candidates, finalists)
        return ProbeResult(candidates, finalists, TokenLosses(**arrays))
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
    on_score: Callable[[Candidate, int], None] = lambda candidate, num_tokens: None,
    on_read: Callable[[int, int], None] = lambda done, total: None,
) -> ProbeResult:
    """Rank the checkpoint's adapters, and score the finalists on all of `text`.

    Args:
        as `rank_adapters`.
    """
    race = 0

    def tell(done: int, total: int) -> None:
        nonlocal race
        race = total
        on_read(done, total + NUM_FINALISTS * text.num_tokens)

    ranking = rank_adapters(
        model,
        checkpoint,
        text,
        languages=languages,
        processes=processes,
        sign=sign,
        on_score=on_score,
        on_read=tell,
    )
    return score_finalists(
        model,
        checkpoint,
        text,
        ranking,
        processes=processes,
        sign=sign,
        on_read=lambda done, total: on_read(race + done, race + total),
    )


def rank_adapters(
    model: XmodForMaskedLM,
    checkpoint: Checkpoint,
    text: MaskedText,
    *,
    languages: Sequence[str] | None = None,
    processes: Processes | None = None,
    sign: Callable[[MaskedText], str] = lambda text: "",
    on_score: Callable[[Candidate, int], None] = lambda candidate, num_tokens: None,
    on_read: Callable[[int, int], None] = lambda done, total: None,
) -> Ranking:
    """Rank the checkpoint's adapters on parts of `text`.

    Args:
        model: A one-language slice of `checkpoint`; its slot is left with the last adapter scored.
        languages: Candidates; all of the checkpoint's by default.
        processes: See `measure_each`.
        sign: Gives the signature of scores on a text.
        on_score: Called for each adapter after each round that it was in, the best one last, with
            the second number of `on_read`.
        on_read: Called with the tokens that are read, once by each adapter, so far and in the whole
            race. The second number falls where adapters fall early.
    """
    remaining = list(languages or checkpoint.languages)
    scored, order, plan = _lay_out(text, len(remaining))
    blocks = [scored[index] for index in order]
    meter = _Meter(on_read)
    nats = np.empty((len(remaining), 0))
    rounds: list[list[Candidate]] = []
    read = 0
    for number, each in enumerate(plan):
        remaining, nats = remaining[: each.num_candidates], nats[: each.num_candidates]
        meter.left = _tokens_left(plan[number:], len(remaining), read, blocks)
        added = MaskedText(blocks[read : each.num_blocks])
        more = measure_each(
            model, checkpoint, remaining, added, processes=processes, on_read=meter.add
        )
        read = each.num_blocks
        nats = np.concatenate([nats, more], axis=1)
        _check_working(checkpoint, remaining, nats)
        ranks = np.argsort(nats.mean(axis=1), kind="stable")
        remaining, nats = [remaining[rank] for rank in ranks], nats[ranks]
        signature = sign(MaskedText([scored[index] for index in sorted(order[:read])]))
        rounds.append([_candidate(*pair, signature) for pair in zip(remaining, nats, strict=True)])
        for candidate in reversed(rounds[-1]):
            on_score(candidate, meter.total)
        in_doubt = num_in_doubt(nats)
        remaining, nats = remaining[:in_doubt], nats[:in_doubt]
        if in_doubt <= NUM_FINALISTS:
            break
    # On the whole text there is no doubt.
    num_finalists = 1 if read == len(blocks) else NUM_FINALISTS
    return Ranking(_on_one_scale(rounds), tuple(remaining[:num_finalists]))


def score_finalists(
    model: XmodForMaskedLM,
    checkpoint: Checkpoint,
    text: MaskedText,
    ranking: Ranking,
    *,
    processes: Processes | None = None,
    sign: Callable[[MaskedText], str] = lambda text: "",
    on_read: Callable[[int, int], None] = lambda done, total: None,
) -> ProbeResult:
    """Score the finalists of a ranking on all of `text`, and put the others on the best one's
    scale.

    Args:
        model: A one-language slice of `checkpoint`; its slot is left with the last adapter scored.
        processes: See `measure_nats`.
        on_read: See `rank_adapters`.
    """
    signature, size, num_scored = sign(text), text.num_tokens, text.num_scored_tokens
    scored: list[tuple[Candidate, TokenLosses]] = []

    def tell(done: int) -> None:
        on_read(len(scored) * size + size * done // num_scored, len(ranking.finalists) * size)

    for language in ranking.finalists:
        load_adapter(model, checkpoint, language)
        losses = masked_losses(model, text, processes=processes, on_scored=tell)
        _check_working(checkpoint, [language], losses.nats[None])
        scored.append((_candidate(language, losses.nats, signature), losses))
    scored.sort(key=lambda pair: pair[0].perplexity)
    best, losses = scored[0]
    ranked = {candidate.language: candidate for candidate in ranking.candidates}
    # No other one was ahead of any finalist on what they both read.
    scale = best.perplexity / ranked[best.language].perplexity
    ranked = {
        language: dataclasses.replace(candidate, perplexity=scale * candidate.perplexity)
        for language, candidate in ranked.items()
    } | {candidate.language: candidate for candidate, _ in scored}
    order = sorted(ranked.values(), key=lambda c: (c.perplexity, c is not best))
    return ProbeResult(tuple(order), ranking.finalists, losses)


@dataclass
class _Meter:
    """Tells how much of a race is read."""

    tell: Callable[[int, int], None]
    done: int = 0
    left: int = 0

    @property
    def total(self) -> int:
        return self.done + self.left

    def add(self, num_tokens: int) -> None:
        self.done, self.left = self.done + num_tokens, self.left - num_tokens
        self.tell(self.done, self.total)


def planned_tokens(text: MaskedText, num_languages: int) -> int:
    """Return how many tokens a ranking reads, once by each adapter, if no adapter falls early."""
    scored, order, plan = _lay_out(text, num_languages)
    return _tokens_left(plan, num_languages, 0, [scored[index] for index in order])


def _lay_out(text: MaskedText, num_languages: int) -> tuple[list[Block], list[int], list[Round]]:
    """Return the blocks that tell something, in which order they are read, and the rounds."""
    scored = [block for block in text.blocks if (block.labels != IGNORED).any()]
    length = max(block.input_ids.size for block in scored)
    return scored, spread_order(len(scored)), plan_rounds(num_languages, len(scored), length)


def _tokens_left(
    rounds: Sequence[Round], num_candidates: int, read: int, blocks: Sequence[Block]
) -> int:
    """Return what is read in the rounds that are left, if nobody falls early from now on."""
    total = 0
    for each in rounds:
        tokens = sum(block.input_ids.size for block in blocks[read : each.num_blocks])
        total += min(num_candidates, each.num_candidates) * tokens
        read = each.num_blocks
    return total


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


def coverage_warnings(probe: Ranking) -> tuple[str, ...]:
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


def _check_working(checkpoint: Checkpoint, languages: Sequence[str], nats: Floats) -> None:
    """Refuse losses, (A, N), that no working model has."""
    for language, mean in zip(languages, nats.mean(axis=1).tolist(), strict=True):
        if not mean < DIVERGED_NATS:
            raise _no_working_model(checkpoint, language, mean)


def _candidate(language: str, nats: Floats, signature: str) -> Candidate:
    perplexity = math.exp(float(nats.mean()))
    return Candidate(
        language=language,
        perplexity=perplexity,
        num_scored_tokens=nats.size,
        scored_perplexity=perplexity,
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

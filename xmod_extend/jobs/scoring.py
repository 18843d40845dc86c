"""The scores of a job: the base's adapters before training, and the new one after it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from xmod_extend.errors import TrainingError
from xmod_extend.evaluation.bootstrap import compare
from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.masked_perplexity import masked_losses
from xmod_extend.evaluation.parts import score_near_duplicates
from xmod_extend.evaluation.probe import (
    ProbeResult,
    Ranking,
    coverage_warnings,
    rank_adapters,
    read_ranking,
    score_finalists,
)
from xmod_extend.evaluation.seen_words import score_seen_words
from xmod_extend.evaluation.unigram import unigram_losses
from xmod_extend.evaluation.verdict import advise, describe_result, needs_advice
from xmod_extend.files.atomic import write_atomically
from xmod_extend.files.run_folder import PROBE_NAME
from xmod_extend.jobs.job import Job
from xmod_extend.jobs.references import score_references
from xmod_extend.jobs.samples import take_samples
from xmod_extend.jobs.training import Trained
from xmod_extend.model.memory import give_back_memory
from xmod_extend.report.held_out import HeldOutSentences
from xmod_extend.report.record import EvaluationRecord
from xmod_extend.training.configuration import default_lr, default_num_steps
from xmod_extend.training.loop import ASKED_TO_STOP
from xmod_extend.training.state import StateFolder


def saved_ranking(job: Job, states: StateFolder) -> Ranking | None:
    """Return how the adapters rank, if that was found out before an interruption."""
    if job.options.resume:
        with suppress(OSError, ValueError):
            return read_ranking((states.path / PROBE_NAME).read_bytes())
    return None


def rank_existing(job: Job, states: StateFolder | None = None) -> Ranking:
    """Rank the existing adapters on parts of the held-out text.

    Args:
        states: The run's folder, where the ranking is kept for a resumed run.
    """
    job.callback.on_stage(
        f"Probing {len(job.checkpoint.languages)} existing adapters on the held-out text"
    )
    ranking = rank_adapters(
        job.model,
        job.checkpoint,
        job.text.held_out,
        processes=job.processes,
        sign=lambda text: job.text.signature(job.precision, text),
        on_score=job.callback.on_candidate,
        on_read=job.callback.on_scored,
    )
    give_back_memory()
    best, others = ranking.best, ranking.finalists[1:]
    job.callback.on_note(
        f"ahead after {best.num_scored_tokens:,} of {job.text.held_out.num_scored_tokens:,} "
        f"tokens: {best.language}, perplexity {best.perplexity:,.1f}"
        + (f"; {' or '.join(others)} may prove better on all of them" if others else "")
    )
    for warning in coverage_warnings(ranking):
        job.callback.on_warning(warning)
    if states is not None:
        _keep(job, states, ranking)
    return ranking


def score_existing(job: Job, ranking: Ranking, states: StateFolder | None = None) -> ProbeResult:
    """Score the best existing adapters on all of the held-out text, if they are not yet scored.

    Training does not wait for it. The slice's slot is left with one of them.

    Args:
        states: The run's folder, where the scores are kept for a resumed run.
    """
    if isinstance(ranking, ProbeResult):
        return ranking
    job.callback.on_stage(f"Scoring the best existing adapters, {', '.join(ranking.finalists)}")
    probe = score_finalists(
        job.model,
        job.checkpoint,
        job.text.held_out,
        ranking,
        processes=job.processes,
        sign=lambda text: job.text.signature(job.precision, text),
        on_read=job.callback.on_scored,
    )
    best = probe.best
    job.callback.on_note(
        f"best existing adapter: {best.language}, perplexity {best.perplexity:,.1f}"
    )
    if states is not None:
        _keep(job, states, probe)
    return probe


def _keep(job: Job, states: StateFolder, ranking: Ranking) -> None:
    if job.processes.is_main:
        write_atomically(states.path / PROBE_NAME, ranking.to_bytes())


def score_adapter(job: Job, probe: ProbeResult, trained: Trained) -> EvaluationRecord:
    """Score the new adapter on all of the held-out text, against the best existing one."""
    job.callback.on_stage("Scoring the held-out text")
    trained.trainable.set_values(trained.result.tensors)
    total = job.text.held_out.num_scored_tokens
    losses = masked_losses(
        job.model,
        job.text.held_out,
        processes=job.processes,
        on_scored=lambda done: job.callback.on_scored(done, total),
    )
    before, after = job.signed_score(probe.best_losses), job.signed_score(losses)
    gain = compare(probe.best_losses, losses, seed=job.options.seed)
    if gain.ratio <= 1 and trained.result.stopped not in (None, ASKED_TO_STOP):
        raise TrainingError(
            f"Training stopped early ({trained.result.stopped}), and its best adapter has a "
            f"held-out perplexity of {after.perplexity:,.1f}, no better than "
            f"{probe.best.language}'s {before.perplexity:,.1f}; nothing was written.",
            hint="Try a lower --lr.",
        )
    counts = job.text.train.token_counts(job.text.token_bytes.size)
    guesses = unigram_losses(losses, counts, special_ids=job.text.evaluation_scheme.special_ids)
    over_unigram = compare(guesses, losses, seed=job.options.seed)
    unreadable = job.text.report.unreadable
    verdict = describe_result(
        best_existing=probe.best.language,
        over_existing=gain,
        over_unigram=over_unigram,
        unreadable=unreadable,
        words_hit=_words_hit(job),
    )
    advice = ""
    if unreadable is None and needs_advice(gain, over_unigram):
        advice = _advise(job, trained)
    if unreadable or advice:
        job.callback.on_warning(f"{verdict} {advice}".rstrip())
    return EvaluationRecord(
        best_existing=probe.best.language,
        before=before,
        after=after,
        improvement=gain,
        unigram=job.signed_score(guesses),
        improvement_over_unigram=over_unigram,
        verdict=verdict,
        advice=advice,
        **_score_parts(job, probe.best_losses, losses),
        samples=take_samples(job, probe, trained, losses),
        sentences=HeldOutSentences.from_losses(job.text.held_out_lines, probe.best_losses, losses),
        references=score_references(job),
    )


def _score_parts(job: Job, before: TokenLosses, after: TokenLosses) -> dict[str, Any]:
    """Return the scores of parts of the held-out text, where the training text was looked at."""
    overlap, kinds = job.text.overlap, job.text.kinds
    if overlap is None or kinds is None:
        return {}
    return {
        "seen_words": score_seen_words(overlap, kinds, before, after),
        "near_duplicates": score_near_duplicates(overlap, before, after),
    }


def _advise(job: Job, trained: Trained) -> str:
    config, report = trained.config, job.text.report
    return advise(
        lr=config.lr,
        default_lr=default_lr(job.model.config.hidden_size),
        num_steps=trained.result.steps_done,
        default_num_steps=default_num_steps(job.text.train.num_tokens),
        best_step=trained.result.best_step,
        text_bytes=report.train_bytes,
        words_hit=_words_hit(job),
    )


def _words_hit(job: Job) -> float:
    coverage = job.text.report.coverage
    return coverage.words_hit if coverage is not None else 0.0

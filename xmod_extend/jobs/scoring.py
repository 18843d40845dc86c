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
    coverage_warnings,
    planned_tokens,
    probe_adapters,
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


def probe_once(job: Job, states: StateFolder) -> ProbeResult:
    """Return the probe of the base, from the run's folder if it was done before an interruption."""
    path = states.path / PROBE_NAME
    if job.options.resume:
        with suppress(OSError, ValueError):
            return ProbeResult.from_bytes(path.read_bytes())
    probe = probe_base(job)
    if job.processes.is_main:
        write_atomically(path, probe.to_bytes())
    return probe


def probe_base(job: Job) -> ProbeResult:
    """Rank the existing adapters on the held-out text."""
    languages = job.checkpoint.languages
    planned = planned_tokens(job.text.held_out, len(languages))
    job.callback.on_stage(f"Probing {len(languages)} existing adapters on the held-out text")
    probe = probe_adapters(
        job.model,
        job.checkpoint,
        job.text.held_out,
        processes=job.processes,
        sign=lambda text: job.text.signature(job.precision, text),
        on_score=lambda candidate: job.callback.on_candidate(candidate, planned),
    )
    give_back_memory()
    best = probe.best
    job.callback.on_note(
        f"best existing adapter: {best.language}, perplexity {best.perplexity:,.1f}"
    )
    for warning in coverage_warnings(probe):
        job.callback.on_warning(warning)
    return probe


def score_adapter(job: Job, probe: ProbeResult, trained: Trained) -> EvaluationRecord:
    """Score the new adapter on all of the held-out text, against the best existing one."""
    job.callback.on_stage("Scoring the held-out text")
    trained.trainable.set_values(trained.result.tensors)
    losses = masked_losses(job.model, job.text.held_out, processes=job.processes)
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

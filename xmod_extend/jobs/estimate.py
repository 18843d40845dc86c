"""What a run will take, worked out from parts of it that are timed before anything else.

A user who hears that it takes two days can stop at once. What is timed is a part of a real training
step, and the scoring of about a thousand tokens.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from xmod_extend.evaluation.losses import batch_tokens
from xmod_extend.evaluation.masked_perplexity import MaskedText, masked_losses
from xmod_extend.evaluation.probe import planned_tokens
from xmod_extend.evaluation.race import NUM_FINALISTS
from xmod_extend.jobs.job import Job, training_config
from xmod_extend.jobs.training import VALIDATION_TOKENS, training_objective
from xmod_extend.model.adapter import adapter_set
from xmod_extend.model.memory import give_back_memory
from xmod_extend.report.durations import duration
from xmod_extend.training.loop import seconds_per_step


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What the parts of a run that are left take, in seconds."""

    num_steps: int
    """Training steps that are left."""
    seconds_per_step: float
    probing_seconds: float
    """Ranking the existing adapters; less, where some are far behind the others."""
    validation_seconds: float
    """All validations together."""
    scoring_seconds: float
    """The whole held-out text, with the best existing adapters and with the new one."""

    @property
    def training_seconds(self) -> float:
        return self.num_steps * self.seconds_per_step

    @property
    def total_seconds(self) -> float:
        return (
            self.probing_seconds
            + self.training_seconds
            + self.validation_seconds
            + self.scoring_seconds
        )

    def describe(self) -> str:
        """Return it as half a sentence."""
        return (
            f"about {duration(self.total_seconds)} to go: "
            f"probing {duration(self.probing_seconds)}, "
            f"training {duration(self.training_seconds)} "
            f"({self.num_steps:,} steps of {_short(self.seconds_per_step)} s), "
            f"validating {duration(self.validation_seconds)}, "
            f"scoring {duration(self.scoring_seconds)}; "
            "worked out from a part of a step, with writing and verifying on top"
        )


def _short(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"


def estimate_run(job: Job, *, steps_done: int = 0, is_ranked: bool = False) -> Estimate:
    """Time a part of a step and of a score, and tell the callback what the run will take.

    The values in the slice's slot are lost; nothing else changes what the run computes.

    Args:
        steps_done: Steps that a saved state has behind it.
        is_ranked: Whether the existing adapters need not be ranked any more.
    """
    job.callback.on_stage("Timing a training step")
    config = training_config(job)
    held_out = job.text.held_out
    step = _seconds_per_step(job)
    token = _seconds_per_token(job)
    probed = 0 if is_ranked else planned_tokens(held_out, len(job.checkpoint.languages))
    scored = min(NUM_FINALISTS, len(job.checkpoint.languages)) + 1
    left = config.num_steps - steps_done
    validations = min(config.num_validations, config.num_steps) * left / config.num_steps
    sampled = held_out.sample(VALIDATION_TOKENS).num_tokens
    estimate = Estimate(
        num_steps=left,
        seconds_per_step=step,
        probing_seconds=token * probed,
        validation_seconds=token * validations * sampled,
        scoring_seconds=token * scored * held_out.num_tokens,
    )
    job.callback.on_note(estimate.describe())
    if job.options.learning_curve:
        job.callback.on_note("the learning curve trains twice more, about as long each time")
    give_back_memory()
    return estimate


def _seconds_per_step(job: Job) -> float:
    config = training_config(job)
    trained = adapter_set(job.model, seed=config.seed)
    trained.initialise()
    # Which tokens they are makes no difference, and a stream is not to be begun twice.
    tokens = np.concatenate([block.input_ids for block in job.text.held_out.blocks])
    batch = np.resize(tokens, (config.batch_size, job.text.max_length))
    return seconds_per_step(
        job.model, trained, batch, training_objective(job), config, processes=job.processes
    )


def _seconds_per_token(job: Job) -> float:
    """Time the scoring of one batch; where there are several processes, they share the work."""
    blocks = job.text.held_out.blocks
    masked_losses(job.model, MaskedText(blocks[:1]))
    sample = job.text.held_out.sample(batch_tokens(job.model))
    start = time.perf_counter()
    masked_losses(job.model, sample)
    seconds = time.perf_counter() - start
    return seconds / sample.num_tokens / job.processes.count

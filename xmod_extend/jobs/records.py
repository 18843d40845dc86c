"""The run record of a job, from what was measured."""

from __future__ import annotations

import datetime
import time
from typing import Any

from xmod_extend.evaluation.probe import Ranking, coverage_warnings
from xmod_extend.jobs.estimate import Estimate
from xmod_extend.jobs.job import Job, training_config
from xmod_extend.jobs.training import Trained
from xmod_extend.report.record import (
    BaseRecord,
    PlanRecord,
    RunRecord,
    TrainingRecord,
)
from xmod_extend.report.versions import package_versions


def make_record(job: Job, ranking: Ranking, **results: Any) -> RunRecord:
    """Return the record with `results`: what was planned, or trained and measured."""
    checkpoint = job.checkpoint
    return RunRecord(
        language=job.language.code,
        language_name=job.language.name,
        bcp47=job.language.bcp47,
        base=BaseRecord(
            name=job.base.name,
            source=job.base.base,
            commit=job.base.commit,
            languages=tuple(checkpoint.languages),
            num_parameters=checkpoint.num_parameters,
            files=job.base_files,
        ),
        options=job.options.to_json(),
        corpus=job.text.report,
        tokenizer=job.text.tokenizer.source,
        tokenizer_sha256=job.text.tokenizer.sha256,
        probe=ranking.candidates,
        warnings=(*job.text.report.warnings, *coverage_warnings(ranking)),
        versions=package_versions(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds=time.perf_counter() - job.started,
        **results,
    )


def plan_record(job: Job, estimate: Estimate) -> PlanRecord:
    """Return what training would be, and what the run would take."""
    config = training_config(job)
    num_tokens = config.num_steps * config.batch_size * job.text.max_length
    return PlanRecord(
        num_steps=config.num_steps,
        num_tokens=num_tokens,
        num_epochs=job.text.train.num_epochs(num_tokens),
        lr=config.lr,
        seconds_per_step=estimate.seconds_per_step,
        estimated_seconds=estimate.training_seconds,
        probing_seconds=estimate.probing_seconds,
        validation_seconds=estimate.validation_seconds,
        scoring_seconds=estimate.scoring_seconds,
        output=str(job.output_plan.output),
        output_bytes=job.output_plan.needed_bytes,
    )


def training_record(job: Job, trained: Trained) -> TrainingRecord:
    """Return how the adapter was trained."""
    config, result = trained.config, trained.result
    return TrainingRecord(
        init=trained.init,
        num_parameters=sum(tensor.numel() for tensor in result.tensors.values()),
        num_steps=config.num_steps,
        steps_done=result.steps_done,
        best_step=result.best_step,
        batch_size=config.batch_size,
        max_length=job.text.max_length,
        lr=config.lr,
        warmup_fraction=config.warmup_fraction,
        weight_decay=config.weight_decay,
        adam_beta2=config.adam_beta2,
        clip_norm=config.clip_norm,
        mlm_probability=job.options.mlm_probability,
        dropout=config.dropout,
        precision=job.precision,
        device=job.processes.device.type,
        num_tokens=result.num_tokens,
        num_epochs=job.text.train.num_epochs(result.num_tokens),
        seconds=result.seconds,
        curve=result.curve,
        stopped=result.stopped,
        adam_beta1=config.adam_beta1,
        adam_epsilon=config.adam_epsilon,
        num_adam_steps=config.num_adam_steps,
        accumulation=config.accumulation,
        num_processes=job.processes.count,
    )

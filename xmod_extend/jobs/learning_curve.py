"""Training again on parts of the text, to see whether more of it would help.

It comes after the adapter itself is trained and scored, and changes nothing about it. Each part is
trained as if it were all the text there is: with the same options, and with as many steps as are
the default for its size if no number was given. What is finished is kept in the run's folder; an
interrupted part begins anew.
"""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from pathlib import Path

import numpy as np

from xmod_extend.errors import TrainingError
from xmod_extend.evaluation.bootstrap import compare
from xmod_extend.evaluation.learning_curve import LearningCurve, LearningPoint, describe_curve
from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.masked_perplexity import masked_losses
from xmod_extend.evaluation.probe import Ranking
from xmod_extend.files.atomic import write_atomically
from xmod_extend.files.run_folder import CURVE_NAME
from xmod_extend.jobs.job import Job
from xmod_extend.jobs.prepared_text import MIN_TRAIN_BLOCKS
from xmod_extend.jobs.training import Trained, train_adapter
from xmod_extend.tokens.packing import PackedBlocks
from xmod_extend.training.configuration import default_num_steps
from xmod_extend.training.loop import ASKED_TO_STOP
from xmod_extend.training.processes import LostProcessError
from xmod_extend.training.state import StateFolder

NAMES = {0.25: "a quarter", 0.5: "half"}
"""The parts of the text; each holds the ones before it."""


def draw_learning_curve(
    job: Job, ranking: Ranking, trained: Trained, states: StateFolder
) -> LearningCurve | None:
    """Train on parts of the text and score them on the same held-out tokens.

    Args:
        trained: The adapter of all of the text.
        states: The run's folder, for what is finished.

    Returns:
        None if training was ended early: there is nothing to compare with.
    """
    if trained.result.stopped is not None:
        job.callback.on_note("training ended early, and so there is no learning curve")
        return None
    # The slot may hold whatever was scored last.
    trained.trainable.set_values(trained.result.tensors)
    losses = masked_losses(job.model, job.text.held_out, processes=job.processes)
    whole = _point(job, 1.0, job.text.train.num_tokens, trained, losses)
    points, half = [], None
    path = states.path / CURVE_NAME
    finished = _read(path) if job.options.resume else {}
    for share, name in NAMES.items():
        found = finished.get(share) or _try_part(job, ranking, share, name)
        if found is None:
            continue
        point, nats = found
        finished[share] = found
        if job.processes.is_main:
            _write(path, finished)
        points.append(point)
        half = TokenLosses(nats, losses.documents, losses.targets) if share == 0.5 else half
    gain = None if half is None else compare(half, losses, seed=job.options.seed)
    return describe_curve(
        (*points, whole), gain, default_num_steps=default_num_steps(job.text.train.num_tokens)
    )


_Part = tuple[LearningPoint, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]


def _try_part(job: Job, ranking: Ranking, share: float, name: str) -> _Part | None:
    """Train on a part of the text; what goes wrong there must not cost the adapter of all of it."""
    assert isinstance(job.text.train, PackedBlocks)
    part = job.text.train.sample_documents(share)
    if len(part) < MIN_TRAIN_BLOCKS:
        job.callback.on_warning(
            f"{name.capitalize()} of the text is too little to train on; the learning curve goes "
            "without it."
        )
        return None
    job.callback.on_stage(f"Learning curve: training on {name} of the text")
    own = dataclasses.replace(job, text=dataclasses.replace(job.text, train=part))
    try:
        trained = train_adapter(own, ranking)
    except LostProcessError:
        raise
    except TrainingError as error:
        job.callback.on_warning(f"Training on {name} of the text failed: {error.message}")
        return None
    if trained.result.stopped is not None:
        # What did not train to its end says nothing of the text.
        if trained.result.stopped == ASKED_TO_STOP:
            job.callback.on_note(f"the learning curve goes without {name} of the text")
        return None
    trained.trainable.set_values(trained.result.tensors)
    losses = masked_losses(job.model, job.text.held_out, processes=job.processes)
    return _point(job, share, part.num_tokens, trained, losses), losses.nats


def _point(
    job: Job, share: float, num_tokens: int, trained: Trained, losses: TokenLosses
) -> LearningPoint:
    score = job.signed_score(losses)
    return LearningPoint(
        share=share,
        num_tokens=num_tokens,
        num_steps=trained.result.steps_done,
        perplexity=score.perplexity,
        low=score.low,
        high=score.high,
        seconds=trained.result.seconds,
    )


def _write(path: Path, parts: dict[float, _Part]) -> None:
    values = [
        {"point": dataclasses.asdict(point), "nats": nats.tolist()}
        for point, nats in parts.values()
    ]
    write_atomically(path, json.dumps(values).encode())


def _read(path: Path) -> dict[float, _Part]:
    """Return the parts that this run has finished."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        parts = [
            (LearningPoint(**part["point"]), np.array(part["nats"], dtype=np.float64))
            for part in json.loads(path.read_bytes())
        ]
        return {point.share: (point, nats) for point, nats in parts}
    return {}

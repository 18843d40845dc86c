"""Scores of states, computed once: what was scored before is found again in the cache.

A score is known by the weights that computed it, the ids that were scored, and what else its
signature pins. One slice is in memory at a time, and stays for the next state if the shared weights
are the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import xxhash

from xmod_extend.errors import ModelError
from xmod_extend.evaluation.losses import Floats, TokenLosses
from xmod_extend.evaluation.probe import probe_adapters
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.measurement import PreparedMeasurement
from xmod_extend.jobs.states import UNTRAINED_SEED, Kind
from xmod_extend.model.adapter import adapter_slots, random_adapter, set_adapter
from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.model.loss import DIVERGED_NATS
from xmod_extend.model.slice import free_slice, load_adapter, load_slice
from xmod_extend.text.cache import Entry, find_entry, find_or_make_entry
from xmod_extend.text.cache_folder import choose_cache_dir
from xmod_extend.text.fingerprinting import combine
from xmod_extend.training.device import choose_precision, make_processes

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

_VERSION = 1
"""To be raised whenever the same weights and ids would get other scores."""
_PROBE_VERSION = 2
"""To be raised whenever another adapter may be found to be the best one."""
_FILE = "nats.bin"


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A checkpoint, and what is in its slot."""

    checkpoint: Checkpoint
    kind: Kind
    language: str | None = None


class Scorer:
    """Scores slots under metrics.

    Args:
        precision: Of the shared weights, as the options spell it.
        callback: Hears of the progress.
    """

    def __init__(self, precision: str, callback: Callback) -> None:
        self._callback = callback
        self.processes = make_processes()
        self._precision = choose_precision(precision, self.processes.device)
        self._model: XmodForMaskedLM | None = None
        self._loaded = ""
        self._prints: dict[tuple[Path, str], str] = {}

    @property
    def precision(self) -> str:
        """The name of the precision."""
        return self._precision.name

    def losses(self, slot: Slot, text: PreparedMeasurement, label: str) -> dict[str, TokenLosses]:
        """Return the losses of a slot by the names of the metric."""
        metric = text.metric
        key = self._key(slot, [metric.signature(name, self.precision) for name in metric.names])
        entry = self._find(key)
        if entry is None:
            self._callback.on_stage(f"Scoring {label}")
            model = self.model_with(slot)
            found = metric.losses(
                model,
                processes=self.processes,
                on_scored=lambda done: self._callback.on_scored(done, metric.num_copies),
            )
            _refuse_diverged(slot, found.values())
            self._keep(key, np.concatenate([found[name].nats for name in metric.names]), {})
            return found
        self._callback.on_note(f"{label}: scored before")
        nats = np.fromfile(entry.folder / _FILE, dtype="<f8").reshape(len(metric.names), -1)
        documents, targets = metric.targets()
        return {
            name: TokenLosses(row, documents, targets)
            for name, row in zip(metric.names, nats, strict=True)
        }

    def best_existing(self, checkpoint: Checkpoint, text: PreparedMeasurement) -> str:
        """Return the language whose adapter reads the text best, masked."""
        masked = text.masked.text
        (name,) = text.masked.names
        slots = [
            Slot(checkpoint=checkpoint, kind="language", language=code)
            for code in checkpoint.languages
        ]
        prints = [self._print(checkpoint, slot) for slot in slots]
        key = combine(
            "probe",
            _PROBE_VERSION,
            self._shared(checkpoint),
            prints,
            self._environment(),
            text.masked.signature(name, self.precision),
        )
        entry = self._find(key)
        if entry is not None:
            return str(entry.facts["best"])
        count = len(checkpoint.languages)
        self._callback.on_stage(f"Probing {count} adapters of {checkpoint.path.name}")
        result = probe_adapters(
            self.model_with(slots[0]),
            checkpoint,
            masked,
            processes=self.processes,
            on_score=self._callback.on_candidate,
            on_read=self._callback.on_scored,
        )
        self._keep(key, np.zeros(0), {"best": result.best.language})
        return result.best.language

    def close(self) -> None:
        """Let go of the weights."""
        if self._model is not None:
            free_slice(self._model)
            self._model = None

    def model_with(self, slot: Slot) -> XmodForMaskedLM:
        """Return the slice with what belongs into its slot, until the next call."""
        checkpoint = slot.checkpoint
        shared = self._shared(checkpoint)
        if self._model is None or self._loaded != shared:
            self.close()
            self._callback.on_stage(f"Loading the shared weights of {checkpoint.path.name}")
            model = load_slice(checkpoint, checkpoint.languages[0], precision=self._precision)
            self._model = model.to(self.processes.device)  # type: ignore[arg-type]
            self._loaded = shared
        model = self._model
        if slot.kind == "untrained":
            set_adapter(model, random_adapter(model, seed=UNTRAINED_SEED))
        elif slot.kind == "none":
            set_adapter(model, {n: torch.zeros(slot.shape) for n, slot in adapter_slots(model)})
        else:
            assert slot.language is not None
            load_adapter(model, checkpoint, slot.language)
        return model

    def _key(self, slot: Slot, signatures: list[str]) -> str:
        shared, own = self._shared(slot.checkpoint), self._print(slot.checkpoint, slot)
        return combine("scores", _VERSION, shared, own, self._environment(), signatures)

    def _environment(self) -> list[str]:
        return [self.precision, self.processes.device.type, torch.__version__]

    def _shared(self, checkpoint: Checkpoint) -> str:
        """Return what stands for a checkpoint's shared weights and for how they are used."""
        config = {
            name: value
            for name, value in checkpoint.config.items()
            if name not in ("languages", "default_language", "transformers_version")
        }
        named = json.dumps(config, sort_keys=True, default=str)
        return combine(named, self._hash(checkpoint, "", checkpoint.shared_names()))

    def _print(self, checkpoint: Checkpoint, slot: Slot) -> str:
        """Return what stands for what is in a slot."""
        if slot.kind == "untrained":
            return f"untrained:{UNTRAINED_SEED}"
        if slot.kind == "none":
            return "none"
        assert slot.language is not None
        return self._hash(checkpoint, slot.language, checkpoint.adapter_names(slot.language))

    def _hash(self, checkpoint: Checkpoint, part: str, names: Iterable[str]) -> str:
        known = (checkpoint.path, part)
        if known not in self._prints:
            hashed = xxhash.xxh3_128()
            for name in names:
                info = checkpoint.info(name)
                hashed.update(f"{info.dtype}{tuple(info.shape)}".encode())
                for piece in checkpoint.iter_bytes(name):
                    hashed.update(piece)
            self._prints[known] = hashed.hexdigest()
        return self._prints[known]

    def _find(self, key: str) -> Entry | None:
        """Return what is in the cache, if all processes find it there."""
        entry = find_entry(_folder(key))
        return entry if all(self.processes.gather(entry is not None)) else None

    def _keep(self, key: str, nats: Floats, facts: dict[str, str]) -> None:
        if not self.processes.is_main:
            return

        def make(folder: Path) -> dict[str, str]:
            nats.astype("<f8").tofile(folder / _FILE)
            return facts

        find_or_make_entry(_folder(key), make, num_bytes=nats.nbytes)


def _folder(key: str) -> Path:
    root, _ = choose_cache_dir(None)
    return root / f"scores-{key}"


def _refuse_diverged(slot: Slot, found: Iterable[TokenLosses]) -> None:
    """Refuse scores that no working model has; an adapter that was never trained may be as bad."""
    if slot.kind == "language" and not all(losses.mean_nats < DIVERGED_NATS for losses in found):
        raise ModelError(
            f"{slot.checkpoint.path.name} has a loss with its {slot.language} adapter that no "
            "working model has: its weights or its config.json are damaged.",
            hint="Download or write the checkpoint again.",
        )

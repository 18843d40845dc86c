"""Measures how often the probe finds the best of many adapters, and what it loses otherwise.

usage: python scripts/benchmarks/probe_ranking.py --base BASE --corpus FILE --held-out FILE
           [--max-tokens N]

Of a base of few languages it makes 81 adapters: its own, mixtures of two of them at seven weights,
and noise on top. Each is scored on the whole text once. Then the probe is played again on random
halves of the text, its measurements taken from there: it is held against the adapter that reads
that half best.
"""

from __future__ import annotations

import argparse
import math
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from xmod_extend.evaluation import probe
from xmod_extend.evaluation.masked_perplexity import Block, MaskedText, masked_losses
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.options import CorpusOptions
from xmod_extend.jobs.prepared_text import prepare_text, read_text
from xmod_extend.model.adapter import Adapter, read_adapter, set_adapter
from xmod_extend.model.base import resolve_base
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.slice import load_slice
from xmod_extend.objectives.prediction import IGNORED
from xmod_extend.training.device import choose_precision

NUM_ADAPTERS = 81
WEIGHTS = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9)
MOST_NOISE = 0.6
"""As a part of the standard deviation of each matrix."""


def mixtures(checkpoint: Checkpoint) -> dict[str, Adapter]:
    """The base's own adapters, and mixtures of two of them under noise, by name."""
    random = torch.Generator().manual_seed(1)
    own = {language: read_adapter(checkpoint, language) for language in checkpoint.languages}
    found = dict(own)

    def add(name: str, adapter: Adapter) -> None:
        level = MOST_NOISE * float(torch.rand(1, generator=random))
        found[f"{name}, noise {level:.2f}"] = {
            tensor: values + level * values.std() * torch.randn(values.shape, generator=random)
            for tensor, values in adapter.items()
        }

    for weight in WEIGHTS:
        for first, second in combinations(own, 2):
            pairs = zip(own[first].items(), own[second].values(), strict=True)
            mixed = {name: (1 - weight) * a + weight * b for (name, a), b in pairs}
            add(f"{1 - weight:.2f} {first} + {weight:.2f} {second}", mixed)
    while len(found) < NUM_ADAPTERS:
        name = checkpoint.languages[len(found) % len(own)]
        add(f"{name} {len(found)}", own[name])
    return dict(list(found.items())[:NUM_ADAPTERS])


class Replay:
    """What every adapter loses on every block, found again instead of measured."""

    def __init__(self, names: list[str], nats: np.ndarray, text: MaskedText) -> None:
        self.rows = {name: nats[row] for row, name in enumerate(names)}
        self.columns: dict[int, slice] = {}
        start = 0
        for block in text.blocks:
            stop = start + int((block.labels != IGNORED).sum())
            self.columns[id(block)] = slice(start, stop)
            start = stop

    def losses(self, name: str, blocks: list[Block]) -> np.ndarray:
        return np.concatenate([self.rows[name][self.columns[id(block)]] for block in blocks])

    def measure_each(self, *given: Any, on_read: Any, **options: Any) -> np.ndarray:
        _, _, names, part = given
        on_read(len(names) * part.num_tokens)
        return np.stack([self.losses(name, part.blocks) for name in names])


def play(replay: Replay, names: list[str], text: MaskedText) -> tuple[float, int, int]:
    """The winner's perplexity as a multiple of the best one's, tokens read, and finalists."""
    read: list[int] = []
    with mock.patch.object(probe, "measure_each", replay.measure_each):
        nothing: Any = None
        ranking = probe.rank_adapters(
            nothing,
            nothing,
            text,
            languages=names,
            on_read=lambda done, total: read.append(done),
        )
    means = {name: replay.losses(name, text.blocks).mean() for name in names}
    winner = min(means[name] for name in ranking.finalists)
    return math.exp(winner - min(means.values())), read[-1], len(ranking.finalists)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--held-out", required=True)
    parser.add_argument("--max-tokens", type=int, default=1 << 17)
    parser.add_argument("--samples", type=int, default=200)
    given = parser.parse_args()
    options = CorpusOptions.from_values(
        corpus=given.corpus, base=given.base, held_out=given.held_out
    )
    checkpoint = open_checkpoint(Path(resolve_base(given.base).fetch()))
    callback = Callback()
    corpus = read_text(options, callback)
    prepared = prepare_text(corpus, checkpoint, max_length=None, callback=callback)
    text = prepared.held_out.sample(given.max_tokens)
    precision = choose_precision("auto", torch.device("cpu"))
    model = load_slice(checkpoint, checkpoint.languages[0], precision=precision)
    adapters = mixtures(checkpoint)
    names, rows = list(adapters), []
    for adapter in adapters.values():
        set_adapter(model, adapter)
        rows.append(masked_losses(model, text).nats)
    replay = Replay(names, np.stack(rows), text)
    gaps = np.sort(np.stack(rows).mean(axis=1))
    print(f"{text.num_tokens:,} tokens, {text.num_scored_tokens:,} scored, {precision.name}")
    print("behind the best, in %:", np.round(100 * np.expm1(gaps - gaps[0])[1:9], 1).tolist())
    random = np.random.default_rng(0)
    results = []
    for _ in range(given.samples):
        half = np.sort(random.permutation(len(text.blocks))[: len(text.blocks) // 2])
        results.append(play(replay, names, MaskedText([text.blocks[i] for i in half])))
    loss, read, finalists = (np.array(column) for column in zip(*results, strict=True))
    lost = 100 * (loss - 1)
    print(
        f"best found {np.mean(loss == 1):.0%}; perplexity lost: mean {lost.mean():.2f} %, "
        f"95th percentile {np.quantile(lost, 0.95):.2f} %, most {lost.max():.2f} %; "
        f"{read.mean():,.0f} tokens read, {finalists.mean():.1f} finalists"
    )


if __name__ == "__main__":
    main()

"""Measures what it would buy to train more than the adapter of an added language.

usage: python scripts/benchmarks/what_is_trained.py --base DIR --text LANG TRAINING HELD_OUT
           [--old CODE FILE ...] [--steps N] [--batch-size B] [--rate LR] [--markdown] SET [SET ...]

A SET is names joined by `+`: `adapter`, `bias` (of the output), `head` (its dense layer and norm),
`norms` (the body's layer norms), `rows` (the embeddings and output weights, which are one matrix),
`body` (every other weight of the encoder). All but the adapter are shared with the base's
languages: to train them changes those, which this project does not do. The adapter is trained as
`add` trains it, the rest by AdamW with the peak of --rate, in fp32.

`old` is how many times higher the perplexity of the base's own languages is afterwards, the mean
over the texts of --old.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from rich.box import MARKDOWN, SIMPLE
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional
from transformers import XmodForMaskedLM

from xmod_extend.evaluation.masked_perplexity import MaskedText, masked_losses
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.job import Job, prepare, training_config
from xmod_extend.jobs.measuring_options import MeasuringOptions
from xmod_extend.jobs.options import merge_options
from xmod_extend.jobs.scored_states import prepare_lines, read_lines
from xmod_extend.jobs.training import training_objective
from xmod_extend.model.adapter import adapter_set
from xmod_extend.model.batch import Batch
from xmod_extend.model.slice import load_adapter, load_slice
from xmod_extend.training.configuration import TrainingConfig
from xmod_extend.training.soap import Soap

OLD_TOKENS = 16_384
"""Read of each old language's text."""
PARTS = ("adapter", "bias", "head", "norms", "rows", "body")


def part_of(name: str) -> str:
    """The part of SET that a parameter belongs to."""
    if ".adapter_modules." in name:
        return "adapter"
    if name == "lm_head.bias":
        return "bias"
    if name.startswith("lm_head.") and "decoder" not in name:
        return "head"
    if "LayerNorm" in name:
        return "norms"
    return "rows" if "word_embeddings" in name else "body"


class Trainer:
    """A slice of which some parts are trained, by upstream's own forward pass."""

    def __init__(
        self,
        job: Job,
        model: XmodForMaskedLM,
        parts: list[str],
        config: TrainingConfig,
        rate: float,
    ) -> None:
        self.model, self.config, self.rate = model, config, rate
        trained = adapter_set(model, job.checkpoint, init=job.options.init, seed=config.seed)
        trained.initialise()
        trained.freeze_others()
        values = torch.empty(trained.num_parameters)
        self.gradient = torch.zeros_like(values)
        trained.move_into(values, self.gradient)
        self.stacks = trained.stacks(self.gradient)
        self.soap = Soap(
            trained.stacks(values),
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            weight_decay=config.weight_decay,
            num_adam_steps=config.num_adam_steps,
        )
        self.others: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if part_of(name) != "adapter" and part_of(name) in parts:
                parameter.requires_grad_(True)
                self.others.append(parameter)
        self.adamw = torch.optim.AdamW(self.others or [nn.Parameter(torch.zeros(1))], lr=rate)

    def step(self, number: int, batch: Batch) -> None:
        """Train on a batch as `add` does, with its schedule for both optimisers."""
        self.gradient.zero_()
        self.adamw.zero_grad()
        lang_ids = torch.zeros(len(batch.input_ids), dtype=torch.long)
        hidden = self.model.roberta(batch.input_ids, lang_ids=lang_ids).last_hidden_state
        features = hidden.flatten(0, 1).index_select(0, batch.positions.flat)
        functional.cross_entropy(self.model.lm_head(features), batch.targets).backward()
        norm = self.gradient.norm()
        self.gradient *= (self.config.clip_norm / (norm + 1e-6)).clamp(max=1.0)
        self.soap.step(self.stacks, self.config.lr_at(number))
        if self.others:
            nn.utils.clip_grad_norm_(self.others, self.config.clip_norm)
            self.adamw.param_groups[0]["lr"] = (
                self.rate * self.config.lr_at(number) / self.config.lr
            )
            self.adamw.step()


def masked_text(job: Job, path: str) -> MaskedText:
    """A text of an old language under fixed masks."""
    options = MeasuringOptions.from_values(text=path)
    masked = prepare_lines(read_lines(options, Callback()), job.checkpoint, options).masked
    return masked.text.sample(OLD_TOKENS)


def old_ratio(job: Job, model: XmodForMaskedLM, old: dict[str, MaskedText]) -> float:
    """How many times higher the perplexities of old languages are than with the base's weights."""
    ratios = []
    clean = load_slice(job.checkpoint, job.language.code)
    for code, text in old.items():
        nats = []
        for slice_ in (clean, model):
            load_adapter(slice_, job.checkpoint, code)
            nats.append(masked_losses(slice_, text).mean_nats)
        ratios.append(math.exp(nats[1] - nats[0]))
    return statistics.geometric_mean(ratios)


def measure(
    job: Job, old: dict[str, MaskedText], sets: list[str], config: TrainingConfig, rate: float
) -> Iterator[list[str]]:
    """A row for each set."""
    for chosen in sets:
        started = time.process_time()
        model = load_slice(job.checkpoint, job.language.code)
        trainer = Trainer(job, model, chosen.split("+"), config, rate)
        objective = training_objective(job)
        blocks = islice(job.text.train.batches(config.batch_size, config.seed), config.num_steps)
        for number, some in enumerate(blocks):
            trainer.step(number, Batch.from_prediction(objective(some, number)))
        seconds = time.process_time() - started
        perplexity = math.exp(masked_losses(model, job.text.held_out).mean_nats)
        count = trainer.gradient.numel() + sum(p.numel() for p in trainer.others)
        ratio = old_ratio(job, model, old) if old else math.nan
        row = [chosen, f"{count:,}", f"{perplexity:.2f}", f"{ratio:.2f}", f"{seconds:.0f}"]
        print(" ".join(row), file=sys.stderr, flush=True)
        yield row


def open_job(base: Path, code: str, corpus: str, held_out: str) -> Job:
    """The text and the slice that `add` would train on."""
    fixed = {"lang": code, "corpus": [corpus], "held_out": held_out, "base": str(base)}
    return prepare(merge_options(None, fixed | {"precision": "fp32"}), Callback())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--text", nargs=3, required=True, metavar=("LANG", "TRAINING", "HELD_OUT"))
    parser.add_argument("--old", nargs=2, action="append", default=[], metavar=("CODE", "FILE"))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("sets", nargs="+", metavar="SET")
    given = parser.parse_args()
    for chosen in given.sets:
        if not set(chosen.split("+")) <= set(PARTS):
            parser.error(f"{chosen}: the parts are {', '.join(PARTS)}")
    job = open_job(given.base, *given.text)
    config = TrainingConfig(
        num_steps=given.steps,
        batch_size=given.batch_size,
        lr=training_config(job).lr,
        seed=0,
    )
    table = Table(box=MARKDOWN if given.markdown else SIMPLE)
    for column in ("trained", "parameters", "perplexity", "old", "CPU s"):
        table.add_column(column, no_wrap=True)
    old = {code: masked_text(job, path) for code, path in given.old}
    for row in measure(job, old, given.sets, config, given.rate):
        table.add_row(*row)
    Console(width=1000).print(table)


if __name__ == "__main__":
    main()

"""Compares a language that was added with the same language in a twin that was pretrained with it.

usage: python scripts/benchmarks/twin.py WORK --tokenizer DIR --base CODE FILE [--base ...]
           --added CODE TRAINING HELD_OUT [--added ...] [--task CODE LABELLED [--task ...]
           --task-train CODE LABELLED] [--merge NOUN,ADJ] [--seeds N] [--steps N] [--width D]
           [--length T] [--metric NAME ...] [--threads N] [--markdown]
           [--settings SETTING ...]

For each seed it pretrains a small X-MOD on the base's texts and its twin on those and the added
ones, with the same steps, the same text of the base's languages in each step, and --tokenizer's
tokenizer (small_base.py). Then `add` adds each language to the smaller one, once for each SETTING:
options of `add` such as `max_steps=500,init=nearest`, or `default`, or `updates`, which trains on
as many tokens in as many steps as the twin gave the language; `updates,lr=4e-3` adds to that.

The tables: perplexities of the same tokens of the added language in the smaller base (its best
adapter), the twin and the extended base, with the interval of the last two; a task that was learnt
in another language, read with the language's adapter; and the base's own languages in both, which
in an extended base are what they are in the smaller one, to the bit, as `verify` tells.

What is finished lies in WORK and is not done again. --threads are those of one process; several
runs with other --only-seed values may fill one WORK side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import yaml
from rich.box import MARKDOWN, SIMPLE
from rich.console import Console
from rich.table import Table
from small_base import TOKENS_PER_LANGUAGE

import xmod_extend
from xmod_extend.jobs.states import State

HERE = Path(__file__).resolve().parent
UPDATES = "updates"
TASK_SEEDS = 2
TASK_STEPS = 200
"""With more, a task transfers no better: the section on transfer in RESULTS.md."""


@dataclass(frozen=True, kw_only=True)
class Added:
    """A language that one of the two is pretrained with and the other is given."""

    code: str
    training: Path
    held_out: Path


@dataclass(frozen=True)
class Pair:
    """The smaller base and its twin of one seed, and what was measured of them."""

    given: argparse.Namespace
    seed: int

    @cached_property
    def folder(self) -> Path:
        return Path(self.given.work) / f"seed-{self.seed}"

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def twin(self) -> Path:
        return self.folder / "twin"

    def extended(self, added: Added, setting: str) -> Path:
        return self.folder / "added" / setting / added.code

    def pretrain(self) -> None:
        """Pretrain what is not there yet."""
        given = self.given
        added = [(language.code, language.training) for language in given.added]
        for folder, whole_texts in ((self.base, []), (self.twin, added)):
            if (folder / "pretraining.json").exists():
                continue
            options = {
                "tokenizer": given.tokenizer,
                "width": given.width,
                "length": given.length,
                "steps": given.steps,
                "seed": self.seed,
                "threads": given.threads,
            }
            words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
            for code, path in given.base:
                words += ["--text", code, path]
            for code, path in whole_texts:
                words += ["--whole-text", code, str(path)]
            tell(f"seed {self.seed}: pretraining {folder.name}")
            subprocess.run(
                [sys.executable, HERE / "small_base.py", folder, *words],
                check=True,
                stdout=sys.stderr,
                env=os.environ | {"OMP_NUM_THREADS": str(given.threads)},
            )

    def add(self, added: Added, setting: str) -> None:
        """Add a language to the smaller base, if it is not done yet."""
        output = self.extended(added, setting)
        if not (output / "run.json").exists():
            tell(f"seed {self.seed}: adding {added.code}, {setting}")
            options = {"seed": self.seed} | read_setting(setting, self.given)
            xmod_extend.add_language(
                lang=added.code,
                corpus=str(added.training),
                held_out=str(added.held_out),
                base=str(self.base),
                output=output,
                progress=False,
                **options,
            )

    def measured(self, name: str, measure: Callable[[], Any]) -> Any:
        """What a measurement gave, which is kept for the next run."""
        file = self.folder / "scores" / f"{name}.json"
        if not file.exists():
            tell(f"seed {self.seed}: {name}")
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            part.write_text(json.dumps(measure()) + "\n", encoding="utf-8")
            part.rename(file)
        return json.loads(file.read_text(encoding="utf-8"))


def compare(before: State, after: State, text: Path, metric: str) -> dict[str, Any]:
    """The scores of two states on the same tokens, and how many times lower the second is."""
    compared = xmod_extend.compare(before, after, text=str(text), metric=metric, progress=False)
    first, second = compared.before.score, compared.after.score
    improvement = compared.improvements[0]
    return {
        "before": first.perplexity,
        "after": second.perplexity,
        "bits_before": first.bits_per_byte,
        "bits_after": second.bits_per_byte,
        "tokens": first.num_scored_tokens,
        "ratio": improvement.ratio,
        "low": improvement.low,
        "high": improvement.high,
    }


def transfer(checkpoint: Path, code: str, test: str, given: argparse.Namespace) -> dict[str, Any]:
    """Accuracies of a task that was learnt in another language, by adapter."""
    source, train = given.task_train
    result = xmod_extend.transfer(
        checkpoint,
        source=source,
        target=code,
        train=train,
        test=test,
        merge=given.merge,
        max_steps=TASK_STEPS,
        seeds=TASK_SEEDS,
        progress=False,
    )
    return {score.state: [score.value, score.low, score.high] for score in result.scores}


def perplexity_rows(pairs: list[Pair], metric: str) -> Iterator[list[str]]:
    """A row for each language, seed and setting."""
    for pair in pairs:
        for added in pair.given.added:
            twin = State(pair.twin, added.code)
            before = pair.measured(
                f"{metric}.{added.code}.base",
                partial(
                    compare,
                    State.best_existing(pair.base, text=added.held_out),
                    twin,
                    added.held_out,
                    metric,
                ),
            )
            for setting in pair.given.settings:
                pair.add(added, setting)
                found = pair.measured(
                    f"{metric}.{added.code}.{setting}",
                    partial(
                        compare,
                        State(pair.extended(added, setting), added.code),
                        twin,
                        added.held_out,
                        metric,
                    ),
                )
                record = json.loads((pair.extended(added, setting) / "run.json").read_text())
                yield [
                    added.code,
                    str(pair.seed),
                    setting,
                    f"{before['before']:.1f}",
                    f"{found['after']:.1f}",
                    f"{found['before']:.1f}",
                    f"{100 * (found['ratio'] - 1):+.1f} % "
                    f"({100 * (found['low'] - 1):+.1f} to {100 * (found['high'] - 1):+.1f})",
                    f"{record['training']['seconds']:.0f}",
                ]


def old_language_rows(pairs: list[Pair]) -> Iterator[list[str]]:
    """A row for each of the base's languages and seed: what the added ones cost it in the twin."""
    for pair in pairs:
        for code, _ in pair.given.base:
            text = pair.base / "held_out" / f"{code}.txt"
            if not text.exists():
                continue
            found = pair.measured(
                f"old.{code}",
                partial(
                    compare,
                    State(pair.twin, code),
                    State(pair.base, code),
                    text,
                    "masked_perplexity",
                ),
            )
            yield [
                code,
                str(pair.seed),
                f"{found['after']:.1f}",
                f"{found['before']:.1f}",
                f"{100 * (found['ratio'] - 1):+.1f} % "
                f"({100 * (found['low'] - 1):+.1f} to {100 * (found['high'] - 1):+.1f})",
            ]


def task_rows(pairs: list[Pair]) -> Iterator[list[str]]:
    """A row for each task, seed and setting."""
    for pair in pairs:
        for code, test in pair.given.task:
            (added,) = (one for one in pair.given.added if one.code == code)
            checkpoints = {"twin": pair.twin} | {
                setting: pair.extended(added, setting) for setting in pair.given.settings
            }
            for name, checkpoint in checkpoints.items():
                found = pair.measured(
                    f"task.{code}.{name}",
                    partial(transfer, checkpoint, code, test, pair.given),
                )
                yield [
                    code,
                    str(pair.seed),
                    name,
                    *(
                        f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"
                        for value, low, high in (
                            found[state] for state in ("target", "source", "untrained")
                        )
                    ),
                ]


def read_setting(text: str, given: argparse.Namespace) -> dict[str, Any]:
    """The options of `add` that a setting stands for."""
    options: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name == UPDATES:
            options |= {"max_steps": given.steps, "batch_size": TOKENS_PER_LANGUAGE // given.length}
        elif name != "default":
            loaded = yaml.safe_load(value)
            # YAML 1.1 reads 1e-3, without a point, as a word.
            options[name] = float(loaded) if isinstance(loaded, str) and "e-" in loaded else loaded
    return options


def print_table(title: str, columns: list[str], rows: Iterator[list[str]], markdown: bool) -> None:
    """Print a table as soon as all its rows are measured."""
    table = Table(box=MARKDOWN if markdown else SIMPLE)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    if table.row_count:
        print(f"\n{title}\n")
        Console(width=1000).print(table)


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--base", nargs=2, action="append", required=True, metavar=("CODE", "FILE"))
    parser.add_argument(
        "--added",
        nargs=3,
        action="append",
        required=True,
        metavar=("CODE", "TRAINING", "HELD_OUT"),
    )
    parser.add_argument("--task", nargs=2, action="append", default=[], metavar=("CODE", "FILE"))
    parser.add_argument("--task-train", nargs=2, metavar=("CODE", "FILE"))
    parser.add_argument("--merge", default=(), help="labels to score as one, such as NOUN,ADJ")
    parser.add_argument("--metric", nargs="+", default=["masked_perplexity"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only-seed", type=int, help="do one seed's part and print its rows")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--settings", nargs="+", default=["default", UPDATES], metavar="SETTING")
    given = parser.parse_args()
    if given.task and not given.task_train:
        parser.error("--task needs --task-train")
    given.added = [
        Added(code=code, training=Path(training), held_out=Path(held_out))
        for code, training, held_out in given.added
    ]
    return given


def main() -> None:
    given = parse_arguments()
    seeds = range(given.seeds) if given.only_seed is None else [given.only_seed]
    pairs = [Pair(given, seed) for seed in seeds]
    for pair in pairs:
        pair.pretrain()
    for metric in given.metric:
        print_table(
            f"Added languages, {metric}",
            [
                "language",
                "seed",
                "setting",
                "base's best adapter",
                "twin",
                "added",
                "added over twin",
                "training, s",
            ],
            perplexity_rows(pairs, metric),
            given.markdown,
        )
    print_table(
        "A task learnt in another language, accuracy in per cent",
        ["language", "seed", "checkpoint", "language's adapter", "source's", "untrained slot"],
        task_rows(pairs),
        given.markdown,
    )
    print_table(
        "The base's own languages, masked_perplexity",
        ["language", "seed", "base, and extended base", "twin", "twin over base"],
        old_language_rows(pairs),
        given.markdown,
    )


if __name__ == "__main__":
    main()

"""Measures what the defaults were chosen by: held-out perplexity and cost, one row per setting.

usage: python scripts/benchmarks/quality.py --base DIR --text LANG TRAINING HELD_OUT
           [--text LANG TRAINING HELD_OUT ...] [--bytes N] [--markdown] [--json FILE]
           SETTING [SETTING ...]

A setting is a list of NAME=VALUE such as `lr=4e-3,max_steps=500`, or `default`. A name is an option
of `add` or a field of TrainingConfig (`weight_decay`, `warmup_fraction`, ...). For each text the
base is opened and probed once, and every setting is trained and scored on the same held-out tokens
under the same masks. The mean over several texts is geometric: of the losses, not the perplexities.

What counts is the time to a given held-out loss: the last column is the processor time that a
setting took until its validations were as good as the first setting's last one, over all texts.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from rich.box import MARKDOWN, SIMPLE
from rich.console import Console
from rich.table import Table

from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.job import Job, prepare
from xmod_extend.jobs.options import AddOptions, merge_options
from xmod_extend.jobs.scoring import rank_existing, score_adapter, score_existing
from xmod_extend.jobs.training import train_adapter
from xmod_extend.training.configuration import TrainingConfig
from xmod_extend.training.history import CurvePoint

SCHEMA_VERSION = 1
OPTIONS = {field.name for field in dataclasses.fields(AddOptions)}
TRAINING = {field.name for field in dataclasses.fields(TrainingConfig)} - OPTIONS
FIXED = {"lang", "corpus", "base", "held_out", "output", "max_length", "precision"}
"""What is decided before the first setting is trained."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One row of the table, as it was written and as the package takes it."""

    text: str
    options: dict[str, Any]
    training: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """One setting on one text."""

    setting: str
    language: str
    best_existing: str
    perplexity_before: float
    perplexity: float
    """Of all of the held-out text."""
    steps: int
    kept_step: int
    epochs: float
    cpu_seconds: float
    """Of training with its validations; the final score is left out."""
    curve: tuple[CurvePoint, ...]

    def cpu_seconds_to(self, held_out_loss: float) -> float | None:
        """Until the first validation with at most this loss, or None if there is none."""
        for point in self.curve:
            if point.held_out_loss <= held_out_loss:
                return self.cpu_seconds * point.step / self.steps
        return None


def main() -> None:
    given = _parse_arguments()
    measurements: list[Measurement] = []
    with tempfile.TemporaryDirectory() as folder:
        for language, training, held_out in given.text:
            corpus = _shorten(training, given.bytes, Path(folder)) if given.bytes else training
            fixed = {"base": given.base, "lang": language, "corpus": corpus, "held_out": held_out}
            fixed["output"] = str(Path(folder) / "unused")
            measurements += _measure(fixed, given.settings)
    rows = [_row(setting.text, measurements) for setting in given.settings]
    _print_table(rows, markdown=given.markdown)
    if given.json:
        result = {
            "schema_version": SCHEMA_VERSION,
            "rows": rows,
            "measurements": [dataclasses.asdict(measurement) for measurement in measurements],
        }
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", required=True)
    parser.add_argument(
        "--text", required=True, nargs=3, action="append", metavar=("LANG", "TRAINING", "HELD_OUT")
    )
    parser.add_argument(
        "--bytes", type=int, help="use only so much of each training text: lines at even distances"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything there")
    parser.add_argument("settings", nargs="+", type=_parse_setting, metavar="SETTING")
    return parser.parse_args()


def _parse_setting(text: str) -> Setting:
    pairs = [] if text == "default" else [pair.partition("=") for pair in text.split(",")]
    values = {}
    for name, _, value in pairs:
        if name in FIXED or name not in OPTIONS | TRAINING:
            raise argparse.ArgumentTypeError(f"{name!r} cannot be set here")
        loaded = yaml.safe_load(value)
        # YAML 1.1 reads 1e-3, without a point, as a word.
        values[name] = float(loaded) if isinstance(loaded, str) and "e-" in loaded else loaded
    return Setting(
        text=text,
        options={name: value for name, value in values.items() if name in OPTIONS},
        training={name: value for name, value in values.items() if name in TRAINING},
    )


def _shorten(path: str, num_bytes: int, folder: Path) -> str:
    """A corpus of about `num_bytes`: every n-th line of a text file."""
    lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    every = max(1, sum(len(line.encode()) for line in lines) // num_bytes)
    short = folder / "corpus.txt"
    short.write_text("".join(lines[::every]), encoding="utf-8")
    return str(short)


def _measure(fixed: dict[str, Any], settings: list[Setting]) -> list[Measurement]:
    """Every setting on one text."""
    job = prepare(merge_options(None, fixed), Callback())
    probe = score_existing(job, rank_existing(job))
    _tell(
        f"{job.language.code}: {job.text.train.num_tokens:,} tokens; best existing adapter "
        f"{probe.best.language}, perplexity {probe.best.perplexity:.2f}"
    )
    measurements = []
    for setting in settings:
        options = merge_options(None, fixed | setting.options)
        variant: Job = dataclasses.replace(job, options=options)
        started = time.process_time()
        trained = train_adapter(variant, probe, changes=setting.training)
        cpu_seconds = time.process_time() - started
        scores = score_adapter(variant, probe, trained)
        run = trained.result
        measurements.append(
            Measurement(
                setting=setting.text,
                language=job.language.code,
                best_existing=scores.best_existing,
                perplexity_before=scores.before.perplexity,
                perplexity=scores.after.perplexity,
                steps=run.steps_done,
                kept_step=run.best_step,
                epochs=run.num_tokens / (len(job.text.train) * job.text.max_length),
                cpu_seconds=cpu_seconds,
                curve=run.curve,
            )
        )
        _tell(f"  {setting.text}: {scores.after.perplexity:.2f}, {cpu_seconds:.0f} CPU s")
    return measurements


def _row(setting: str, measurements: list[Measurement]) -> dict[str, Any]:
    """One setting on all texts, against the first setting."""
    first = measurements[0].setting
    own = {m.language: m for m in measurements if m.setting == setting}
    targets = {m.language: m.curve[-1].held_out_loss for m in measurements if m.setting == first}
    losses = [math.log(m.perplexity) for m in own.values()]
    reached = [own[language].cpu_seconds_to(loss) for language, loss in targets.items()]
    return {
        "setting": setting,
        "steps": {language: m.steps for language, m in own.items()},
        "perplexity": {language: m.perplexity for language, m in own.items()},
        "mean_perplexity": math.exp(sum(losses) / len(losses)),
        "cpu_seconds": sum(m.cpu_seconds for m in own.values()),
        "cpu_seconds_to_first": None if None in reached else math.fsum(filter(None, reached)),
    }


def _print_table(rows: list[dict[str, Any]], *, markdown: bool) -> None:
    table = Table(box=MARKDOWN if markdown else SIMPLE)
    table.add_column("setting", no_wrap=True)
    languages = list(rows[0]["perplexity"])
    for name in ("steps", *languages, "mean", "CPU s", "CPU s to the first row's loss"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        reached = row["cpu_seconds_to_first"]
        table.add_row(
            row["setting"],
            " ".join(dict.fromkeys(f"{steps:,}" for steps in row["steps"].values())),
            *(f"{row['perplexity'][language]:.2f}" for language in languages),
            f"{row['mean_perplexity']:.2f}",
            f"{row['cpu_seconds']:.0f}",
            "not reached" if reached is None else f"{reached:.0f}",
        )
    # As wide as it needs to be: a redirected table is never folded.
    Console(width=1000).print(table)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

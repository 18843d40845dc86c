"""Measures what the defaults were chosen by: one row per setting, on real text.

usage: python scripts/measure_defaults.py --base DIR --lang CODE --corpus PATH --held-out PATH
           [--bytes N] SETTING [SETTING ...]

A setting is a list of options as `add` has them, such as `lr=4e-3,max_steps=500` or `default`. The
base is opened and probed once, and every setting is trained and scored on the same held-out tokens.
With --bytes, only as much of the corpus is used, in lines at even distances.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import yaml

from xmod_extend.job import prepare
from xmod_extend.options import AddOptions, merge_options
from xmod_extend.pipeline import evaluate_adapter, probe_base, train_adapter
from xmod_extend.progress import Observer


def shorten(path: str, num_bytes: int, folder: Path) -> str:
    """A corpus of about `num_bytes`: every n-th line of a text file."""
    lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    every = max(1, sum(len(line.encode()) for line in lines) // num_bytes)
    short = folder / "corpus.txt"
    short.write_text("".join(lines[::every]), encoding="utf-8")
    return str(short)


def parse(setting: str) -> dict[str, object]:
    if setting == "default":
        return {}
    return dict(_typed(*pair.split("=")) for pair in setting.split(","))


def _typed(name: str, value: str) -> tuple[str, object]:
    # YAML 1.1 reads 1e-3, without a point, as a word.
    return name, float(value) if name == "lr" else yaml.safe_load(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--base", "--lang", "--corpus", "--held-out"):
        parser.add_argument(name, required=True)
    parser.add_argument("--bytes", type=int)
    parser.add_argument("settings", nargs="+")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        corpus = shorten(given.corpus, given.bytes, Path(folder)) if given.bytes else given.corpus
        fixed = {
            "base": given.base,
            "lang": given.lang,
            "corpus": corpus,
            "held_out": given.held_out,
            "output": str(Path(folder) / "unused"),
        }
        job = prepare(merge_options(None, fixed), Observer())
        probe = probe_base(job)
        print(
            f"{given.lang}, {job.text.report.train_bytes:,} bytes; best existing adapter "
            f"{probe.best.language}, perplexity {probe.best.perplexity:.2f}\n\n"
            "| setting | steps | epochs | kept | perplexity | times lower | CPU s | wall s |\n"
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            flush=True,
        )
        for setting in given.settings:
            options = merge_options(None, fixed | parse(setting))
            variant = dataclasses.replace(job, options=check(options))
            cpu, wall = time.process_time(), time.perf_counter()
            trained = train_adapter(variant, probe)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            result = evaluate_adapter(variant, probe, trained)
            run = trained.result
            print(
                f"| {setting} | {run.steps_done} | {run.num_epochs:.1f} "
                f"| {run.best_step} | {result.after.perplexity:.2f} "
                f"| {result.improvement.ratio:.2f} | {cpu:.0f} | {wall:.0f} |",
                flush=True,
            )


def check(options: AddOptions) -> AddOptions:
    """Refuses what is decided before training and so would be ignored here."""
    if options.max_length is not None or options.precision != "auto":
        raise SystemExit("max_length and precision cannot vary within one run.")
    return options


if __name__ == "__main__":
    main()

"""Measures what `add` does before its first optimiser step: seconds of each stage.

usage: python scripts/benchmarks/first_step.py --base BASE --corpus FILE [--held-out FILE]
           [--lang quz_PE]

Wall and processor seconds up to the first step, which ends the run; the output folder is a
temporary one. The import of torch and transformers is left out. For processor seconds that compare,
set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from machine import describe_machine

from xmod_extend.jobs.add import add_language
from xmod_extend.jobs.callbacks import Callback

if TYPE_CHECKING:
    from xmod_extend.training.history import StepReport


class FirstStepError(Exception):
    """Ends the run where the measurement ends."""


class Clock(Callback):
    """Notes when each stage begins."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float, float]] = []
        self.on_stage("Looking at the options")

    def on_stage(self, name: str) -> None:
        self.stages.append((name, time.perf_counter(), time.process_time()))

    def on_note(self, text: str) -> None:
        print(f"  {text}")

    def on_warning(self, text: str) -> None:
        print(f"  warning: {text}")

    def on_step(self, report: StepReport) -> None:
        self.on_stage("end")
        raise FirstStepError

    def rows(self) -> list[dict[str, str | float]]:
        """Stages with their seconds, the first step in the last one."""
        pairs = zip(self.stages, self.stages[1:], strict=False)
        return [
            {"stage": name, "wall": round(wall_end - wall, 2), "cpu": round(cpu_end - cpu, 2)}
            for (name, wall, cpu), (_, wall_end, cpu_end) in pairs
        ]


def measure(
    *, base: str, corpus: Path, held_out: Path | None, lang: str
) -> list[dict[str, str | float]]:
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="first-step-") as folder, suppress(FirstStepError):
        add_language(
            lang=lang,
            base=base,
            corpus=corpus,
            held_out=held_out,
            output=Path(folder) / "out",
            callback=clock,
        )
    return clock.rows()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--held-out", type=Path)
    parser.add_argument("--lang", default="quz_PE")
    parser.add_argument("--json", action="store_true", help="one JSON object for programs")
    given = parser.parse_args()
    rows = measure(base=given.base, corpus=given.corpus, held_out=given.held_out, lang=given.lang)
    if given.json:
        print(json.dumps({"machine": describe_machine(), "stages": rows}))
        return
    for row in rows:
        print(f"{row['wall']:9.2f} s wall {row['cpu']:9.2f} s CPU  {row['stage']}")
    wall, cpu = (sum(float(row[clock]) for row in rows) for clock in ("wall", "cpu"))
    print(f"{wall:9.2f} s wall {cpu:9.2f} s CPU  in all, the first step included")


if __name__ == "__main__":
    main()

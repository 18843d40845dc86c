"""Measures how fast a language is trained, by us and by the others, and how fast it could be.

usage: python scripts/benchmarks/training.py [--shape SHAPE] [--base DIR] [--steps A B]
           [--contenders NAME …] [--precision fp32 bf16] [--threads N] [--device cpu|cuda]
           [--json FILE] …

Contenders: `ours`; `transformers`, a plain loop with the transformers of this environment;
`transformers-bf16-weights`, the same with all of the model in bf16 in place of autocast;
`transformers-4.57.6`, the same loop with that version; `adapters-1.3.0`, AdapterHub's way. The last
two run in environments of their own, which are made once in --envs.

All train the same model (random weights of a released shape, 81 languages and the new one) on the
same tokens. Each is a process that is measured from outside twice, with A and with B steps; the
difference, shared out over B - A steps, leaves start-up and loading out. Contenders take turns, so
that a slow spell of the machine does not meet one of them alone; on a busy machine even CPU seconds
vary, which the slowest and fastest step by the contender's own clock show, and --rounds evens out.

With --device cuda a contender runs once, with B steps, and its own clock tells the time between
step A and step B, both waited for. A is at least 10, so that ours has its first basis by then, and
B - A is a multiple of 30, the steps between two of its refreshes. Memory is what PyTorch took.

The limit is the time that the matrix products a step cannot do without (flops.py) take by
themselves on this machine, in the same run and with the same threads (rates.py). Where the
processor has no bf16 instructions, the limit of a bf16 contender is that of fp32.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from environments import CACHE, EnvironmentFailedError, ensure_environment
from flops import Shape
from machine import describe_machine, has_fast_bf16
from processes import ProcessFailedError, ProcessReport, measure
from results import (
    Entry,
    Run,
    limit_dtype,
    mean_masked_tokens,
    needed_work,
    print_table,
    summarise,
    write_json,
)

HERE = Path(__file__).resolve().parent
STEPS = {"cpu": [1, 3], "cuda": [30, 90]}
NUM_LANGUAGES = {"xmod-base": 81, "xmod-large-prenorm": 81, "tiny-for-tests": 3}
CONTENDERS: dict[str, tuple[str, str | None]] = {
    "ours": ("ours.py", None),
    "transformers": ("upstream.py", None),
    "transformers-bf16-weights": ("upstream.py", None),
    "transformers-4.57.6": ("upstream.py", "transformers-4.57.6"),
    "adapters-1.3.0": ("adapterhub.py", "adapters-1.3.0"),
}
"""Script, and the environment it needs; `None` is this one."""
OTHERWISE_SPELT = {("transformers-bf16-weights", "bf16"): "bf16-weights"}
"""What the precision of a contender is called in its script, if not as it is here."""
LACKING = {
    ("transformers-bf16-weights", "fp32"),
    *((contender, "fp16") for contender in CONTENDERS if contender != "ours"),
}
"""Contenders without this precision."""


DEFAULT = [name for name in CONTENDERS if name != "transformers-bf16-weights"]


def main() -> None:
    given = parse_arguments()
    machine = describe_machine()
    base = given.base or make_base(given.shape, given.envs)
    config = json.loads((base / "config.json").read_text())
    entries = [
        Entry(contender, precision)
        for precision in given.precision
        or (("fp32", "bf16") if has_fast_bf16(machine) else ("fp32",))
        for contender in given.contenders
        if (contender, precision) not in LACKING
    ]
    interpreters = find_interpreters(entries, given.envs)
    limits: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        blocks = Path(folder) / "blocks.npy"
        np.save(blocks, make_blocks(given, config["vocab_size"]))
        steps_of_runs = given.steps[1:] if given.device == "cuda" else given.steps
        for steps in steps_of_runs * given.rounds:
            for entry in entries:
                if entry.error is None:
                    run_contender(entry, interpreters[entry.contender], steps, base, blocks, given)
            num_masked = mean_masked_tokens(entries)
            if num_masked is not None:
                measure_limits(limits, entries, machine, base, num_masked, given)
    if num_masked is None:
        sys.exit("No contender ran: " + "; ".join(f"{e.contender}: {e.error}" for e in entries))
    summary = summarise(entries, limits, machine, given)
    shape = Shape.of(
        config,
        batch_size=given.batch_size,
        max_length=given.max_length,
        num_masked=num_masked,
    )
    work = needed_work(shape)
    print_table(summary, work, given)
    if given.json:
        write_json(given, machine, work, limits, summary, entries)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=NUM_LANGUAGES, default="xmod-base")
    parser.add_argument("--base", type=Path, help="a random base; default: made in --envs")
    parser.add_argument("--envs", type=Path, default=CACHE, help=f"default: {CACHE}")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=DEFAULT)
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=("fp32", "bf16", "fp16"),
        help="default: fp32, and bf16 where the processor has instructions for it",
    )
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument(
        "--steps",
        type=int,
        nargs=2,
        metavar=("A", "B"),
        help=f"default: {STEPS['cpu']}, with --device cuda {STEPS['cuda']}",
    )
    parser.add_argument("--rounds", type=int, default=1, help="repetitions of all runs")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--dropout",
        choices=("own", "on", "off"),
        default="own",
        help="own: each contender's default (ours: off, the others: the base's 0.1)",
    )
    parser.add_argument("--json", metavar="FILE", help="also write everything there; - is stdout")
    given = parser.parse_args()
    given.steps = given.steps or STEPS[given.device]
    if not 1 <= given.steps[0] < given.steps[1]:
        parser.error("--steps: A must be at least 1 and B greater than A")
    return given


def make_base(shape: str, folder: Path, *, num_languages: int | None = None) -> Path:
    """A random base of this shape, by default with as many languages as it has, written once."""
    num_languages = num_languages or NUM_LANGUAGES[shape]
    is_other = num_languages != NUM_LANGUAGES[shape]
    base = folder / "bases" / (f"{shape}-{num_languages}" if is_other else shape)
    if not base.exists():
        print(f"writing a random {shape} to {base}", file=sys.stderr)
        base.parent.mkdir(parents=True, exist_ok=True)
        script = HERE.parent / "make_random_base.py"
        with tempfile.TemporaryDirectory(dir=base.parent) as unfinished:
            arguments = ("--shape", shape, "--languages", str(num_languages))
            subprocess.run(
                [sys.executable, script, Path(unfinished) / "base", *arguments],
                env=own_environment(threads=1, device="cpu"),
                check=True,
            )
            (Path(unfinished) / "base").rename(base)
    return base


def make_blocks(given: argparse.Namespace, vocabulary: int) -> np.ndarray:
    """Random token ids, (steps x B, T), each row beginning with `<s>`."""
    random = np.random.default_rng(0)
    sizes = (given.steps[1] * given.batch_size, given.max_length)
    blocks = random.integers(4, vocabulary - 1, sizes)
    blocks[:, 0] = 0
    return blocks


def find_interpreters(entries: list[Entry], envs: Path) -> dict[str, Path]:
    """The Python of each contender; one that cannot be had is the error of its entries."""
    interpreters = {}
    for contender in dict.fromkeys(entry.contender for entry in entries):
        name = CONTENDERS[contender][1]
        try:
            interpreters[contender] = (
                Path(sys.executable) if name is None else ensure_environment(name, envs)
            )
        except EnvironmentFailedError as error:
            for entry in entries:
                if entry.contender == contender:
                    entry.error = str(error)
    return interpreters


def own_environment(*, threads: int, device: str) -> dict[str, str]:
    """Variables of a measured process that runs in this Python environment."""
    return _environment(own=True, threads=threads, device=device)


def _environment(*, own: bool, threads: int, device: str) -> dict[str, str]:
    """Variables of a measured process; `own` is whether it runs in this Python environment."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    if own:
        variables["PYTHONPATH"] = str(HERE.parent.parent)
    if device == "cpu":
        variables["CUDA_VISIBLE_DEVICES"] = ""
    return variables


def run_contender(
    entry: Entry,
    interpreter: Path,
    steps: int,
    base: Path,
    blocks: Path,
    given: argparse.Namespace,
) -> None:
    """Runs `steps` steps and notes what they took; a failure ends this entry and no other."""
    script, environment = CONTENDERS[entry.contender]
    options = {
        "base": base,
        "blocks": blocks,
        "steps": steps,
        "batch-size": given.batch_size,
        "precision": OTHERWISE_SPELT.get((entry.contender, entry.precision), entry.precision),
        "device": given.device,
        "dropout": given.dropout,
        "threads": given.threads,
    }
    try:
        report = _run_script(interpreter, f"contenders/{script}", options, environment, given)
    except ProcessFailedError as error:
        entry.error = str(error)
        print(f"{entry.contender} {entry.precision}: {error}", file=sys.stderr)
        return
    own_report = json.loads(report.stdout.splitlines()[-1])
    measured = asdict(report)
    del measured["stdout"]
    load = os.getloadavg()[0]
    entry.runs.append(Run(steps=steps, load_average=load, own_report=own_report, **measured))
    print(
        f"{entry.contender} {entry.precision}, {steps} step(s): {report.cpu_seconds:.1f} CPU s, "
        f"load {load:.1f}",
        file=sys.stderr,
    )


def _run_script(
    interpreter: Path,
    script: str,
    options: dict[str, Any],
    environment: str | None,
    given: argparse.Namespace,
) -> ProcessReport:
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    variables = _environment(own=environment is None, threads=given.threads, device=given.device)
    return measure([str(interpreter), str(HERE / script), *words], variables)


def measure_limits(
    limits: dict[str, list[dict[str, Any]]],
    entries: list[Entry],
    machine: dict[str, Any],
    base: Path,
    num_masked: int,
    given: argparse.Namespace,
) -> None:
    """Adds one measurement of the needed products in each dtype; one that fails is left out."""
    precisions = dict.fromkeys(entry.precision for entry in entries)
    for dtype in dict.fromkeys(limit_dtype(p, machine, given.device) for p in precisions):
        options = {
            "config": base / "config.json",
            "batch-size": given.batch_size,
            "max-length": given.max_length,
            "num-masked": num_masked,
            "dtype": dtype,
            "device": given.device,
            "threads": given.threads,
        }
        try:
            report = _run_script(Path(sys.executable), "rates.py", options, None, given)
        except ProcessFailedError as error:
            print(f"limit {dtype}: {error}", file=sys.stderr)
            continue
        measured = json.loads(report.stdout)
        limits.setdefault(dtype, []).append(measured)
        seconds = measured["seconds_per_step"]
        print(f"limit {dtype}: {seconds:.2f} s a step", file=sys.stderr)


if __name__ == "__main__":
    main()

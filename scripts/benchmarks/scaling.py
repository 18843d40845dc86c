"""Measures a run in two processes, and works out what many languages on many GPUs would cost.

usage: python scripts/benchmarks/scaling.py --measure BASE [--steps N] [--batch-size B]
           [--max-length T]
       python scripts/benchmarks/scaling.py [--shape xmod-base|xmod-large-prenorm] [--gpus G …]
           [--languages K …] [--peak-tflops X] [--mfu X] [--step-overhead-ms X] …

With --measure, steps on one batch are timed in one process and in two on this machine, one thread
each. Without it every figure is worked out by scaling_model.py, none is measured: the assumptions
are printed above the tables. The first table is one language on more and more GPUs; the second,
many languages, each on as many GPUs as finish the whole job first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from scaling_model import Cluster, Job, adapter_parameters, fastest_plan, plan

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from make_random_base import COMMON, SHAPES  # noqa: E402 - it lies one folder up

CLUSTER_FIELDS = [field for field in fields(Cluster) if field.name != "num_gpus"]
JOB_FIELDS = [field for field in fields(Job) if field.name not in ("num_languages", "config")]


def main() -> None:
    given = parse_arguments()
    if given.measure is not None:
        measure_two_processes(given)
        return
    print_assumptions(given)
    print_one_language(given)
    print_many_languages(given)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", type=Path, metavar="BASE")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--shape", choices=SHAPES, default="xmod-base")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64, 256, 512])
    parser.add_argument("--languages", type=int, nargs="+", default=[1, 10, 100, 1000])
    for field in (*CLUSTER_FIELDS, *JOB_FIELDS):
        option = "--" + field.name.replace("_", "-")
        parser.add_argument(option, type=type(field.default), default=field.default)
    return parser.parse_args()


def measure_two_processes(given: argparse.Namespace) -> None:
    """Prints a row for one process and one for two."""
    print("| processes | wall s a step | of it summing | CPU s a step and process |")
    print("| ---: | ---: | ---: | ---: |")
    sizes = [str(given.measure), *map(str, (given.steps, given.batch_size, given.max_length))]
    for count in (1, 2):
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        done = subprocess.run(
            [*launcher, f"--nproc-per-node={count}", HERE / "contenders" / "together.py", *sizes],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        row = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| {row['count']} | {row['seconds']:.3f} | {row['summing_seconds']:.3f} "
            f"| {row['cpu_seconds']:.3f} |",
            flush=True,
        )


def make_cluster(given: argparse.Namespace, num_gpus: int) -> Cluster:
    values = {field.name: getattr(given, field.name) for field in CLUSTER_FIELDS}
    return Cluster(num_gpus=num_gpus, **values)


def make_job(given: argparse.Namespace, num_languages: int) -> Job:
    values = {field.name: getattr(given, field.name) for field in JOB_FIELDS}
    return Job(num_languages=num_languages, config=COMMON | SHAPES[given.shape], **values)


def print_assumptions(given: argparse.Namespace) -> None:
    job = make_job(given, 1)
    gradient = 4 * adapter_parameters(job.config) / 1e6
    print("Worked out on paper; see scaling_model.py for what is assumed, and with these values:\n")
    print(f"- base: {given.shape}; gradient exchanged a step: {gradient:.1f} MB in fp32")
    for field in (*JOB_FIELDS, *CLUSTER_FIELDS):
        print(f"- {field.name.replace('_', ' ')}: {getattr(given, field.name):g}")


def print_one_language(given: argparse.Namespace) -> None:
    job = make_job(given, 1)
    print("\nOne language\n")
    print("| GPUs | compute ms | exchange ms | overhead ms | step ms | minutes | GPU hours |")
    print("|---|---|---|---|---|---|---|")
    for power in range(job.batch_size.bit_length()):
        gpus = 1 << power
        one = plan(job, make_cluster(given, gpus), gpus)
        parts = (one.compute_seconds, one.exchange_seconds, one.overhead_seconds, one.step_seconds)
        cells = [f"{1000 * part:.2f}" for part in parts]
        minutes, hours = one.language_seconds / 60, one.gpu_hours_per_language
        print(f"| {gpus} | {' | '.join(cells)} | {minutes:.1f} | {hours:.2f} |")


def print_many_languages(given: argparse.Namespace) -> None:
    print("\nMany languages\n")
    print("| languages | GPUs | GPUs a language | rounds | hours in all | GPU hours a language |")
    print("|---|---|---|---|---|---|")
    for num_languages in given.languages:
        for num_gpus in given.gpus:
            best = fastest_plan(make_job(given, num_languages), make_cluster(given, num_gpus))
            hours = best.total_seconds / 3600
            print(
                f"| {num_languages} | {num_gpus} | {best.gpus_per_language} | {best.rounds} "
                f"| {hours:.2f} | {best.gpu_hours_per_language:.2f} |"
            )


if __name__ == "__main__":
    main()

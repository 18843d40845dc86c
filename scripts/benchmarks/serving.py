"""Measures what it takes to serve two languages: `xmod_extend.load`, and transformers with all.

usage: python scripts/benchmarks/serving.py [--base DIR] [--langs A B] [--task TASK]
           [--precision fp32 bf16] [--rounds N] [--repeat N] [--threads N] [--envs DIR]
           [--json FILE]

Both have the same checkpoint, by default random weights of xmod-base's shape with 82 languages,
which is written once in --envs. Each is a process of its own that loads it and answers batches of
1 x 32 and 8 x 128 tokens, also with both languages in one batch; they take turns. Loading is what
it takes beyond importing PyTorch and transformers. Both map the weights in fp32 and read them when
they are first used, so the first batch pays for that: it is given by itself, and the peak of memory
after loading and at the end. A batch's time is the median of --repeat, of the last of --rounds.

The table ends with whether both gave the same logits to the bit. In bf16 the checkpoint's fp32
weights are cast as they are loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from environments import CACHE
from machine import BF16_FLAGS, describe_machine
from processes import ProcessFailedError, measure
from training import make_base, own_environment

HERE = Path(__file__).resolve().parent
CONTENDERS = ("ours", "transformers")


def main() -> None:
    given = parse_arguments()
    base = given.base or make_base("xmod-base", given.envs, num_languages=82)
    machine = describe_machine()
    results: dict[str, dict[str, Any]] = {}
    for precision in given.precision:
        for _ in range(given.rounds):
            for contender in CONTENDERS:
                results[f"{contender} {precision}"] = run(contender, precision, base, given)
    print_tables(results, given)
    flags = [flag for flag in BF16_FLAGS if machine["flags"][flag]]
    print(f"\n{machine['cpu']}, bf16 instructions: {', '.join(flags) or 'none'}")
    if given.json:
        told = {"machine": machine, "command": sys.argv, "results": results}
        given.json.write_text(json.dumps(told, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, help="default: made in --envs")
    parser.add_argument("--langs", nargs=2, default=["en_XX", "de_DE"])
    parser.add_argument("--task", default="fill-mask")
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--envs", type=Path, default=CACHE, help=f"default: {CACHE}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything there")
    return parser.parse_args()


def run(contender: str, precision: str, base: Path, given: argparse.Namespace) -> dict[str, Any]:
    """What one process told, and what the system says of it."""
    options = {
        "base": base,
        "contender": contender,
        "precision": precision,
        "task": given.task,
        "threads": given.threads,
        "repeat": given.repeat,
    }
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    script = HERE / "contenders" / "serving_model.py"
    command = [sys.executable, str(script), *words, "--langs", *given.langs]
    try:
        done = measure(command, own_environment(threads=given.threads, device="cpu"))
    except ProcessFailedError as error:
        sys.exit(f"{contender} {precision}: {error}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    load = os.getloadavg()[0]
    print(
        f"{contender} {precision}: {done.cpu_seconds:.0f} CPU s, load {load:.1f}", file=sys.stderr
    )
    return report | {"peak_bytes": done.peak_rss_bytes, "load_average": load}


def print_tables(results: dict[str, dict[str, Any]], given: argparse.Namespace) -> None:
    print("| what | load CPU s | peak GB when loaded | at the end |")
    print("| --- | ---: | ---: | ---: |")
    for name, report in results.items():
        loaded = report["loaded_peak_bytes"]
        shown = "?" if loaded is None else f"{loaded / 1e9:.2f}"
        at_the_end = f"{report['peak_bytes'] / 1e9:.2f}"
        print(f"| {name} | {report['load_cpu_seconds']:.2f} | {shown} | {at_the_end} |")
    print(
        "\n| batch | precision | ours, CPU s | transformers, CPU s | | first, ours | | same bits |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for precision in given.precision:
        ours, theirs = (results[f"{name} {precision}"]["batches"] for name in CONTENDERS)
        for batch, mine in ours.items():
            other = theirs[batch]
            ratio = other["cpu_seconds"] / mine["cpu_seconds"]
            print(
                f"| {batch} | {precision} | {mine['cpu_seconds']:.3f} | {other['cpu_seconds']:.3f} "
                f"| {ratio:.2f} x | {mine['first_cpu_seconds']:.2f} "
                f"| {other['first_cpu_seconds']:.2f} "
                f"| {'yes' if mine['sha256'] == other['sha256'] else 'no'} |"
            )


if __name__ == "__main__":
    main()

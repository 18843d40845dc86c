"""Measures what preparing a large text costs, beside `datasets`' own plain tokenisation of it.

usage: python scripts/benchmarks/corpus.py --size 1GB [--base DIR] [--folder DIR] [--skip-datasets]
           [--json]

Makes the text (the same for one size), then runs one after another, each in a process of its own
with an empty cache: our preparation (read, clean, de-duplicate, split, tokenise, pack), its second
start, and `load_dataset("text")` with `map(tokenizer, batched=True)`. They are measured from
outside: CPU seconds and the peak of the resident memory of all their processes together, in which a
page that two of them map counts twice. MB are of the text, 10^6 bytes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from made_text import write_made_text

import xmod_extend

TINY = Path(xmod_extend.__file__).parent / "bases" / "tiny"
UNITS = {"MB": 10**6, "GB": 10**9}
SECONDS_BETWEEN_LOOKS = 0.1


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one run took."""

    name: str
    wall_seconds: float
    cpu_seconds: float
    mb_per_second: float
    mb_per_cpu_second: float
    peak_mb: int
    """Resident, of the process and all its descendants together."""
    peak_anonymous_mb: int
    """The part of it that is no page of a file."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="100MB", help="of the text, such as 500MB or 10GB")
    parser.add_argument("--base", type=Path, default=TINY, help="folder with the tokenizer")
    parser.add_argument("--folder", type=Path, help="where the text and the caches are put")
    parser.add_argument("--skip-datasets", action="store_true", help="measure only our own")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--run", choices=RUNS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        RUNS[given.run](given.folder / "text.txt", given.base, given.folder)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        costs = measure_all(Path(folder), given.base, parse_size(given.size), given.skip_datasets)
    if given.json:
        print(json.dumps([dataclasses.asdict(cost) for cost in costs], indent=1))
        return
    print("| what | wall s | CPU s | MB/s | MB per CPU s | peak MB | of it anonymous |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for cost in costs:
        print(
            f"| {cost.name} | {cost.wall_seconds:.1f} | {cost.cpu_seconds:.1f} "
            f"| {cost.mb_per_second:.1f} | {cost.mb_per_cpu_second:.1f} | {cost.peak_mb:,} "
            f"| {cost.peak_anonymous_mb:,} |"
        )


def parse_size(text: str) -> int:
    match = re.fullmatch(r"([\d.]+)(MB|GB)", text)
    if match is None:
        raise SystemExit(f"--size is {text!r}; it must be like 500MB or 10GB.")
    return round(float(match[1]) * UNITS[match[2]])


def measure_all(folder: Path, base: Path, num_bytes: int, skip_datasets: bool) -> list[Cost]:
    text = folder / "text.txt"
    write_made_text(text, num_bytes)
    # A file that was changed in the last seconds is hashed again by the second start.
    time.sleep(3)
    wanted = [("xmod-extend", "own"), ("xmod-extend, second start", "own")]
    if not skip_datasets:
        wanted.append(("datasets, plain", "datasets"))
    costs = []
    for name, run in wanted:
        if run == "datasets":
            shutil.rmtree(folder / "own", ignore_errors=True)
        arguments = ["--run", run, "--folder", folder, "--base", base]
        costs.append(
            measure(name, [sys.executable, __file__, *map(str, arguments)], num_bytes, folder)
        )
    return costs


def measure(name: str, command: list[str], num_bytes: int, folder: Path) -> Cost:
    """Runs a command and looks at its processes while it runs."""
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(folder / "datasets"),
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    # Its stdout is no result, and must not get into the JSON.
    process = subprocess.Popen(command, env=environment, stdout=sys.stderr)
    peak = peak_anonymous = 0
    while process.poll() is None:
        sizes = [resident_mb(pid) for pid in descendants(process.pid)]
        peak = max(peak, sum(total for total, _ in sizes))
        peak_anonymous = max(peak_anonymous, sum(anonymous for _, anonymous in sizes))
        time.sleep(SECONDS_BETWEEN_LOOKS)
    wall = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{name} ended with {process.returncode}.")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(
        name=name,
        wall_seconds=wall,
        cpu_seconds=cpu,
        mb_per_second=num_bytes / 1e6 / wall,
        mb_per_cpu_second=num_bytes / 1e6 / cpu,
        peak_mb=peak,
        peak_anonymous_mb=peak_anonymous,
    )


def descendants(pid: int) -> Iterator[int]:
    """The process and all that it started, as far as they live."""
    yield pid
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from descendants(int(child))
    except OSError:
        return


def resident_mb(pid: int) -> tuple[int, int]:
    """A process's resident memory, and the part of it that is no file's."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    kilobytes = dict(re.findall(r"(VmRSS|RssAnon):\s+(\d+)", status))
    return int(kilobytes.get("VmRSS", 0)) >> 10, int(kilobytes.get("RssAnon", 0)) >> 10


def run_own(text: Path, base: Path, folder: Path) -> None:
    """Our preparation, and a few batches, so that what reading them takes is seen too."""
    from xmod_extend.text.corpus import read_corpus
    from xmod_extend.tokens.packing import PackedBlocks
    from xmod_extend.tokens.tokenised import tokenize
    from xmod_extend.tokens.tokenizer import load_tokenizer

    corpus = read_corpus([text], cache_dir=folder / "own")
    tokenizer = load_tokenizer(base, vocab_size=1 << 30)
    tokenize(corpus.held_out, tokenizer)
    tokens = tokenize(corpus.train, tokenizer)
    batches = PackedBlocks(tokens, max_length=128, bos_id=tokenizer.bos_id).batches(32, seed=0)
    for _ in range(200):
        next(batches)


def run_datasets(text: Path, base: Path, folder: Path) -> None:
    """What one would write without this package, on as many processes."""
    import datasets
    import transformers

    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(base)
    rows = datasets.load_dataset("text", data_files=str(text), split="train")
    cores = len(os.sched_getaffinity(0))
    if cores > 1:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    rows.map(
        lambda batch: {"input_ids": tokenizer(batch["text"])["input_ids"]},
        batched=True,
        remove_columns=["text"],
        num_proc=cores if cores > 1 else None,
    )


RUNS = {"own": run_own, "datasets": run_datasets}

if __name__ == "__main__":
    main()

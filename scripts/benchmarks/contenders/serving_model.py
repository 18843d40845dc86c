"""Loads a checkpoint for serving and answers batches: by `xmod_extend.load`, or by transformers.

One process measures one of the two, in this order: loading, a first batch of each kind, and then
some more of it. The logits of the first batches are hashed, so that the driver can compare them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers.models.xmod import modeling_xmod

from xmod_extend.model.tasks import CLASSES

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
BATCHES = {"1x32": (1, 32, 1), "8x128": (8, 128, 1), "8x128 mixed": (8, 128, 2)}
"""Sequences, tokens of each, and how many languages are in the batch."""


def main() -> None:
    given = parse_arguments()
    torch.set_num_threads(given.threads)
    warnings.simplefilter("ignore")
    before = time.process_time(), time.perf_counter()
    imported = time.process_time()
    model, ids_of = load(given)
    after = time.process_time(), time.perf_counter()
    report: dict[str, Any] = {
        "import_cpu_seconds": imported,
        "load_cpu_seconds": after[0] - before[0],
        "load_wall_seconds": after[1] - before[1],
        "loaded_peak_bytes": peak_bytes(),
        "versions": {name: version(name) for name in ("torch", "transformers")},
        "batches": {},
    }
    for name, (rows, length, num_languages) in BATCHES.items():
        codes = [given.langs[row % num_languages] for row in range(rows)]
        report["batches"][name] = measure(model, ids_of(codes), rows, length, given.repeat)
    print(json.dumps(report))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--contender", choices=("ours", "transformers"), required=True)
    parser.add_argument("--precision", choices=DTYPES, required=True)
    parser.add_argument("--task", choices=CLASSES, required=True)
    parser.add_argument("--langs", nargs=2, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--repeat", type=int, required=True)
    return parser.parse_args()


def load(given: argparse.Namespace) -> tuple[Any, Callable[[Sequence[str]], torch.Tensor]]:
    """The model, and what makes its ids of codes."""
    dtype = DTYPES[given.precision]
    torch.manual_seed(0)  # of a head that the checkpoint lacks
    model: Any
    if given.contender == "ours":
        from xmod_extend import load as load_languages

        model = load_languages(given.base, given.langs, given.task, dtype=dtype)
    else:
        kind = getattr(modeling_xmod, CLASSES[given.task])
        model = kind.from_pretrained(given.base, dtype=dtype)
    languages = list(model.config.languages)
    return model, lambda codes: torch.tensor([languages.index(code) for code in codes])


@torch.inference_mode()
def measure(
    model: Any, lang_ids: torch.Tensor, rows: int, length: int, repeat: int
) -> dict[str, Any]:
    """The time of a batch: of the first one, and the median of those after it."""
    # A small base for trying this out reads less.
    length = min(length, model.config.max_position_embeddings - 2)
    generator = torch.Generator().manual_seed(rows)
    ids = torch.randint(4, model.config.vocab_size - 1, (rows, length), generator=generator)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "lang_ids": lang_ids}
    cpu, wall, digest = [], [], ""
    for number in range(1 + repeat):
        started = time.process_time(), time.perf_counter()
        first = model(**inputs)[0]
        cpu.append(time.process_time() - started[0])
        wall.append(time.perf_counter() - started[1])
        if number == 0:
            digest = hashlib.sha256(first.contiguous().view(torch.uint8).numpy().data).hexdigest()
        del first
    return {
        "first_cpu_seconds": cpu[0],
        "cpu_seconds": statistics.median(cpu[1:]),
        "wall_seconds": statistics.median(wall[1:]),
        "sha256": digest,
    }


def peak_bytes() -> int | None:
    """Most memory resident so far; None where there is no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    return int(found[1]) * 1024 if found else None


if __name__ == "__main__":
    main()

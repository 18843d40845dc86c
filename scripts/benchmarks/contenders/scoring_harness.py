"""What the contenders of scoring.py share: their arguments, what they measure, their report.

A contender runs in an environment of its own, so this needs nothing but PyTorch.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

METRICS = ("pll", "within_word_l2r")


def parse_arguments() -> tuple[argparse.Namespace, list[str]]:
    """The options, and the sentences."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--language", required=True)
    parser.add_argument("--sentences", type=Path, required=True, help="one a line")
    parser.add_argument("--metric", choices=(*METRICS, "forward"), required=True)
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, default=1, help="sentences at a time (minicons)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    return given, given.sentences.read_text(encoding="utf-8").splitlines()


def report(
    given: argparse.Namespace,
    sentences: Sequence[str],
    prepare: Callable[[Sequence[str]], Callable[[], tuple[list[list[float]], int]]],
    versions: dict[str, str],
) -> None:
    """Scores a few sentences and then all; prints what all took as one JSON object.

    Args:
        prepare: From sentences to what scores them, and is timed. That returns each one's scores of
            its tokens, in nats and below 0, and the number of rows that the model read; no scores
            where nothing is scored.
    """
    # What is only done once, such as choosing kernels, is behind it then.
    prepare(sentences[: max(1, len(sentences) // 10)])()
    score = prepare(sentences)
    wait(given)
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(given.repeat):
        scores, rows = score()
    wait(given)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    on_gpu = given.device == "cuda"
    print(
        json.dumps(
            {
                "rows": rows,
                "cpu_seconds": cpu / given.repeat,
                "wall_seconds": wall / given.repeat,
                "scores": scores,
                "versions": versions | {"torch": torch.__version__},
                "gpu": torch.cuda.get_device_name() if on_gpu else None,
                "peak_gpu_bytes": torch.cuda.max_memory_allocated() if on_gpu else None,
            }
        )
    )


def wait(given: argparse.Namespace) -> None:
    if given.device == "cuda":
        torch.cuda.synchronize()

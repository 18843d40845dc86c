"""Measures how long the products of a training step take by themselves: the limit of any loop.

usage: python rates.py --config FILE --batch-size B --max-length T --num-masked N
           --dtype fp32|bf16 --device cpu|cuda --threads N

Every distinct product is measured alone, with its factors lying in memory as they do in a step and
its result already allocated. So caches are as warm as they can be: no loop is faster than this.
Prints one JSON object; seconds are CPU seconds on a processor and wall seconds on a GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch
from flops import Product, Shape, needed_products

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FEWEST_REPETITIONS = 3
MOST_REPETITIONS = 50
ENOUGH_SECONDS = 0.3
"""Of one product, after which no further repetition is needed."""
PRODUCTS_AT_ONCE = 10
"""Started on a GPU before the host waits for them, so that the waiting does not count."""


def seconds_of(product: Product, dtype: torch.dtype, device: torch.device) -> float:
    """Median time of the product once, its `count` left aside."""
    left = _factor(product.batch, product.m, product.k, product.left_transposed, dtype, device)
    right = _factor(product.batch, product.k, product.n, product.right_transposed, dtype, device)
    multiply = torch.mm if product.batch == 1 else torch.bmm
    result = multiply(left, right)
    times: list[float] = []
    at_once = PRODUCTS_AT_ONCE if device.type == "cuda" else 1
    while len(times) < FEWEST_REPETITIONS or (
        sum(times) < ENOUGH_SECONDS and len(times) < MOST_REPETITIONS
    ):
        began = _now(device)
        for _ in range(at_once):
            multiply(left, right, out=result)
        times.append((_now(device) - began) / at_once)
    return statistics.median(times)


def _factor(
    batch: int, rows: int, columns: int, transposed: bool, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    sizes = (batch, columns, rows) if transposed else (batch, rows, columns)
    factor = torch.randn(sizes, device=device, dtype=dtype)
    factor = factor.mT if transposed else factor
    return factor[0] if batch == 1 else factor


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def measure_step(
    products: list[Product], dtype: torch.dtype, device: torch.device
) -> dict[str, object]:
    """The time of one step's products, in all and by kind."""
    counts: dict[Product, int] = {}
    for product in products:
        kind = replace(product, part="", count=1)
        counts[kind] = counts.get(kind, 0) + product.count
    rows = []
    for kind, count in counts.items():
        seconds = seconds_of(kind, dtype, device)
        rows.append(
            {
                "m": kind.m,
                "k": kind.k,
                "n": kind.n,
                "batch": kind.batch,
                "left_transposed": kind.left_transposed,
                "right_transposed": kind.right_transposed,
                "count": count,
                "seconds": seconds,
                "gflop_per_second": kind.flops / seconds / 1e9,
            }
        )
    return {
        "seconds_per_step": sum(row["seconds"] * row["count"] for row in rows),
        "products": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    for name in ("--batch-size", "--max-length", "--num-masked", "--threads"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--dtype", choices=DTYPES, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    shape = Shape.of(
        json.loads(given.config.read_text()),
        batch_size=given.batch_size,
        max_length=given.max_length,
        num_masked=given.num_masked,
    )
    products = needed_products(shape)
    print(json.dumps(measure_step(products, DTYPES[given.dtype], torch.device(given.device))))


if __name__ == "__main__":
    main()

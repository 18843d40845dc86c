"""Measures how near duplicates are found, beside MinHash as datasketch and rensa have it.

usage: python scripts/benchmarks/near_duplicates.py [--size 100MB] [--seed 0]

The training text is made; the held-out text is 200 kB of it, from another seed. One line of each
hundred is a changed copy of a held-out line: some of its letters are replaced, a word of three, or
it stands inside a line five times as long. Each way finds in one process which held-out lines are
nearly repeated: CPU seconds, the share of the planted ones that it finds, and how many more.
MinHash has 128 permutations over the same n-grams, with the Jaccard threshold given. datasketch and
rensa are measured where they are installed; with a size of more than 10 MB datasketch is measured
on the first 10 MB, and its time multiplied.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import time
from collections.abc import Callable, Iterator

from made_text import made_text

from xmod_extend.text.near_duplicates import NGRAM, NearIndex

HELD_OUT_BYTES = 200_000
THRESHOLD = 0.5
"""Jaccard index of MinHash: a copy with 60 % of a line's n-grams has less."""
NUM_PERMUTATIONS = 128
SLOW_BYTES = 10_000_000
UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9}

Find = Callable[[list[str], Iterator[list[str]]], set[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="100MB", help="of the training text")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    num_bytes = int(float(given.size[:-2]) * UNITS[given.size[-2:]])
    held_out = [
        line
        for block in made_text(HELD_OUT_BYTES, seed=given.seed + 1)
        for line in block.decode().splitlines()
        if len(line) > 60
    ]
    print("| what | CPU s for 100 MB | planted ones found | others |")
    print("| --- | ---: | ---: | ---: |")
    ways: dict[str, tuple[Find, int]] = {"ours": (find_ours, num_bytes)}
    if importlib.util.find_spec("rensa"):
        ways["rensa, MinHash"] = (find_with_rensa, num_bytes)
    if importlib.util.find_spec("datasketch"):
        ways["datasketch, MinHash"] = (find_with_datasketch, min(num_bytes, SLOW_BYTES))
    for name, (find, size) in ways.items():
        planted: set[int] = set()
        blocks = list(plant(size, held_out, planted, seed=given.seed))
        start = time.process_time()
        found = find(held_out, iter(blocks))
        seconds = (time.process_time() - start) * 10**8 / size
        hits = len(found & planted) / len(planted)
        print(f"| {name} | {seconds:.0f} | {hits:.1%} | {len(found - planted)} |", flush=True)


def plant(
    num_bytes: int, held_out: list[str], planted: set[int], *, seed: int
) -> Iterator[list[str]]:
    """Yield blocks of lines, one of each hundred a changed copy, of the first half of the held-out
    lines."""
    rng = random.Random(seed)
    for block in made_text(num_bytes, seed=seed):
        lines = block.decode().splitlines()
        for row in range(0, len(lines), 100):
            line = rng.randrange(len(held_out) // 2)
            planted.add(line)
            lines[row] = change(held_out[line], lines[row + 1 : row + 5], rng)
        yield lines


def change(line: str, others: list[str], rng: random.Random) -> str:
    """Return a changed copy of a line."""
    kind = rng.randrange(3)
    if kind == 0:
        return "".join(rng.choice("aiu") if rng.random() < 0.04 else c for c in line)
    if kind == 1:
        words = line.split(" ")
        words[rng.randrange(len(words))] = "sañu"
        return " ".join(words).upper()
    return " ".join([*others[:2], line, *others[2:]])


def find_ours(held_out: list[str], blocks: Iterator[list[str]]) -> set[int]:
    """Find them by the index of rare n-grams."""
    index = NearIndex(held_out)
    return {near.held_out for lines in blocks for near in index.find(lines)}


def ngrams(line: str) -> set[str]:
    """Return a line's n-grams without case, spaces and signs."""
    letters = "".join(filter(str.isalnum, line.casefold()))
    return {letters[i : i + NGRAM] for i in range(max(1, len(letters) - NGRAM + 1))}


def find_with_datasketch(held_out: list[str], blocks: Iterator[list[str]]) -> set[int]:
    """Find them by MinHash and locality-sensitive hashing in Python and numpy."""
    from datasketch import MinHash, MinHashLSH

    def sign(line: str) -> MinHash:
        signature = MinHash(num_perm=NUM_PERMUTATIONS)
        signature.update_batch([ngram.encode() for ngram in ngrams(line)])
        return signature

    index = MinHashLSH(threshold=THRESHOLD, num_perm=NUM_PERMUTATIONS)
    for number, line in enumerate(held_out):
        index.insert(number, sign(line))
    return {number for lines in blocks for line in lines for number in index.query(sign(line))}


def find_with_rensa(held_out: list[str], blocks: Iterator[list[str]]) -> set[int]:
    """Find them by MinHash and locality-sensitive hashing in Rust."""
    from rensa import RMinHash, RMinHashLSH

    def sign(line: str) -> RMinHash:
        signature = RMinHash(num_perm=NUM_PERMUTATIONS, seed=42)
        signature.update(list(ngrams(line)))
        return signature

    index = RMinHashLSH(threshold=THRESHOLD, num_perm=NUM_PERMUTATIONS, num_bands=32)
    for number, line in enumerate(held_out):
        index.insert(number, sign(line))
    return {number for lines in blocks for line in lines for number in index.query(sign(line))}


if __name__ == "__main__":
    main()

"""Text of any size that a benchmark can make again: words by Zipf's law, in lines of 8 to 21.

Written block by block, so that 10 GB take little memory. About 2 % of the lines repeat earlier
ones, near and far, and about 1 % are empty.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np

NUM_WORDS = 50_000
COMPOUNDS = 0.03
"""Of the words, the share that is joined to the next one: new words never end, as in a language."""

BLOCK_WORDS = 1 << 18
REPEATED_LINES = 0.02
EMPTY_LINES = 0.01
KEPT_BLOCKS = 64
"""From that many of the first blocks' lines the repeated ones are taken."""

_ONSETS = "p t k q s h ll m n ñ w y ch r p' t' k' b d g j v z br tr gr sh l f pl".split()
_VOWELS = "a i u e o aa ä ö á í".split()


def made_text(num_bytes: int, *, seed: int = 0) -> Iterator[bytes]:
    """Blocks of whole lines, `num_bytes` altogether to within one line; the same for one seed."""
    draw = np.random.default_rng(seed)
    # Padded with zero bytes, so that numpy can gather them; then the zero bytes are deleted.
    made = _words(seed)
    words = np.array(
        [*(f"{word} ".encode() for word in made), *(word.encode() for word in made), b"\n"]
    )
    line_end = len(words) - 1
    # A table with each word as often as Zipf's law says makes a draw one look-up.
    shares = 1 / np.arange(1, NUM_WORDS + 1) ** 1.05
    ranks = np.searchsorted(np.cumsum(shares) / shares.sum(), np.linspace(0, 1, 1 << 20, False))
    table = ranks.astype(np.int32)
    kept: list[bytes] = []
    left = num_bytes
    while left > 0:
        ids = table[draw.integers(0, len(table), BLOCK_WORDS, dtype=np.uint32)]
        ids[draw.random(BLOCK_WORDS, dtype=np.float32) < COMPOUNDS] += NUM_WORDS
        ends = np.cumsum(draw.integers(8, 22, BLOCK_WORDS // 8))
        ends = ends[ends < BLOCK_WORDS - 1]
        ids[ends] = line_end
        ids[ends[draw.random(len(ends)) < EMPTY_LINES] + 1] = line_end
        ids[-1] = line_end
        block = words[ids].tobytes().translate(None, b"\0").replace(b" \n", b"\n")
        if kept:
            block += kept[int(draw.integers(len(kept)))]
        if len(kept) < KEPT_BLOCKS:
            start = block.index(b"\n", len(block) // 2) + 1
            kept.append(block[start : block.index(b"\n", start + int(2e-2 * len(block))) + 1])
        if len(block) > left:
            block = block[: block.index(b"\n", left - 1) + 1]
        left -= len(block)
        yield block


def write_made_text(path: Path, num_bytes: int, *, seed: int = 0) -> None:
    """Writes `made_text` to a file."""
    with path.open("wb") as file:
        for block in made_text(num_bytes, seed=seed):
            file.write(block)


def _words(seed: int) -> list[str]:
    """Different words of one to five syllables, the shorter ones the more frequent."""
    draw = random.Random(seed)
    made: dict[str, None] = {}
    while len(made) < NUM_WORDS:
        most = 2 + 4 * len(made) // NUM_WORDS
        syllables = draw.randint(1, most)
        word = "".join(draw.choice(_ONSETS) + draw.choice(_VOWELS) for _ in range(syllables))
        made[unicodedata.normalize("NFC", word)] = None
    return list(made)

"""What the grammars share: their vocabulary files, reproducible choices, finished sentences."""

import random
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")

SLOT = re.compile(r"\{([^{}]+)\}")


class Dice:
    """Seeded choices that stay the same on every Python version.

    Only `random.Random.random()` promises the same stream across versions, so every choice is
    derived from it.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def chance(self, probability: float) -> bool:
        """Returns True with the given probability."""
        return self._random.random() < probability

    def below(self, stop: int) -> int:
        """Draws an integer from 0 to `stop - 1`."""
        return int(self._random.random() * stop)

    def one(self, items: Sequence[Item]) -> Item:
        """Draws one item, each with the same probability."""
        return items[self.below(len(items))]

    def weighted(self, options: Sequence[tuple[Item, float]]) -> Item:
        """Draws one item in proportion to its weight."""
        point = self._random.random() * sum(weight for _, weight in options)
        for item, weight in options:
            point -= weight
            if point < 0:
                return item
        return options[-1][0]

    def shuffle(self, items: list[Item]) -> None:
        """Shuffles in place (Fisher-Yates)."""
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]


def entries(text: str) -> list[str]:
    """Splits a vocabulary block at its commas; line ends inside an entry are spaces."""
    return [" ".join(entry.split()) for entry in text.split(",") if entry.strip()]


def read_words(language: str) -> dict[str, Any]:
    """Reads a language's vocabulary: values of several lines are word lists, others stay as is."""
    text = (Path(__file__).parent / "words" / f"{language}.toml").read_text(encoding="utf-8")

    def split(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: split(inner) for key, inner in value.items()}
        return entries(value) if "\n" in value else value

    return {key: split(value) for key, value in tomllib.loads(text).items()}


def fill(template: str, write_slot: Callable[[str], str]) -> str:
    """Replaces each `{slot}` of a template, from left to right."""
    return SLOT.sub(lambda match: write_slot(match.group(1)), template)


def finish(*parts: str, end: str = ".") -> str:
    """Makes a sentence of its parts, some of which may be empty: a capital and the closing mark."""
    text = " ".join(" ".join(parts).split())
    text = re.sub(r" ([,;:.?!])", r"\1", text)
    first = next(i for i, letter in enumerate(text) if letter.isalpha())
    return text[:first] + text[first].upper() + text[first + 1 :] + end

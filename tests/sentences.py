"""Text for the tests: made-up words, and sentences of them."""

from __future__ import annotations

import random

CONSONANTS, VOWELS = "kmnprstwy", "aiu"
SYLLABLES = [consonant + vowel for consonant in CONSONANTS for vowel in VOWELS]


def make_words(count: int, seed: int) -> list[str]:
    """Words of two to four syllables."""
    rng = random.Random(seed)
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(rng.choices(SYLLABLES, k=rng.randint(2, 4)))] = None
    return list(words)


def make_sentences(count: int, seed: int = 0) -> list[str]:
    """Different sentences in which each word tells something about the next."""
    rng = random.Random(seed)
    words = make_words(60, seed=5)
    sentences: dict[str, None] = {}
    while len(sentences) < count:
        position = rng.randrange(len(words))
        sentence = []
        for _ in range(rng.randint(5, 12)):
            sentence.append(words[position])
            position = (position + rng.randint(1, 3)) % len(words)
        sentences[" ".join(sentence).capitalize() + "."] = None
    return list(sentences)

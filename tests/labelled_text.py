"""Labelled text in a made-up language, in which each word has one right label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sentences import make_sentences

TAGS = ("NOUN", "VERB", "ADJ")


def tag_of(word: str) -> str:
    return TAGS[sum(map(ord, word.lower())) % len(TAGS)]


def labelled_sentences(count: int, *, seed: int) -> list[tuple[list[str], list[str]]]:
    """Words and their labels, sentence by sentence."""
    sentences = [sentence.split()[:6] for sentence in make_sentences(count, seed=seed)]
    return [(words, [tag_of(word) for word in words]) for words in sentences]


def write_columns(path: Path, sentences: list[tuple[list[str], list[str]]]) -> Path:
    """A word and its label a line."""
    blocks = ["".join(f"{word}\t{tag}\n" for word, tag in zip(*each, strict=True))
              for each in sentences]  # fmt: skip
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


def write_conllu(path: Path, sentences: list[tuple[list[str], list[str]]]) -> Path:
    """CoNLL-U with nothing but words and their tags."""
    blocks = [
        "".join(
            f"{number}\t{word}\t_\t{tag}" + "\t_" * 6 + "\n"
            for number, (word, tag) in enumerate(zip(words, tags, strict=True), start=1)
        )
        for words, tags in sentences
    ]
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


def write_spans(path: Path, count: int, *, seed: int) -> Path:
    """Names of two kinds: a word with an a at its beginning, and one behind it."""
    sentences = []
    for words, tags in labelled_sentences(count, seed=seed):
        labels, before = [], "O"
        for tag in tags:
            kind = {"NOUN": "PER", "VERB": "LOC"}.get(tag)
            inside = before.endswith(kind or "-") and before != "O"
            before = "O" if kind is None else f"{'I' if inside else 'B'}-{kind}"
            labels.append(before)
        sentences.append((words, labels))
    return write_columns(path, sentences)


def write_table(path: Path, count: int, *, seed: int, is_pair: bool = False) -> Path:
    """A class for each sentence, or for each pair of them, by its first word."""
    random = np.random.default_rng(seed)
    rows = ["premise\thypothesis\tlabel" if is_pair else "category\ttext"]
    for words, tags in labelled_sentences(count, seed=seed):
        text = " ".join(words)
        if is_pair:
            same = bool(random.integers(2))
            rows.append(f"{text}\t{text if same else words[-1]}\t{int(same)}")
        else:
            rows.append(f"{tags[0]}\t{text}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path

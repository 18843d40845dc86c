"""Test sentences in a training text are found, whatever their case, punctuation and spaces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from xmod_extend.text.leaks import find_leaks
from xmod_extend.text.sources import find_sources


def test_a_sentence_is_found_as_any_tokeniser_writes_it(
    write_lines: Callable[..., Path],
) -> None:
    corpus = write_lines(["Otra línea.", "«Wasiykiqa, hatun!»", "¿Maypi kanki?"])
    sentences = [
        ("wasiykiqa , hatun !",),
        ("Wasiykiqa hatunmi.",),
        ("nada", "Maypi kanki"),
        ("...",),
    ]
    assert find_leaks(sentences, find_sources([corpus])).exact == (0, 2)


def test_a_sentence_that_a_line_nearly_repeats_is_told_apart(
    write_lines: Callable[..., Path],
) -> None:
    sentence = "Llaqta umalliqkuna kunan p'unchaw hatun huñunakuypi rimanakunku"
    corpus = write_lines([f"Chaymanta {sentence} nispa willakun.", "Huk rimay.", "Iskay"])
    found = find_leaks(
        [(sentence,), ("Manam kaypichu tarikun kay hatun simi",)], find_sources([corpus])
    )
    assert (found.exact, found.near) == ((), (0,))
    assert found.all == {0}

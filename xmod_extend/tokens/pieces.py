"""The text that each token of a line stands for."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from xmod_extend.tokens.blocks import Ids

if TYPE_CHECKING:
    from xmod_extend.tokens.tokenizer import LoadedTokenizer

SPACE_MARK = "▁"
"""Stands for a space in the pieces of XLM-R's kind."""


def cut_line(line: str, ids: Ids, tokenizer: LoadedTokenizer) -> tuple[str, ...]:
    """Return the text of each token of a line.

    Joined, they are the line as it was written, with the letters of unknown tokens. A token that
    shares a character with the one before it has no text. Where a line was changed before it was
    cut, as one with the name of a special token is, they are the pieces of the vocabulary.

    Args:
        line: A line of cleaned text.
        ids: Its tokens, (N,), without special ones.
    """
    encoding = tokenizer.tokenizer.backend_tokenizer.encode(line, add_special_tokens=False)
    if encoding.ids != ids.tolist():
        names = tokenizer.tokenizer.convert_ids_to_tokens(ids.tolist())
        return tuple(piece_text(name) for name in names)
    starts = [0, *(start for start, _ in encoding.offsets[1:])][: len(ids)]
    bounds = [*accumulate(starts, max), len(line)]
    return tuple(_space_first([line[start:end] for start, end in pairwise(bounds)]))


def piece_text(piece: str) -> str:
    """Return the text that a piece of the vocabulary stands for."""
    return piece.replace(SPACE_MARK, " ")


def _space_first(pieces: Iterable[str]) -> list[str]:
    """Return the pieces with the spaces behind a piece before the next one instead."""
    moved: list[str] = []
    space = ""
    for piece in pieces:
        shown = piece.rstrip(" ") or piece
        moved.append(space + shown)
        space = piece[len(shown) :]
    return [*moved[:-1], *(last + space for last in moved[-1:])]

"""The text that each token of a line stands for."""

from __future__ import annotations

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
    return tuple(_space_first(line, bounds))


def piece_text(piece: str) -> str:
    """Return the text that a piece of the vocabulary stands for."""
    return piece.replace(SPACE_MARK, " ")


def _space_first(line: str, bounds: list[int]) -> list[str]:
    """Cut a line at these places, but before a space rather than behind it."""
    moved = [
        bound if bound in (0, len(line)) else len(line[:bound].rstrip(" ")) for bound in bounds
    ]
    return [line[start:end] for start, end in pairwise(accumulate(moved, max))]

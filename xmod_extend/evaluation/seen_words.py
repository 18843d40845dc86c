"""Scores of tokens of words that the training text has, and of words that it never has.

A held-out text shares most of its words with the training text; how well the others are guessed
shows what was learnt beside words. A token is of the word that it begins in, as
`statistics.count_words` sees words; signs and spaces alone are of none.

    C  characters of a text
    N  scored tokens
    W  tokens of a document, without its `</s>`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.parts import PartScore, score_part
from xmod_extend.evaluation.words import SPACE_MARK
from xmod_extend.text.code_points import Hashes
from xmod_extend.text.overlap import Overlap
from xmod_extend.text.unseen_words import find_words_with_hashes
from xmod_extend.tokens.blocks import Ids
from xmod_extend.tokens.tokenised import TokenisedText

Kinds = npt.NDArray[np.int8]


class Kind(IntEnum):
    """What a token is of."""

    NONE = 0
    SEEN = 1
    UNSEEN = 2


@dataclass(frozen=True, kw_only=True)
class SeenWords:
    """Held-out words by whether they are in the training text, in any case of their letters."""

    num_words: int
    """Words of the held-out text."""
    num_unseen: int
    """Those of them that the training text never has."""
    share_unseen: float
    is_sample: bool
    """Whether only a sample of the training text was looked through; some words that count as
    unseen may then be in the rest."""
    seen: PartScore
    unseen: PartScore

    def describe(self) -> str:
        """Return the figures in a sentence."""
        never = "a sample of the training text" if self.is_sample else "the training text"
        found = f"{self.share_unseen:.1%} of the held-out words are not in {never}"
        seen, unseen = self.seen, self.unseen
        if None in (seen.before, seen.after, unseen.before, unseen.after):
            return found
        return (
            f"{found}: perplexity {unseen.after:,.1f} on these (before {unseen.before:,.1f}), "
            f"{seen.after:,.1f} on the others (before {seen.before:,.1f})"
        )


def score_seen_words(
    overlap: Overlap, kinds: Kinds, before: TokenLosses, after: TokenLosses
) -> SeenWords:
    """Sum up losses by the kind of the token's word.

    Args:
        overlap: Of the training and the held-out side.
        kinds: `(N,)`, of each scored token.
        before: With the best existing adapter.
        after: With the new one, on the same tokens.
    """
    return SeenWords(
        num_words=overlap.num_words,
        num_unseen=overlap.num_unseen,
        share_unseen=overlap.num_unseen / max(1, overlap.num_words),
        is_sample=overlap.train_every > 1,
        seen=score_part(kinds == Kind.SEEN, before, after),
        unseen=score_part(kinds == Kind.UNSEEN, before, after),
    )


def find_kinds(
    places: Ids,
    tokens: TokenisedText,
    lines: Iterable[str],
    *,
    pieces: Callable[[list[int]], list[str]],
    unseen: Hashes,
) -> Kinds:
    """Return the kind of each scored token, `(N,)`.

    Args:
        places: `(N,)`, where each stands in the tokens of the text.
        tokens: Of the held-out text, a document a line.
        lines: The same text.
        pieces: Returns the pieces of ids.
        unseen: Hashes of words that the training text never has.
    """
    ends = np.cumsum(tokens.document_sizes(), dtype=np.int64)
    needed = np.unique(np.searchsorted(ends, places, side="right"))
    kinds = np.zeros(len(places), dtype=np.int8)
    for document, line in _choose(lines, needed):
        start, end = int(ends[document - 1]) if document else 0, int(ends[document]) - 1
        inside = (places >= start) & (places < end)
        own = pieces(tokens.read(start, end - start).tolist())
        kinds[inside] = _kinds_of_line(line, own, unseen)[places[inside] - start]
    return kinds


def _choose(lines: Iterable[str], needed: Ids) -> Iterator[tuple[int, str]]:
    wanted = set(needed.tolist())
    return ((number, line) for number, line in enumerate(lines) if number in wanted)


def _kinds_of_line(line: str, pieces: Sequence[str], unseen: Hashes) -> Kinds:
    """Return the kind of each token of a line, `(W,)`."""
    kinds = np.zeros(len(pieces), dtype=np.int8)
    starts, ends, hashes = find_words_with_hashes(line)
    characters = np.zeros(len(line) + 1, dtype=np.int8)
    for start, end, is_unseen in zip(
        starts.tolist(), ends.tolist(), np.isin(hashes, unseen).tolist(), strict=True
    ):
        characters[start:end] = Kind.UNSEEN if is_unseen else Kind.SEEN
    begins = [i for i, piece in enumerate(pieces) if piece.startswith(SPACE_MARK)]
    chunks = line.split(" ")
    if len(begins) != len(chunks) or begins[:1] != [0]:
        return kinds  # not a tokenizer that goes by spaces
    position = 0
    for first, last, chunk in zip(begins, [*begins[1:], len(pieces)], chunks, strict=True):
        own = [piece.removeprefix(SPACE_MARK) for piece in pieces[first:last]]
        part = characters[position : position + len(chunk)]
        if "".join(own) == chunk:
            place = 0
            for index, piece in enumerate(own, first):
                kinds[index] = next(
                    filter(None, part[place : max(place + 1, place + len(piece))]), 0
                )
                place += len(piece)
        else:
            # Unknown letters, or others than in the text: the word as a whole.
            kinds[first:last] = part.max(initial=0)
        position += len(chunk) + 1
    return kinds

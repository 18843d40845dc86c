"""Where words begin in a text's tokens.

Between spaces, a word is what stands there, with its punctuation: so do tokenizers of XLM-R's kind
see it, whose pieces have a mark where a space was. Scripts written without spaces have no such
words: there a word begins where the Unicode standard has a boundary, which is each ideograph, each
syllable in Tibetan, and in Thai, Lao, Khmer or Burmese, for which the standard names no boundaries
but by a dictionary, each cluster of a letter with its marks.

    V  tokens in the vocabulary
    N  tokens

Source: Unicode Standard Annex 29, section 4 (word boundaries), as the `regex` library has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import regex

from xmod_extend.tokens.blocks import Ids

Mask = npt.NDArray[np.bool_]

SPACE_MARK = "▁"
SPACELESS_SCRIPTS = (
    "Han Hiragana Katakana Bopomofo Yi Thai Lao Khmer Myanmar Tibetan Tai_Le New_Tai_Lue Tai_Tham "
    "Tai_Viet Javanese Balinese Cham"
).split()

_SPACELESS = regex.compile("|".join(rf"\p{{Script={name}}}" for name in SPACELESS_SCRIPTS))
_BOUNDARY = regex.compile(r"\b", regex.WORD)


class WordFinder:
    """Finds where words begin.

    Args:
        vocabulary: Each piece with its id.
        unknown_ids: Ids of `<unk>`: it stands for a letter.
    """

    def __init__(self, vocabulary: Mapping[str, int], unknown_ids: Sequence[int] = ()) -> None:
        size = max(vocabulary.values()) + 1
        pieces = [""] * size
        for piece, index in vocabulary.items():
            pieces[index] = piece
        for index in unknown_ids:
            pieces[index] = "x"
        self._pieces = pieces
        self._after_space = np.array([piece.startswith(SPACE_MARK) for piece in pieces])
        self._is_spaceless = np.array([bool(_SPACELESS.search(piece)) for piece in pieces])

    def begins(self, ids: Ids) -> Mask:
        """Return which tokens of a document, (N,), begin a word; the first one does."""
        begins: Mask = self._after_space[ids]
        begins[:1] = True
        if self._is_spaceless[ids].any():
            begins |= self._begins_without_space(ids)
        return begins

    def _begins_without_space(self, ids: Ids) -> Mask:
        pieces = [self._pieces[index].replace(SPACE_MARK, " ") for index in ids.tolist()]
        text = "".join(pieces)
        starts = np.cumsum([0, *map(len, pieces)])[:-1].tolist()
        boundaries = {match.start() for match in _BOUNDARY.finditer(text)}
        return np.array(
            [
                start in boundaries
                and bool(_SPACELESS.match(text[start : start + 1]) or _ends_spaceless(text, start))
                for start in starts
            ],
            dtype=np.bool_,
        )


def word_ends(begins: Mask) -> Ids:
    """Return the position behind the word of each token of a document, (N,)."""
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], begins.size)
    return np.repeat(ends, ends - starts)


def _ends_spaceless(text: str, end: int) -> bool:
    """Return whether what stands before `end` is of a script without spaces."""
    return bool(_SPACELESS.match(text[max(0, end - 1) : end]))

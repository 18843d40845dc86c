"""What is done to every line of text before anything else sees it."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import regex

from xmod_extend.text.reading import Piece, RawBlock, split_block

REPLACEMENT = "\ufffd"
"""What stands where a byte or a code unit could not be decoded."""

CLEANING_VERSION = 1
"""To be raised whenever `clean_line` gives another result for any text: caches depend on it."""

# Control characters that separate: they become spaces together with Unicode's other white space.
_SEPARATING = "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85"

# Byte-order marks, soft hyphens and the remaining C0 and C1 controls vanish. The zero-width joiner
# and non-joiner stay: they change words in Persian and in Indic scripts.
_INVISIBLE = regex.compile(rf"[\uFEFF\u00AD[\p{{Cc}}--[{_SEPARATING}]]]", regex.V1)

# Half of a surrogate pair: JSON can spell one, UTF-8 cannot.
_SURROGATE = regex.compile(r"[\uD800-\uDFFF]")


def clean_line(text: str) -> str:
    """Return the line in NFC, without controls and soft hyphens, each run of white space one space.

    The result has no leading or trailing space and may be empty. Cleaning it again changes nothing.
    Lone surrogates become U+FFFD, which `CorpusReport.replaced_characters` counts.
    """
    # What can be printed has no control and no white space but U+0020: most lines are clean, and to
    # see that is much faster than to clean them.
    if text.isprintable() and "  " not in text and text[:1] != " " != text[-1:]:
        return unicodedata.normalize("NFC", text)
    if not text.isascii():
        text = _SURROGATE.sub(REPLACEMENT, text)
    text = _INVISIBLE.sub("", text)
    # Composed after the removals: what stood on both sides of a soft hyphen may now compose.
    text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())


CUT_OVER_CHARACTERS = 20_000
_PIECE_CHARACTERS = 10_000

# Where a text without spaces may be cut: after a sentence's end in Chinese, Japanese, Indic
# scripts, Burmese, Khmer, Tibetan and Ethiopic.
_SENTENCE_ENDS = "。！？।॥။។།።"


def cut_line(text: str) -> list[str]:
    """Return the cleaned line itself, or about 10,000 characters a piece if it has more than
    20,000.

    A line is a document: an overlong one would make the held-out text one document, and its tokens
    do not fit into memory at once. Cuts are at spaces, else after sentences, else anywhere.
    """
    pieces = []
    start = 0
    while len(text) - start > CUT_OVER_CHARACTERS:
        end = start + _PIECE_CHARACTERS
        cut = text.rfind(" ", start + 1, end)
        if cut < 0:
            cut = max(text.rfind(stop, start, end) for stop in _SENTENCE_ENDS) + 1 or end
        pieces.append(text[start:cut].strip())
        start = cut
    pieces.append(text[start:].strip())
    return pieces


class CleanBlock(NamedTuple):
    """The cleaned lines of one block."""

    text: bytes
    """Their UTF-8, one behind another."""
    sizes: npt.NDArray[np.int32]
    digests: npt.NDArray[np.int64]
    whole_lines: int
    """Lines of the file: the pieces of an overlong one count once."""
    cut_lines: int
    """Lines that were cut into pieces."""

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the digest and the text of each line."""
        ends = np.cumsum(self.sizes).tolist()
        for digest, start, end in zip(self.digests.tolist(), [0, *ends], ends, strict=False):
            yield digest, self.text[start:end]

    def head(self, num_lines: int) -> CleanBlock:
        """Return its first lines."""
        sizes, digests = self.sizes[:num_lines], self.digests[:num_lines]
        return self._replace(text=self.text[: sizes.sum()], sizes=sizes, digests=digests)


def clean_block(block: RawBlock) -> CleanBlock:
    """Decode, clean, cut and hash the lines of a block."""
    lines = list(map(clean_line, split_block(block)))
    whole, cut = len(lines), 0
    if block.piece is not Piece.WHOLE:
        cut += block.piece is Piece.FIRST
        whole -= block.piece is Piece.FURTHER
    if any(len(line) > CUT_OVER_CHARACTERS for line in lines) or block.piece is Piece.FURTHER:
        pieces: list[str] = []
        for number, line in enumerate(lines):
            cuts = cut_line(line)
            is_further = number == 0 and block.piece is Piece.FURTHER
            if number > 0 or block.piece is Piece.WHOLE:
                cut += len(cuts) > 1
            # The first piece of a line stands for it even if it is empty.
            pieces += [text for i, text in enumerate(cuts) if text or not (i or is_further)]
        lines = pieces
    encoded = [line.encode() for line in lines]
    return CleanBlock(
        text=b"".join(encoded),
        sizes=np.fromiter(map(len, encoded), np.int32, len(encoded)),
        digests=np.frombuffer(b"".join(map(_digest, encoded)), dtype="<i8"),
        whole_lines=whole,
        cut_lines=cut,
    )


def _digest(encoded: bytes) -> bytes:
    """Return 64 bits: of 100 million different lines, two share one with a chance of 1 in 3,700."""
    return hashlib.blake2b(encoded, digest_size=8).digest()

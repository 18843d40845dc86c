"""A text's tokens, one document behind another: in memory, or in files of the cache."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from xmod_extend.text.cache import Entry
from xmod_extend.text.checked_files import CheckedFile

Numbers = npt.NDArray[np.int32]

_IDS, _SIZES = "ids.bin", "sizes.bin"
_KIND = np.dtype("<i4")


class TokenCounts(NamedTuple):
    """What a tokenised text holds, without the `</s>` after each document."""

    tokens: int
    unk: int


class TokenisedText(Protocol):
    """Documents as tokens, each with its `</s>`."""

    @property
    def num_tokens(self) -> int:
        """With the `</s>` of each document."""

    @property
    def num_documents(self) -> int: ...

    @property
    def counts(self) -> TokenCounts: ...

    def read(self, start: int, size: int) -> Numbers:
        """Return the tokens from `start` on, `size` of them or those up to the end."""

    def document_sizes(self) -> Numbers:
        """Return tokens of each document, its `</s>` included, `(num_documents,)`."""


class Tokens(NamedTuple):
    """The tokens of a piece of text, in memory."""

    ids: Numbers
    """Of all its lines, one behind another, each with its `</s>`."""
    sizes: Numbers
    """Tokens of each line, its `</s>` included."""
    unk: int

    @property
    def num_tokens(self) -> int:
        return len(self.ids)

    @property
    def num_documents(self) -> int:
        return len(self.sizes)

    @property
    def counts(self) -> TokenCounts:
        return TokenCounts(len(self.ids) - len(self.sizes), self.unk)

    def read(self, start: int, size: int) -> Numbers:
        return self.ids[start : start + size]

    def document_sizes(self) -> Numbers:
        return self.sizes


class StoredTokens:
    """The tokens in an entry of the cache; they stay readable when the entry is removed.

    What is read is held against its checksum, whatever became of the file meanwhile.

    Raises:
        CorpusError: On opening it and on each reading, if it is not what was written.
    """

    def __init__(self, entry: Entry) -> None:
        self._ids = CheckedFile(entry.folder / _IDS)
        self._sizes = CheckedFile(entry.folder / _SIZES)
        self.counts = TokenCounts(entry.facts["tokens"], entry.facts["unk"])

    @property
    def path(self) -> Path:
        """Of the tokens."""
        return self._ids.path

    @property
    def num_tokens(self) -> int:
        return self._ids.size // _KIND.itemsize

    @property
    def num_documents(self) -> int:
        return self._sizes.size // _KIND.itemsize

    def read(self, start: int, size: int) -> Numbers:
        part = self._ids.read(start * _KIND.itemsize, size * _KIND.itemsize)
        return np.frombuffer(part, dtype=_KIND)

    def document_sizes(self) -> Numbers:
        return np.frombuffer(self._sizes.read(0, self._sizes.size), dtype=_KIND)


def write_tokens(folder: Path, pieces: Iterable[Tokens]) -> dict[str, int]:
    """Write the files of an entry for `StoredTokens`; returns its facts."""
    facts = {"tokens": 0, "unk": 0}
    with (folder / _IDS).open("wb") as ids, (folder / _SIZES).open("wb") as sizes:
        for piece in pieces:
            ids.write(piece.ids.astype(_KIND, copy=False).data)
            sizes.write(piece.sizes.astype(_KIND, copy=False).data)
            facts["tokens"] += piece.counts.tokens
            facts["unk"] += piece.unk
    return facts

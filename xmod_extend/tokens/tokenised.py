"""A text's tokens, one document behind another: in the cache, in memory, or found anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np

from xmod_extend.text.cache import Entry, find_or_make_entry
from xmod_extend.text.checked_files import CheckedFile
from xmod_extend.text.code_points import hash_stretches
from xmod_extend.text.fingerprinting import combine
from xmod_extend.text.lines import Lines, LinesInMemory, StoredLines, StreamedLines
from xmod_extend.text.workers import choose_num_workers, map_in_order
from xmod_extend.tokens.blocks import Numbers

if TYPE_CHECKING:
    from xmod_extend.tokens.encoding import Encoder
    from xmod_extend.tokens.tokenizer import LoadedTokenizer

ENCODING_COSTS = 4
"""Times as much as what else is done to a text: a smaller one is worth more processes."""

_TOKENISING_VERSION = 3
_SAMPLING_VERSION = 1
_IDS, _SIZES = "ids.bin", "sizes.bin"
_KIND = np.dtype("<i4")


class TokenCounts(NamedTuple):
    """What a tokenised text holds, without the `</s>` after each document."""

    tokens: int
    unk: int


class Tokens(NamedTuple):
    """The tokens of a piece of text, in memory."""

    ids: Numbers
    """Tokens of all lines, one behind another, each line with its `</s>`."""
    sizes: Numbers
    """Tokens of each line, its `</s>` included."""
    unk: int

    @property
    def num_tokens(self) -> int:
        """Tokens with the `</s>` of each document."""
        return len(self.ids)

    @property
    def num_documents(self) -> int:
        return len(self.sizes)

    @property
    def counts(self) -> TokenCounts:
        return TokenCounts(len(self.ids) - len(self.sizes), self.unk)

    def read(self, start: int, size: int) -> Numbers:
        """Return the tokens from `start` on, `size` of them or those up to the end."""
        return self.ids[start : start + size]

    def document_sizes(self) -> Numbers:
        """Return tokens of each document, its `</s>` included, `(num_documents,)`."""
        return self.sizes


class StoredTokens:
    """The tokens in an entry of the cache; they stay readable when the entry is removed.

    What is read is held against its checksum, whatever became of the file meanwhile.

    Raises:
        CorpusError: On opening it and on each reading, if it is not what was written.
    """

    def __init__(self, entry: Entry) -> None:
        # While it is held no other process removes it.
        self.entry = entry
        self._ids = CheckedFile(entry.folder / _IDS)
        self._sizes = CheckedFile(entry.folder / _SIZES)
        self.counts = TokenCounts(entry.facts["tokens"], entry.facts["unk"])

    @property
    def path(self) -> Path:
        """The file of the tokens."""
        return self._ids.path

    @property
    def num_tokens(self) -> int:
        return self._ids.size // _KIND.itemsize

    @property
    def num_documents(self) -> int:
        return self._sizes.size // _KIND.itemsize

    def read(self, start: int, size: int) -> Numbers:
        content = self._ids.read(start * _KIND.itemsize, size * _KIND.itemsize)
        return np.frombuffer(content, dtype=_KIND)

    def document_sizes(self) -> Numbers:
        return np.frombuffer(self._sizes.read(0, self._sizes.size), dtype=_KIND)


_SAMPLED_AT_A_TIME = 1 << 16
"""Documents."""

TokenisedText = Tokens | StoredTokens
"""Documents as tokens, each with its `</s>`, which are counted and can be read anywhere."""


@dataclass(frozen=True)
class StreamedTokens:
    """The tokens of a stream, which are found anew each time."""

    lines: StreamedLines
    encode: Encoder
    counts = TokenCounts(0, 0)
    """Nothing is counted before it is read."""


@overload
def tokenize(lines: StreamedLines, loaded: LoadedTokenizer) -> StreamedTokens: ...
@overload
def tokenize(lines: StoredLines | LinesInMemory, loaded: LoadedTokenizer) -> TokenisedText: ...
def tokenize(lines: Lines, loaded: LoadedTokenizer) -> TokenisedText | StreamedTokens:
    """Return each document's tokens without special ones, and `</s>` behind them.

    Args:
        lines: A side of a corpus. The tokens of lines on the disk are kept beside them and found
            there again.
        loaded: The tokenizer. A special token's name in the text (`<mask>`) is ordinary text.

    Raises:
        CorpusError: The disk is full, or the lines are not what was written.
    """
    encode = loaded.encoder()
    if isinstance(lines, StreamedLines):
        return StreamedTokens(lines, encode)
    if isinstance(lines, LinesInMemory):
        return encode(b"".join(lines.pieces()))
    # XLM-R's 250,002 pieces take 280 MB in each process.
    worker_mb = 130 + len(loaded.tokenizer) // 1_000
    num_workers = choose_num_workers(ENCODING_COSTS * lines.num_bytes, worker_mb=worker_mb)
    # The same tokenizer.json may be used with other special tokens.
    key = combine(_TOKENISING_VERSION, lines.fingerprint, loaded.sha256, encode.settings)

    def make(folder: Path) -> dict[str, int]:
        return write_tokens(folder, map_in_order(encode, lines.pieces(), num_workers=num_workers))

    folder = lines.entry.folder.with_name(f"tokens-{key}")
    return StoredTokens(find_or_make_entry(folder, make, num_bytes=lines.num_bytes))


def write_tokens(folder: Path, pieces: Iterable[Tokens]) -> dict[str, int]:
    """Write the files of an entry for `StoredTokens`; return its facts."""
    facts = {"tokens": 0, "unk": 0}
    with (folder / _IDS).open("wb") as ids, (folder / _SIZES).open("wb") as sizes:
        for piece in pieces:
            ids.write(piece.ids.astype(_KIND, copy=False).data)
            sizes.write(piece.sizes.astype(_KIND, copy=False).data)
            facts["tokens"] += piece.counts.tokens
            facts["unk"] += piece.unk
    return facts


def sample_documents(tokens: TokenisedText, share: float) -> TokenisedText:
    """Return about this share of the documents, in their order: those with the lowest hashes.

    A larger share holds the smaller ones. Of a text in the cache it is an entry beside it.

    Raises:
        CorpusError: The disk is full, or the tokens on it are not what was written.
    """
    if isinstance(tokens, Tokens):
        parts = list(_sample(tokens, share))
        ids = np.concatenate([part.ids for part in parts])
        sizes = np.concatenate([part.sizes for part in parts])
        return Tokens(ids, sizes, sum(part.unk for part in parts))
    folder = tokens.entry.folder
    key = combine(_SAMPLING_VERSION, folder.name, share)

    def make(unfinished: Path) -> dict[str, int]:
        return write_tokens(unfinished, _sample(tokens, share))

    num_bytes = int(share * tokens.num_tokens * _KIND.itemsize)
    return StoredTokens(
        find_or_make_entry(folder.with_name(f"tokens-{key}"), make, num_bytes=num_bytes)
    )


def _sample(tokens: TokenisedText, share: float) -> Iterator[Tokens]:
    """Yield the documents of a sample, some at a time; `<unk>` is not counted in them."""
    sizes = tokens.document_sizes()
    start = 0
    for first in range(0, len(sizes), _SAMPLED_AT_A_TIME):
        some = sizes[first : first + _SAMPLED_AT_A_TIME]
        ends = np.cumsum(some, dtype=np.int64)
        ids = tokens.read(start, int(ends[-1]))
        start += int(ends[-1])
        hashes = hash_stretches(ids.astype(np.uint32), ends - some, ends)
        chosen = hashes <= np.uint64(int(share * 2**64) - 1)
        yield Tokens(ids[np.repeat(chosen, some)], some[chosen], 0)

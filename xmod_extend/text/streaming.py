"""Text that is read anew in each epoch and never touches the disk.

    files, Hub ── lines, cleaned ──> tokens ──> blocks ──> shuffle buffer ──> batches

What this costs, against `corpus.read_corpus`: repeated lines are found only among the last 131,072
of a file; what lies further apart in a file than the buffer is long never meets in a batch; and to
enter a run in its middle, what was trained on is read and tokenised again (an epoch at most twice).
Each batch is still a function of (seed, step): the order of the files, the cuts and the buffer
depend on the seed and the epoch alone.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from xmod_extend.errors import CorpusError
from xmod_extend.text.corpus import (
    MIN_BYTES,
    MIN_HELD_OUT_BYTES,
    MIN_HELD_OUT_LINES,
    MIN_LINES,
    MIN_TRAIN_BYTES,
)
from xmod_extend.text.hub import HUB_PREFIX, HubAddress, stream_training_split
from xmod_extend.text.lines import clean_block, require_encoding_errors
from xmod_extend.text.options import EncodingErrors
from xmod_extend.text.reading import Part, RawBlock, read_blocks
from xmod_extend.text.report import CorpusReport
from xmod_extend.text.sources import Source, find_sources
from xmod_extend.text.splitting import choose_held_out
from xmod_extend.text.statistics import measure

if TYPE_CHECKING:
    from xmod_extend.tokens.blocks import Ids
    from xmod_extend.tokens.encoding import Encoder

SAMPLE_BYTES = 4 << 20
"""Of the beginning of the stream: from it the held-out lines are taken."""

RECENT_LINES = 1 << 17
"""Among which a repeated line is found; their digests take some 20 MB."""

SHUFFLED_BLOCKS = 1 << 14
"""In the shuffle buffer: at 128 tokens a block they take 8 MB, and are some 10 MB of text."""

COUNTED_TOKENS = 1 << 21
"""Of a stream's beginning, for its token frequencies: some 8 MB of text."""

_PIECE_BYTES = 1 << 18


class StreamedLine(NamedTuple):
    """A cleaned line that is not empty."""

    digest: int
    text: bytes


class TextStream:
    """The lines of a corpus as they come, as often as is asked for.

    Args:
        paths: As in `sources.find_sources`; of a data set on the Hub nothing is downloaded ahead.
        text_field: The field or column with the text.
        encoding_errors: `replace` puts U+FFFD where bytes are not UTF-8.
        excluded: Digests of lines that are left out, such as the held-out ones.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        *,
        text_field: str = "text",
        encoding_errors: EncodingErrors = "strict",
        excluded: frozenset[int] = frozenset(),
    ) -> None:
        require_encoding_errors(encoding_errors)
        self._sources: list[Source | HubAddress] = []
        self._local = [path for path in map(str, paths) if not path.startswith(HUB_PREFIX)]
        if self._local or not paths:
            self._sources += find_sources(self._local)
        for path in map(str, paths):
            if path.startswith(HUB_PREFIX):
                self._sources.append(HubAddress.parse(path))
        self._text_field = text_field
        self._encoding_errors: EncodingErrors = encoding_errors
        self._excluded = excluded

    @property
    def names(self) -> tuple[str, ...]:
        """Of the files and data sets."""
        return tuple(str(getattr(source, "name", source)) for source in self._sources)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what tells one stream from another without reading it.

        Of each file its name, size and date; of a data set on the Hub its address.
        """
        parts: list[object] = [self._text_field, self._encoding_errors]
        for source in self._sources:
            if isinstance(source, Source):
                status = source.path.stat()
                parts.append([source.name, status.st_size, status.st_mtime_ns])
            else:
                parts.append([source.repository, source.revision, source.path])
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def num_sources(self) -> int:
        return len(self._sources)

    def excluding(self, digests: frozenset[int]) -> TextStream:
        """Return the same stream without the lines of these digests."""
        other = object.__new__(TextStream)
        other.__dict__ |= self.__dict__ | {"_excluded": self._excluded | digests}
        return other

    def lines(self, order: Sequence[int] | None = None) -> Iterator[StreamedLine]:
        """Yield every line but empty, excluded and recently repeated ones.

        Args:
            order: Of the sources; as they were given if None. It changes no source's lines.

        Raises:
            CorpusError: A source cannot be read.
            HubError: A data set cannot be had.
        """
        for index in range(self.num_sources) if order is None else order:
            recent: deque[int] = deque()
            known = set(self._excluded)
            for block in self._blocks(self._sources[index]):
                clean = clean_block(
                    block, text_field=self._text_field, encoding_errors=self._encoding_errors
                )
                end = 0
                for digest, size in zip(clean.digests.tolist(), clean.sizes.tolist(), strict=True):
                    start, end = end, end + size
                    if not size or digest in known:
                        continue
                    known.add(digest)
                    recent.append(digest)
                    if len(recent) > RECENT_LINES:
                        known.remove(recent.popleft())
                    yield StreamedLine(digest, clean.text[start:end])

    def pieces(self, order: Sequence[int] | None = None) -> Iterator[bytes]:
        """`lines` as a file has them, each with a \\n, about 256 KiB at a time."""
        piece: list[bytes] = []
        size = 0
        for line in self.lines(order):
            piece.append(line.text)
            size += len(line.text)
            if size >= _PIECE_BYTES:
                yield b"\n".join(piece) + b"\n"
                piece, size = [], 0
        if piece:
            yield b"\n".join(piece) + b"\n"

    def _blocks(self, source: Source | HubAddress) -> Iterator[RawBlock]:
        if isinstance(source, Source):
            yield from read_blocks(
                source, text_field=self._text_field, encoding_errors=self._encoding_errors
            )
            return
        row = 1
        rows_of = Source(Path(), str(source), "arrow")
        for rows in stream_training_split(source, column=self._text_field):
            yield RawBlock(rows_of, rows, row, 0, Part.WHOLE)
            row += len(rows)


@dataclass(frozen=True)
class StreamedCorpus:
    """Text to train on, as it comes, and text to measure on, in memory."""

    train: TextStream
    """Without the held-out lines."""

    held_out: list[bytes]
    """Different lines in UTF-8."""

    report: CorpusReport
    """Of the held-out text alone: the training text was not counted."""


def stream_corpus(
    paths: Sequence[str | Path],
    *,
    held_out: str | Path | None = None,
    text_field: str = "text",
    encoding_errors: EncodingErrors = "strict",
) -> StreamedCorpus:
    """Set text aside to measure on, and leave the rest to be read when it is trained on.

    Without a held-out text of its own, lines from the first 4 MiB of the stream are held out, as
    `splitting.choose_held_out` chooses them; they are left out of training wherever they occur.

    The arguments are those of `corpus.read_corpus`.

    Raises:
        CorpusError: The text is missing, unreadable, malformed or too little.
        HubError: A data set cannot be had from the Hub.
    """
    stream = TextStream(paths, text_field=text_field, encoding_errors=encoding_errors)
    names = stream.names
    if held_out is None:
        sample = _take(stream, SAMPLE_BYTES)
        sizes = np.array([len(line.text) for line in sample], dtype=np.int64)
        _require(stream, sizes, MIN_LINES, MIN_BYTES, "")
        digests = np.array([line.digest for line in sample], dtype=np.int64)
        chosen = choose_held_out(digests, sizes)
        _require(stream, sizes[~chosen], 1, MIN_TRAIN_BYTES, " to train on")
        measured = [line for line, held in zip(sample, chosen, strict=True) if held]
    else:
        given = TextStream([held_out], text_field=text_field, encoding_errors=encoding_errors)
        measured = list({line.digest: line for line in given.lines()}.values())
        names += given.names
        sizes = np.array([len(line.text) for line in measured], dtype=np.int64)
        _require(given, sizes, MIN_HELD_OUT_LINES, MIN_HELD_OUT_BYTES, " to measure on")
    train = stream.excluding(frozenset(line.digest for line in measured))
    texts = [line.text for line in measured]
    return StreamedCorpus(train, texts, _report(names, texts))


def _report(names: tuple[str, ...], held_out: list[bytes]) -> CorpusReport:
    """Return what is known of a stream: its held-out text."""
    figures = measure([[text.decode() for text in held_out]])
    return CorpusReport(
        files=names,
        lines=figures.lines,
        kept_lines=figures.lines,
        empty_lines=0,
        duplicate_lines=0,
        contaminated_lines=0,
        cut_lines=0,
        replaced_characters=figures.replaced_characters,
        words=figures.words,
        characters=figures.characters,
        bytes=figures.bytes,
        train_lines=0,
        train_bytes=0,
        held_out_lines=figures.lines,
        held_out_bytes=figures.bytes,
        scripts={name: round(share, 6) for name, share in figures.scripts.items()},
        train_sha256="",
        held_out_sha256=figures.sha256,
        warnings=(
            "The training text is streamed: it is not counted, and of its repeated lines only near "
            "ones are left out. All figures of the corpus are of the held-out text, and token "
            f"frequencies of the first {COUNTED_TOKENS:,} tokens.",
        ),
    )


def _take(stream: TextStream, num_bytes: int) -> list[StreamedLine]:
    """Return the first different lines of the stream."""
    taken: dict[int, StreamedLine] = {}
    size = 0
    for line in stream.lines():
        if line.digest not in taken:
            taken[line.digest] = line
            size += len(line.text)
        if size >= num_bytes:
            break
    return list(taken.values())


def _require(
    stream: TextStream, sizes: npt.NDArray[np.int64], lines: int, num_bytes: int, purpose: str
) -> None:
    if len(sizes) < lines or sizes.sum() < num_bytes:
        raise CorpusError(
            f"{', '.join(stream.names[:3])} has too little text{purpose}: found {len(sizes):,} "
            f"different lines ({int(sizes.sum()):,} bytes); at least {lines} and {num_bytes:,} "
            "bytes are needed.",
            hint="Give more text, one sentence or paragraph a line.",
        )


class StreamedBlocks:
    """Blocks of a stream, for training: what `packing.PackedBlocks` is for text on the disk.

    Args:
        stream: The text.
        encode: Finds its tokens.
        max_length: T, the tokens in a block including its `<s>`.
        bos_id: The id of `<s>`.
        shuffled_blocks: Blocks in the shuffle buffer.
    """

    def __init__(
        self,
        stream: TextStream,
        encode: Encoder,
        *,
        max_length: int,
        bos_id: int,
        shuffled_blocks: int = SHUFFLED_BLOCKS,
    ) -> None:
        self.max_length = max_length
        self.bos_id = bos_id
        self._stream, self._encode = stream, encode
        self._shuffled_blocks = shuffled_blocks
        self.fingerprint = stream.fingerprint
        """Of the stream, for a resumed run to know it by."""
        self._is_counted = False
        self.num_tokens = 0
        """Of an epoch, as far as is known: all once one was read to its end."""

    def __len__(self) -> int:
        """Full blocks of an epoch, as far as is known."""
        return self.num_tokens // (self.max_length - 1)

    def num_epochs(self, num_tokens: int) -> float | None:
        """As `PackedBlocks.num_epochs`; None while no epoch was read to its end."""
        if not self._is_counted:
            return None
        return num_tokens / (len(self) * self.max_length)

    def token_counts(self, vocab_size: int) -> Ids:
        """Return how often each token is among the first `COUNTED_TOKENS`, read anew,
        `(vocab_size,)`.

        What was trained on depends on where a run was taken up again; this does not.
        """
        counts = np.zeros(vocab_size, dtype=np.int64)
        for piece in self._stream.pieces():
            counts += np.bincount(self._encode(piece).ids, minlength=vocab_size)
            if counts.sum() >= COUNTED_TOKENS:
                break
        return counts

    def batches(self, batch_size: int, seed: int, start_step: int = 0) -> Iterator[Ids]:
        """Batches `(B, T)` without end; see `PackedBlocks.batches`.

        Batch `start_step` is reached by reading again what is before it.

        Raises:
            CorpusError: The text cannot be read, or is too little for one block.
            HubError: A data set cannot be had.
        """
        rows: list[npt.NDArray[np.int32]] = []
        for block in self._blocks(seed, start_step * batch_size):
            rows.append(block)
            if len(rows) == batch_size:
                batch = np.empty((batch_size, self.max_length), dtype=np.int64)
                batch[:, 0] = self.bos_id
                batch[:, 1:] = rows
                rows.clear()
                yield batch

    def _blocks(self, seed: int, skipped: int) -> Iterator[npt.NDArray[np.int32]]:
        """Yield the blocks of all epochs without their `<s>`, but for the first `skipped`."""
        epoch = 0
        while True:
            random = np.random.default_rng([seed, epoch])
            offset = int(random.integers(self.max_length - 1))
            length = (self.num_tokens - offset) // (self.max_length - 1)
            epoch += 1
            if self._is_counted and skipped >= length > 0:
                skipped -= length
                continue
            count = 0
            for block in self._shuffled(random, offset):
                count += 1
                if skipped:
                    skipped -= 1
                else:
                    yield block
            if not count:
                raise CorpusError(
                    f"{', '.join(self._stream.names[:3])} has too little text to train on: not one "
                    f"sequence of {self.max_length} tokens.",
                    hint="Add text, or use a lower --max-length.",
                )

    def _shuffled(
        self, random: np.random.Generator, offset: int
    ) -> Iterator[npt.NDArray[np.int32]]:
        """Yield an epoch's blocks: each new one takes a random place, whose block goes out."""
        buffer: list[npt.NDArray[np.int32]] = []
        for block in self._cut(random.permutation(self._stream.num_sources).tolist(), offset):
            if len(buffer) < self._shuffled_blocks:
                buffer.append(block)
                continue
            place = int(random.integers(self._shuffled_blocks))
            yield buffer[place]
            buffer[place] = block
        for place in random.permutation(len(buffer)).tolist():
            yield buffer[place]

    def _cut(self, order: list[int], offset: int) -> Iterator[npt.NDArray[np.int32]]:
        """Yield an epoch's stream from token `offset` on, in full blocks."""
        size = self.max_length - 1
        rest = np.empty(0, dtype=np.int32)
        total = 0
        for piece in self._stream.pieces(order):
            ids = self._encode(piece).ids
            total += len(ids)
            if not self._is_counted:
                self.num_tokens = max(self.num_tokens, total)
            skipped = min(offset, len(ids))
            offset -= skipped
            rest = np.concatenate([rest, ids[skipped:]])
            end = len(rest) // size * size
            yield from rest[:end].reshape(-1, size)
            rest = rest[end:]
        self.num_tokens, self._is_counted = total, True

"""From sources of text to a training and a held-out side that share no line.

    sources -> cleaned lines -> which are distinct -> which are held out -> two sides, measured

On the disk the lines may be more than fit in memory. Of a stream only the beginning is looked at:
the held-out lines are taken from it, and training reads the rest when it comes to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from xmod_extend.text.cache import find_or_make_entry, forget_refused_text
from xmod_extend.text.cache_folder import choose_cache_dir
from xmod_extend.text.fingerprinting import combine, fingerprint_sources
from xmod_extend.text.line_table import LineTable, prepare_table, read_beginning
from xmod_extend.text.lines import LinesInMemory, StoredLines, StreamedLines
from xmod_extend.text.near_duplicates import NearIndex
from xmod_extend.text.notices import SAMPLE_BYTES, find_notices
from xmod_extend.text.options import EncodingErrors
from xmod_extend.text.overlap import Overlap, compare_sides, sample_lines
from xmod_extend.text.report import CorpusReport, describe_sides
from xmod_extend.text.sources import Source, describe_left_out, find_sources
from xmod_extend.text.splitting import (
    Sides,
    choose_sides,
    require_training_text,
    select_lines,
    write_sides,
)
from xmod_extend.text.statistics import TextStatistics, measure

STREAM_BYTES = 4 << 20
"""Bytes of a stream's beginning, from which the held-out lines are taken."""

_TRAIN, _HELD_OUT = "train.arrow", "held_out.arrow"
_SPLIT_VERSION = 1
"""To be raised whenever the same lines would be kept or held out differently."""
_FACTS_VERSION = 7
"""To be raised whenever something else is counted in the same lines, or said of them."""


@dataclass(frozen=True)
class Corpus:
    """Text to train on and text to measure on; each line is a document."""

    train: StoredLines | StreamedLines
    """In the order of the files."""

    held_out: StoredLines | LinesInMemory
    """The same; no line of it is in `train`."""

    report: CorpusReport

    overlap: Overlap | None = None
    """What both sides have in common; None if the training side is streamed."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of both sides' own SHA-256, which cover the kept lines in their order.

        A stream was not read yet; what tells it from others without that stands in its place.
        """
        train = self.report.train_sha256 or self.train.fingerprint
        return hashlib.sha256(f"{train} {self.report.held_out_sha256}".encode()).hexdigest()


def read_corpus(
    paths: Sequence[str | Path],
    *,
    held_out: str | Path | None = None,
    text_field: str = "text",
    encoding_errors: EncodingErrors = "strict",
    streaming: bool = False,
    drop_near_duplicates: bool = False,
    cache_dir: Path | None = None,
) -> Corpus:
    """Read, clean, de-duplicate, split and measure a corpus.

    Without a held-out text of its own, about 5 % of the text's bytes is held out (10 kB to 200 kB,
    at most a fifth). Which lines these are is decided by their hashes alone: neither the order of
    the files nor repetitions change it, and a line that is added moves few others.

    Args:
        paths: Files, folders, patterns and Hub data sets; see `sources.find_sources`.
        held_out: Text to measure on. Lines that the corpus has too are left out of training.
        text_field: The field of JSON lines, or the column of a table, that holds the text.
        encoding_errors: `replace` puts U+FFFD where bytes are not UTF-8, instead of refusing them.
        streaming: Whether the training text is read only when it is trained on. Nothing of it is
            then written or counted, and the held-out lines are of its first 4 MiB.
        drop_near_duplicates: Whether to leave out training lines that nearly repeat a held-out one.
            The held-out lines stay, so that scores of both ways compare.
        cache_dir: Where the prepared text is kept; `datasets`' own cache if None.

    Raises:
        CorpusError: The text is missing, unreadable, malformed or too little.
        HubError: A data set cannot be had from the Hub.
    """
    inputs = [paths] if held_out is None else [paths, [held_out]]
    options: Any = {"text_field": text_field, "encoding_errors": encoding_errors}
    texts = [find_sources(text_paths, **options, download=not streaming) for text_paths in inputs]
    if streaming:
        return _stream(*texts, drop=drop_near_duplicates)
    folder, cache_warning = choose_cache_dir(cache_dir)
    notes = [*filter(None, [cache_warning]), *describe_left_out([*chain(*inputs)])]
    return _store(folder, texts, drop=drop_near_duplicates, notes=notes)


def _stream(sources: list[Source], held_out: list[Source] | None = None, *, drop: bool) -> Corpus:
    """Set text aside to measure on, and leave the rest to be read when it is trained on."""
    corpus = read_beginning(sources, STREAM_BYTES)
    held_out_text = read_beginning(held_out) if held_out else None
    sides = choose_sides(corpus, held_out_text)
    measured = held_out_text or corpus
    lines = tuple(select_lines(measured, sides.held_out))
    digests = frozenset(
        digest
        for start, some, _ in measured.runs()
        for digest in some[sides.held_out[start : start + len(some)]].tolist()
    )
    statistics = measure(lines)
    report = describe_sides(
        tuple(source.name for source in (*sources, *(held_out or ()))),
        lines=statistics.lines,
        train=None,
        held_out=statistics,
        drops_near=drop,
    )
    train = StreamedLines(tuple(sources), digests, NearIndex(sample_lines(lines)) if drop else None)
    return Corpus(train, LinesInMemory(lines, statistics.sha256), report)


def _store(folder: Path, texts: list[list[Source]], *, drop: bool, notes: list[str]) -> Corpus:
    """Prepare both sides in the cache, or find them there."""
    prints = [fingerprint_sources(sources, cache_dir=folder) for sources in texts]
    key = combine(_SPLIT_VERSION, _FACTS_VERSION, *(["drop"] if drop else []), *prints)

    def make(unfinished: Path) -> dict[str, Any]:
        tables = [
            prepare_table(sources, fingerprint=fingerprint, cache_dir=folder)
            for sources, fingerprint in zip(texts, prints, strict=True)
        ]
        return _write(unfinished, *tables, drop=drop)

    num_bytes = sum(source.path.stat().st_size for source in chain(*texts))
    with forget_refused_text():
        entry = find_or_make_entry(folder / f"corpus-{key}", make, num_bytes=num_bytes)
    facts = dict(entry.facts)
    overlap = Overlap.from_json(facts.pop("overlap"))
    train, held_out = (TextStatistics(**facts[side]) for side in ("train", "held_out"))
    stored = [
        StoredLines(entry, name, combine(key, name), side.lines, side.bytes)
        for name, side in ((_TRAIN, train), (_HELD_OUT, held_out))
    ]
    report = describe_sides(
        tuple(source.name for source in chain(*texts)),
        train=train,
        held_out=held_out,
        near_duplicates=overlap.near,
        notes=tuple(notes),
        **{name: value for name, value in facts.items() if name not in ("train", "held_out")},
    )
    return Corpus(stored[0], stored[1], report, overlap)


def _write(
    folder: Path, corpus: LineTable, held_out_text: LineTable | None = None, *, drop: bool
) -> dict[str, Any]:
    """Write both sides of a corpus into `folder`; return what was counted."""
    sides = choose_sides(corpus, held_out_text)
    overlap, kept = compare_sides(
        corpus, sides.train, held_out_text or corpus, sides.held_out, drop=drop
    )
    num_dropped = int(np.count_nonzero(sides.train)) - int(np.count_nonzero(kept))
    if num_dropped:
        require_training_text(corpus, kept, num_dropped=num_dropped)
    sides = sides._replace(train=kept)
    train, held_out = (folder / _TRAIN, sides.train), (folder / _HELD_OUT, sides.held_out)
    if held_out_text is None:
        measured = write_sides(corpus, [train, held_out])
        texts = [corpus]
    else:
        measured = [*write_sides(corpus, [train]), *write_sides(held_out_text, [held_out])]
        texts = [corpus, held_out_text]
    return {
        "lines": sum(text.num_lines for text in texts),
        "empty_lines": sum(text.empty_lines for text in texts),
        "contaminated_lines": sides.contaminated,
        "near_duplicate_lines": num_dropped,
        "cut_lines": sum(text.cut_lines for text in texts),
        "train": asdict(measured[0]),
        "held_out": asdict(measured[1]),
        "notices": _notices(corpus, sides, measured[0]),
        "overlap": overlap.to_json(),
    }


def _notices(corpus: LineTable, sides: Sides, train: TextStatistics) -> list[str]:
    """Return what is to be said of single training lines."""
    every = -(-train.bytes // SAMPLE_BYTES) or 1
    return find_notices(select_lines(corpus, sides.train, every=every), is_sample=every > 1)

"""A text to measure on, which nothing is trained on: all of its different lines, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from xmod_extend.errors import CorpusError
from xmod_extend.text.cache import find_or_make_entry, forget_refused_text
from xmod_extend.text.cache_folder import choose_cache_dir
from xmod_extend.text.cleaning import clean_line
from xmod_extend.text.fingerprinting import combine, fingerprint_sources
from xmod_extend.text.line_table import prepare_table
from xmod_extend.text.lines import StoredLines
from xmod_extend.text.options import EncodingErrors
from xmod_extend.text.reading import read_blocks, split_block
from xmod_extend.text.sources import Source, describe_left_out, find_sources
from xmod_extend.text.splitting import find_distinct, write_sides
from xmod_extend.text.statistics import TextStatistics

MIN_LINES = 2
"""With one document there is no interval."""
MOST_PAIRS = 1_000_000
_FILE = "text.arrow"
_VERSION = 1
"""To be raised whenever the same lines would be kept differently."""


@dataclass(frozen=True, kw_only=True)
class MeasuredText:
    """Lines as `add` would hold them out: cleaned, each once, in the order of the files."""

    lines: StoredLines
    statistics: TextStatistics
    names: tuple[str, ...]
    """The files."""
    num_read: int
    """Lines in the files, empty and repeated ones too."""
    notes: tuple[str, ...] = ()


def read_measured_text(
    paths: Sequence[str | Path],
    *,
    text_field: str = "text",
    encoding_errors: EncodingErrors = "strict",
    cache_dir: Path | None = None,
) -> MeasuredText:
    """Read, clean and de-duplicate a text; it may be larger than memory.

    Args:
        paths: Files, folders, patterns and Hub data sets; see `sources.find_sources`.
        text_field: See `corpus.read_corpus`, as for what follows.

    Raises:
        CorpusError: The text is missing, unreadable, empty or one line alone.
        HubError: A data set cannot be had from the Hub.
    """
    sources = find_sources(paths, text_field=text_field, encoding_errors=encoding_errors)
    folder, cache_warning = choose_cache_dir(cache_dir)
    fingerprint = fingerprint_sources(sources, cache_dir=folder)
    key = combine("measured", _VERSION, fingerprint)

    def make(unfinished: Path) -> dict[str, Any]:
        table = prepare_table(sources, fingerprint=fingerprint, cache_dir=folder)
        distinct = find_distinct(table)
        count = int(np.count_nonzero(distinct))
        if count < MIN_LINES:
            name = sources[0].name if len(sources) == 1 else f"The text of {len(sources):,} files"
            raise CorpusError(
                f"{name} has one line of text, of which no interval can be told.",
                hint="Give more text, one sentence or paragraph a line.",
            )
        (statistics,) = write_sides(table, [(unfinished / _FILE, distinct)])
        return {"statistics": asdict(statistics), "num_read": table.num_lines}

    num_bytes = sum(source.path.stat().st_size for source in sources)
    with forget_refused_text():
        entry = find_or_make_entry(folder / f"text-{key}", make, num_bytes=num_bytes)
    statistics = TextStatistics(**entry.facts["statistics"])
    return MeasuredText(
        lines=StoredLines(entry, _FILE, combine(key), statistics.lines, statistics.bytes),
        statistics=statistics,
        names=tuple(source.name for source in sources),
        num_read=entry.facts["num_read"],
        notes=(*filter(None, [cache_warning]), *describe_left_out([*paths])),
    )


def read_pairs(
    paths: Sequence[str | Path],
    fields: tuple[str, str],
    *,
    encoding_errors: EncodingErrors = "strict",
) -> list[tuple[str, str]]:
    """Return two columns of tables, row by row and cleaned, in memory.

    Args:
        paths: Files of .tsv, .csv, .jsonl or .parquet, as `find_sources` finds them.
        fields: The names of the columns.

    Raises:
        CorpusError: A file is unreadable, no table, lacks a column or a text, or there are more
            than a million rows.
        HubError: A data set cannot be had from the Hub.
    """
    columns = [
        [
            _column(source)
            for source in find_sources(paths, text_field=field, encoding_errors=encoding_errors)
        ]
        for field in fields
    ]
    pairs = list(zip(*(chain.from_iterable(column) for column in columns), strict=True))
    if len(pairs) > MOST_PAIRS:
        raise CorpusError(
            f"There are {len(pairs):,} pairs; at most {MOST_PAIRS:,} are scored.",
            hint="Take a sample of them.",
        )
    for number, pair in enumerate(pairs, start=1):
        if not all(pair):
            raise CorpusError(
                f"Row {number:,} of {paths[0]} has no text in {fields[pair.index('')]!r}.",
                hint="Each row needs both sentences.",
            )
    if not pairs:
        raise CorpusError(f"There are no pairs in {paths[0]}.", hint="Give a row for each pair.")
    return pairs


def _column(source: Source) -> list[str]:
    if source.format == "text":
        raise CorpusError(
            f"{source.name} is plain text, which has no columns.",
            hint="Give pairs as .tsv, .csv, .jsonl or .parquet.",
        )
    return [clean_line(line) for block in read_blocks(source) for line in split_block(block)]

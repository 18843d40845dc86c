"""From files of text to a training and a held-out side that share no line.

read -> clean -> drop empty lines -> drop repeated lines -> split -> measure. The cleaned lines
are on disk and memory-mapped; in memory are a line's hash, length and position.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from xmod_extend.errors import CorpusError
from xmod_extend.text.cache import choose_cache_dir, quiet_datasets
from xmod_extend.text.lines import prepare_lines
from xmod_extend.text.reading import EncodingErrors, Part
from xmod_extend.text.report import CorpusReport
from xmod_extend.text.sources import Source, find_sources
from xmod_extend.text.statistics import TextStatistics, measure

if TYPE_CHECKING:
    import datasets

Indices = npt.NDArray[np.int64]

HELD_OUT_SHARE = 0.05
HELD_OUT_MIN_BYTES = 10_000
HELD_OUT_MAX_BYTES = 200_000
HELD_OUT_MAX_SHARE = 0.2
"""Of a small text, no more than this is held out, even if that is less than the minimum."""

MIN_LINES = 20
MIN_BYTES = 10_000
"""Of a text that is to be trained on and measured on: it leaves MIN_TRAIN_BYTES in any split."""

MIN_TRAIN_BYTES = 5_000
MIN_HELD_OUT_LINES = 3
MIN_HELD_OUT_BYTES = 1_000

SMALL_TRAIN_BYTES = 50_000


@dataclass(frozen=True)
class Corpus:
    """Text to train on and text to measure on; each line is a document."""

    train: datasets.Dataset
    """One column, `text`; memory-mapped, in the order of the files."""

    held_out: datasets.Dataset
    """The same; no line of it is in `train`."""

    report: CorpusReport

    @property
    def fingerprint(self) -> str:
        """SHA-256 of both sides' own SHA-256, which cover the kept lines in their order."""
        sides = f"{self.report.train_sha256} {self.report.held_out_sha256}"
        return hashlib.sha256(sides.encode()).hexdigest()


@dataclass(frozen=True)
class Text:
    """Text that is not split, such as a held-out text alone; each line is a document."""

    lines: datasets.Dataset
    """One column, `text`, without empty and repeated lines."""

    files: tuple[str, ...]
    statistics: TextStatistics
    warnings: tuple[str, ...]


def read_corpus(
    paths: Sequence[str | Path],
    *,
    held_out: str | Path | None = None,
    text_field: str = "text",
    encoding_errors: EncodingErrors = "strict",
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
        cache_dir: Where the prepared text is kept; `datasets`' own cache if None.

    Raises:
        CorpusError: The text is missing, unreadable, malformed or too little.
        HubError: A data set cannot be had from the Hub.
    """
    folder, cache_warning = choose_cache_dir(cache_dir)
    options = (text_field, encoding_errors, folder)
    corpus = _Lines.read(find_sources(paths), *options)
    if held_out is None:
        measured, train, contaminated = corpus, corpus.distinct, 0
        side = choose_held_out(corpus.digests[train], corpus.num_bytes[train])
        held_out_lines, train = train[side], train[~side]
        _require_enough(corpus, train, held_out_lines, contaminated=None)
    else:
        measured = _Lines.read(find_sources([held_out]), *options)
        shared = np.isin(corpus.digests[corpus.distinct], measured.digests[measured.distinct])
        held_out_lines, train = measured.distinct, corpus.distinct[~shared]
        contaminated = int(np.count_nonzero(shared))
        _require_enough(corpus, train, held_out_lines, contaminated=contaminated)
        _require_enough_held_out(measured, held_out_lines)

    sides = corpus.select(train), measured.select(held_out_lines)
    train_figures, held_out_figures = (measure(_batches(side)) for side in sides)
    report = _report(
        [corpus] if measured is corpus else [corpus, measured],
        train_figures,
        held_out_figures,
        contaminated,
        [cache_warning] if cache_warning else [],
    )
    return Corpus(*sides, report)


def read_text(
    paths: Sequence[str | Path],
    *,
    text_field: str = "text",
    encoding_errors: EncodingErrors = "strict",
    cache_dir: Path | None = None,
) -> Text:
    """Read, clean and de-duplicate a text without splitting it, to measure on all of it.

    The arguments and errors are those of `read_corpus`.
    """
    folder, cache_warning = choose_cache_dir(cache_dir)
    text = _Lines.read(find_sources(paths), text_field, encoding_errors, folder)
    _require_enough_held_out(text, text.distinct)
    lines = text.select(text.distinct)
    figures = measure(_batches(lines))
    warnings = [cache_warning] if cache_warning else []
    warnings += _replacement_warnings(figures.replaced_characters, figures.characters)
    return Text(lines, text.files, figures, tuple(warnings))


def choose_held_out(
    digests: npt.NDArray[np.int64], num_bytes: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Which of the distinct lines are held out: those with the lowest hashes, up to the target.

    Args:
        digests: `(N,)`, each line's hash, all different.
        num_bytes: `(N,)`, each line's length.

    Returns:
        `(N,)`, True where a line is held out; a function of the set, not of the order.
    """
    total = int(num_bytes.sum())
    target = min(
        max(HELD_OUT_SHARE * total, min(HELD_OUT_MIN_BYTES, HELD_OUT_MAX_SHARE * total)),
        HELD_OUT_MAX_BYTES,
    )
    # One line that is longer than the whole target would be all of the held-out side.
    eligible = num_bytes <= target
    if num_bytes[eligible].sum() < target:
        eligible[:] = True
    order = np.argsort(digests, kind="stable")
    order = order[eligible[order]]
    before = np.cumsum(num_bytes[order]) - num_bytes[order]
    chosen = np.zeros(len(digests), dtype=np.bool_)
    chosen[order[before < target]] = True
    return chosen


@dataclass(frozen=True)
class _Lines:
    """The cleaned lines of some files, and which of them are the first of their kind."""

    rows: datasets.Dataset
    files: tuple[str, ...]
    digests: npt.NDArray[np.int64]
    num_bytes: npt.NDArray[np.int64]
    distinct: Indices
    """Positions of the lines that are neither empty nor a repetition, ascending."""
    empty_lines: int
    cut_lines: int

    @classmethod
    def read(
        cls, sources: list[Source], text_field: str, encoding_errors: EncodingErrors, folder: Path
    ) -> _Lines:
        import pyarrow.compute as pc

        rows = prepare_lines(
            sources, text_field=text_field, encoding_errors=encoding_errors, cache_dir=folder
        )
        files = tuple(source.name for source in sources)
        table = rows.with_format("arrow")[:]
        digests = table.column("digest").to_numpy()
        parts = table.column("part").to_numpy()
        num_bytes = pc.binary_length(table.column("text")).to_numpy().astype(np.int64)
        filled = np.flatnonzero(num_bytes)
        if not len(filled):
            raise CorpusError(
                f"There is no text in {_name(files)}: found {_number(len(rows), 'line')}, none "
                "with text.",
                hint="Give UTF-8 text, one sentence or paragraph a line.",
            )
        # np.unique gives the first position of each value.
        distinct = filled[np.sort(np.unique(digests[filled], return_index=True)[1])]
        lines = cls(
            rows=rows,
            files=files,
            digests=digests,
            num_bytes=num_bytes,
            distinct=distinct,
            empty_lines=len(rows) - len(filled),
            cut_lines=int(np.count_nonzero(parts == Part.FIRST)),
        )
        lines._refuse_one_unbroken_line(int(np.count_nonzero(parts != Part.FURTHER)))
        return lines

    @property
    def duplicate_lines(self) -> int:
        return len(self.rows) - self.empty_lines - len(self.distinct)

    def select(self, indices: Indices) -> datasets.Dataset:
        with quiet_datasets():
            return self.rows.select_columns(["text"]).select(indices)

    def _refuse_one_unbroken_line(self, num_whole_lines: int) -> None:
        if num_whole_lines > 1 or not self.cut_lines:
            return
        if not any(" " in line for batch in _batches(self.rows) for line in batch):
            raise CorpusError(
                f"{_start(self.files)} is one line of {int(self.num_bytes.sum()):,} bytes without "
                "a space.",
                hint="One sentence or paragraph a line is needed.",
            )


def _batches(dataset: datasets.Dataset) -> Iterator[list[str]]:
    for batch in dataset.with_format("arrow").iter(batch_size=1_000):
        yield batch.column("text").to_pylist()


def _require_enough(
    corpus: _Lines, train: Indices, held_out: Indices, *, contaminated: int | None
) -> None:
    """Refuse a corpus without enough to train on, and to hold out if it is to give that too.

    Args:
        corpus: All of it.
        train: Positions of the lines to train on.
        held_out: Positions of the lines held out; of another text if that was given.
        contaminated: How many lines a given held-out text took out; None if none was given.
    """
    lines, size = len(corpus.distinct), int(corpus.num_bytes[corpus.distinct].sum())
    found = f"found {_number(lines, 'line')} ({size:,} bytes)"
    if corpus.empty_lines or corpus.duplicate_lines:
        found += ", empty and repeated ones left out"
    if contaminated:
        found += f", of which {contaminated:,} are in the held-out text too"
        lines, size = len(train), int(corpus.num_bytes[train].sum())
    needed_bytes = MIN_TRAIN_BYTES if contaminated is not None else MIN_BYTES
    needed = None
    hint = "Add text; for a useful adapter a few hundred kilobytes are the least."
    if lines < MIN_LINES:
        needed = f"{MIN_LINES} different lines"
        hint = "One sentence or paragraph a line is needed."
    elif size < needed_bytes:
        needed = f"{needed_bytes:,} bytes"
    elif contaminated is None and (
        len(held_out) < MIN_HELD_OUT_LINES or corpus.num_bytes[train].sum() < MIN_TRAIN_BYTES
    ):
        needed = f"{MIN_LINES} lines of similar length"
        hint = "One sentence or paragraph a line is needed."
    if needed is not None:
        raise CorpusError(
            f"{_start(corpus.files)} has too little text: {found}; at least {needed} are needed.",
            hint="Give a held-out text that is not in the corpus." if contaminated else hint,
        )


def _require_enough_held_out(text: _Lines, lines: Indices) -> None:
    size = int(text.num_bytes[lines].sum())
    if len(lines) < MIN_HELD_OUT_LINES or size < MIN_HELD_OUT_BYTES:
        raise CorpusError(
            f"{_start(text.files)} has too little text to measure on: found "
            f"{_number(len(lines), 'line')} ({size:,} bytes); at least {MIN_HELD_OUT_LINES} "
            f"different lines and {MIN_HELD_OUT_BYTES:,} bytes are needed.",
            hint="Give more text, one sentence or paragraph a line.",
        )


def _report(
    texts: list[_Lines],
    train: TextStatistics,
    held_out: TextStatistics,
    contaminated: int,
    warnings: list[str],
) -> CorpusReport:
    letters = dict(train.letters_by_script)
    for name, count in held_out.letters_by_script.items():
        letters[name] = letters.get(name, 0) + count
    both = TextStatistics(letters_by_script=dict(sorted(letters.items(), key=lambda s: -s[1])))
    report = CorpusReport(
        files=tuple(name for text in texts for name in text.files),
        lines=sum(len(text.rows) for text in texts),
        kept_lines=train.lines + held_out.lines,
        empty_lines=sum(text.empty_lines for text in texts),
        duplicate_lines=sum(text.duplicate_lines for text in texts),
        contaminated_lines=contaminated,
        cut_lines=sum(text.cut_lines for text in texts),
        replaced_characters=train.replaced_characters + held_out.replaced_characters,
        words=train.words + held_out.words,
        characters=train.characters + held_out.characters,
        bytes=train.bytes + held_out.bytes,
        train_lines=train.lines,
        train_bytes=train.bytes,
        held_out_lines=held_out.lines,
        held_out_bytes=held_out.bytes,
        scripts={name: round(share, 6) for name, share in both.scripts.items() if share >= 1e-6},
        train_sha256=train.sha256,
        held_out_sha256=held_out.sha256,
    )
    return replace(report, warnings=(*warnings, *_warnings(report, train, held_out)))


def _warnings(report: CorpusReport, train: TextStatistics, held_out: TextStatistics) -> list[str]:
    warnings = []
    if report.train_bytes < SMALL_TRAIN_BYTES:
        warnings.append(
            f"The training text is small ({report.train_bytes:,} bytes): expect a small gain, and "
            "read the interval beside it."
        )
    warnings += _replacement_warnings(report.replaced_characters, report.characters)
    filled = report.lines - report.empty_lines
    if report.duplicate_lines * 2 > filled:
        warnings.append(
            f"Most lines are repetitions ({report.duplicate_lines:,} of {filled:,}) and were "
            "left out."
        )
    if report.cut_lines:
        warnings.append(
            f"{_number(report.cut_lines, 'line')} of more than 20,000 characters "
            f"{'was' if report.cut_lines == 1 else 'were'} cut into pieces."
        )
    overlap = sum(min(s, held_out.scripts.get(name, 0.0)) for name, s in train.scripts.items())
    if train.scripts and held_out.scripts and overlap < 0.5:
        warnings.append(
            f"The held-out text is mostly {next(iter(held_out.scripts))} script, but the training "
            f"text is mostly {next(iter(train.scripts))}."
        )
    if report.contaminated_lines * 10 > report.held_out_lines:
        warnings.append(
            f"{report.contaminated_lines:,} of the {report.held_out_lines:,} held-out lines are "
            "in the corpus too and were left out of training; lines that differ slightly are not "
            "found."
        )
    return warnings


def _replacement_warnings(replaced: int, characters: int) -> list[str]:
    if not replaced:
        return []
    return [
        f"{replaced:,} of {characters:,} characters are U+FFFD: the text was not read, or not "
        "written, in its right encoding."
    ]


def _name(files: Sequence[str]) -> str:
    return files[0] if len(files) == 1 else f"the corpus of {len(files):,} files"


def _start(files: Sequence[str]) -> str:
    """`_name` as the start of a sentence; a path keeps its spelling."""
    return files[0] if len(files) == 1 else f"The corpus of {len(files):,} files"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

"""From files of text to a training and a held-out side that share no line.

read -> clean -> drop empty lines -> drop repeated lines -> split -> measure. The lines are on disk;
of each, one byte is in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from xmod_extend.errors import CorpusError
from xmod_extend.text.arrow import StoredLines, encode_lines, read_arrow
from xmod_extend.text.cache import choose_cache_dir, find_or_make_entry
from xmod_extend.text.fingerprinting import combine, fingerprint_sources
from xmod_extend.text.lines import PreparedLines, prepare_lines, require_encoding_errors
from xmod_extend.text.notices import SAMPLE_BYTES, find_near_repetitions, find_notices
from xmod_extend.text.options import EncodingErrors
from xmod_extend.text.report import CorpusReport
from xmod_extend.text.sources import Source, describe_left_out, find_sources
from xmod_extend.text.splitting import (
    Mask,
    count_lines,
    find_distinct,
    find_shared,
    hold_out,
    write_sides,
)
from xmod_extend.text.statistics import TextStatistics

MIN_LINES = 20
MIN_BYTES = 10_000
"""Of a text that is to be trained on and measured on: it leaves MIN_TRAIN_BYTES in any split."""

MIN_TRAIN_BYTES = 5_000
MIN_HELD_OUT_LINES = 3
MIN_HELD_OUT_BYTES = 1_000

SMALL_TRAIN_BYTES = 50_000

_TRAIN, _HELD_OUT, _WHOLE = "train.arrow", "held_out.arrow", "text.arrow"
_SPLIT_VERSION = 1
"""To be raised whenever the same lines would be kept or held out differently."""
_FACTS_VERSION = 4
"""To be raised whenever something else is counted in the same lines, or said of them."""
_ROWS = 1_000
"""Lines in a row that are sampled."""


@dataclass(frozen=True)
class Corpus:
    """Text to train on and text to measure on; each line is a document."""

    train: StoredLines
    """In the order of the files."""

    held_out: StoredLines
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

    lines: StoredLines
    """Without empty and repeated lines."""

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
    options = _Options(text_field, encoding_errors, folder)
    texts = [_Text.find(paths, options)]
    if held_out is not None:
        texts.append(_Text.find([held_out], options))
    key = combine(_SPLIT_VERSION, _FACTS_VERSION, *(text.fingerprint for text in texts))

    def make(unfinished: Path) -> dict[str, Any]:
        return _split(unfinished, *(text.prepare(options) for text in texts))

    entry = find_or_make_entry(folder / f"corpus-{key}", make)
    sides = [
        StoredLines(entry.folder / name, combine(key, name), entry.facts[side]["lines"])
        for name, side in ((_TRAIN, "train"), (_HELD_OUT, "held_out"))
    ]
    given = [*paths, *([] if held_out is None else [held_out])]
    report = _report(
        tuple(name for text in texts for name in text.files),
        entry.facts,
        [*([cache_warning] if cache_warning else []), *describe_left_out(given)],
    )
    return Corpus(sides[0], sides[1], report)


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
    options = _Options(text_field, encoding_errors, folder)
    text = _Text.find(paths, options)
    key = combine(_SPLIT_VERSION, _FACTS_VERSION, text.fingerprint, "whole")

    def make(unfinished: Path) -> dict[str, Any]:
        lines = text.prepare(options)
        distinct = _find_distinct(lines)
        _require_enough_held_out(lines, distinct)
        (statistics,) = write_sides(lines, [(unfinished / _WHOLE, distinct)])
        return {"statistics": asdict(statistics)}

    entry = find_or_make_entry(folder / f"text-{key}", make)
    figures = TextStatistics(**entry.facts["statistics"])
    warnings = [cache_warning] if cache_warning else []
    warnings += _replacement_warnings(figures.replaced_characters, figures.characters)
    lines = StoredLines(entry.folder / _WHOLE, key, figures.lines)
    return Text(lines, text.files, figures, tuple(warnings))


class _Options(NamedTuple):
    text_field: str
    encoding_errors: EncodingErrors
    folder: Path


@dataclass(frozen=True)
class _Text:
    """Files that are known, but perhaps not yet read."""

    sources: list[Source]
    fingerprint: str

    @classmethod
    def find(cls, paths: Sequence[str | Path], options: _Options) -> _Text:
        require_encoding_errors(options.encoding_errors)
        sources = find_sources(paths)
        fingerprint = fingerprint_sources(
            sources,
            text_field=options.text_field,
            encoding_errors=options.encoding_errors,
            cache_dir=options.folder,
        )
        return cls(sources, fingerprint)

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(source.name for source in self.sources)

    def prepare(self, options: _Options) -> PreparedLines:
        return prepare_lines(
            self.sources,
            fingerprint=self.fingerprint,
            text_field=options.text_field,
            encoding_errors=options.encoding_errors,
            cache_dir=options.folder,
        )


def _split(
    folder: Path, corpus: PreparedLines, given: PreparedLines | None = None
) -> dict[str, Any]:
    """Write both sides of a corpus into `folder`; returns what was counted."""
    distinct = _find_distinct(corpus)
    train_file, held_out_file = folder / _TRAIN, folder / _HELD_OUT
    contaminated = 0
    if given is None:
        held_out = hold_out(corpus, distinct)
        train = distinct & ~held_out
        _require_enough(corpus, distinct, train, held_out, contaminated=None)
        sides = write_sides(corpus, [(train_file, train), (held_out_file, held_out)])
    else:
        held_out = _find_distinct(given)
        shared = find_shared(corpus, distinct, given)
        train = distinct & ~shared
        contaminated = int(shared.sum())
        _require_enough(corpus, distinct, train, held_out, contaminated=contaminated)
        _require_enough_held_out(given, held_out)
        sides = write_sides(corpus, [(train_file, train)])
        sides += write_sides(given, [(held_out_file, held_out)])
    texts = [corpus] if given is None else [corpus, given]
    lines = sum(text.num_lines for text in texts)
    empty = sum(text.empty_lines for text in texts)
    kept = sum(side.lines for side in sides)
    return {
        "lines": lines,
        "empty_lines": empty,
        "duplicate_lines": lines - empty - kept - contaminated,
        "contaminated_lines": contaminated,
        "cut_lines": sum(text.cut_lines for text in texts),
        "train": asdict(sides[0]),
        "held_out": asdict(sides[1]),
        "notices": _notices((corpus, train), (given or corpus, held_out), sides),
    }


def _notices(
    train: tuple[PreparedLines, Mask],
    held_out: tuple[PreparedLines, Mask],
    sides: Sequence[TextStatistics],
) -> list[str]:
    """Return what is to be said of the lines of both sides."""
    every, every_held_out = (-(-side.bytes // SAMPLE_BYTES) or 1 for side in sides)
    return [
        *find_notices(_sample(*train, every), is_sample=every > 1),
        *find_near_repetitions(
            _sample(*train, every),
            _sample(*held_out, every_held_out),
            is_sample=every > 1 or every_held_out > 1,
        ),
    ]


def _sample(lines: PreparedLines, mask: Mask, every: int) -> Iterator[str]:
    """Lines of the mask: all, or a thousand in a row at even distances."""
    import pyarrow as pa

    start = 0
    for column in read_arrow(lines.path):
        kept = column.filter(pa.array(mask[start : start + len(column)]))
        start += len(column)
        for first in range(0, len(kept), _ROWS * every):
            yield from kept.slice(first, _ROWS).to_pylist()


def _find_distinct(lines: PreparedLines) -> Mask:
    if lines.empty_lines == lines.num_lines:
        raise CorpusError(
            f"There is no text in {_name(lines.files)}: found {_number(lines.num_lines, 'line')}, "
            "none with text.",
            hint="Give UTF-8 text, one sentence or paragraph a line.",
        )
    if lines.num_whole_lines <= 1 and lines.cut_lines:
        pieces = (piece for column in read_arrow(lines.path) for piece in encode_lines(column))
        if not any(b" " in piece for piece in pieces):
            size = sum(int(sizes.sum()) for _, _, sizes in lines.runs())
            raise CorpusError(
                f"{_start(lines.files)} is one line of {size:,} bytes without a space.",
                hint="One sentence or paragraph a line is needed.",
            )
    return find_distinct(lines)


def _require_enough(
    corpus: PreparedLines, distinct: Mask, train: Mask, held_out: Mask, *, contaminated: int | None
) -> None:
    """Refuse a corpus without enough to train on, and to hold out if it is to give that too.

    Args:
        corpus: All of it.
        distinct: Which of its lines are not empty or repeated.
        train: Which are trained on.
        held_out: Which are held out; of another text if that was given.
        contaminated: How many lines a given held-out text took out; None if none was given.
    """
    lines, size = count_lines(corpus, distinct)
    train_lines, train_size = count_lines(corpus, train)
    found = f"found {_number(lines, 'line')} ({size:,} bytes)"
    if corpus.cut_lines:
        # Who looks into the file sees its lines, and not the pieces that they were cut into.
        whole = _number(corpus.num_whole_lines, "line")
        found = f"found {whole} ({size:,} bytes), cut into {lines:,} pieces"
    if lines < corpus.num_lines:
        found += ", empty and repeated ones left out"
    if contaminated:
        found += f", of which {contaminated:,} are in the held-out text too"
        lines, size = train_lines, train_size
    needed_bytes = MIN_TRAIN_BYTES if contaminated is not None else MIN_BYTES
    needed = None
    hint = "Add text; for a useful adapter a few hundred kilobytes are the least."
    if lines < MIN_LINES:
        needed = f"{MIN_LINES} different lines"
        hint = "One sentence or paragraph a line is needed."
    elif size < needed_bytes:
        needed = f"{needed_bytes:,} bytes"
    elif contaminated is None and (
        held_out.sum() < MIN_HELD_OUT_LINES or train_size < MIN_TRAIN_BYTES
    ):
        needed = f"{MIN_LINES} lines of similar length"
        hint = "One sentence or paragraph a line is needed."
    if needed is not None:
        raise CorpusError(
            f"{_start(corpus.files)} has too little text: {found}; at least {needed} are needed.",
            hint="Give a held-out text that is not in the corpus." if contaminated else hint,
        )


def _require_enough_held_out(text: PreparedLines, mask: Mask) -> None:
    lines, size = count_lines(text, mask)
    if lines < MIN_HELD_OUT_LINES or size < MIN_HELD_OUT_BYTES:
        raise CorpusError(
            f"{_start(text.files)} has too little text to measure on: found "
            f"{_number(lines, 'line')} ({size:,} bytes); at least {MIN_HELD_OUT_LINES} "
            f"different lines and {MIN_HELD_OUT_BYTES:,} bytes are needed.",
            hint="Give more text, one sentence or paragraph a line.",
        )


def _report(files: tuple[str, ...], facts: dict[str, Any], notes: list[str]) -> CorpusReport:
    train, held_out = (TextStatistics(**facts[side]) for side in ("train", "held_out"))
    letters = dict(train.letters_by_script)
    for name, count in held_out.letters_by_script.items():
        letters[name] = letters.get(name, 0) + count
    both = TextStatistics(letters_by_script=dict(sorted(letters.items(), key=lambda s: -s[1])))
    report = CorpusReport(
        files=files,
        lines=facts["lines"],
        kept_lines=train.lines + held_out.lines,
        empty_lines=facts["empty_lines"],
        duplicate_lines=facts["duplicate_lines"],
        contaminated_lines=facts["contaminated_lines"],
        cut_lines=facts["cut_lines"],
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
    found = (*_warnings(report, train, held_out), *facts["notices"])
    return replace(report, warnings=found, notes=tuple(notes))


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

"""Which files a corpus is made of: files, folders, patterns and data sets on the Hub."""

from __future__ import annotations

import difflib
import glob
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xmod_extend.errors import CorpusError
from xmod_extend.text.hub import HUB_PREFIX, HubAddress, fetch_file, fetch_training_split

Format = Literal["text", "jsonl", "parquet", "arrow"]

SUFFIXES: dict[str, Format] = {
    ".txt": "text",
    ".txt.gz": "text",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".parquet": "parquet",
}
"""The kinds of file that are read, by the end of the name."""

_SUFFIX_LIST = f"{', '.join(list(SUFFIXES)[:-1])} and {list(SUFFIXES)[-1]}"


@dataclass(frozen=True)
class Source:
    """One file of text on this machine."""

    path: Path
    name: str
    """As the reader of a message knows it: the path as it was given, or the Hub address."""

    format: Format

    @property
    def is_compressed(self) -> bool:
        return self.path.name.lower().endswith(".gz")


def find_sources(paths: Sequence[str | Path]) -> list[Source]:
    """Expand what was given as a corpus into files.

    Each of `paths` is a file, a folder (read with all its subfolders, in the order of the names,
    hidden files left out), a pattern such as `data/*.txt`, or `hf://datasets/USER/NAME`, optionally
    with `@REVISION` and `/path/in/repository`. A file that is reached twice counts once.

    Raises:
        CorpusError: Something is missing, unreadable, of an unsupported kind, or matches nothing.
        HubError: A data set cannot be had from the Hub.
    """
    if not paths:
        raise CorpusError("No corpus was given.", hint="Name at least one file or folder of text.")
    sources: dict[Path, Source] = {}
    for path in paths:
        for source in _expand(str(path)):
            sources.setdefault(source.path.resolve(), source)
    return list(sources.values())


def check_paths(paths: Sequence[str | Path]) -> None:
    """Refuses at once what `find_sources` would refuse on this machine; nothing is downloaded.

    Raises:
        CorpusError: A path is missing, unreadable, of an unsupported kind, or matches nothing; or
            a Hub address is malformed.
    """
    for path in map(str, paths):
        if path.startswith(HUB_PREFIX):
            address = HubAddress.parse(path)
            if address.path is not None:
                _format_of(Path(address.path), path)
        else:
            _expand(path)


def _expand(given: str) -> list[Source]:
    if not given.strip() or "\0" in given:
        raise CorpusError(f"{given!r} is no path.", hint="Name a file or folder of text.")
    if given.startswith(HUB_PREFIX):
        return _expand_hub(given)
    if "://" in given:
        raise CorpusError(
            f"{given} cannot be read: of addresses only {HUB_PREFIX}USER/NAME is supported.",
            hint="Download the text and give the file's path.",
        )
    path = Path(given).expanduser()
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if glob.has_magic(given):
            return _expand_pattern(given)
        raise _missing(path) from None
    except OSError as error:
        raise _unreadable(given, error) from error
    if stat.S_ISDIR(mode):
        return _expand_folder(path, given)
    return [_open_source(path, given)]


def _expand_hub(given: str) -> list[Source]:
    address = HubAddress.parse(given)
    if address.path is not None:
        # What is not read is not downloaded either.
        source_format = _format_of(Path(address.path), given)
        return [Source(fetch_file(address), given, source_format)]
    shards = fetch_training_split(address)
    names = [f"{given} (shard {i})" for i in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = [given]
    return [Source(path, name, "arrow") for path, name in zip(shards, names, strict=True)]


def _expand_pattern(pattern: str) -> list[Source]:
    matches = sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True))  # noqa: PTH207
    found = [Path(match) for match in matches if Path(match).is_file()]
    sources = [_open_source(path, str(path)) for path in found if _supported(path)]
    if sources:
        return sources
    if found:
        raise CorpusError(
            f"{pattern} matches {_number(len(found), 'file')}, none of a kind that is read "
            f"(found {_suffixes(found)}).",
            hint=f"{_SUFFIX_LIST} files are read.",
        )
    raise CorpusError(f"{pattern} matches no file.", hint="Check the pattern and the folder.")


def _expand_folder(folder: Path, given: str) -> list[Source]:
    try:
        files = sorted(
            path
            for path in folder.rglob("*")
            if path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        )
        # rglob passes over what it may not list; the folder itself must at least be listed.
        next(folder.iterdir(), None)
    except OSError as error:
        raise _unreadable(given, error) from error
    sources = [_open_source(path, str(path)) for path in files if _supported(path)]
    if not sources:
        found = _suffixes(files) if files else "no file at all"
        raise CorpusError(
            f"The folder {given} has no text to read: found {found}.",
            hint=f"{_SUFFIX_LIST} files are read, also in subfolders.",
        )
    return sources


def _open_source(path: Path, name: str) -> Source:
    """A source that exists, is a regular file, has a supported suffix and may be read."""
    source_format = _format_of(path, name)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CorpusError(
                f"{name} is no regular file but a pipe or a device.",
                hint="Write the text to a file first: it is read more than once.",
            )
        with path.open("rb"):
            pass
    except OSError as error:
        raise _unreadable(name, error) from error
    return Source(path, name, source_format)


def _supported(path: Path) -> bool:
    return path.name.lower().endswith(tuple(SUFFIXES))


def _format_of(path: Path, name: str) -> Format:
    for suffix, source_format in SUFFIXES.items():
        if path.name.lower().endswith(suffix):
            return source_format
    if path.exists() and not path.is_file():
        raise CorpusError(
            f"{name} is no regular file but a pipe or a device.",
            hint="Write the text to a file first: it is read more than once.",
        )
    raise CorpusError(
        f"{name} is of a kind that is not read (its suffix is {path.suffix or 'missing'!r}).",
        hint=f"{_SUFFIX_LIST} files are read; rename plain text to end in .txt.",
    )


def _missing(path: Path) -> CorpusError:
    folder = path.parent
    if not folder.is_dir():
        return CorpusError(
            f"{path} does not exist, and neither does its folder {folder}.",
            hint=f"Relative paths start at the current folder, {Path.cwd()}.",
        )
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        names = []
    near = difflib.get_close_matches(path.name, names, n=1)
    where = "the current folder" if folder == Path() else folder
    hint = f"Did you mean {folder / near[0]}?" if near else f"Check the name; it is not in {where}."
    return CorpusError(f"{path} does not exist.", hint=hint)


def _unreadable(name: str, error: OSError) -> CorpusError:
    if isinstance(error, PermissionError):
        return CorpusError(
            f"{name} may not be read: permission denied.", hint="Check the file's permissions."
        )
    return CorpusError(f"{name} cannot be read: {error.strerror or error}.")


def _suffixes(files: Sequence[Path]) -> str:
    """What kinds of file there are, such as `3 .pdf, 1 .docx`."""
    counts = Counter("".join(path.suffixes[-2:]) or path.name for path in files)
    shown = [f"{count} {suffix}" for suffix, count in counts.most_common(4)]
    return ", ".join(shown) + (", …" if len(counts) > 4 else "")


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

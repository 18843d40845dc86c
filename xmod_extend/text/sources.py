"""The sources of a corpus: files, folders, patterns and data sets on the Hub."""

from __future__ import annotations

import difflib
import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

from xmod_extend.errors import CorpusError, UsageError
from xmod_extend.hub.client import fetch
from xmod_extend.text.formats import (
    COMPRESSIONS,
    SUPPORTED,
    Compression,
    Format,
    count_suffixes,
    find_format,
    is_text,
    require_regular,
    unreadable,
)
from xmod_extend.text.hub import HUB_PREFIX, HubAddress, fetch_training_split
from xmod_extend.text.options import EncodingErrors

_OWN_FILES = frozenset({"run.json", "model.safetensors.index.json"})
_OWN_MARK = ".xmod-extend.json"
"""In a folder that this program made: its outputs are no text of the language."""


@dataclass(frozen=True)
class Source:
    """One file of text, or a data set that is read over the network, and how to read it."""

    location: Path | HubAddress
    name: str
    """As the reader of a message knows it: the path as it was given, or the Hub address."""

    format: Format
    text_field: str = "text"
    """The field or column with the text, where there are several."""

    encoding_errors: EncodingErrors = "strict"
    """`replace` puts U+FFFD where bytes are not UTF-8, instead of refusing them."""

    @property
    def path(self) -> Path:
        """The file; a data set that is read over the network has none."""
        assert isinstance(self.location, Path)
        return self.location

    @property
    def compression(self) -> Compression | None:
        return COMPRESSIONS.get(self.path.suffix.lower())

    @property
    def version(self) -> list[object]:
        """What tells the source from another one without reading it."""
        if isinstance(self.location, HubAddress):
            return [self.location.repository, self.location.revision, self.location.path]
        status = self.location.stat()
        return [self.name, status.st_size, status.st_mtime_ns]


def find_sources(
    paths: Sequence[str | Path],
    *,
    text_field: str = "text",
    encoding_errors: EncodingErrors = "strict",
    download: bool = True,
) -> list[Source]:
    """Expand what was given as a corpus into sources.

    Each of `paths` is a file, a folder (read with all its subfolders, in the order of the names,
    without hidden files and the folders that this program made), a pattern such as `data/*.txt`,
    or `hf://datasets/USER/NAME`, optionally with `@REVISION` and `/path/in/repository`. A file that
    is reached twice counts once.

    Args:
        paths: The corpus.
        text_field: The field of JSON lines, or the column of a table, that holds the text.
        encoding_errors: `replace` puts U+FFFD where bytes are not UTF-8, instead of refusing them.
        download: Whether a data set on the Hub becomes files on this machine, or a source that is
            read over the network.

    Raises:
        CorpusError: Something is missing, unreadable, of an unsupported type, or matches nothing.
        HubError: A data set cannot be had from the Hub.
        UsageError: `encoding_errors` is not one of its values.
    """
    if encoding_errors not in get_args(EncodingErrors):
        raise UsageError(
            f"{encoding_errors!r} does not say how to treat invalid UTF-8.",
            hint=f"Choose {' or '.join(get_args(EncodingErrors))}.",
        )
    if not paths:
        raise CorpusError("No corpus was given.", hint="Name at least one file or folder of text.")
    sources: dict[Path | HubAddress, Source] = {}
    for path in map(str, paths):
        for source in _expand(path, download=download):
            is_file = isinstance(source.location, Path)
            key = source.path.resolve() if is_file else source.location
            named = replace(
                source,
                name=_spell(source.name),
                text_field=text_field,
                encoding_errors=encoding_errors,
            )
            sources.setdefault(key, named)
    return list(sources.values())


def check_paths(paths: Sequence[str | Path]) -> None:
    """Refuse at once what `find_sources` would refuse on this machine; nothing is downloaded.

    Raises:
        CorpusError: A path is missing, unreadable, of an unsupported type, or matches nothing; or
            a Hub address is malformed.
    """
    for path in map(str, paths):
        for source in _expand(path, download=False):
            if isinstance(source.location, HubAddress) and source.location.path is not None:
                find_format(Path(source.location.path), path)


def describe_left_out(paths: Sequence[str | Path]) -> list[str]:
    """Return sentences about what of the folders and patterns among `paths` is not read."""
    sentences = []
    for argument in map(str, paths):
        path = Path(argument).expanduser()
        if path.is_dir():
            found = _look_into(path, argument)
        elif not argument.startswith(HUB_PREFIX) and glob.has_magic(argument) and not path.exists():
            found = _match(argument)
        else:
            continue
        if found.other:
            number = len(found.other)
            sentences.append(
                f"{_number(number, 'file')} in {argument} {'is' if number == 1 else 'are'} not "
                f"text that can be read and {'was' if number == 1 else 'were'} left out "
                f"({count_suffixes(found.other)}), such as {found.other[0].name}."
            )
        if found.outputs:
            names = ", ".join(folder.name for folder in found.outputs[:3])
            sentences.append(
                f"Outputs of this program in {argument} were left out: {names}"
                f"{', …' if len(found.outputs) > 3 else ''}."
            )
        if found.links:
            sentences.append(
                f"{_number(len(found.links), 'link')} in {argument} to a folder or to nothing "
                f"{'was' if len(found.links) == 1 else 'were'} not followed, such as "
                f"{found.links[0].name}."
            )
    return sentences


def _spell(name: str) -> str:
    """Return a name as its bytes spell it: under an ASCII locale Python holds those of other
    letters."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def _expand(argument: str, *, download: bool) -> list[Source]:
    if not argument.strip() or "\0" in argument:
        raise CorpusError(f"{argument!r} is not a path.", hint="Name a file or folder of text.")
    if argument.startswith(HUB_PREFIX):
        return _expand_hub(argument, download=download)
    if "://" in argument:
        raise CorpusError(
            f"{argument} cannot be read: of addresses only {HUB_PREFIX}USER/NAME is supported.",
            hint="Download the text and give the file's path.",
        )
    path = Path(argument).expanduser()
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if not glob.has_magic(argument):
            raise _missing(path) from None
        found, is_folder = _match(argument), False
    except OSError as error:
        raise unreadable(argument, error) from error
    else:
        if not stat.S_ISDIR(mode):
            return [_open_source(path, argument)]
        found, is_folder = _look_into(path, argument), True
    if not found.text:
        raise _nothing_to_read(argument, found, is_folder=is_folder)
    return [_open_source(path, str(path)) for path in found.text]


def _expand_hub(argument: str, *, download: bool) -> list[Source]:
    address = HubAddress.parse(argument)
    if not download:
        return [Source(address, str(address), "arrow")]
    if address.path is not None:
        # What is not read is not downloaded either.
        source_format = find_format(Path(address.path), argument)
        file = fetch(address.data_set, path=address.path)
        return [Source(file, argument, source_format)]
    shards = fetch_training_split(address)
    names = [f"{argument} (shard {i})" for i in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = [argument]
    return [Source(path, name, "arrow") for path, name in zip(shards, names, strict=True)]


def _open_source(path: Path, name: str) -> Source:
    """Return a source that exists, is a regular file, has a supported suffix and may be read."""
    source_format = find_format(path, name)
    try:
        require_regular(path, name)
        with path.open("rb"):
            pass
    except OSError as error:
        raise unreadable(name, error) from error
    return Source(path, name, source_format)


@dataclass
class _Found:
    """What is in a folder, its subfolders' files included, or matches a pattern."""

    text: list[Path] = field(default_factory=list)
    other: list[Path] = field(default_factory=list)
    """Files that are not read."""
    outputs: list[Path] = field(default_factory=list)
    """Folders that this program made."""
    links: list[Path] = field(default_factory=list)
    """Links to folders, which are not followed, and links to nothing."""


def _match(pattern: str) -> _Found:
    """Sort the files that a pattern matches, in the order of their paths."""
    found = _Found()
    matches = sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True))  # noqa: PTH207
    for path in filter(Path.is_file, map(Path, matches)):
        if _is_output(path.parent):
            if path.parent not in found.outputs:
                found.outputs.append(path.parent)
        else:
            (found.text if is_text(path) else found.other).append(path)
    return found


def _look_into(folder: Path, argument: str) -> _Found:
    """Sort a folder's files, in the order of their paths.

    Raises:
        CorpusError: It or a subfolder may not be listed, so that text might be missed.
    """
    found = _Found()
    for path in sorted(_walk(folder, argument, found.outputs)):
        if path.is_file():
            (found.text if is_text(path) else found.other).append(path)
        elif path.is_symlink():
            found.links.append(path)
    return found


def _walk(folder: Path, argument: str, outputs: list[Path]) -> Iterator[Path]:
    """Yield files and links that are not hidden; the folders of this program go to `outputs`."""

    def refuse(error: OSError) -> None:
        hint = "Check its permissions, or name the files and folders that shall be read."
        raise unreadable(str(error.filename or argument), error, hint=hint) from error

    for name, folders, files in os.walk(folder, onerror=refuse):
        here = Path(name)
        if here != folder and _is_output(here):
            outputs.append(here)
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links = [name for name in folders if (here / name).is_symlink()]
        yield from (here / name for name in files + links if not name.startswith("."))


def _is_output(folder: Path) -> bool:
    """Return whether this program made a folder: by its mark, or by what earlier versions wrote."""
    if (folder / _OWN_MARK).is_file() or all((folder / name).is_file() for name in _OWN_FILES):
        return True
    is_run = folder.name.endswith(".run") or folder.parent.name.endswith(".run")
    return is_run and any(folder.glob("state-*.safetensors"))


def _nothing_to_read(argument: str, found: _Found, *, is_folder: bool) -> CorpusError:
    hint = "Give the folder or file that has the text."
    if is_folder and (found.other or not found.outputs):
        kinds = count_suffixes(found.other) if found.other else "no file at all"
        message = f"The folder {argument} has no text to read: found {kinds}."
        hint = f"{SUPPORTED}, also in subfolders."
    elif is_folder:
        message = f"The folder {argument} has no text but what this program wrote."
    elif found.other:
        number, kinds = _number(len(found.other), "file"), count_suffixes(found.other)
        message = f"{argument} matches {number} of unsupported types ({kinds})."
        hint = f"{SUPPORTED}."
    elif found.outputs:
        message = f"{argument} matches nothing but what this program wrote."
    else:
        message, hint = f"{argument} matches no file.", "Check the pattern and the folder."
    return CorpusError(message, hint=hint)


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


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

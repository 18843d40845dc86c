"""Which files a corpus is made of: files, folders, patterns and data sets on the Hub."""

from __future__ import annotations

import difflib
import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from xmod_extend.errors import CorpusError
from xmod_extend.text.hub import HUB_PREFIX, HubAddress, fetch_file, fetch_training_split
from xmod_extend.text.sniffing import HEAD_BYTES, looks_like_text

Format = Literal["text", "jsonl", "csv", "tsv", "parquet", "arrow"]
Compression = Literal["gzip", "bz2", "xz", "zstd"]

FORMATS: dict[str, Format] = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
"""What a file holds, by the end of its name before the compression's."""

COMPRESSIONS: dict[str, Compression] = {
    ".gz": "gzip",
    ".bz2": "bz2",
    ".xz": "xz",
    ".zst": "zstd",
}

_READ = ".txt, .jsonl, .csv and .tsv (also .gz, .bz2, .xz or .zst) and .parquet files are read"

# As WikiExtractor's wiki_00 and `split`'s text.001: names without a suffix are text.
_NO_SUFFIX = re.compile(r"[^.]+(\.\d+)?")

_ABOUT_TEXT = re.compile(
    r"readme|licen[cs]e|copying|notice|authors|contributors|changelog|changes|makefile|dockerfile"
    r"|citation|(md5|sha\d+)(sum)?s?|checksums?",
    re.IGNORECASE,
)
"""Names without a suffix that stand beside text in a folder, and are none."""

_MODEL_SUFFIXES = frozenset(
    (".bin", ".safetensors", ".pt", ".pth", ".ckpt", ".onnx", ".model", ".h5", ".npz", ".pkl")
)
_WAYS_TO_TEXT = {
    ".conllu": "Take out its sentences with `sed -n 's/^# text = //p' FILE.conllu > FILE.txt` and "
    "give that.",
    ".json": "Write one JSON object a line to a .jsonl file.",
}
"""What to do about a kind of file that has text, but not as text."""

_OWN_FILES = frozenset({"run.json", "model.safetensors.index.json"})
_OWN_MARK = ".xmod-extend.json"
"""In a folder that this program made: its outputs are no text of the language."""


@dataclass(frozen=True)
class Source:
    """One file of text on this machine."""

    path: Path
    name: str
    """As the reader of a message knows it: the path as it was given, or the Hub address."""

    format: Format

    @property
    def compression(self) -> Compression | None:
        return COMPRESSIONS.get(self.path.suffix.lower())


@dataclass(frozen=True)
class _Folder:
    """What a folder holds, its subfolders' files included."""

    text: list[Path]
    other: list[Path]
    """Files that are not read."""
    outputs: list[Path]
    """Folders that this program made."""
    links: list[Path]
    """Links to folders, which are not followed, and links to nothing."""


def find_sources(paths: Sequence[str | Path]) -> list[Source]:
    """Expand what was given as a corpus into files.

    Each of `paths` is a file, a folder (read with all its subfolders, in the order of the names,
    without hidden files and the folders that this program made), a pattern such as `data/*.txt`,
    or `hf://datasets/USER/NAME`, optionally with `@REVISION` and `/path/in/repository`. A file that
    is reached twice counts once.

    Raises:
        CorpusError: Something is missing, unreadable, of an unsupported kind, or matches nothing.
        HubError: A data set cannot be had from the Hub.
    """
    if not paths:
        raise CorpusError("No corpus was given.", hint="Name at least one file or folder of text.")
    sources: dict[Path, Source] = {}
    for path in paths:
        for source in _expand(str(path)):
            named = replace(source, name=_spell(source.name))
            sources.setdefault(source.path.resolve(), named)
    return list(sources.values())


def _spell(name: str) -> str:
    """Return a name as its bytes spell it: under an ASCII locale Python holds those of other
    letters."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def describe_left_out(paths: Sequence[str | Path]) -> list[str]:
    """Sentences about what of the folders and patterns among `paths` is not read."""
    sentences = []
    for given in map(str, paths):
        path = Path(given).expanduser()
        if path.is_dir():
            found = _look_into(path, given)
        elif not given.startswith(HUB_PREFIX) and glob.has_magic(given) and not path.exists():
            found = _match(given)
        else:
            continue
        if found.other:
            number = len(found.other)
            sentences.append(
                f"{_number(number, 'file')} in {given} {'is' if number == 1 else 'are'} not text "
                f"that can be read and {'was' if number == 1 else 'were'} left out "
                f"({_suffixes(found.other)}), such as {found.other[0].name}."
            )
        if found.outputs:
            names = ", ".join(folder.name for folder in found.outputs[:3])
            sentences.append(
                f"Outputs of this program in {given} were left out: {names}"
                f"{', …' if len(found.outputs) > 3 else ''}."
            )
        if found.links:
            sentences.append(
                f"{_number(len(found.links), 'link')} in {given} to a folder or to nothing "
                f"{'was' if len(found.links) == 1 else 'were'} not followed, such as "
                f"{found.links[0].name}."
            )
    return sentences


def check_paths(paths: Sequence[str | Path]) -> None:
    """Refuse at once what `find_sources` would refuse on this machine; nothing is downloaded.

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
    found = _match(pattern)
    sources = [_open_source(path, str(path)) for path in found.text]
    if sources:
        return sources
    if found.other:
        raise CorpusError(
            f"{pattern} matches {_number(len(found.other), 'file')} of unsupported types "
            f"({_suffixes(found.other)}).",
            hint=f"{_READ}.",
        )
    if found.outputs:
        raise CorpusError(
            f"{pattern} matches nothing but what this program wrote.",
            hint="Give the folder or file that has the text.",
        )
    raise CorpusError(f"{pattern} matches no file.", hint="Check the pattern and the folder.")


def _match(pattern: str) -> _Folder:
    """Sort the files that a pattern matches, in the order of their paths."""
    found = _Folder([], [], [], [])
    matches = sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True))  # noqa: PTH207
    for path in map(Path, matches):
        if path.is_file() and _is_output(path.parent):
            if path.parent not in found.outputs:
                found.outputs.append(path.parent)
        elif path.is_file():
            (found.text if _is_text(path) else found.other).append(path)
    return found


def _expand_folder(folder: Path, given: str) -> list[Source]:
    found = _look_into(folder, given)
    sources = [_open_source(path, str(path)) for path in found.text]
    if sources:
        return sources
    if found.outputs and not found.other:
        raise CorpusError(
            f"The folder {given} has no text but what this program wrote.",
            hint="Give the folder or file that has the text.",
        )
    raise CorpusError(
        f"The folder {given} has no text to read: found "
        f"{_suffixes(found.other) if found.other else 'no file at all'}.",
        hint=f"{_READ}, also in subfolders.",
    )


def _look_into(folder: Path, given: str) -> _Folder:
    """Sort a folder's files, in the order of their paths.

    Raises:
        CorpusError: It or a subfolder may not be listed, so that text might be missed.
    """
    found = _Folder([], [], [], [])
    for path in sorted(_walk(folder, given, found.outputs)):
        if path.is_file():
            (found.text if _is_text(path) else found.other).append(path)
        elif path.is_symlink():
            found.links.append(path)
    return found


def _walk(folder: Path, given: str, outputs: list[Path]) -> Iterator[Path]:
    """Files and links that are not hidden; the folders of this program go to `outputs`."""

    def refuse(error: OSError) -> None:
        hint = "Check its permissions, or name the files and folders that shall be read."
        raise _unreadable(str(error.filename or given), error, hint=hint) from error

    for place, folders, files in os.walk(folder, onerror=refuse):
        here = Path(place)
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


def _open_source(path: Path, name: str) -> Source:
    """Return a source that exists, is a regular file, has a supported suffix and may be read."""
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


def _split_name(path: Path) -> tuple[str, str]:
    """Return the name without its compression's suffix, and the suffix that says what it holds."""
    name = path.name.lower()
    if path.suffix.lower() in COMPRESSIONS:
        name = name.removesuffix(path.suffix.lower())
    return name, Path(name).suffix


def _is_text(path: Path) -> bool:
    """Return whether a file that was found, and not named by the user, is to be read."""
    name, suffix = _split_name(path)
    if suffix == ".parquet":
        return name == path.name.lower()
    if suffix in FORMATS:
        return True
    if not _NO_SUFFIX.fullmatch(name) or _ABOUT_TEXT.fullmatch(name):
        return False
    # A name that promises nothing is held to what is in the file; packed, to what comes out of it.
    return name != path.name.lower() or looks_like_text(_read_head(path, str(path)))


def _read_head(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise _unreadable(name, error) from error


def _format_of(path: Path, name: str) -> Format:
    stem, suffix = _split_name(path)
    is_packed_table = suffix == ".parquet" and stem != path.name.lower()
    if suffix in FORMATS and not is_packed_table:
        return FORMATS[suffix]
    if path.exists() and not path.is_file():
        raise CorpusError(
            f"{name} is no regular file but a pipe or a device.",
            hint="Write the text to a file first: it is read more than once.",
        )
    if _NO_SUFFIX.fullmatch(stem):
        # WikiExtractor writes JSON lines too, under the same names.
        is_packed = path.suffix.lower() in COMPRESSIONS
        head = b"" if is_packed or not path.exists() else _read_head(path, name)
        return "jsonl" if head.startswith(b'{"') else "text"
    if suffix in _MODEL_SUFFIXES:
        raise CorpusError(
            f"Unsupported file type {suffix!r}: {name} is a part of a model.",
            hint="Give a file of text as the corpus; a model is given with --base.",
        )
    raise CorpusError(
        f"Unsupported file type {''.join(path.suffixes[-2:])!r}: {name}.",
        hint=_WAYS_TO_TEXT.get(suffix, f"{_READ}; rename plain text to end in .txt."),
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


def _unreadable(
    name: str, error: OSError, *, hint: str = "Check the file's permissions."
) -> CorpusError:
    if isinstance(error, PermissionError):
        return CorpusError(f"{name} may not be read: permission denied.", hint=hint)
    return CorpusError(f"{name} cannot be read: {error.strerror or error}.")


def _suffixes(files: Sequence[Path]) -> str:
    """Return what kinds of file there are, such as `3 .pdf, 1 .docx`."""
    counts = Counter("".join(path.suffixes[-2:]) or path.name for path in files)
    shown = [f"{count} {suffix}" for suffix, count in counts.most_common(4)]
    return ", ".join(shown) + (", …" if len(counts) > 4 else "")


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

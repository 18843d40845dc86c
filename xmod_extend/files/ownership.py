"""The mark that tells the program's own folders from all others.

Every folder that the program makes holds a mark, a small hidden file that says so. Whatever removes
or replaces something goes by it, and leaves all else as it is.

    OUTPUT                    checkpoint: its files, each with its size and hash
    .OUTPUT.writing-HOST-PID  unfinished: the names that may be in it
    OUTPUT.run, OUTPUT.run/CODE    run: what run it is, and which process holds it
"""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from xmod_extend.files.atomic import atomic_file
from xmod_extend.files.hashing import file_sha256

MARK_NAME = ".xmod-extend.json"
CHECKPOINT, UNFINISHED, RUN = "checkpoint", "unfinished", "run"
MAKER = "xmod-extend"

HASHED_BYTES = 64 * 1024 * 1024
"""Larger files, which are weights, are known by size and time: xmod-base takes seconds to hash."""
CLOCK_SECONDS = 2.0
"""The coarsest resolution of the time of a change in any file system."""

MOST_MARK_BYTES = 16 * 1024 * 1024
"""A mark has a few hundred bytes for each file; an index of weights is a hundred times smaller."""

UNFINISHED_MARK = f"{MARK_NAME}.new"
"""Temporary name of a mark, which a killed process may leave."""

_MARKLESS_NAMES = ("config.json", "model.safetensors.index.json", "README.md")
_MARKLESS_PATTERNS = (
    *("LICENSE*", "NOTICE*", "run.json", "run-*.json", "metrics.jsonl", "metrics-*.jsonl"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("*.model", "vocab.*"),
)
"""Files that version 0.1.0, which left no mark, wrote beside the weights."""
_MARKLESS_SECONDS = 10.0
"""All files but the weights were written within this time before run.json, the last one."""

Files = Mapping[str, Mapping[str, Any]]
"""File name, after that of a folder within -> what is known of the file: `size`, `sha256`,
`modified`, `modified_before`."""


def write_mark(folder: Path, kind: str, /, **values: Any) -> None:
    """Mark a folder as the program's own, and note `values` in the mark."""
    mark = values | {"made_by": MAKER, "kind": kind}
    with atomic_file(folder / MARK_NAME, folder / UNFINISHED_MARK) as unfinished:
        unfinished.write_text(json.dumps(mark, indent=1) + "\n", encoding="utf-8")


def read_mark(folder: Path, kind: str) -> dict[str, Any] | None:
    """Return a folder's mark, or None if the folder has none or is of another kind."""
    mark = _read_small_json(folder / MARK_NAME)
    if mark is None or (mark.get("made_by"), mark.get("kind")) != (MAKER, kind):
        return None
    return mark


def marked_files(mark: Mapping[str, Any]) -> Files:
    """Return the files that a mark names; a stranger's may say anything."""
    files = mark.get("files")
    items = files.items() if isinstance(files, dict) else ()
    return {name: known for name, known in items if isinstance(known, dict)}


def _read_small_json(file: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file, or None if there is none, or more than any mark has."""
    try:
        with file.open("rb") as stream:
            raw = stream.read(MOST_MARK_BYTES + 1)
        content = json.loads(raw) if len(raw) <= MOST_MARK_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def remove_mark(folder: Path) -> None:
    """Remove the mark and an unfinished new one."""
    for name in (MARK_NAME, UNFINISHED_MARK):
        (folder / name).unlink(missing_ok=True)


def is_empty(folder: Path) -> bool:
    """Return whether a folder holds nothing, or only an unfinished mark."""
    return {entry.name for entry in folder.iterdir()} <= {UNFINISHED_MARK}


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the size and the hash, or the time, of each file in a folder and in those in it."""
    return {name: _describe(folder / name) for name, is_folder in _entries(folder) if not is_folder}


def _entries(folder: Path) -> Iterator[tuple[str, bool]]:
    """Yield all that is in a folder but its mark, and whether each is a folder; links are none."""
    for path, folders, files in os.walk(folder, onerror=_raise):
        within = Path(path).relative_to(folder)
        links = [name for name in folders if Path(path, name).is_symlink()]
        for name in sorted([*folders, *files]):
            inner = (within / name).as_posix()
            if inner not in (MARK_NAME, UNFINISHED_MARK):
                yield inner, name in folders and name not in links


def note_file(folder: Path, name: str, files: Files) -> None:
    """Note in a checkpoint's mark that a file is now as the program wrote it.

    Args:
        files: What `checkpoint_files` returned before.
    """
    described: Files
    if read_mark(folder, CHECKPOINT) is not None:
        described = {**files, name: _describe(folder / name)}
    elif find_foreign(folder, {**files, name: {}}) is None:
        described = describe_files(folder)
    else:
        return  # Nothing of the user's in a folder without a mark is to be taken for ours.
    write_mark(folder, CHECKPOINT, files=described)


def _raise(error: OSError) -> None:
    # Without it, what is in a folder that cannot be read would pass for nothing.
    raise error


def find_foreign(folder: Path, files: Files) -> str | None:
    """Return what is wrong with the first entry of a folder that is not as it was written."""
    for name, is_folder in _entries(folder):
        entry = folder / name
        if is_folder:
            is_known = any(known.startswith(f"{name}/") for known in files)
        else:
            is_known = name in files and not entry.is_symlink() and entry.is_file()
        if not is_known:
            return f"holds {name}, which {MAKER} did not write"
        if not is_folder and not is_as_written(entry, files[name]):
            return f"holds {name}, which was changed since {MAKER} wrote it"
    return None


def checkpoint_files(folder: Path) -> Files | None:
    """Return the files of a checkpoint, or None if the program did not write it."""
    mark = read_mark(folder, CHECKPOINT)
    return _markless_files(folder) if mark is None else marked_files(mark)


def _markless_files(folder: Path) -> Files | None:
    """Return the files of a checkpoint that version 0.1.0 wrote, which left no mark, or None.

    It wrote the record last. What is newer, such as a card that was edited, is the user's.
    """
    try:
        record = folder / "run.json"
        if "xmod-extend" not in (_read_small_json(record) or {})["versions"]:
            return None
        index = _read_small_json(folder / "model.safetensors.index.json") or {}
        weights = set(index["weight_map"].values())
        last = record.stat().st_mtime + _MARKLESS_SECONDS
    except (OSError, KeyError, TypeError, AttributeError):
        return None
    names = [entry.name for entry in folder.iterdir()]
    known = weights.union(_MARKLESS_NAMES)
    return {
        name: {"modified_before": last}
        for name in names
        if name in known or any(fnmatch.fnmatch(name, glob) for glob in _MARKLESS_PATTERNS)
    }


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove these files, the mark, and the folder if nothing else is in it.

    A name that leads out of the folder, as a mark of a stranger's may have, is passed over.
    """
    inside = [name for name in names if _lies_within(folder, name)]
    with suppress(OSError):
        for name in inside:
            (folder / name).unlink(missing_ok=True)
        for parent in sorted(
            {within for name in inside for within in _parents(name)}, reverse=True
        ):
            (folder / parent).rmdir()
        # The mark goes last, so that what a killed process leaves is still known to be ours.
        remove_mark(folder)
        folder.rmdir()


def _lies_within(folder: Path, name: str) -> bool:
    """Return whether a name leads to no place but one in the folder, not even through a link."""
    path = Path(name)
    if path.anchor or ".." in path.parts or not path.parts or not name.isprintable():
        return False
    return not any((folder / parent).is_symlink() for parent in _parents(name))


def _parents(name: str) -> list[str]:
    """Return the folders within a folder that a file lies in: `a` and `a/b` for `a/b/file`."""
    return [str(parent) for parent in PurePosixPath(name).parents if str(parent) != "."]


def _describe(file: Path) -> dict[str, Any]:
    status = file.stat()
    if status.st_size > HASHED_BYTES:
        return {"size": status.st_size, "modified": status.st_mtime}
    return {"size": status.st_size, "sha256": file_sha256(file)}


def is_as_written(file: Path, known: Mapping[str, Any]) -> bool:
    """Return whether a file is still what is known of it."""
    status = file.stat()
    if not all(_is_number(known.get(name, 0)) for name in ("size", "modified", "modified_before")):
        return False
    if status.st_size != known.get("size", status.st_size):
        return False
    if abs(status.st_mtime - known.get("modified", status.st_mtime)) > CLOCK_SECONDS:
        return False
    if status.st_mtime > known.get("modified_before", status.st_mtime):
        return False
    return "sha256" not in known or file_sha256(file) == known["sha256"]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""A document of a checkpoint that was written before, such as its report, written anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from xmod_extend.errors import UsageError
from xmod_extend.files.atomic import os_error, write_atomically
from xmod_extend.files.ownership import Files, checkpoint_files, is_as_written, note_file


def write_document(folder: Path, name: str, text: str, *, is_ours: Callable[[str], bool]) -> Path:
    """Write a text into a checkpoint's folder and return its path.

    A file of that name is replaced only if the program wrote it and nobody changed it since.

    Args:
        is_ours: Whether a file's content is such a document. It is asked where nothing else tells,
            as in a checkpoint that was downloaded.

    Raises:
        UsageError: A file of the user's has the name, or the file system refuses something.
    """
    path = folder / name
    try:
        files = checkpoint_files(folder)
        if path.is_symlink() or path.exists():
            _refuse_foreign(path, files, is_ours)
        # A path may hold bytes that are not UTF-8.
        write_atomically(path, text.encode(errors="backslashreplace"))
        if files is not None:
            note_file(folder, name, files)
    except OSError as error:
        raise os_error(error, path) from error
    return path


def _refuse_foreign(path: Path, files: Files | None, is_ours: Callable[[str], bool]) -> None:
    if not path.is_file():
        problem = "is not a file"
    elif files is not None and path.name in files:
        if is_as_written(path, files[path.name]):
            return
        problem = "was changed since xmod-extend wrote it"
    elif files is None and is_ours(path.read_text(encoding="utf-8", errors="replace")):
        return
    else:
        problem = "was not written by xmod-extend"
    raise UsageError(f"{path} {problem}, and is not replaced.", hint="Move it elsewhere.")

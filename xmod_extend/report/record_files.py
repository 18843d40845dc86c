"""The run records in a checkpoint's folder: each tells of one language.

`run.json` tells of the language that was added last, `run-CODE.json` of one before. What else there
is of a language, its figures and its report, is named alike.
"""

from __future__ import annotations

from pathlib import Path

from xmod_extend.model.extension import (
    LANGUAGE_DOCUMENTS,
    RECORD_NAME,
    earlier_name,
    recorded_language,
)


def find_records(folder: Path) -> dict[str, Path]:
    """Return the record of each added language that has one, by its code.

    They are not checked: whoever needs one reads it with `read_record`.
    """
    stem, suffix = RECORD_NAME.split(".")
    records = {
        file.name.removeprefix(f"{stem}-").removesuffix(f".{suffix}"): file
        for file in sorted(folder.glob(f"{stem}-*.{suffix}"))
    }
    last = recorded_language(folder)
    if last is not None:
        records[last] = folder / RECORD_NAME
    return records


def language_documents(folder: Path, code: str, record: Path | None) -> dict[str, Path]:
    """Return what there is of a language, by the names that its documents have if it is the last.

    Args:
        record: Its record, as `find_records` found it.
    """
    is_last = record is not None and record.name == RECORD_NAME
    files = {
        name: folder / (name if is_last else earlier_name(name, code))
        for name in LANGUAGE_DOCUMENTS
    }
    return {name: file for name, file in files.items() if file.is_file()}

"""Where a language of a checkpoint comes from, as far as the files beside it tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xmod_extend.errors import ModelError
from xmod_extend.model.base import BaseReference
from xmod_extend.packs.description import COMMIT, LICENSE, REPOSITORY
from xmod_extend.report.record import RunRecord, read_record
from xmod_extend.report.record_files import find_records


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What is known of a language.

    Attributes:
        base_name: A short name of the base, for sentences.
        base_id: Its id on the Hub, if it is there.
        base_revision: Its commit there.
        record: The record of its training, if it was added with one that can be read.
        record_file: The file of that record.
        license: The terms that whoever added it named.
        problem: Why a record that is there could not be read.
    """

    base_name: str
    base_id: str | None = None
    base_revision: str | None = None
    record: RunRecord | None = None
    record_file: Path | None = None
    license: str | None = None
    problem: str | None = None


def find_origin(reference: BaseReference, folder: Path, language: str) -> Origin:
    """Return where a language comes from.

    An added one has a record that names its base. A base's own language is found in the records of
    languages that were added to that base or, where there are none, has the checkpoint itself as
    its base.
    """
    files = find_records(folder)
    problem = None
    if language in files:
        try:
            record = read_record(files[language])
        except ModelError as error:
            problem = error.message
        else:
            return _from_record(record, files[language])
    for file in files.values():
        try:
            record = read_record(file)
        except ModelError:
            continue
        if language in record.base.languages:
            base_id, revision = _on_hub(record)
            return Origin(
                base_name=record.base.name, base_id=base_id, base_revision=revision, problem=problem
            )
    return Origin(
        base_name=reference.name,
        base_id=reference.repo_id,
        base_revision=reference.commit,
        problem=problem,
    )


def _from_record(record: RunRecord, file: Path) -> Origin:
    base_id, revision = _on_hub(record)
    named = record.options.get("license")
    return Origin(
        base_name=record.base.name,
        base_id=base_id,
        base_revision=revision,
        record=record,
        record_file=file,
        license=named if isinstance(named, str) and LICENSE.fullmatch(named) else None,
    )


def _on_hub(record: RunRecord) -> tuple[str | None, str | None]:
    """Return the id and the commit of a record's base; a folder has no commit, and is no id."""
    source, commit = record.base.source.partition("@")[0], record.base.commit
    if commit is None or not COMMIT.fullmatch(commit) or not REPOSITORY.fullmatch(source):
        return None, None
    return source, commit

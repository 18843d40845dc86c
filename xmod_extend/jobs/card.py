"""What the card of a checkpoint tells of: what was added now and before, or what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from xmod_extend.errors import ModelError
from xmod_extend.jobs.checks import Request
from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.packs.origin import Origin
from xmod_extend.report.card import CardSubject
from xmod_extend.report.record import RunRecord, read_record
from xmod_extend.report.record_files import find_records


def extended_subject(
    base: Checkpoint, request: Request, records: Sequence[RunRecord]
) -> CardSubject:
    """Return the subject of the card of a base with more languages.

    A base that was extended before has the records of that. Where these tell of all its added
    languages, so does the card, and its base is the one that all of them were added to.

    Args:
        base: What was extended.
        request: The language that was added first, with the options of the run.
        records: Of the languages that were added, in their order.
    """
    added = {record.language: record for record in records}
    earlier = _earlier_records(base)
    first = next(iter(earlier.values()), None)
    if first is None:
        name, repo_id, commit = request.base.name, request.base.repo_id, request.base.commit
    else:
        name, commit = first.base.name, first.base.commit
        repo_id = None if commit is None else first.base.source.partition("@")[0]
    all_records = earlier | added
    return CardSubject(
        what="checkpoint",
        name=request.output.resolve().name,
        languages=(*base.languages, *added),
        described=tuple(all_records),
        records=all_records,
        base_name=name,
        base_id=repo_id,
        base_revision=commit,
        license=request.options.license,
        default_language=request.options.default_language or base.config.get("default_language"),
    )


def part_subject(
    what: Literal["checkpoint", "slice"],
    output: Path,
    languages: Sequence[str],
    origins: Mapping[str, Origin],
    *,
    license: str | None,
    default_language: str | None,
) -> CardSubject:
    """Return the subject of the card of a checkpoint with fewer languages than another one.

    Args:
        languages: All that it has, in their order.
        origins: Where those come from that the card tells of; one at least.
        license: As it was asked for; by default the one under which all added ones are.
    """
    added = [origin for origin in origins.values() if origin.record is not None]
    source = (added or list(origins.values()))[-1]
    terms = {origin.license for origin in added}
    return CardSubject(
        what=what,
        name=output.expanduser().resolve().name,
        languages=tuple(languages),
        described=tuple(origins),
        records={code: origin.record for code, origin in origins.items() if origin.record},
        base_name=source.base_name,
        base_id=source.base_id,
        base_revision=source.base_revision,
        license=license or (terms.pop() if len(terms) == 1 else None),
        default_language=default_language,
    )


def _earlier_records(base: Checkpoint) -> dict[str, RunRecord]:
    """Return the records of all languages that were added to a base before, in their order.

    There are none if one of them is missing: a part of the truth would read as the whole.
    """
    found = {
        record.language: record for record in map(_read, find_records(base.path).values()) if record
    }
    if not found:
        return {}
    num_first = min(len(record.base.languages) for record in found.values())
    codes = base.languages[num_first:]
    first = found.get(codes[0]) if codes else None
    if first is None or list(first.base.languages) != list(base.languages[:num_first]):
        return {}
    return {code: found[code] for code in codes} if set(codes) <= set(found) else {}


def _read(file: Path) -> RunRecord | None:
    """Return a record, or None of a file that is no record: the base may be anyone's."""
    try:
        return read_record(file)
    except ModelError:
        return None

"""A card that was edited on the Hub, merged with the one that is to be published.

    base     the card as the program last wrote it
    theirs   the card on the Hub now
    ours     the card that the program wrote for what is to be published

What only one side changed is taken from it. Where both changed the same, the Hub's text stays:
somebody wrote it by hand.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xmod_extend.report.licenses import license_fields

_FRONT_MATTER = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)(?:\r?\n)?---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_LICENSE = re.compile(r"^license(_name|_link)?:.*\n(?:[ \t-].*\n)*", re.MULTILINE)
"""A field about the licence, with the lines below it that belong to it."""
_ABSENT = object()


@dataclass(frozen=True, kw_only=True)
class MergedCard:
    """What became of both.

    Attributes:
        conflicts: What the Hub's side won, in a few words each.
    """

    text: str
    conflicts: tuple[str, ...] = ()


def merge_cards(base: str, theirs: str, ours: str) -> MergedCard:
    """Return a card with the changes of both sides since `base`; empty if there was none."""
    as_it_is = theirs
    base, theirs, ours = map(_unix, (base, theirs, ours))
    if theirs == ours:
        return MergedCard(text=as_it_is)
    (base_head, base_body), (their_head, their_body), (our_head, our_body) = map(
        split_card, (base, theirs, ours)
    )
    head, conflicts = _merge_metadata(base_head, their_head, our_head)
    body = _merge_lines(*map(_lines_of, (base_body, their_body, our_body)))
    if body.conflicts:
        plural = "" if body.conflicts == 1 else "s"
        conflicts.append(f"{body.conflicts} place{plural} in its text")
    text = (f"---\n{head}---\n" if head else "") + "".join(f"{line}\n" for line in body.lines)
    # Line ends are no edit of this side.
    return MergedCard(text=as_it_is if text == theirs else text, conflicts=tuple(conflicts))


def split_card(card: str) -> tuple[str, str]:
    """Return a card's metadata, without the lines of `---`, and its text."""
    match = _FRONT_MATTER.match(card)
    if match is None:
        return "", card
    return match[1] + "\n" if match[1] else "", card[match.end() :]


def with_license(card: str, license_id: str) -> str:
    """Return a card whose metadata name a licence; all else stays as it is.

    Args:
        license_id: As `license_fields` reads it.
    """
    head, body = split_card(_unix(card))
    fields = license_fields(license_id)
    lines = "".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items())
    found = _LICENSE.search(head)
    place = len(head) if found is None else found.start()
    return f"---\n{head[:place]}{lines}{_LICENSE.sub('', head[place:])}---\n{body}"


def describe_edits(written: str, published: str) -> str:
    """Return the lines that were kept of an edited card, as a diff that `undo_edits` reads."""
    lines = difflib.unified_diff(_lines_of(written), _lines_of(published), lineterm="", n=0)
    return "\n".join(list(lines)[2:])


def undo_edits(published: str, edits: str) -> str:
    """Return the card that the program had written, from the published one and its edits."""
    lines = _lines_of(published)
    written: list[str] = []
    position = 0
    for line in edits.split("\n"):
        hunk = _HUNK.match(line)
        if hunk:
            start, count = int(hunk[3]), int(hunk[4] or 1)
            # A hunk without lines is named after the line before it.
            first = start if count == 0 else start - 1
            written += lines[position:first]
            position = first + count
        elif line.startswith("-"):
            written.append(line[1:])
    return "".join(f"{line}\n" for line in [*written, *lines[position:]])


def _lines_of(text: str) -> list[str]:
    # `splitlines` would also split at characters that a text may hold.
    return _unix(text).split("\n")[:-1]


def _unix(text: str) -> str:
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n")
    return lines if lines.endswith("\n") or not lines else lines + "\n"


def _merge_metadata(base: str, theirs: str, ours: str) -> tuple[str, list[str]]:
    """Return the merged metadata as YAML, and the fields that the Hub's side won."""
    import yaml

    if not theirs.strip():
        return ours, []
    try:
        before, there, here = (yaml.safe_load(text) or {} for text in (base, theirs, ours))
        if not all(isinstance(fields, dict) for fields in (before, there, here)):
            return theirs, ["its metadata"]
    except (yaml.YAMLError, ValueError, RecursionError):
        return theirs, ["its metadata, which cannot be read"]
    merged, conflicts = {}, []
    for name in [*there, *(name for name in here if name not in there)]:
        value, is_conflict = _merge_field(
            *(fields.get(name, _ABSENT) for fields in (before, there, here))
        )
        if value is not _ABSENT:
            merged[name] = value
        if is_conflict:
            conflicts.append(f"`{name}` in its metadata")
    if merged == there:
        return theirs, conflicts
    if merged == here:
        return ours, conflicts
    return yaml.safe_dump(merged, sort_keys=False, allow_unicode=True, width=10_000), conflicts


def _merge_field(base: Any, theirs: Any, ours: Any) -> tuple[Any, bool]:
    """Return a field's value, and whether both sides had changed it."""
    if theirs == ours or ours in (base, _ABSENT):
        # What the program does not say is no wish to take it away.
        return theirs, False
    if theirs == base:
        return ours, False
    if theirs is _ABSENT:
        # Taken out by hand, unless it is new here.
        return (ours, False) if base is _ABSENT else (_ABSENT, True)
    if isinstance(theirs, list) and isinstance(ours, list):
        known = base if isinstance(base, list) else []
        kept = [item for item in theirs if item in ours or item not in known]
        return kept + [item for item in ours if item not in theirs and item not in known], False
    return theirs, True


@dataclass(frozen=True)
class _Lines:
    lines: list[str]
    conflicts: int


@dataclass(frozen=True)
class _Change:
    """Lines `start` to `end` of the base become `lines`; an insertion has none before."""

    start: int
    end: int
    lines: Sequence[str]
    is_theirs: bool

    def meets(self, others: Sequence[_Change]) -> bool:
        """Return whether it is about lines that others are about; to touch them is not to meet."""
        return any(
            (self.start < other.end and other.start < self.end)
            or self.start == self.end == other.start == other.end
            for other in others
        )


def _merge_lines(base: Sequence[str], theirs: Sequence[str], ours: Sequence[str]) -> _Lines:
    """Return the lines with the changes of both sides; where they meet, with theirs."""
    changes = [*_changes(base, theirs, is_theirs=True), *_changes(base, ours, is_theirs=False)]
    groups: list[list[_Change]] = []
    for change in sorted(changes, key=lambda change: (change.start, change.end)):
        if groups and change.meets(groups[-1]):
            groups[-1].append(change)
        else:
            groups.append([change])
    merged: list[str] = []
    conflicts = position = 0
    for group in groups:
        start, end = group[0].start, max(change.end for change in group)
        there, here = (
            _changed(base, start, end, [change for change in group if change.is_theirs is side])
            for side in (True, False)
        )
        is_one_sided = len({change.is_theirs for change in group}) == 1
        merged += base[position:start]
        merged += there if group[0].is_theirs or not is_one_sided else here
        conflicts += not is_one_sided and there != here
        position = end
    return _Lines([*merged, *base[position:]], conflicts)


def _changes(base: Sequence[str], other: Sequence[str], *, is_theirs: bool) -> list[_Change]:
    matcher = difflib.SequenceMatcher(None, base, other, autojunk=False)
    return [
        _Change(start, end, other[first:last], is_theirs)
        for kind, start, end, first, last in matcher.get_opcodes()
        if kind != "equal"
    ]


def _changed(base: Sequence[str], start: int, end: int, changes: Sequence[_Change]) -> list[str]:
    """Return some lines of the base with the changes of one side."""
    lines: list[str] = []
    for change in changes:
        lines += [*base[start : change.start], *change.lines]
        start = change.end
    return [*lines, *base[start:end]]

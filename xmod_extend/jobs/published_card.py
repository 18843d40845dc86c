"""The card that is published: with the repository's id, a licence, and the edits of the Hub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xmod_extend.hub.publish import MARKER
from xmod_extend.hub.remote import Remote, list_commits
from xmod_extend.jobs.published_folder import PublishedFolder
from xmod_extend.model.extension import CARD_NAME
from xmod_extend.report.card import card_for_repository
from xmod_extend.report.card_merge import describe_edits, merge_cards, undo_edits, with_license

_FENCE = "```diff\n"


@dataclass(frozen=True, kw_only=True)
class PublishedCard:
    """A card as it is to be on the Hub.

    Attributes:
        text: None if there is none, neither here nor there.
        state: `new`, `merged` with what was edited on the Hub, or `kept` as it is there.
        edits: What of it the program did not write, as a diff.
    """

    text: str | None
    state: Literal["new", "merged", "kept"]
    edits: str = ""
    notes: tuple[str, ...] = ()


def make_card(remote: Remote, published: PublishedFolder, license_id: str | None) -> PublishedCard:
    """Return the card to publish.

    Raises:
        HubError: The Hub's card or its history cannot be had.
    """
    ours = _written_card(published, remote.repo_id, license_id)
    theirs = remote.read(CARD_NAME)
    if theirs is None or not theirs.strip():
        return PublishedCard(text=ours, state="new")
    if ours is None:
        return PublishedCard(text=theirs, state="kept")
    written = _last_written(remote)
    merged = merge_cards(written or "", theirs, ours)
    if merged.text == theirs:
        state: Literal["new", "merged", "kept"] = "kept"
    else:
        state = "new" if theirs == written else "merged"
    notes = []
    if state == "merged":
        notes.append(
            "README.md was edited on the Hub; the edits are kept, and what is new is added"
        )
    if merged.conflicts:
        where = ", ".join(merged.conflicts)
        notes.append(
            f"README.md on the Hub says something else than the new card in {where}: the Hub's "
            f"text stays; compare it with {published.path / CARD_NAME}"
        )
    return PublishedCard(
        text=merged.text,
        state=state,
        edits=describe_edits(ours, merged.text),
        notes=tuple(notes),
    )


def commit_description(version: str, card: PublishedCard) -> str:
    """Return a commit's description, by which the next one knows what was written by hand."""
    lines = f"{MARKER} {version}."
    if not card.edits:
        return lines
    return f"{lines}\n\nREADME.md keeps what was edited here:\n\n{_FENCE}{card.edits}\n```"


def _written_card(published: PublishedFolder, repo_id: str, license_id: str | None) -> str | None:
    card = published.card
    if card is None:
        return None
    for name in {published.name, published.path.resolve().name}:
        card = card_for_repository(card, name, repo_id)
    return card if license_id is None else with_license(card, license_id)


def _last_written(remote: Remote) -> str | None:
    """Return the card as the program wrote it last, before edits; None if that is not known."""
    if remote.commit is None:
        return None
    for commit, description in list_commits(remote.repo_id, remote.commit):
        if not description.startswith(MARKER) and f"\n{MARKER}" not in description:
            continue
        card = remote.read(CARD_NAME, commit=commit)
        if card is None:
            return None
        _, fence, edits = description.partition(_FENCE)
        return undo_edits(card, edits.rpartition("\n```")[0]) if fence else card
    return None

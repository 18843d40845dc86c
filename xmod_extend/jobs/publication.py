"""What a publication came to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from xmod_extend.hub.publish import UploadPlan
from xmod_extend.hub.remote import Remote
from xmod_extend.hub.sending import Sent
from xmod_extend.jobs.published_card import PublishedCard
from xmod_extend.jobs.published_folder import PublishedFolder
from xmod_extend.jobs.push_options import PushOptions, What


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What was published, or would be.

    Attributes:
        url: Page of the repository, or of the pull request.
        commit: None if nothing was committed: nothing had changed, or it was only planned.
        uploaded_bytes: Size of what was sent, or would be.
        copied_bytes: Size of what the server copied from the base.
        uploaded: Names of files.
        base: The base on the Hub, if there is one.
        tag: Tag of the state before, if a language was added to a repository.
        card: `new`, `merged` with what was edited on the Hub, or `kept` as it is there.
    """

    repo_id: str
    url: str
    what: What
    languages: tuple[str, ...]
    added: tuple[str, ...]
    base: str | None
    is_plan: bool
    is_new: bool
    private: bool | None
    commit: str | None
    commit_url: str | None
    pull_request_url: str | None
    uploaded: tuple[str, ...]
    copied: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]
    uploaded_bytes: int
    copied_bytes: int
    tag: str | None
    card: str
    notes: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return the result as values that JSON can hold."""
        return dict(vars(self))


def planned_publication(
    published: PublishedFolder,
    remote: Remote,
    card: PublishedCard,
    plan: UploadPlan,
    options: PushOptions,
) -> Publication:
    """Return what would come of a plan."""
    from huggingface_hub import HfApi

    copied = [file for file in plan.changed if file.name in plan.origins]
    return Publication(
        repo_id=options.repo,
        url=f"{HfApi().endpoint}/{options.repo}",
        what=published.what,
        languages=published.languages,
        added=published.added,
        base=published.base,
        is_plan=options.plan,
        is_new=not remote.exists,
        private=remote.private if remote.exists else options.private,
        commit=None,
        commit_url=None,
        pull_request_url=None,
        uploaded=tuple(file.name for file in plan.changed if file not in copied),
        copied=tuple(file.name for file in copied),
        removed=plan.removed,
        unchanged=tuple(file.name for file in plan.unchanged),
        uploaded_bytes=plan.upload_bytes,
        copied_bytes=sum(file.size for file in copied),
        tag=None,
        card=card.state,
        notes=(*published.notes, *card.notes),
    )


def sent_publication(
    planned: Publication, remote: Remote, plan: UploadPlan, sent: Sent, tag: str | None
) -> Publication:
    """Return what came of a plan."""
    copied = [file for file in plan.changed if file.name in sent.copied]
    return replace(
        planned,
        url=sent.pull_request_url or planned.url,
        private=remote.private,
        commit=sent.commit,
        commit_url=sent.commit_url,
        pull_request_url=sent.pull_request_url,
        uploaded=tuple(file.name for file in plan.changed if file not in copied),
        copied=sent.copied,
        uploaded_bytes=sent.uploaded_bytes,
        copied_bytes=sum(file.size for file in copied),
        tag=tag,
    )

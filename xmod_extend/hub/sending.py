"""Sending: uploads, copies on the server, exactly one commit, and a look at what is there then."""

from __future__ import annotations

import logging
import re
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xmod_extend.errors import HubError
from xmod_extend.files.sizes import describe_size
from xmod_extend.hub.client import bars_on_a_terminal, is_out_of_reach, quiet
from xmod_extend.hub.failures import causes, status_of
from xmod_extend.hub.patience import WAITS_SECONDS, Tell, patiently, seconds_to_wait
from xmod_extend.hub.publish import OutgoingFile, UploadPlan
from xmod_extend.hub.refusals import AGAIN, clean, explained, is_broken_connection
from xmod_extend.hub.remote import Remote, list_files

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi
    from huggingface_hub._commit_api import CommitOperation

ONE_BY_ONE_BYTES = 10_000_000
"""Larger files are uploaded one after the other, so that it can be said which one is on its way."""
_WAITING = re.compile(r"(Rate limited\. Waiting|Retrying in) [\d.]+s")


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A commit that was made.

    Attributes:
        revision: Where it can be looked at: the commit, or the pull request.
        copied: Names of files that the server copied.
        uploaded_bytes: Size of the files that were sent; a part of them may have been there.
    """

    commit: str
    commit_url: str
    pull_request_url: str | None
    revision: str
    copied: tuple[str, ...]
    uploaded_bytes: int


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a commit says of itself."""

    title: str
    description: str


def send(
    remote: Remote,
    plan: UploadPlan,
    message: Message,
    *,
    create_pr: bool,
    card_is_validated: bool,
    tell: Tell,
) -> Sent:
    """Bring the repository into the state of a plan with one commit.

    Where the server does not copy what it has elsewhere, it is uploaded.

    Args:
        card_is_validated: Whether the Hub checked the card's metadata; one that cannot check them
            must not be asked again.
        tell: Called with what is worth knowing on the way.

    Raises:
        HubError: It was refused, or the connection broke off. Nothing was committed then.
    """
    sending = _Sending(remote, plan, message, create_pr, card_is_validated, tell)
    with bars_on_a_terminal(), warnings.catch_warnings():
        # The client's own about its libraries, and the Hub's advice about a card.
        warnings.simplefilter("ignore")
        return _send(sending)


def _send(sending: _Sending) -> Sent:
    remote, plan, tell = sending.remote, sending.plan, sending.tell
    with explained(remote.repo_id, "upload"), _waits_told(tell):
        sending.upload([file for file in plan.changed if file.name not in plan.origins])
    if plan.origins:
        try:
            with _waits_told(tell):
                return sending.commit(copied=tuple(plan.origins))
        except Exception as error:  # the client raises the errors of many libraries
            if not _is_copy_refused(error):
                with explained(remote.repo_id, "commit"):
                    raise
            tell("The Hub does not copy what it has of the base; it is uploaded instead.")
        with explained(remote.repo_id, "upload"), _waits_told(tell):
            sending.upload([file for file in plan.changed if file.name in plan.origins])
    with explained(remote.repo_id, "commit"), _waits_told(tell):
        return sending.commit(copied=())


@dataclass(frozen=True)
class _Sending:
    remote: Remote
    plan: UploadPlan
    message: Message
    create_pr: bool
    card_is_validated: bool
    tell: Tell
    additions: dict[str, CommitOperationAdd] = field(default_factory=dict)
    """What was uploaded, and how the client will commit it."""

    def upload(self, files: Sequence[OutgoingFile]) -> None:
        """Upload the large ones of some files; the others travel in the commit."""
        small = [file for file in files if file.size < ONE_BY_ONE_BYTES]
        if small:
            self._preupload(small)
        for file in files:
            if file not in small:
                self.tell(f"{file.name}, {describe_size(file.size)}")
                self._preupload([file])

    def _preupload(self, files: Sequence[OutgoingFile]) -> None:
        additions = {file.name: _addition(file) for file in files}
        self._api().preupload_lfs_files(
            self.remote.repo_id,
            additions.values(),
            create_pr=self.create_pr,
            free_memory=False,
            # A .gitignore in the repository would leave files out without a word.
            gitignore_content="",
        )
        self.additions.update(additions)

    def commit(self, *, copied: tuple[str, ...]) -> Sent:
        """Commit all that was uploaded, the copies and the deletions at once."""
        made = self._create_commit(copied)
        return Sent(
            commit=made.oid,
            commit_url=made.commit_url,
            pull_request_url=made.pr_url,
            revision=made.pr_revision or made.oid,
            copied=copied,
            uploaded_bytes=sum(file.size for file in self.plan.changed if file.name not in copied),
        )

    def _create_commit(self, copied: tuple[str, ...]) -> CommitInfo:
        """Make the commit, and look whether it was made before it is tried again."""
        is_unknown = False
        for wait in (*WAITS_SECONDS, None):
            try:
                return self._api().create_commit(
                    self.remote.repo_id,
                    [*self.additions.values(), *self._copies(copied), *self._deletions()],
                    commit_message=self.message.title,
                    commit_description=self.message.description,
                    create_pr=self.create_pr,
                    parent_commit=self.remote.commit,
                )
            except Exception as error:  # the client raises the errors of many libraries
                if is_unknown and status_of(error) in (409, 412):
                    return self._found_commit(error)
                # A pull request would be made twice, a commit not: it names its parent.
                is_lost = self.remote.commit is not None and not self.create_pr
                is_lost = is_lost and any(map(is_broken_connection, causes(error)))
                seconds = None if wait is None else seconds_to_wait(error, wait)
                if wait is None or not (is_lost or seconds is not None):
                    raise
                if self.create_pr and status_of(error) not in (429, 503):
                    raise
                is_unknown = True
                self.tell(f"no answer to the commit; trying again in {seconds or wait} seconds")
                time.sleep(seconds or wait)
        raise AssertionError

    def _found_commit(self, error: Exception) -> CommitInfo:
        """Return the newest commit if it is this one, whose answer was lost."""
        from huggingface_hub import CommitInfo, HfApi

        info = HfApi().repo_info(self.remote.repo_id)
        listed = list_files(self.remote.repo_id, info.sha or "main")
        if not info.sha or not all(
            file.is_same(listed.get(file.name)) for file in self.plan.changed
        ):
            raise error
        return CommitInfo(
            commit_url=f"{HfApi().endpoint}/{self.remote.repo_id}/commit/{info.sha}",
            commit_message=self.message.title,
            commit_description=self.message.description,
            oid=info.sha,
        )

    def _copies(self, names: Sequence[str]) -> list[CommitOperation]:
        from huggingface_hub import CommitOperationCopy

        return [
            CommitOperationCopy(
                src_path_in_repo=self.plan.origins[name].name,
                path_in_repo=name,
                src_revision=self.plan.origins[name].commit,
                src_repo_id=self.plan.origins[name].repo_id,
                src_repo_type="model",
            )
            for name in names
        ]

    def _deletions(self) -> list[CommitOperation]:
        from huggingface_hub import CommitOperationDelete

        return [CommitOperationDelete(name, is_folder=False) for name in self.plan.removed]

    def _api(self) -> HfApi:
        from huggingface_hub import HfApi

        if self.card_is_validated:
            return HfApi()

        class WithoutValidation(HfApi):
            def _validate_yaml(self, *_: object, **__: object) -> None:
                """Ask nothing: this Hub has no answer."""

        return WithoutValidation()


def _addition(file: OutgoingFile) -> CommitOperationAdd:
    from huggingface_hub import CommitOperationAdd

    source = file.source if isinstance(file.source, bytes) else str(file.source.resolve())
    return CommitOperationAdd(file.name, source)


def check_sent(remote: Remote, plan: UploadPlan, sent: Sent) -> None:
    """Compare what the Hub lists with what was meant.

    Raises:
        HubError: A file differs or is missing, or the list cannot be had.
    """
    with explained(remote.repo_id, "check"), quiet("huggingface_hub"):
        # A Hub that lists no commit by its id lists the branch.
        listed = list_files(remote.repo_id, sent.revision) or list_files(remote.repo_id, "main")
    wanted = [*plan.changed, *plan.unchanged]
    wrong = [file.name for file in wanted if not file.is_same(listed.get(file.name))]
    wrong += [name for name in plan.removed if name in listed]
    if wrong:
        raise HubError(
            f"The commit {sent.commit[:12]} was made, but {', '.join(wrong[:3])} on the Hub "
            f"{'is' if len(wrong) == 1 else 'are'} not what was sent.",
            hint=AGAIN,
        )


def tag_state(remote: Remote, tag: str, tell: Tell) -> bool:
    """Tag the state before a commit, and return whether the Hub has the tag; never moves one."""
    from huggingface_hub import HfApi

    try:
        with quiet("huggingface_hub"):
            api = HfApi()
            patiently(
                lambda: api.create_tag(
                    remote.repo_id, tag=tag, revision=remote.commit, exist_ok=True
                )
            )
    except Exception as error:  # what was published stands
        tell(f"The state before could not be tagged as {tag}: {clean(str(error))}.")
        return False
    return True


def _is_copy_refused(error: Exception) -> bool:
    """Return whether an upload may succeed where a copy did not."""
    # A race, a limit, or no Hub at all would only be met again after an upload of gigabytes.
    return status_of(error) not in (401, 409, 412, 413, 429) and not is_out_of_reach(error)


@contextmanager
def _waits_told(tell: Tell) -> Iterator[None]:
    """Tell of the client's waits, and show none of its other log lines, which hold addresses."""
    logger = logging.getLogger("huggingface_hub")
    handler = _Waits(tell)
    level, propagates = logger.level, logger.propagate
    others = list(logger.handlers)
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.handlers, logger.propagate = others, propagates
        logger.setLevel(level)


class _Waits(logging.Handler):
    def __init__(self, tell: Tell) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        found = _WAITING.match(record.getMessage())
        if found:
            self._tell(f"The Hub is busy. {found[0]}")

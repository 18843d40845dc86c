"""A repository as it is on the Hub, and whoever is logged in: looked at, never changed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmod_extend.errors import HubError
from xmod_extend.hub.client import ANSWER_SECONDS, is_out_of_reach, quiet
from xmod_extend.hub.failures import status_of
from xmod_extend.hub.patience import patiently
from xmod_extend.hub.refusals import NEW_TOKEN, explained

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

LARGEST_TEXT_BYTES = 5_000_000
"""A config or a card is smaller; nobody's file is read into memory before its size is known."""


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A repository for models on the Hub.

    Attributes:
        commit: The newest commit of its main branch; None if there is no commit.
        private: None if the Hub does not say.
        files: What the main branch holds.
    """

    repo_id: str
    exists: bool
    commit: str | None = None
    private: bool | None = None
    files: Mapping[str, RepoFile] = field(default_factory=dict, repr=False)

    def read(self, name: str, *, commit: str | None = None) -> str | None:
        """Return a text file of the main branch, or of another commit; None if there is none.

        Raises:
            HubError: It cannot be had.
        """
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError

        if commit is None and name not in self.files:
            return None
        if commit is None and self.files[name].size > LARGEST_TEXT_BYTES:
            raise HubError(
                f"{name} of {self.repo_id} is larger than any that is read here.",
                hint="Look at the repository: is it the one that you meant?",
            )
        with (
            explained(self.repo_id, "look"),
            quiet("huggingface_hub"),
            # Not the cache, which may be read-only.
            tempfile.TemporaryDirectory(prefix="xmod-extend-") as folder,
        ):
            try:
                file = hf_hub_download(
                    self.repo_id, name, revision=commit or self.commit, local_dir=folder
                )
            except (EntryNotFoundError, RevisionNotFoundError):
                return None
            return Path(file).read_bytes().decode("utf-8", errors="replace")


@dataclass(frozen=True, kw_only=True)
class Account:
    """Whoever the token belongs to.

    Attributes:
        organisations: None if the Hub does not say.
        role: What the token may do: `read`, `write` or `fineGrained`; None if it is not said.
    """

    name: str
    organisations: tuple[str, ...] | None
    role: str | None

    def is_outside(self, namespace: str) -> bool:
        """Return whether it is known that nothing can be created in a namespace."""
        if self.organisations is None or self.role != "write":
            return False
        return namespace.lower() not in {name.lower() for name in (self.name, *self.organisations)}


def log_in(repo_id: str) -> Account:
    """Ask the Hub whose token is in use.

    Raises:
        HubError: Nobody is logged in, the token is not valid or may only read, or the Hub does not
            answer.
    """
    from huggingface_hub import HfApi

    with explained(repo_id, "log in"), quiet("huggingface_hub"):
        try:
            answer: dict[str, Any] = patiently(HfApi().whoami)
        except Exception as error:  # the client raises the errors of the HTTP library below it
            if status_of(error) != 404:
                raise
            # A Hub that does not tell; the upload shows whether the token is good for it.
            return Account(name="", organisations=None, role=None)
    token = (answer.get("auth") or {}).get("accessToken") or {}
    listed = answer.get("orgs")
    account = Account(
        name=str(answer.get("name", "")),
        organisations=None if listed is None else tuple(str(one.get("name")) for one in listed),
        role=token.get("role"),
    )
    if account.role == "read":
        raise HubError(
            f"The token of {account.name} that is in use may only read.",
            hint=f"Make one that may write on {NEW_TOKEN}, and log in with it: `hf auth login`.",
        )
    return account


def check_may_publish(repo_id: str, *, private: bool = False) -> str | None:
    """Refuse early what is known to fail later; creates nothing.

    Args:
        private: Whether it must not be seen by everybody.

    Returns:
        Why nothing can be known now, in a sentence: there is no network, or offline mode forbids
        to use it.

    Raises:
        HubError: Nobody is logged in, the account may not write there, or everybody would see it.
    """
    from huggingface_hub import HfApi, is_offline_mode

    if is_offline_mode():
        return f"Offline mode is on: as long as it is, nothing can be published to {repo_id}."
    try:
        account, remote = log_in(repo_id), look_at(repo_id, with_files=False)
    except HubError as error:
        if error.__cause__ is None or not is_out_of_reach(error.__cause__):
            raise
        return f"The Hub cannot be reached now: whether {repo_id} can be published is not known."
    if not remote.exists:
        namespace = repo_id.split("/")[0]
        if account.is_outside(namespace):
            raise HubError(
                f"{repo_id} cannot be created: {account.name} is not a member of {namespace}.",
                hint="Check the spelling, or publish under your own name.",
            )
        return None
    if private:
        refuse_public(remote)
    try:
        with quiet("huggingface_hub"):
            HfApi().auth_check(repo_id, write=True)
    except Exception as error:  # a Hub without this check lets the upload show it
        if status_of(error) in (401, 403):
            with explained(repo_id, "upload"):
                raise
    return None


def refuse_public(remote: Remote) -> None:
    """Refuse a repository that everybody sees.

    Raises:
        HubError: It is public.
    """
    if remote.private is False:
        raise HubError(
            f"{remote.repo_id} exists and is public, which --private does not change.",
            hint="Make it private in its settings on the Hub first, or leave --private out.",
        )


def look_at(repo_id: str, *, with_files: bool = True) -> Remote:
    """Return a repository as it is now; one that the account cannot see does not exist.

    Raises:
        HubError: The Hub does not answer, or refuses it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    with explained(repo_id, "look"), quiet("huggingface_hub"):
        try:
            info = patiently(lambda: HfApi().repo_info(repo_id, timeout=ANSWER_SECONDS))
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            return Remote(repo_id=repo_id, exists=False)
        except Exception as error:  # the client raises the errors of the HTTP library below it
            if status_of(error) in (401, 404):
                return Remote(repo_id=repo_id, exists=False)
            raise
        commit = info.sha
        return Remote(
            repo_id=repo_id,
            exists=True,
            commit=commit,
            private=info.private,
            files=list_files(repo_id, commit) if commit and with_files else {},
        )


def list_files(repo_id: str, revision: str) -> dict[str, RepoFile]:
    """Return the files of a commit by name, those in folders too; none if it has no tree."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    try:
        listing = partial(HfApi().list_repo_tree, repo_id, recursive=True, revision=revision)
        tree = patiently(lambda: list(listing()))
    except Exception as error:
        if status_of(error) == 404:  # an empty repository
            return {}
        raise
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def list_commits(repo_id: str, revision: str) -> Sequence[tuple[str, str]]:
    """Return the id and the description of each commit, the newest first.

    A Hub that lists none, or only refuses to, has none.
    """
    from huggingface_hub import HfApi

    try:
        with quiet("huggingface_hub"):
            commits = HfApi().list_repo_commits(repo_id, revision=revision)
    except Exception as error:  # a help that may be missing
        if status_of(error) is None:
            with explained(repo_id, "look"):
                raise
        return []
    return [(commit.commit_id, commit.message or "") for commit in commits]

"""Publishing files in one commit: what the Hub lacks is sent, and what is there then is checked.

plan_upload    which files are new to the repository, and which go
find_origins   which of them the server can copy
validate_card  what the Hub says of a card before anything travels
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmod_extend.errors import HubError
from xmod_extend.hub.client import quiet
from xmod_extend.hub.failures import status_of
from xmod_extend.hub.patience import patiently
from xmod_extend.hub.refusals import clean, explained
from xmod_extend.hub.remote import Remote, list_files

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

MARKER = "Written by xmod-extend"
"""Begins a line in the description of each commit of the program's."""


@dataclass(frozen=True)
class OutgoingFile:
    """A file as it is to be on the Hub."""

    name: str
    source: Path | bytes = field(repr=False)

    @cached_property
    def size(self) -> int:
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    @cached_property
    def sha256(self) -> str:
        """The hash that names a large file on the Hub."""
        return self._hash(hashlib.sha256())

    @cached_property
    def git_hash(self) -> str:
        """The hash that names any other file: git's."""
        return self._hash(hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False))

    def _hash(self, digest: Any) -> str:
        if isinstance(self.source, bytes):
            digest.update(self.source)
        else:
            with self.source.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
        return str(digest.hexdigest())

    def is_same(self, remote: RepoFile | None) -> bool:
        """Return whether a file on the Hub has the same content."""
        if remote is None or remote.size != self.size:
            return False
        if remote.lfs is not None:
            return bool(remote.lfs.sha256 == self.sha256)
        return bool(remote.blob_id == self.git_hash)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A file of another repository with the same content."""

    repo_id: str
    commit: str
    name: str


@dataclass(frozen=True, kw_only=True)
class UploadPlan:
    """What a commit changes.

    Attributes:
        changed: Files that the repository lacks, or has otherwise.
        origins: Those of them that the server has elsewhere, by name.
        unchanged: Files that are there already.
        removed: Names of files that go.
    """

    changed: tuple[OutgoingFile, ...]
    unchanged: tuple[OutgoingFile, ...]
    removed: tuple[str, ...] = ()
    origins: Mapping[str, Origin] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.changed and not self.removed

    @property
    def upload_bytes(self) -> int:
        """Size of what is uploaded if the server copies what it has."""
        return sum(file.size for file in self.changed if file.name not in self.origins)


def plan_upload(
    remote: Remote, outgoing: Iterable[OutgoingFile], removable: Iterable[str]
) -> UploadPlan:
    """Compare files with a repository, by their hashes.

    Args:
        removable: Names that go, if the repository has them and `outgoing` does not.
    """
    files = list(outgoing)
    same = {file.name: file.is_same(remote.files.get(file.name)) for file in files}
    return UploadPlan(
        changed=tuple(file for file in files if not same[file.name]),
        unchanged=tuple(file for file in files if same[file.name]),
        removed=tuple(sorted({*removable} & remote.files.keys() - same.keys())),
    )


def find_origins(changed: Sequence[OutgoingFile], repo_id: str, commit: str) -> dict[str, Origin]:
    """Return which files a repository has with the same content, as far as it can be seen.

    Only large files, which the server can copy, are looked for. A base that is gated or gone, or a
    client that cannot ask for a copy, means that they are uploaded.
    """
    from huggingface_hub import CommitOperationCopy

    if "src_repo_id" not in {field.name for field in fields(CommitOperationCopy)}:
        return {}
    try:
        with quiet("huggingface_hub"):
            listed = list_files(repo_id, commit)
    except Exception:  # the client raises the errors of many libraries
        return {}
    by_hash = {file.lfs.sha256: name for name, file in listed.items() if file.lfs is not None}
    sizes = {file.lfs.size for file in listed.values() if file.lfs is not None}
    return {
        file.name: Origin(repo_id=repo_id, commit=commit, name=by_hash[file.sha256])
        for file in changed
        if file.size in sizes and file.sha256 in by_hash
    }


def create_repository(repo_id: str, *, private: bool) -> None:
    """Create a repository for a model.

    Raises:
        HubError: The account may not, or it is not as private as it was asked to be.
    """
    from huggingface_hub import HfApi

    with explained(repo_id, "create"), quiet("huggingface_hub"):
        wanted = True if private else None
        patiently(lambda: HfApi().create_repo(repo_id, private=wanted, exist_ok=True))
        if private and HfApi().repo_info(repo_id).private is False:
            raise HubError(
                f"{repo_id} was created, but the Hub shows it to everybody; nothing was uploaded.",
                hint="Make it private in its settings, and run the command again.",
            )


def validate_card(card: str, repo_id: str) -> bool:
    """Let the Hub check a card's metadata; return whether it could.

    `ModelCard.validate` does not do: before version 2 it asks huggingface.co whatever `HF_ENDPOINT`
    says, and it writes the metadata anew before it sends them.

    Raises:
        HubError: It refuses them.
    """
    from huggingface_hub import HfApi, get_session
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        hf_raise_for_status,
    )

    def ask() -> str | None:
        response = get_session().post(
            f"{HfApi().endpoint}/api/validate-yaml",
            json={"content": card, "repoType": "model"},
            headers=build_hf_headers(),
        )
        if response.status_code == 400:
            return str(response.text)
        hf_raise_for_status(response)
        return None

    with explained(repo_id, "look"), quiet("huggingface_hub"):
        try:
            refusal = patiently(ask)
        except Exception as error:  # the client raises the errors of the HTTP library below it
            if status_of(error) in (404, 405, 501):
                return False
            raise
    if refusal is not None:
        raise rejected_metadata([_problems(refusal)])
    return True


def rejected_metadata(problems: Sequence[str]) -> HubError:
    """Return the error for a card whose metadata the Hub refuses."""
    return HubError(
        f"The Hub would reject the metadata of README.md: {clean('; '.join(problems))}.",
        hint="Correct them between the two lines of dashes at its beginning, and run the command "
        "again.",
    )


def _problems(answer: str) -> str:
    """Return the sentences in the Hub's answer about a card, which is JSON."""
    try:
        told = json.loads(answer)
        errors = [str(error["message"]) for error in told.get("errors", [])]
        return "; ".join(errors) or str(told.get("error", answer))
    except (ValueError, KeyError, TypeError, AttributeError):
        return answer

"""One request: who asks for what, and how it is answered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_server.repositories import Account, Commit, Hub, Repository


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    is_cut: bool = False


class RefusedError(Exception):
    """Ends a request with an error."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        headers = [("Content-Type", "application/json"), ("X-Error-Message", message)]
        if code is not None:
            headers.append(("X-Error-Code", code))
        body = json.dumps({"error": message}).encode()
        self.answer = Answer(status, body, tuple(headers))


def json_answer(content: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(content).encode(), (("Content-Type", "application/json"),))


@dataclass(frozen=True)
class Request:
    """What a client asks, taken apart.

    Attributes:
        parts: The path, split at its slashes before anything in it was decoded: a revision with a
            slash in it is one part.
    """

    hub: Hub
    method: str
    address: str
    headers: Message
    body: bytes = b""

    @property
    def parts(self) -> list[str]:
        path = urlsplit(self.address).path.strip("/")
        return [unquote(part) for part in path.split("/")]

    @property
    def query(self) -> dict[str, str]:
        values = parse_qs(urlsplit(self.address).query)
        return {name: value[0] for name, value in values.items()}

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def account(self) -> Account | None:
        """Return who asks; None is nobody in particular."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token:
            return None
        if token not in self.hub.accounts:
            raise RefusedError(401, "Invalid credentials in Authorization header")
        return self.hub.accounts[token]

    def repository(self, name: str) -> Repository:
        """Return a repository that the asking account may read."""
        account = self.account
        found = self.hub.repositories.get(name)
        may_see = account is not None and (account.owns(name.split("/")[0]))
        if found is None or (found.private and not may_see):
            raise RefusedError(
                401 if account is None else 404, "Repository not found", "RepoNotFound"
            )
        if found.gated and not may_see:
            raise RefusedError(
                403 if account else 401, f"Access to {name} is restricted", "GatedRepo"
            )
        return found

    def writable(self, name: str, *, by_pull_request: bool = False) -> Repository:
        """Return a repository that the asking account may change."""
        repository = self.repository(name)
        account = self.account
        if account is None:
            raise RefusedError(401, "Invalid username or password.")
        if not by_pull_request and not account.may_write(name):
            raise RefusedError(403, f"You don't have the rights to write to {name}")
        return repository

    @staticmethod
    def commit(repository: Repository, revision: str) -> Commit:
        found = repository.find(revision)
        if found is None:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found

"""What a Hub knows: accounts, repositories with their commits, and what was asked of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from hub_server.faults import Fault

COMMIT = "c0ffee" + "0" * 34
"""The first commit of every repository that a test starts with."""
TOKEN = "hf_" + "writer" * 6
"""The token of the account `someone`, which may write."""
ATTRIBUTES = ".gitattributes"


@dataclass(frozen=True)
class Account:
    """Whoever has a token.

    Attributes:
        role: What the token may do: `read`, `write`, or `fineGrained` for `repositories` alone.
        repositories: What a fine-grained token may write to. It creates nothing.
    """

    name: str
    role: str = "write"
    organisations: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()

    def owns(self, namespace: str) -> bool:
        return namespace in (self.name, *self.organisations)

    def may_create_in(self, namespace: str) -> bool:
        return self.role == "write" and self.owns(namespace)

    def may_write(self, repository: str) -> bool:
        if self.role == "fineGrained":
            return repository in self.repositories
        return self.may_create_in(repository.split("/")[0])


@dataclass(frozen=True)
class Commit:
    """A state of a repository."""

    oid: str
    title: str
    message: str
    files: Mapping[str, bytes]
    author: str = "someone"


@dataclass
class Repository:
    """A repository's branch `main`, with all that was there before.

    Attributes:
        files: What `main` holds now.
        commits: The commits before it, the first one first; the last one is `main`.
        objects: SHA-256 of the large files that it can bind.
    """

    files: dict[str, bytes]
    private: bool = False
    gated: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)
    pull_requests: list[Commit] = field(default_factory=list)
    objects: set[str] = field(default_factory=set)

    @property
    def head(self) -> str:
        return self.commits[-1].oid

    def find(self, revision: str) -> Commit | None:
        """Return the commit that a branch, a tag, a pull request or an id names."""
        if revision.startswith("refs/pr/"):
            number = int(revision.removeprefix("refs/pr/"))
            return self.pull_requests[number - 1] if number <= len(self.pull_requests) else None
        oid = self.head if revision == "main" else self.tags.get(revision, revision)
        if oid == self.head:
            # A test may have changed the files since.
            last = self.commits[-1]
            return Commit(oid, last.title, last.message, self.files, last.author)
        known = [*self.commits, *self.pull_requests]
        return next((commit for commit in known if commit.oid == oid), None)

    def commit(self, files: Mapping[str, bytes], title: str, message: str = "") -> Commit:
        """Put a new state on `main`."""
        commit = new_commit(self.head, files, title, message)
        self.files = dict(files)
        self.commits.append(commit)
        return commit

    def edit(self, **texts: str) -> Commit:
        """Change texts as a person does on the site; `README` stands for `README.md`."""
        edited = {f"{name}.md": text.encode() for name, text in texts.items()}
        return self.commit({**self.files, **edited}, "Update README.md")


def new_commit(parent: str, files: Mapping[str, bytes], title: str, message: str) -> Commit:
    """Return a commit whose id follows from all that is in it."""
    digest = hashlib.sha1(f"{parent}{title}{message}".encode())
    for name in sorted(files):
        digest.update(name.encode() + files[name])
    return Commit(digest.hexdigest(), title, message, dict(files))


@dataclass
class Hub:
    """Repositories and what was asked for.

    Attributes:
        files: Repository -> file name -> content, of those that are there at the start.
        errors: Repository -> (status, code) that every request for it is answered with.
        broken: File names whose connection is cut in the middle.
        cut_downloads: File name -> how often its connection is cut in the middle.
        downloads: File names that were downloaded, in order.
        ranges: What `Range` asked for, in order.
        requests: Method and path of each request, in order.
        faults: What goes wrong on purpose.
        missing: Parts of addresses that this server does not know, such as `/validate-yaml`.
        uploaded_bytes: Bytes of large files that were received.
        threshold: Size from which a file is a large one; so is every `.safetensors`.
        part_bytes: Size from which a large file is sent in parts.
        copies: Whether it copies files between repositories. The client does that only with files
            that have a Xet hash, and reads these through Xet unless that is switched off.
    """

    endpoint: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    errors: dict[str, tuple[int, str | None]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    cut_downloads: dict[str, int] = field(default_factory=dict)
    downloads: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    accounts: dict[str, Account] = field(default_factory=lambda: {TOKEN: Account("someone")})
    repositories: dict[str, Repository] = field(default_factory=dict)
    storage: dict[str, bytes] = field(default_factory=dict)
    parts: dict[tuple[str, int], bytes] = field(default_factory=dict)
    uploaded_bytes: int = 0
    threshold: int = 10_000_000
    part_bytes: int | None = None
    copies: bool = False

    def __post_init__(self) -> None:
        for name, files in self.files.items():
            self.add(name, files)

    def add(self, name: str, files: dict[str, bytes], *, private: bool = False) -> Repository:
        """Put a repository on the Hub, as if its files had been pushed."""
        repository = Repository(files, private=private, tags={"v1.0": COMMIT})
        repository.commits.append(Commit(COMMIT, "initial commit", "", dict(files)))
        for path, raw in files.items():
            if self.is_large(path, len(raw)):
                repository.objects.add(sha256_of(raw))
                self.storage[sha256_of(raw)] = raw
        self.repositories[name] = repository
        return repository

    def is_large(self, path: str, size: int) -> bool:
        return size > 0 and (path.endswith(".safetensors") or size >= self.threshold)

    @property
    def commits(self) -> int:
        """Number of commits that clients made, pull requests included."""
        return sum(
            len(repository.commits) - 1 + len(repository.pull_requests)
            for repository in self.repositories.values()
        )


def sha256_of(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def git_hash(raw: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(raw) + raw).hexdigest()

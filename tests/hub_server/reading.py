"""What a repository shows: its state, its files, its history."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs

from hub_server.repositories import Hub, Repository, git_hash, sha256_of
from hub_server.requests import Answer, RefusedError, Request, json_answer


def whoami(request: Request) -> Answer:
    account = request.account
    if account is None:
        raise RefusedError(401, "Invalid username or password.")
    token = {"displayName": "laptop", "role": account.role}
    return json_answer(
        {
            "type": "user",
            "name": account.name,
            "fullname": account.name.title(),
            "orgs": [
                {"type": "org", "name": name, "roleInOrg": "write"}
                for name in account.organisations
            ],
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


def info(request: Request, name: str, rest: list[str]) -> Answer:
    """Answer `/api/models/USER/NAME` and `.../revision/REVISION`."""
    repository = request.repository(name)
    commit = request.commit(repository, rest[1] if rest[:1] == ["revision"] else "main")
    siblings = [{"rfilename": path} for path in commit.files]
    return json_answer(
        {
            "id": name,
            "sha": commit.oid,
            "private": repository.private,
            "gated": "manual" if repository.gated else False,
            "siblings": siblings,
            "tags": [],
        }
    )


def tree(request: Request, name: str, rest: list[str]) -> Answer:
    """Answer `/api/models/USER/NAME/tree/REVISION`."""
    repository = request.repository(name)
    commit = request.commit(repository, rest[1])
    return json_answer([entry(request.hub, path, raw) for path, raw in commit.files.items()])


def paths_info(request: Request, name: str, rest: list[str]) -> Answer:
    """Answer `/api/models/USER/NAME/paths-info/REVISION`."""
    repository = request.repository(name)
    commit = request.commit(repository, rest[1])
    paths = parse_qs(request.body.decode()).get("paths", [])
    found = [path for path in paths if path in commit.files]
    return json_answer([entry(request.hub, path, commit.files[path]) for path in found])


def entry(hub: Hub, path: str, raw: bytes) -> dict[str, Any]:
    """Return what a tree tells of a file."""
    described = {"type": "file", "path": path, "size": len(raw), "oid": git_hash(raw)}
    if hub.is_large(path, len(raw)):
        pointer = {"oid": sha256_of(raw), "size": len(raw), "pointerSize": 134}
        described |= {"lfs": pointer}
        described |= {"xetHash": sha256_of(raw[::-1])} if hub.copies else {}
    return described


def refs(request: Request, name: str) -> Answer:
    repository = request.repository(name)
    answer: dict[str, Any] = {
        "branches": [_ref("main", "refs/heads/main", repository.head)],
        "tags": [_ref(tag, f"refs/tags/{tag}", oid) for tag, oid in repository.tags.items()],
        "converts": [],
    }
    if "include_prs" in request.query:
        answer["pullRequests"] = [
            _ref(str(number), f"refs/pr/{number}", commit.oid)
            for number, commit in enumerate(repository.pull_requests, start=1)
        ]
    return json_answer(answer)


def _ref(name: str, ref: str, commit: str) -> dict[str, str]:
    return {"name": name, "ref": ref, "targetCommit": commit}


def commits(request: Request, name: str, rest: list[str]) -> Answer:
    """Answer `/api/models/USER/NAME/commits/REVISION`, the newest first."""
    repository = request.repository(name)
    last = request.commit(repository, rest[1])
    listed = [commit.oid for commit in repository.commits]
    shown = repository.commits[: listed.index(last.oid) + 1] if last.oid in listed else [last]
    return json_answer(
        [
            {
                "id": commit.oid,
                "authors": [{"user": commit.author}],
                "date": "2026-01-01T00:00:00.000Z",
                "title": commit.title,
                "message": commit.message,
            }
            for commit in reversed(shown)
        ]
    )


def discussions(request: Request, name: str) -> Answer:
    """Answer `/api/models/USER/NAME/discussions`: the pull requests."""
    repository = request.repository(name)
    listed = [
        {
            "num": number,
            "title": commit.title,
            "repo": {"name": name, "type": "model"},
            "author": {"name": commit.author},
            "status": "open",
            "isPullRequest": True,
            "createdAt": "2026-01-01T00:00:00.000Z",
        }
        for number, commit in enumerate(repository.pull_requests, start=1)
    ]
    return json_answer({"discussions": listed, "count": len(listed), "start": 0})


def resolve(request: Request, name: str, rest: list[str]) -> Answer:
    """Answer `/USER/NAME/resolve/REVISION/PATH`, also a part of a file."""
    hub, repository = request.hub, request.repository(name)
    commit = request.commit(repository, rest[0])
    path = "/".join(rest[1:])
    raw = commit.files.get(path)
    if raw is None:
        missing = RefusedError(404, f"Entry not found: {path}", "EntryNotFound").answer
        return Answer(404, missing.body, (*missing.headers, ("X-Repo-Commit", commit.oid)))
    if request.method == "GET":
        hub.downloads.append(path)
    return _content(request, path, raw, commit.oid)


def _content(request: Request, path: str, raw: bytes, commit: str) -> Answer:
    etag = f'"{sha256_of(raw)}"'
    headers = [("ETag", etag), ("X-Repo-Commit", commit), ("Accept-Ranges", "bytes")]
    if request.hub.is_large(path, len(raw)):
        headers += [("X-Linked-Etag", etag), ("X-Linked-Size", str(len(raw)))]
    left = request.hub.cut_downloads.get(path, 0) if request.method == "GET" else 0
    if left:
        request.hub.cut_downloads[path] = left - 1
    is_cut = path in request.hub.broken or left > 0
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if wanted is None:
        return Answer(200, raw, tuple(headers), is_cut)
    request.hub.ranges.append(wanted[0])
    first, last = int(wanted[1]), int(wanted[2] or len(raw) - 1)
    headers.append(("Content-Range", f"bytes {first}-{last}/{len(raw)}"))
    return Answer(206, raw[first : last + 1], tuple(headers), is_cut)


def auth_check(request: Request, name: str, rest: list[str]) -> Answer:
    """Answer `/api/models/USER/NAME/auth-check` and `.../auth-check/write`."""
    check: Repository = request.writable(name) if len(rest) > 1 else request.repository(name)
    return json_answer({"ok": bool(check.commits)})

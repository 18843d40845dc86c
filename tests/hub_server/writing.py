"""What changes a repository: creation, large files, commits, tags."""

from __future__ import annotations

import base64
import fnmatch
import json
import re
from typing import Any

import yaml

from hub_server.repositories import (
    ATTRIBUTES,
    Commit,
    Hub,
    Repository,
    git_hash,
    new_commit,
    sha256_of,
)
from hub_server.requests import Answer, RefusedError, Request, json_answer

FRONT_MATTER = re.compile(r"^---\n(.*?)\n---\n", re.DOTALL)


def create(request: Request) -> Answer:
    """Answer `/api/repos/create`."""
    account, wanted = request.account, request.json()
    if account is None:
        raise RefusedError(401, "Invalid username or password.")
    namespace = wanted.get("organization") or account.name
    name = f"{namespace}/{wanted['name']}"
    if not account.may_create_in(namespace):
        raise RefusedError(
            403, f'You don\'t have the rights to create a model under the namespace "{namespace}"'
        )
    url = f"{request.hub.endpoint}/{name}"
    if name in request.hub.repositories:
        return json_answer({"error": "You already created this model repo", "url": url}, 409)
    repository = Repository({ATTRIBUTES: b"*.safetensors filter=lfs\n"})
    repository.private = wanted.get("visibility") == "private"
    repository.commits.append(new_commit("", repository.files, "initial commit", name))
    request.hub.repositories[name] = repository
    return json_answer({"url": url, "name": name, "id": name})


def preupload(request: Request, name: str, rest: list[str]) -> Answer:
    """Answer `/api/models/USER/NAME/preupload/REVISION`: how each file is to be sent."""
    repository = request.writable(name, by_pull_request="create_pr" in request.query)
    commit = request.commit(repository, rest[1])
    wanted = request.json()
    ignored = wanted.get("gitIgnore", commit.files.get(".gitignore", b"").decode()).split()
    answers = []
    for file in wanted["files"]:
        path = file["path"]
        is_large = request.hub.is_large(path, file["size"])
        answer: dict[str, Any] = {
            "path": path,
            "uploadMode": "lfs" if is_large else "regular",
            "shouldIgnore": any(fnmatch.fnmatch(path, pattern) for pattern in ignored),
        }
        if path in commit.files:
            raw = commit.files[path]
            was_large = request.hub.is_large(path, len(raw))
            answer["oid"] = sha256_of(raw) if was_large else git_hash(raw)
        answers.append(answer)
    return json_answer({"files": answers})


def lfs_batch(request: Request, name: str) -> Answer:
    """Answer `/USER/NAME.git/info/lfs/objects/batch`: where each large file is to be sent."""
    repository, hub = request.writable(name, by_pull_request=True), request.hub
    objects = []
    for wanted in request.json()["objects"]:
        oid, size = wanted["oid"], wanted["size"]
        described: dict[str, Any] = {"oid": oid, "size": size}
        if oid not in repository.objects:
            described["actions"] = {
                "upload": _upload_action(hub, name, oid, size),
                "verify": {"href": f"{hub.endpoint}/lfs-verify/{name}"},
            }
        objects.append(described)
    return json_answer({"transfer": "basic", "objects": objects})


def _upload_action(hub: Hub, name: str, oid: str, size: int) -> dict[str, Any]:
    # The signature stands for the secrets in the addresses of a storage.
    address = f"{hub.endpoint}/lfs/{name}/{oid}?X-Amz-Signature=secret"
    if hub.part_bytes is None or size <= hub.part_bytes:
        return {"href": address}
    count = -(-size // hub.part_bytes)
    header = {str(part): f"{address}&part={part}" for part in range(1, count + 1)}
    header["chunk_size"] = str(hub.part_bytes)
    return {"href": f"{hub.endpoint}/lfs-complete/{name}/{oid}", "header": header}


def receive(request: Request, name: str, oid: str) -> Answer:
    """Answer the upload of a large file, or of a part of one."""
    request.hub.uploaded_bytes += len(request.body)
    if "part" in request.query:
        part = int(request.query["part"])
        request.hub.parts[oid, part] = request.body
        return Answer(200, b"", (("ETag", f'"{part}"'),))
    return _store(request.hub, name, oid, request.body)


def complete(request: Request, name: str, oid: str) -> Answer:
    """Answer the end of an upload in parts."""
    parts = [request.hub.parts.pop((oid, part["partNumber"])) for part in request.json()["parts"]]
    return _store(request.hub, name, oid, b"".join(parts))


def _store(hub: Hub, name: str, oid: str, raw: bytes) -> Answer:
    if sha256_of(raw) != oid:
        raise RefusedError(400, "The content does not have the announced hash")
    hub.storage[oid] = raw
    hub.repositories[name].objects.add(oid)
    return json_answer({})


def verify(request: Request, name: str) -> Answer:
    if request.json()["oid"] not in request.hub.repositories[name].objects:
        raise RefusedError(404, "The object was not uploaded")
    return json_answer({})


def duplicate(request: Request, name: str) -> Answer:
    """Answer `/api/models/USER/NAME/lfs-files/duplicate`: large files for another repository."""
    source, wanted = request.repository(name), request.json()
    target = request.writable(wanted["target"]["name"])
    hashes = [file["sha256"] for file in wanted["files"]]
    absent = [oid for oid in hashes if oid not in source.objects]
    target.objects |= set(hashes) - set(absent)
    failed = [{"sha256": oid, "error": "not found"} for oid in absent]
    return json_answer({"success": [{"sha256": oid} for oid in hashes], "failed": failed})


def commit(request: Request, name: str, rest: list[str]) -> Answer:
    """Answer `/api/models/USER/NAME/commit/REVISION`."""
    hub, is_pull_request = request.hub, "create_pr" in request.query
    repository = request.writable(name, by_pull_request=is_pull_request)
    lines = [json.loads(line) for line in request.body.splitlines()]
    header = lines[0]["value"]
    parent = header.get("parentCommit")
    if not is_pull_request and parent is not None and parent != repository.head:
        raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
    base = request.commit(repository, parent or rest[1])
    files = dict(base.files)
    for line in lines[1:]:
        _apply(request, repository, files, line["key"], line["value"])
    title, message = header["summary"], header.get("description", "")
    made = _record(repository, files, title, message, is_pull_request)
    number = len(repository.pull_requests)
    return json_answer(
        {
            "success": True,
            "commitOid": made.oid,
            "commitUrl": f"{hub.endpoint}/{name}/commit/{made.oid}",
            "pullRequestUrl": f"{hub.endpoint}/{name}/discussions/{number}"
            if is_pull_request
            else None,
        }
    )


def _record(
    repository: Repository, files: dict[str, bytes], title: str, message: str, is_pull_request: bool
) -> Commit:
    if not is_pull_request:
        return repository.commit(files, title, message)
    made = new_commit(repository.head, files, title, message)
    repository.pull_requests.append(made)
    return made


def _apply(
    request: Request, repository: Repository, files: dict[str, bytes], key: str, value: Any
) -> None:
    """Do one thing that a commit asks for."""
    path = value["path"]
    if key == "file":
        files[path] = base64.b64decode(value["content"])
        if path == "README.md" and (problem := _problem_in_metadata(files[path].decode())):
            raise RefusedError(400, problem)
    elif key == "lfsFile":
        if value["oid"] not in repository.objects:
            raise RefusedError(400, f"LFS pointer pointed to a file that does not exist: {path}")
        files[path] = request.hub.storage[value["oid"]]
    elif key == "copyFile":
        source = request.commit(repository, value.get("srcRevision", "main"))
        files[path] = source.files[value["srcPath"]]
    elif key == "deletedFile":
        if path not in files:
            raise RefusedError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        del files[path]
    elif key == "deletedFolder":
        for inside in [name for name in files if name.startswith(path.rstrip("/") + "/")]:
            del files[inside]
    else:
        raise RefusedError(400, f"Unknown operation {key}")


def tag(request: Request, name: str, rest: list[str]) -> Answer:
    """Answer `/api/models/USER/NAME/tag/REVISION`."""
    repository = request.writable(name)
    named = request.json()["tag"]
    target = request.commit(repository, rest[1])
    if named in repository.tags:
        raise RefusedError(409, f"Tag {named} exists already")
    repository.tags[named] = target.oid
    return json_answer({})


def validate_yaml(request: Request) -> Answer:
    """Answer `/api/validate-yaml` as far as tests need it."""
    problem = _problem_in_metadata(request.json()["content"])
    errors = [{"message": problem}] if problem else []
    return json_answer({"errors": errors, "warnings": []}, 400 if problem else 200)


def _problem_in_metadata(card: str) -> str | None:
    match = FRONT_MATTER.match(card)
    if match is None:
        return None
    try:
        metadata = yaml.safe_load(match[1])
    except yaml.YAMLError:
        return "Invalid YAML"
    languages = metadata.get("language", [])
    for code in [languages] if isinstance(languages, str) else languages:
        if not isinstance(code, str) or not re.fullmatch(r"[a-z]{2,3}", code):
            return f'"language[0]" must be a valid ISO 639 code, not {code!r}'
    if not isinstance(metadata.get("license", ""), str):
        return '"license" must be a string'
    return None

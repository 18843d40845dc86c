"""A server on this machine that speaks the part of the Hub's protocol that downloads need."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Hub:
    """Repositories and what was asked for.

    Attributes:
        files: Repository -> file name -> content.
        errors: Repository -> (status, code) that every request for it is answered with.
        broken: File names whose connection is cut in the middle.
        downloads: File names that were downloaded, in order.
    """

    endpoint: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    errors: dict[str, tuple[int, str | None]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    downloads: list[str] = field(default_factory=list)


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Runs the server in a thread for the time of the block."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        api = path.startswith("/api/models/")
        parts = path.removeprefix("/api/models/").strip("/").split("/")
        repo, rest = "/".join(parts[:2]), parts[2:]
        if repo in self.hub.errors:
            status, code = self.hub.errors[repo]
            self._send(status, b"{}", {"X-Error-Code": code} if code else {})
        elif repo not in self.hub.files:
            self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif api and rest[:1] == ["refs"]:
            self._send_json({"branches": [_ref("main")], "tags": [_ref("v1.0")], "converts": []})
        elif rest and [*rest, "main"][1] not in ("main", "v1.0", COMMIT):
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif api and rest[:1] == ["tree"]:
            self._send_json([_entry(name, raw) for name, raw in self.hub.files[repo].items()])
        elif api:
            siblings = [{"rfilename": name} for name in self.hub.files[repo]]
            self._send_json({"id": repo, "sha": COMMIT, "siblings": siblings})
        else:
            self._send_file(repo, "/".join(rest[2:]))

    def _send_json(self, content: Any) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send_file(self, repo: str, name: str) -> None:
        raw = self.hub.files[repo].get(name)
        if raw is None:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        if self.command == "GET":
            self.hub.downloads.append(name)
        etag = hashlib.sha256(raw).hexdigest()
        self._send(
            200, raw, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, name in self.hub.broken
        )

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True


def _ref(name: str) -> dict[str, str]:
    return {"name": name, "ref": f"refs/{name}", "targetCommit": COMMIT}


def _entry(name: str, raw: bytes) -> dict[str, object]:
    oid = hashlib.sha1(raw).hexdigest()
    return {"type": "file", "path": name, "size": len(raw), "oid": oid}

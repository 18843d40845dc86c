"""The server: takes requests over HTTP, and gives each to the function that answers it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hub_server import reading, writing
from hub_server.repositories import Hub
from hub_server.requests import Answer, RefusedError, Request

LFS_BATCH = ".git/info/lfs/objects/batch"


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
    # Without it, the second of two small packets waits for the client's acknowledgement.
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path.partition('?')[0]}")
        fault = next(
            (fault for fault in self.hub.faults if fault.applies(self.command, self.path)), None
        )
        is_lost = fault is not None and fault.loses_answer
        if fault is not None and fault.status is None and not is_lost:
            length = int(self.headers.get("Content-Length", 0))
            self.rfile.read(length // 2)
            self.close_connection = True
            return
        body = self._read_body()
        if fault is not None and not is_lost:
            refused = RefusedError(fault.status or 500, fault.message or "", fault.code).answer
            headers = [pair for pair in refused.headers if pair[1]]
            self._send(Answer(refused.status, refused.body, (*headers, *fault.headers.items())))
            return
        request = Request(self.hub, self.command, self.path, self.headers, body)
        try:
            answer = _dispatch(request)
            if is_lost:
                self.close_connection = True
                return
            self._send(answer)
        except RefusedError as error:
            self._send(error.answer)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            half = len(answer.body) // 2
            self.wfile.write(answer.body[:half] if answer.is_cut else answer.body)
        if answer.is_cut:
            self.close_connection = True


def _dispatch(request: Request) -> Answer:
    parts = request.parts
    if any(part in request.address for part in request.hub.missing):
        raise RefusedError(404, "Not found")
    if parts == ["api", "whoami-v2"]:
        return reading.whoami(request)
    if parts == ["api", "repos", "create"]:
        return writing.create(request)
    if parts == ["api", "validate-yaml"]:
        return writing.validate_yaml(request)
    if parts[:1] == ["lfs"]:
        return writing.receive(request, "/".join(parts[1:3]), parts[3])
    if parts[:1] == ["lfs-complete"]:
        return writing.complete(request, "/".join(parts[1:3]), parts[3])
    if parts[:1] == ["lfs-verify"]:
        return writing.verify(request, "/".join(parts[1:3]))
    if request.address.endswith(LFS_BATCH):
        return writing.lfs_batch(request, "/".join(parts[:2]).removesuffix(".git"))
    is_api = parts[:2] == ["api", "models"]
    parts = parts[2:] if is_api else parts
    name, rest = "/".join(parts[:2]), parts[2:]
    if name in request.hub.errors:
        status, code = request.hub.errors[name]
        raise RefusedError(status, "", code)
    if not is_api:
        if rest[:1] != ["resolve"]:
            request.repository(name)
            raise RefusedError(404, "Not found")
        return reading.resolve(request, name, rest[1:])
    return _dispatch_api(request, name, rest)


def _dispatch_api(request: Request, name: str, rest: list[str]) -> Answer:
    """Answer what is asked about a repository or to change it."""
    kind = rest[0] if rest else "revision"
    if kind == "revision":
        return reading.info(request, name, rest)
    if kind in ("refs", "discussions"):
        return {"refs": reading.refs, "discussions": reading.discussions}[kind](request, name)
    if kind == "lfs-files":
        return writing.duplicate(request, name)
    answer = {
        "tree": reading.tree,
        "paths-info": reading.paths_info,
        "commits": reading.commits,
        "auth-check": reading.auth_check,
        "preupload": writing.preupload,
        "commit": writing.commit,
        "tag": writing.tag,
    }.get(kind)
    if answer is None:
        # A Hub without Xet has no `xet-write-token`.
        raise RefusedError(404, json.dumps(kind))
    return answer(request, name, rest)

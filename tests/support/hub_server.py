"""A model hub on this machine: as much of the Hugging Face hub as pulling a model needs, with faults on demand."""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
LARGE = 1000  # bytes from which a file is stored apart, known by its sha256 and served from elsewhere


class HubServer(ThreadingHTTPServer):
    """Serves one repository at one commit. What it was asked for, and how much it gave, can be looked at."""

    daemon_threads = True

    def __init__(self, repository: str, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repository, self.files = repository, dict(files)
        self.listed = dict(files)  # what the listing speaks of
        self.commit = COMMIT
        self.status = 200  # of every answer
        self.refused: dict[str, int] = {}  # the status of some files
        self.cuts: dict[str, list[int]] = {}  # after so many bytes the connection of this file is cut, once for each
        self.resumes = True
        self.asked: list[tuple[str, str | None]] = []  # path, Range
        self.heads: list[tuple[str, dict[str, str]]] = []
        self.given: Counter[str] = Counter()  # bytes of each file

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def elsewhere(self) -> str:
        """The same machine by another name, where large files lie, as on the real hub."""
        return f"http://localhost:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a client that went away is what some tests are about."""

    def listing(self) -> dict[str, Any]:
        siblings: list[dict[str, Any]] = []
        for name, content in self.listed.items():
            sibling: dict[str, Any] = {"rfilename": name, "size": len(content)}
            sibling["blobId"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            if len(content) >= LARGE:
                sha256 = hashlib.sha256(content).hexdigest()
                sibling["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
            siblings.append(sibling)
        return {"id": self.repository, "sha": self.commit, "siblings": siblings}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_GET(self) -> None:
        hub, path = self.server, unquote(urlsplit(self.path).path)
        hub.asked.append((path, self.headers["Range"]))
        hub.heads.append((path, {key.lower(): value for key, value in self.headers.items()}))
        start = f"/{hub.repository}/resolve/{hub.commit}/"
        if hub.status != 200:
            self._answer(hub.status, b"")
        elif path.startswith(f"/api/models/{hub.repository}/revision/"):
            self._answer(200, json.dumps(hub.listing()).encode())
        elif path.startswith(start) and (name := path.removeprefix(start)) in hub.files:
            if name in hub.refused:
                self._answer(hub.refused[name], b"no")
            elif len(hub.files[name]) >= LARGE:
                self._answer(302, b"", {"Location": f"{hub.elsewhere}/stored/{name}"})
            else:
                self._file(name)
        elif path.startswith("/stored/"):
            self._file(path.removeprefix("/stored/"))
        else:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _file(self, name: str) -> None:
        hub, content = self.server, self.server.files[name]
        asked = self.headers["Range"] if hub.resumes else None
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        body = content[begin:]
        cuts = hub.cuts.get(name)
        sent = body[: cuts.pop(0)] if cuts else body
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(sent)
        hub.given[name] += len(sent)
        self.close_connection = len(sent) < len(body)

    def _answer(self, status: int, body: bytes, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(more or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing: what was asked is in ``asked``."""


@contextmanager
def serving(repository: str, files: dict[str, bytes]) -> Iterator[HubServer]:
    """Gives a hub that answers for as long as the block runs."""
    with HubServer(repository, files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

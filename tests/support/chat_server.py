"""A server on this machine that speaks OpenAI's chat completions, with faults on demand."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Said = Sequence[str]
MODEL = "tiny-vl"


@dataclass
class Request:
    """What a client asked for."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def system(self) -> str:
        return "".join(text for text in _texts(self.body, "system"))

    @property
    def user(self) -> str:
        return "".join(text for text in _texts(self.body, "user"))

    @property
    def pictures(self) -> list[str]:
        """The URLs of the pictures."""
        parts = [p for m in self.body["messages"] if isinstance(m["content"], list) for p in m["content"]]
        return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def _texts(body: dict[str, Any], role: str) -> Iterator[str]:
    for message in body["messages"]:
        if message["role"] == role:
            content = message["content"]
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            yield from (part["text"] for part in parts if part["type"] == "text")


class ChatServer(ThreadingHTTPServer):
    """Answers with ``say``: pieces of text, or a function of the request that gives them."""

    daemon_threads = True

    def __init__(self, say: Said | Callable[[Request], Said]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.say = say
        self.models = [MODEL]
        self.key: str | None = None  # that is asked for
        self.refuse: Callable[[Request], tuple[int, Any] | None] = lambda _: None  # status and body of a refusal
        self.location: str | None = None  # where every request is sent on to
        self.script: list[bytes] | None = None  # what is written instead of an answer, byte by byte
        self.kind = "text/event-stream"
        self.chunked = False
        self.cut = False  # the connection after the pieces, before the end
        self.waits = threading.Event()  # set: goes on; the answer stands still after its first piece until then
        self.waits.set()
        self.stands = threading.Event()  # set when it does
        self.begins = threading.Event()  # set: the answer begins
        self.begins.set()
        self.left = threading.Event()  # set when a client was gone before the end
        self.asked: list[Request] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def chats(self) -> list[Request]:
        """The requests for an answer."""
        return [request for request in self.asked if request.method == "POST"]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a client that went away is what some tests are about."""
        self.left.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer

    def do_GET(self) -> None:
        self._serve(Request("GET", urlsplit(self.path).path, self._headers()))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._serve(Request("POST", urlsplit(self.path).path, self._headers(), body))

    def _headers(self) -> dict[str, str]:
        return {key.lower(): value for key, value in self.headers.items()}

    def _serve(self, request: Request) -> None:
        server = self.server
        server.asked.append(request)
        if server.location:
            self._answer(307, b"", {"Location": server.location})
        elif server.key is not None and request.headers.get("authorization") != f"Bearer {server.key}":
            given = request.headers.get("authorization", "none")
            self._json(401, {"error": {"message": f"Incorrect API key provided: {given}", "type": "auth"}})
        elif (refusal := server.refuse(request)) is not None:
            self._json(*refusal)
        elif request.path == "/v1/models":
            listed = [{"id": name, "object": "model", "created": 0, "owned_by": "me"} for name in server.models]
            self._json(200, {"object": "list", "data": listed})
        elif request.path != "/v1/chat/completions" or request.method != "POST":
            self._json(404, {"error": {"message": "Not Found", "code": 404}})
        elif request.body["model"] not in server.models:
            name = request.body["model"]
            self._json(404, {"error": {"message": f"The model `{name}` does not exist.", "type": "NotFoundError"}})
        else:
            server.begins.wait(60)
            self._stream(request)

    def _stream(self, request: Request) -> None:
        server = self.server
        self.send_response(200)
        self.send_header("Content-Type", server.kind)
        self.send_header("Transfer-Encoding", "chunked") if server.chunked else None
        self.end_headers()
        self.close_connection = True
        for number, line in enumerate(server.script if server.script is not None else self._events(request)):
            self._write(line)
            if number == 1:
                server.stands.set()
                server.waits.wait(60)
                self._until_gone()
        if server.chunked and not server.cut:
            self.wfile.write(b"0\r\n\r\n")

    def _until_gone(self) -> None:
        """Tells when the client has closed the connection meanwhile."""
        self.connection.setblocking(False)
        try:
            if self.connection.recv(1) == b"":
                self.server.left.set()
        except BlockingIOError:
            pass
        except OSError:
            self.server.left.set()
        self.connection.setblocking(True)

    def _events(self, request: Request) -> Iterator[bytes]:
        server = self.server
        said = server.say(request) if callable(server.say) else server.say
        yield _event({"role": "assistant", "content": ""})
        for text in said:
            yield _event({"content": text})
        if not server.cut:
            yield _event({}, "stop")
            yield b"data: [DONE]\n\n"

    def _write(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if self.server.chunked else data)
        self.wfile.flush()

    def _json(self, status: int, body: Any) -> None:
        self._answer(status, body if isinstance(body, bytes) else json.dumps(body).encode(), {})

    def _answer(self, status: int, body: bytes, more: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **more}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing: what was asked is in ``asked``."""


def _event(delta: dict[str, Any], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    event = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": MODEL, "choices": [choice]}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


@contextmanager
def chatting(say: Said | Callable[[Request], Said] = ()) -> Iterator[ChatServer]:
    """Gives a server that answers for as long as the block runs."""
    with ChatServer(say) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            for event in (server.waits, server.begins):
                event.set()
            server.shutdown()
            thread.join()

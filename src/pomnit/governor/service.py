"""What the owner does for other processes of its user: JSON over HTTP on a Unix socket, as the HTTP door will speak.

::

    POST /v1/encode   {card, precision, texts, query?, terms?} -> {vectors: [[…]], terms?: [{token: weight}]}
    POST /v1/rerank   {card, bits?, query, texts} -> {scores: […]}
    POST /v1/transcribe {card, language?, windows: [base64]} -> {texts: [[[[start, end, text]], language, no_speech]]}
    GET  /v1/engines  -> {engines: {name: bytes}, budget, room, profile, working}
    POST /v1/work     {} -> {taken}: whether the owner does what was handed in; else it only searches, and lets go
    POST /v1/lock     {} -> {}: the memory is locked; the owner ends what it does and uses its keys no more

An error is {error: its class, message}. As long as somebody is connected, the owner stays the owner.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from pomnit.errors import EngineError, NotFound, PomnitError, UsageError
from pomnit.governor import unix
from pomnit.governor.leases import Governor
from pomnit.models.cards import Variant

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST = 8 << 20  # bytes of a message
TEXTS = 256  # of a message
WINDOWS, LONGEST = 4, 30 * 16_000  # windows of speech of a message, and samples of each
AT_ONCE = 16  # connections
IDLE_S = 30.0  # seconds that somebody may be connected without asking
_RUNTIMES: Mapping[str, Literal["onnx", "mlx", "given"]] = {"onnx": "onnx", "mlx": "mlx", "given": "given"}
_PRECISION = re.compile(rf"({'|'.join(_RUNTIMES)})-([0-9]{{1,2}})")
_TOO_MANY_FILES_S = 0.1
_STATUS: tuple[tuple[type[PomnitError], int], ...] = ((UsageError, 400), (NotFound, 404), (EngineError, 503))

Message = dict[str, Any]


class House(Protocol):
    """What the service needs of the owner."""

    @property
    def governor(self) -> Governor: ...
    @property
    def working(self) -> bool: ...
    def stay(self) -> bool: ...
    def let_go(self) -> None: ...
    def hand_in(self) -> bool: ...
    def lock(self) -> None: ...


# The messages


def encode(house: House, message: Message) -> Message:
    """Gives the vectors of texts by an encoder, and the weights of their tokens where they are asked for."""
    name, precision, texts = _text(message, "card"), _text(message, "precision"), _texts(message)
    query, terms = _flag(message, "query"), _flag(message, "terms")
    _nothing_else(message)
    card, found = house.governor.encoder_card(name), _PRECISION.fullmatch(precision)
    if card is None:
        raise NotFound(f"there is no encoder {name}")
    if found is None:
        raise UsageError(f"precision = {precision!r}: it is like onnx-8 or mlx-4")
    with house.governor.encoder(Variant(card, _RUNTIMES[found[1]], int(found[2])), person=True) as encoder:
        if not terms:
            return {"vectors": encoder.encode(texts, query=query).tolist()}
        vectors, weights = encoder.encode_terms(texts, query=query)
        return {"vectors": vectors.tolist(), "terms": weights}


def rerank(house: House, message: Message) -> Message:
    """Gives the scores of texts for a question. Without texts the reranker is only loaded."""
    name, bits = _text(message, "card"), message.pop("bits", None)
    query, texts = _text(message, "query"), _texts(message)
    _nothing_else(message)
    card = house.governor.reranker_card(name)
    if card is None:
        raise NotFound(f"there is no reranker {name}")
    if bits is not None and type(bits) is not int:
        raise UsageError("bits is not a whole number")
    with house.governor.reranker(card, bits) as reranker:
        return {"scores": reranker.score(query, texts).tolist() if texts else []}


def transcribe(house: House, message: Message) -> Message:
    """Gives what is said in windows of 16,000 samples of 16 bits a second; the model is the owner's own choice."""
    _text(message, "card")
    language, windows = message.pop("language", None), message.pop("windows", None)
    _nothing_else(message)
    if language is not None and not isinstance(language, str):
        raise UsageError("language is not a text")
    if not isinstance(windows, list) or not 0 < len(windows) <= WINDOWS:
        raise UsageError(f"windows is not a list of 1 to {WINDOWS}")
    samples = [_samples(window) for window in windows]
    with house.governor.transcriber(person=True) as transcriber:
        found = transcriber.transcribe(samples, language=language)
    return {"texts": [[[[s.start, s.end, s.text] for s in f.segments], f.language, f.no_speech] for f in found]}


def engines(house: House, message: Message) -> Message:
    """Gives what is held, and how much there is room for, in bytes."""
    _nothing_else(message)
    budget, held = house.governor.budget, house.governor.engines()
    room = max(0, budget.room - sum(held.values()))
    said = {"budget": budget.bytes, "room": room, "profile": budget.profile.name, "working": house.working}
    return {"engines": dict(held), **said}


def work(house: House, message: Message) -> Message:
    """Says whether the owner does what was handed in."""
    _nothing_else(message)
    return {"taken": house.hand_in()}


def lock(house: House, message: Message) -> Message:
    """Lets the owner use its keys no more."""
    _nothing_else(message)
    house.lock()
    return {}


ROUTES: Mapping[tuple[str, str], Callable[[House, Message], Message]] = {
    ("POST", "/v1/encode"): encode,
    ("POST", "/v1/rerank"): rerank,
    ("POST", "/v1/transcribe"): transcribe,
    ("GET", "/v1/engines"): engines,
    ("POST", "/v1/work"): work,
    ("POST", "/v1/lock"): lock,
}


def _text(message: Message, name: str) -> str:
    value = message.pop(name, None)
    if not isinstance(value, str):
        raise UsageError(f"{name} is not a text")
    return value


def _flag(message: Message, name: str) -> bool:
    value = message.pop(name, False)
    if not isinstance(value, bool):
        raise UsageError(f"{name} is neither true nor false")
    return value


def _texts(message: Message) -> list[str]:
    texts = message.pop("texts", None)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UsageError("texts is not a list of texts")
    if len(texts) > TEXTS:
        raise UsageError(f"{len(texts)} texts; send at most {TEXTS} at once")
    return texts


def _samples(window: Any) -> NDArray[np.float32]:
    """Gives a window of speech as float32, -1 to 1."""
    import numpy as np

    try:
        numbers = np.frombuffer(base64.b64decode(window, validate=True), "<i2")
    except (TypeError, ValueError):
        raise UsageError("a window is not samples of 16 bits in base64") from None
    if not 0 < len(numbers) <= LONGEST:
        raise UsageError(f"a window has {len(numbers)} samples, and 1 to {LONGEST} are allowed")
    return numbers.astype(np.float32) / np.float32(32767)


def _nothing_else(message: Message) -> None:
    if message:
        raise UsageError(f"nothing is known of {', '.join(sorted(message))[:200]}")


# The server


class Service:
    """Answers on the socket of a home until it is closed."""

    def __init__(self, home: Path, house: House) -> None:
        """Begins to listen.

        Raises:
            OSError: there is no place for a socket.
        """
        self.house = house
        self._woken, self._wake = socket.socketpair()
        try:
            self._listener, self._place = unix.listen(home)
        except OSError:
            self._woken.close()
            self._wake.close()
            raise
        self._listener.setblocking(False)
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._thread = threading.Thread(target=self._accept, name="owner.sock", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Takes no more connections and removes the socket; who is connected may go on asking."""
        self._place.unlink(missing_ok=True)
        self._wake.close()
        self._thread.join()
        self._listener.close()
        self._woken.close()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(self._listener, selectors.EVENT_READ)
            ready.register(self._woken, selectors.EVENT_READ)
            while all(key.fileobj is not self._woken for key, _ in ready.select()):
                try:
                    connection, _ = self._listener.accept()
                except BlockingIOError:
                    continue
                except OSError:  # too many files are open
                    time.sleep(_TOO_MANY_FILES_S)
                    continue
                if not self._places.acquire(blocking=False):
                    connection.close()
                    continue
                try:
                    threading.Thread(target=self._talk, args=(connection,), name="guest", daemon=True).start()
                except RuntimeError:  # the system has no thread for it
                    connection.close()
                    self._places.release()

    def _talk(self, connection: socket.socket) -> None:
        """Answers one connection, and stays the owner meanwhile."""
        try:
            with connection, contextlib.suppress(OSError):
                if unix.is_ours(connection) and self.house.stay():
                    try:
                        _Handler(connection, ("", 0), cast("Any", self))
                    finally:
                        self.house.let_go()
        finally:
            self._places.release()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Pomnit", ""
    timeout = IDLE_S
    server: Service  # type: ignore[assignment] # it wants none of socketserver

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self._body()
        if body is None:
            return
        route = ROUTES.get((self.command, self.path))
        if route is None:
            known = any(path == self.path for _, path in ROUTES)
            self.send_error(405 if known else 404, "it is not asked so" if known else "there is no such thing")
            return
        self._send(*_answered(route, self.server.house, body))

    def _body(self) -> bytes | None:
        """Gives what was sent; None when it was refused."""
        lengths = self.headers.get_all("Content-Length", ["0"] if self.command == "GET" else [])
        length = "".join(lengths[:1])
        if len(lengths) > 1 or not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            self.send_error(411, "say how long the message is")
        elif len(length) > len(str(LARGEST)) or int(length) > LARGEST:
            self.send_error(413, f"a message has at most {LARGEST} bytes")
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                return body
            self.close_connection = True
        return None

    def _send(self, status: int, message: Message) -> None:
        body = json.dumps(message, allow_nan=False).encode("ascii")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Refuses what is not a question, and ends the connection: what follows may be a part of it."""
        self.close_connection = True
        self._send(405 if code == 501 else code, {"error": "UsageError", "message": message or "this is not HTTP"})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 its name there
        """Says nothing: what is asked is private."""


def _answered(route: Callable[[House, Message], Message], house: House, body: bytes) -> tuple[int, Message]:
    """Gives the status and the answer."""
    try:
        return 200, route(house, _parsed(body))
    except PomnitError as error:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        return status, {"error": type(error).__name__, "message": str(error)}
    except Exception as error:  # noqa: BLE001 the other side must hear of it; not what it says, which may be private
        return 500, {"error": "PomnitError", "message": f"unexpected {type(error).__name__}"}


def _parsed(body: bytes) -> Message:
    try:
        message = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise UsageError("the message is not JSON") from None
    if not isinstance(message, dict):
        raise UsageError("the message is not an object")
    return message

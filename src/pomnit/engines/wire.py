"""One request over HTTP/1.1 to a server that the user named, whose answer is read as it comes, and can be stopped.

On http.client, not on httpx2: a reader of our own below it looks at the clock and at ``stopped`` while nothing comes,
so an answer ends at once without threads, and the connection with it. No redirect is followed, no proxy of the
environment is used, nothing is kept between two requests.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CONNECT_S = 5.0  # to a machine that is on, over any network
SEND_S = 60.0
LOOK_S = 0.05  # between two looks at ``stopped`` while nothing comes


class WireError(Exception):
    """The server cannot be talked to. The message says what happened, without the server's name."""


class TookTooLong(WireError):
    """Nothing came in time."""


class WasStopped(WireError):
    """``stopped`` said True."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is: its parts of an http or https URL."""

    secure: bool
    host: str
    port: int
    path: str  # without a slash at its end

    @classmethod
    def of(cls, url: str) -> Server:
        """Gives the server of a URL that is in order."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        return cls(secure, parts.hostname or "", parts.port or (443 if secure else 80), parts.path.rstrip("/"))


class Exchange:
    """One request, and its answer as it comes. To be used in a ``with`` block, whose end closes the connection."""

    def __init__(self, server: Server, *, within_s: float, stopped: Callable[[], bool] = lambda: False) -> None:
        """The answer shall begin ``within_s`` seconds; ``wait`` sets how long to wait from then on."""
        self._server, self._stopped = server, stopped
        self._deadline = time.monotonic() + within_s
        self._connection = _Connection(self)
        self._response: HTTPResponse | None = None
        self._wire: _Wire | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._response is not None:
            self._response.close()
        self._connection.close()
        if self._wire is not None:
            self._wire.end()

    def wait(self, s: float) -> None:
        """Lets what is read next come within ``s`` seconds from now."""
        self._deadline = time.monotonic() + s

    def ask(self, path: str, headers: Mapping[str, str], body: bytes | None = None) -> HTTPResponse:
        """Gives the answer, its body not read yet: to a POST with a body, to a GET without.

        Raises:
            WireError: and those below it.
        """
        try:
            self._connection.request("GET" if body is None else "POST", self._server.path + path, body, dict(headers))
            self._response = self._connection.getresponse()
        except (OSError, HTTPException, ValueError) as error:
            raise WireError(_why(error)) from None
        return self._response

    def chunks(self) -> Iterator[bytes]:
        """Gives the body as it comes, at most 64 KiB at once.

        Raises:
            WireError: and those below it; also when it ends before its end.
        """
        assert self._response is not None
        while True:
            try:
                chunk = self._response.read1(1 << 16)
            except (OSError, HTTPException, ValueError) as error:
                raise WireError(_why(error)) from None
            if not chunk:
                if self._response.length:
                    raise WireError("the connection was cut")
                return
            yield chunk

    def connected(self) -> _Wire:
        """Gives a new connection, which the exchange ends.

        Raises:
            OSError, WireError.
        """
        server = self._server
        self.look()
        try:
            connection = socket.create_connection((server.host, server.port), timeout=CONNECT_S)
        except TimeoutError:
            raise WireError(f"no connection in {CONNECT_S:.0f} seconds") from None
        self._wire = _Wire(self, connection)
        if server.secure:
            self._wire.socket = ssl.create_default_context().wrap_socket(connection, server_hostname=server.host)
        return self._wire

    def look(self) -> None:
        """Looks at the clock, and whether to stop.

        Raises:
            TookTooLong, WasStopped.
        """
        if self._stopped():
            raise WasStopped("stopped")
        if time.monotonic() > self._deadline:
            raise TookTooLong("nothing came in time")


class _Connection(HTTPConnection):
    """What http.client talks over."""

    def __init__(self, exchange: Exchange) -> None:
        server = exchange._server  # noqa: SLF001 the two are one thing
        super().__init__(server.host, server.port)
        self.default_port = 443 if server.secure else 80  # which the header Host leaves out
        self._exchange = exchange

    def connect(self) -> None:
        self.sock: _Wire | None = self._exchange.connected()


class _Wire:
    """As much of a socket as http.client uses."""

    def __init__(self, exchange: Exchange, connection: socket.socket) -> None:
        self._exchange = exchange
        self.socket = connection

    def sendall(self, data: bytes) -> None:
        self.socket.settimeout(SEND_S)
        self.socket.sendall(data)

    def makefile(self, _: str) -> io.BufferedReader:
        self.socket.settimeout(LOOK_S)
        return io.BufferedReader(_Patient(self._exchange, self.socket))

    def close(self) -> None:
        """Does nothing: http.client closes a socket whose answer is still to be read."""

    def end(self) -> None:
        self.socket.close()


class _Patient(io.RawIOBase):
    """Reads what comes, and looks up while nothing does."""

    def __init__(self, exchange: Exchange, connection: socket.socket) -> None:
        super().__init__()
        self._exchange, self._socket = exchange, connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        while True:
            self._exchange.look()
            try:
                return self._socket.recv_into(buffer)
            except TimeoutError:
                continue


def _why(error: Exception) -> str:
    """Gives what happened, in words; nothing of what was sent is in them."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, (ConnectionResetError, BrokenPipeError, ConnectionAbortedError, IncompleteRead)):
        return "the connection was cut"
    if isinstance(error, socket.gaierror):
        return "there is no such host"
    if isinstance(error, TimeoutError):
        return "it does not take what is sent to it"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"it does not speak HTTP ({type(error).__name__})"

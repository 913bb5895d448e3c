"""Answers by a server that speaks OpenAI's chat completions: Ollama, LM Studio, llama.cpp, vLLM and others.

Only the server that the user named is spoken to. What it says is text: it is held to limits, nothing in it is followed,
and none of it comes into an error unbounded. What a server does not take (pictures, a setting) is found out by trying
and is remembered; evidence that overflows its context is halved until it fits.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pomnit.engines.chat_format import as_sent, content_of, error_event, message_of, one_line, said_of, whole_letters
from pomnit.engines.prompt import answerable, fewer, messages, spoken
from pomnit.engines.protocols import Asked
from pomnit.engines.wire import Exchange, Server, TookTooLong, WasStopped, WireError
from pomnit.errors import EngineError, EngineMissing

LIST_S = 10.0  # seconds for the list of models
LINE = 256 << 10  # bytes of one line; a piece of an answer has some hundreds
BODY = 1 << 20  # bytes of what does not come as a stream
TEXT = 20_000  # characters of an answer; a longer one ends there
TOKENS = 1024  # that a model may answer with
_LONGEST_NAME = 1000  # characters of a model's name, which may be a path
_HALVINGS = 4  # of the evidence
_FIELD = re.compile(rb":|(?:event|id|retry)(?::|$)")
_LOOK = "look at what the server itself says, and try again"
_OTHER_JOBS = re.compile(r"embed|rerank|whisper|\btts\b|\bbge\b|minilm", re.IGNORECASE)
_OF_PICTURES = re.compile(
    r"image|vision|multi-?modal|mmproj|picture|content.?type|content part|(?:must be|expected|valid) (?:a |an )?string"
    r"|expected str\b",
    re.IGNORECASE,
)
_OF_CONTEXT = re.compile(
    r"context|too long|too many tokens|too large|maximum.{0,20}(?:length|tokens)|exceed", re.IGNORECASE
)
_OF_SETTINGS = re.compile(r"temperature|max_(?:completion_)?tokens|unsupported.{0,10}param", re.IGNORECASE)
_OF_MODEL = re.compile(
    r"model.{0,80}(?:not (?:found|exist|loaded|available)|does not exist|unknown|no such)|(?:invalid|unknown|no) model"
    r"|try pulling|repo(?:sitory)? (?:id|not found)|hugging ?face|outgoing traffic|offline mode",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server may take, in seconds: its model is loaded, and reads the evidence, before the first words."""

    first: float = 300.0
    between: float = 60.0
    total: float = 1800.0


class OpenAIAnswerer:
    """The Answerer protocol over a server."""

    def __init__(
        self, url: str, model: str | None = None, *, key: str | None = None, patience: Patience | None = None
    ) -> None:
        """``url`` is as the settings give it, with /v1; without ``model`` the server's first one answers."""
        self._url, self._model, self._key = url, model, key
        self._server = Server.of(url)
        self._patience = patience or Patience()
        self._takes_settings = True
        self._closed = False
        self.sees = True  # until the server refuses a picture
        self.name = self._called(model or "the first model")

    def answer(self, asked: Asked, *, stopped: Callable[[], bool] = lambda: False) -> Iterator[str]:
        """Gives the pieces of the answer.

        Raises:
            EngineMissing: nobody listens, the key is wrong, or the server does not have the model.
            EngineError: it is busy, failed, took too long, or does not speak as it should.
        """
        if self._closed:
            raise EngineError(f"{self.name}: the answerer was closed")
        try:
            asked = as_sent(asked) if self.sees else asked
            if answerable(asked, sees=self.sees) and not stopped():
                if self._model is None:
                    self._model = self.first_of(self.models(stopped))
                    self.name = self._called(self._model)
                with contextlib.closing(self._fitting(asked, stopped)) as pieces:
                    yield from spoken(pieces)
        except WasStopped:
            return
        except TookTooLong:
            what = f"{self._patience.first:.0f} seconds, or {self._patience.between:.0f} without a word in between"
            raise EngineError(f"{self.name}: no answer in {what}; try again, or a smaller model") from None
        except WireError as error:
            raise self._unreachable(error) from None

    def close(self) -> None:
        self._closed = True

    def _called(self, model: str) -> str:
        name = model.rstrip("/").rpartition("/")[2] if model.startswith("/") else model
        return f"{name:.100} at {self._server.host}:{self._server.port}"

    # What the server does not take

    def _fitting(self, asked: Asked, stopped: Callable[[], bool]) -> Generator[str]:
        """Gives the pieces, what is asked adapted to what the server takes."""
        halvings = 0
        while True:
            try:
                yield from self._streamed(asked, stopped)
                return
            except _Refused as refused:
                said = refused.said
                if _shows(asked) and self.sees and _OF_PICTURES.search(said):
                    self.sees = False
                    if not answerable(asked, sees=False):
                        raise EngineError(f"{self.name} takes no pictures: {said}; name one that does") from None
                elif halvings < _HALVINGS and refused.status in (400, 413, 422, 500) and _OF_CONTEXT.search(said):
                    halvings += 1
                    smaller = fewer(asked)
                    if smaller is None:
                        raise self._explained(refused, stopped) from None
                    asked = smaller
                elif self._takes_settings and refused.status in (400, 422) and _OF_SETTINGS.search(said):
                    self._takes_settings = False
                else:
                    raise self._explained(refused, stopped) from None

    def _explained(self, refused: _Refused, stopped: Callable[[], bool] | None) -> EngineError:
        """Gives the error for what the server refused, with what to do; ``stopped`` None: do not ask it for more."""
        status, said = refused.status, refused.said
        told = f"{self.name} answers {status}" + (f": {said}" if said else "")
        if status in (401, 403):
            given = "refuses the key that it was given" if self._key else "asks for a key"
            return EngineMissing(
                f"{self._url} {given} (status {status}); put the right one into POMNIT_ANSWER_KEY, or into a file of"
                " yours alone that the setting answer_key_file names"
            )
        if 300 <= status < 400:
            return EngineMissing(
                f"{self._url} sends to another place (status {status}), and nothing is sent there; if you trust it, set"
                f" answer_url to it: {said or 'it does not say where'}"
            )
        if stopped is not None and (status == 404 or _OF_MODEL.search(said)):
            return self._no_model(told, status, stopped)
        if _OF_CONTEXT.search(said) and status in (400, 413, 422, 500):
            return EngineError(f"{told}; even one piece of evidence is too long for it: give its model more context")
        if status == 429:
            return EngineError(f"{told}; it is busy: try again later")
        if status >= 500:
            return EngineError(f"{told}; {_LOOK}")
        return EngineError(f"{told}; see whether answer_url and answer_model are what you mean")

    def _no_model(self, told: str, status: int, stopped: Callable[[], bool]) -> EngineError:
        """Gives the error for what looks like a model that is not there, or for a place where no server is."""
        try:
            names = self.models(stopped)
        except (EngineError, WireError):
            names = []
            if status == 404:
                return EngineMissing(f"{told}; is answer_url right? Most servers want it to end in /v1: {self._url}")
        if self._model in names or (not names and status != 404):
            return EngineError(f"{told}; {_LOOK}")
        there = ", ".join(names[:10]) or "none at all"
        return EngineMissing(f"{told}; set answer_model to a model that is there: {there}")

    def _unreachable(self, error: WireError) -> EngineError:
        return EngineMissing(
            f"{self._url} cannot be asked: {error}; start the server, or set answer_url to where it is"
        )

    # Models

    def available(self) -> list[str]:
        """Gives the names of the server's models.

        Raises:
            EngineMissing: nobody listens, or the key is wrong. EngineError: it does not speak as it should.
        """
        try:
            return self.models()
        except TookTooLong:
            raise EngineError(f"{self._url}: no list of models in {LIST_S:.0f} seconds; {_LOOK}") from None
        except WireError as error:
            raise self._unreachable(error) from None

    def first_of(self, names: Sequence[str]) -> str:
        """Gives the first model that may be one that answers.

        Raises:
            EngineMissing: there is none.
        """
        if not names:
            raise EngineMissing(f"{self._url} has no model; load one there, or set answer_model")
        return next((name for name in names if not _OTHER_JOBS.search(name)), names[0])

    def models(self, stopped: Callable[[], bool] = lambda: False) -> list[str]:
        """Gives the names of the server's models.

        Raises:
            EngineError: it refuses, or does not speak as it should.
            WireError: it cannot be talked to.
        """
        with Exchange(self._server, within_s=LIST_S, stopped=stopped) as exchange:
            response = exchange.ask("/models", self._headers())
            body = _whole(exchange)
            if response.status != 200:
                refused = _Refused(response.status, self._bounded(said_of(body, response.headers.get("Location"))))
                if response.status == 404:
                    where = "is answer_url right? Most servers want it to end in /v1"
                    raise EngineMissing(f"{self._url} has no list of models (status 404); {where}")
                raise self._explained(refused, None)
        try:
            names = [entry["id"] for entry in json.loads(body)["data"] or ()]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise self._strange("its list of models is none") from None
        return [one_line(name) for name in names if isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME]

    # One request

    def _streamed(self, asked: Asked, stopped: Callable[[], bool]) -> Iterator[str]:
        """Gives the pieces of one answer.

        Raises:
            _Refused: the server does not answer this, before the first piece.
            EngineError, WireError.
        """
        with Exchange(self._server, within_s=self._patience.first, stopped=stopped) as exchange:
            body = json.dumps(self._body(asked)).encode("ascii")
            response = exchange.ask("/chat/completions", {**self._headers(), "Content-Type": "application/json"}, body)
            kind = response.headers.get_content_type()
            if response.status != 200:
                said = said_of(_whole(exchange), response.headers.get("Location"))
                raise _Refused(response.status, self._bounded(said))
            if kind == "text/event-stream":
                yield from self._whole_stream(exchange)
            elif kind == "application/json":
                yield self._at_once(_whole(exchange))
            else:
                raise self._strange(f"it answers with {one_line(kind):.60}")

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "text/event-stream, application/json", "User-Agent": "pomnit", "Connection": "close"}
        return headers | ({"Authorization": f"Bearer {self._key}"} if self._key else {})

    def _body(self, asked: Asked) -> dict[str, Any]:
        told = [{"role": m.role, "content": content_of(m)} for m in messages(asked, sees=self.sees)]
        settings = {"temperature": 0, "max_tokens": TOKENS} if self._takes_settings else {}
        return {"model": self._model, "messages": told, "stream": True, **settings}

    def _whole_stream(self, exchange: Exchange) -> Iterator[str]:
        """Gives the pieces of a stream; one that is cut says so, whoever cut it."""
        try:
            yield from self._pieces(exchange)
        except (WasStopped, TookTooLong):
            raise
        except WireError as error:
            raise EngineError(f"{self.name}: the answer was cut off in the middle ({error}); try again") from None

    def _pieces(self, exchange: Exchange) -> Iterator[str]:
        """Gives the pieces of a stream of server-sent events."""
        ends, length = time.monotonic() + self._patience.total, 0
        for data in self._events(exchange):
            if data == "[DONE]":
                return
            try:
                text, reason = self._piece(data)
            except _Refused as refused:
                if not length:
                    raise  # as some refuse what others answer with a status
                raise EngineError(f"{self.name} failed in the middle: {refused.said}; {_LOOK}") from None
            if text:
                yield text[: TEXT - length]
                length += len(text)
            if reason == "length" or length >= TEXT:
                yield " …"
            if reason or length >= TEXT:
                return
            exchange.wait(max(0.0, min(self._patience.between, ends - time.monotonic())))
            exchange.look()  # many pieces may have come at once
        raise EngineError(f"{self.name}: the answer was cut off in the middle; try again")

    def _events(self, exchange: Exchange) -> Iterator[str]:
        """Gives the data of each event; comments, which keep a connection alive, and other fields are left out."""
        rest = b""
        for chunk in exchange.chunks():
            *lines, rest = (rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
            if len(rest) > LINE or any(len(line) > LINE for line in lines):
                raise self._strange(f"a line of it is longer than {LINE:,} bytes")
            for line in lines:
                if line.startswith((b"data:", b"error:")):
                    data = line.partition(b":")[2].strip()
                    yield (
                        data.decode("utf-8", "replace")
                        if line.startswith(b"data:")
                        else f'{{"error": {error_event(data)}}}'
                    )
                elif line.strip() and not _FIELD.match(line):
                    raise self._strange("what it sends are no events")

    def _piece(self, data: str) -> tuple[str, str | None]:
        """Gives the text of an event, and why the answer ends with it, None when it goes on.

        Raises:
            _Refused: it is an error. EngineError: it is nothing of the kind.
        """
        event = self._parsed(data)
        try:
            choices = event["choices"]
            if not choices:  # how many tokens it were
                return "", None
            delta, reason = choices[0].get("delta") or {}, choices[0].get("finish_reason")
            text = delta.get("content") or ""
        except (KeyError, IndexError, TypeError, AttributeError):
            raise self._strange("an event has no choices") from None
        if not isinstance(text, str) or not (reason is None or isinstance(reason, str)):
            raise self._strange("a piece of it is no text")
        return whole_letters(text), reason or None

    def _at_once(self, body: bytes) -> str:
        """Gives the answer of a server that does not stream.

        Raises:
            _Refused, EngineError.
        """
        try:
            text = self._parsed(body.decode("utf-8", "replace"))["choices"][0]["message"].get("content") or ""
        except (KeyError, IndexError, TypeError, AttributeError):
            raise self._strange("an answer has no choices") from None
        if not isinstance(text, str):
            raise self._strange("an answer is no text")
        return whole_letters(text[:TEXT])

    def _parsed(self, data: str) -> Mapping[str, Any]:
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            raise self._strange("an event is not JSON") from None
        if not isinstance(event, dict):
            raise self._strange("an event is no object")
        if error := event.get("error"):
            code = error.get("code") if isinstance(error, dict) else None
            status = code if isinstance(code, int) and 400 <= code < 600 else 500
            raise _Refused(status, self._bounded(message_of(error)))
        return event

    # Errors

    def _strange(self, why: str) -> EngineError:
        return EngineError(
            f"{self._url} does not answer as an OpenAI-compatible server does: {why}; is answer_url right?"
        )

    def _bounded(self, said: str) -> str:
        """Gives what a server said, short, on one line, and without the key."""
        if self._key:
            said = said.replace(self._key, "…")
        return one_line(said)[:300]


class _Refused(Exception):
    """The server answered with another status than 200."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(status)
        self.status, self.said = status, said


def _shows(asked: Asked) -> bool:
    return asked.picture is not None or any(piece.picture for piece in asked.offered)


def _whole(exchange: Exchange) -> bytes:
    """Gives a body, as much of it as is needed of any."""
    body = b""
    for chunk in exchange.chunks():
        body += chunk
        if len(body) > BODY:
            break
    return body[:BODY]

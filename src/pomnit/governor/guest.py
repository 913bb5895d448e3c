"""What a process that is not the owner asks of it: engines that are too large for a guest, over ``owner.sock``.

``GuestEncoder`` and ``GuestReranker`` wear the protocols of ``engines.protocols``; see ``service`` for the messages.
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pomnit import errors
from pomnit.engines.protocols import Terms, WindowText
from pomnit.errors import EngineDied, EngineError
from pomnit.governor import unix
from pomnit.records import Segment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pomnit.models.cards import EncoderCard, RerankerCard, SpeechCard

ALIVE_S = 5.0  # seconds for an answer that needs no engine
ANSWER_S = 60.0  # seconds for one that does: it may have to be loaded first, and what works now to give way
SPEECH_S = 900.0  # seconds for one that brings windows of speech
WINDOWS = 4  # of speech in one question, 1.3 MB each
TEXTS = 32  # texts of one question
TEXT_BYTES = 4 << 20  # of one question, about
_LARGEST = 64 << 20  # bytes of an answer


class NoOwner(EngineDied):
    """Nobody answers on the socket: there is no owner, or it is about to come or to go."""


class Talk:
    """A connection to the owner, which stays the owner as long as it is open."""

    def __init__(self, home: Path) -> None:
        """Connects, and hears whether the owner lives.

        Raises:
            NoOwner: nobody answers.
            EngineDied: somebody listens and says nothing.
        """
        try:
            self._http = _Http(unix.connect(home, ALIVE_S))
        except TimeoutError:
            raise EngineDied("the process that owns this memory does not answer") from None
        except OSError:
            raise NoOwner("another process owns this memory, and does not answer") from None
        try:
            self.ask("GET", "/v1/engines", timeout_s=ALIVE_S)
        except BaseException:
            self.close()
            raise

    def ask(
        self, method: str, path: str, message: Mapping[str, Any] | None = None, *, timeout_s: float = ANSWER_S
    ) -> dict[str, Any]:
        """Gives the answer.

        Raises:
            EngineError: what the owner raised; NoOwner when it went, EngineDied when it gave no answer in time.
        """
        body = None if message is None else json.dumps(message)
        try:
            if self._http.sock is not None:
                self._http.sock.settimeout(timeout_s)
            self._http.request(method, path, body, {"Content-Type": "application/json"})
            response = self._http.getresponse()
            answer = dict(json.loads(response.read(_LARGEST)))
        except TimeoutError:
            raise EngineDied(f"the process that owns this memory gave no answer within {timeout_s:.0f} s") from None
        except (OSError, http.client.HTTPException, ValueError, TypeError, RecursionError):
            raise NoOwner("the process that owns this memory went before it answered") from None
        if response.status != http.client.OK:
            kind = getattr(errors, str(answer.get("error")), EngineError)
            known = isinstance(kind, type) and issubclass(kind, EngineError)
            raise (kind if known else EngineError)(str(answer.get("message")))
        return answer

    def close(self) -> None:
        """Lets the owner go."""
        self._http.close()


class _Http(http.client.HTTPConnection):
    """HTTP over one connection. It makes no other: the owner may be another one by then."""

    auto_open = 0

    def __init__(self, connection: socket.socket) -> None:
        super().__init__("localhost")
        self.sock = connection


class GuestEncoder:
    """The Encoder protocol by the owner's engine."""

    def __init__(self, card: EncoderCard, precision: str, talk: Talk) -> None:
        self.card, self._precision, self._talk = card, precision, talk

    def encode(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """Gives an array of shape (len(texts), card.dimensions), float32, each row of length 1.

        Raises:
            EngineError: what the owner's engine raised; EngineDied when the owner went or hangs.
        """
        return self._encode(texts, query, terms=False)[0]

    def encode_terms(self, texts: Sequence[str], *, query: bool = False) -> tuple[NDArray[np.float32], list[Terms]]:
        """Gives the vectors as ``encode`` does, and the weights of each text's tokens.

        Raises:
            EngineError: as ``encode``, or this model weighs no tokens.
        """
        return self._encode(texts, query, terms=True)

    def close(self) -> None:
        """Does nothing: the owner's governor unloads its engines."""

    def _encode(self, texts: Sequence[str], query: bool, *, terms: bool) -> tuple[NDArray[np.float32], list[Terms]]:
        import numpy as np

        vectors, weights = np.empty((len(texts), self.card.dimensions), np.float32), list[Terms]()
        asked = {"card": self.card.name, "precision": self._precision, "query": query, "terms": terms}
        done = 0
        for part in parts(texts):
            answer = self._talk.ask("POST", "/v1/encode", asked | {"texts": part})
            try:
                rows = np.array(answer["vectors"], np.float32).reshape(len(part), self.card.dimensions)
                weights += [{int(token): float(w) for token, w in one.items()} for one in answer.get("terms", ())]
            except (KeyError, TypeError, ValueError, AttributeError):
                raise EngineError("the process that owns this memory gave no vectors of this model") from None
            vectors[done : done + len(part)] = rows
            done += len(part)
        return vectors, weights


class GuestReranker:
    """The Reranker protocol by the owner's engine."""

    def __init__(self, card: RerankerCard, bits: int, talk: Talk) -> None:
        """Lets the owner load it, so that a deadline begins when it can be asked.

        Raises:
            EngineError: it cannot be loaded.
        """
        self.card, self._bits, self._talk = card, bits, talk
        self._scores("", [])

    def score(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Gives the score of each text, shape (len(texts),), float32, from 0 to 1.

        Raises:
            EngineError: what the owner's engine raised; EngineDied when the owner went or hangs.
        """
        import numpy as np

        return np.array([score for part in parts(texts) for score in self._scores(query, part)], np.float32)

    def close(self) -> None:
        """Does nothing: the owner's governor unloads its engines."""

    def _scores(self, query: str, texts: Sequence[str]) -> list[float]:
        asked = {"card": self.card.name, "bits": self._bits, "query": query, "texts": list(texts)}
        scores = self._talk.ask("POST", "/v1/rerank", asked).get("scores")
        try:
            found = [float(score) for score in scores or ()]
        except (TypeError, ValueError):
            found = [math.nan]
        if len(found) != len(texts) or not all(0 <= score <= 1 for score in found):
            raise EngineError("the process that owns this memory gave no scores")
        return found


class GuestTranscriber:
    """The Transcriber protocol by the owner's engine."""

    def __init__(self, card: SpeechCard, talk: Talk) -> None:
        self.card, self._talk = card, talk

    def transcribe(self, windows: Sequence[NDArray[np.float32]], *, language: str | None = None) -> list[WindowText]:
        """Gives the text of each window, whose samples go there with 16 bits each.

        Raises:
            EngineError: what the owner's engine raised; EngineDied when the owner went or hangs.
        """
        found: list[WindowText] = []
        for at in range(0, len(windows), WINDOWS):
            sent = [_packed(window) for window in windows[at : at + WINDOWS]]
            asked = {"card": self.card.name, "language": language, "windows": sent}
            answer = self._talk.ask("POST", "/v1/transcribe", asked, timeout_s=SPEECH_S)
            try:
                texts = [
                    WindowText(tuple(Segment(float(a), float(b), str(said)) for a, b, said in each[0]), *each[1:])
                    for each in answer["texts"]
                ]
            except (KeyError, TypeError, ValueError, IndexError):
                texts = []
            if len(texts) != len(sent):
                raise EngineError("the process that owns this memory gave no transcripts")
            found += texts
        return found

    def close(self) -> None:
        """Does nothing: the owner's governor unloads its engines."""


def _packed(window: NDArray[np.float32]) -> str:
    import numpy as np

    return base64.b64encode((np.clip(window, -1, 1) * 32767).round().astype("<i2").tobytes()).decode("ascii")


def parts(texts: Sequence[str]) -> Iterator[list[str]]:
    """Gives texts in their order, as many at a time as one question may hold."""
    part: list[str] = []
    size = 0
    for text in texts:
        if part and (len(part) == TEXTS or size + 6 * len(text) > TEXT_BYTES):  # \\uXXXX has 6 bytes
            yield part
            part, size = [], 0
        part.append(text)
        size += 6 * len(text)
    if part:
        yield part

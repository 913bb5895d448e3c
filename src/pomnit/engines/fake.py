"""Engines without models, for tests: of Pomnit and of those who build on it. They give the same output each time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pomnit.engines.prompt import answerable, spoken
from pomnit.engines.protocols import Asked, Line, Terms, WindowText
from pomnit.errors import EngineError
from pomnit.models.cards import EncoderCard, RerankerCard, SpeechCard
from pomnit.records import Segment

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image


class FakeEncoder:
    """The Encoder protocol by hashing: each word has a fixed random direction, a text is the sum of its words.

    Texts that share words are near each other, others are nearly orthogonal. The prefix counts as words do, so a
    card with prefixes gives queries and passages different vectors. No window: every word of a long text counts.
    """

    def __init__(self, card: EncoderCard) -> None:
        self.card = card
        self._closed = False

    def encode(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """Gives an array of shape (len(texts), card.dimensions), float32, each row of length 1.

        Raises:
            EngineError: the encoder was closed.
        """
        if self._closed:
            raise EngineError(f"{self.card.name}: the encoder was closed")
        prefix = self.card.query_prefix if query else self.card.passage_prefix
        rows = np.empty((len(texts), self.card.dimensions), np.float32)
        for row, text in zip(rows, texts, strict=True):
            # the constant first word gives texts without words a vector too
            row[:] = sum(_direction(word, len(row)) for word in ["", *_words(prefix + text)])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    def encode_terms(self, texts: Sequence[str], *, query: bool = False) -> tuple[NDArray[np.float32], list[Terms]]:
        """Gives the vectors, and of each text a weight for every word: the longer the word, the more.

        Raises:
            EngineError: the encoder was closed, or its card says that it weighs nothing.
        """
        if not self.card.sparse:
            raise EngineError(f"{self.card.name} weighs no tokens")
        return self.encode(texts, query=query), [
            {_number(word): min(len(word), 10) / 30 for word in _words(text)} for text in texts
        ]

    def close(self) -> None:
        self._closed = True


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _number(word: str) -> int:
    """Gives a word a number, as a tokenizer would."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()) % 250_000


def _direction(word: str, dimensions: int) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest())
    weight = 1.0 if word else 0.1
    return (weight * np.random.default_rng(seed).standard_normal(dimensions)).astype(np.float32)


class FakeReranker:
    """The Reranker protocol by counting: the share of the question's words that a passage holds."""

    def __init__(self, card: RerankerCard) -> None:
        self.card = card
        self._closed = False

    def score(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Gives the score of each text, shape (len(texts),), float32, from 0 to 1.

        Raises:
            EngineError: the reranker was closed.
        """
        if self._closed:
            raise EngineError(f"{self.card.name}: the reranker was closed")
        asked = set(_words(query))
        held = [len(asked & set(_words(text))) / max(len(asked), 1) for text in texts]
        return np.array(held, np.float32)

    def close(self) -> None:
        self._closed = True


class FakeRecogniser:
    """The Recogniser protocol from given lines: the same for every image, or what a function says of each image."""

    def __init__(self, lines: list[Line] | Callable[[Image.Image], list[Line]]) -> None:
        self._lines = lines
        self._closed = False

    def recognise(self, image: Image.Image, *, thorough: bool = False) -> list[Line]:  # noqa: ARG002
        """Gives the lines, ``thorough`` or not.

        Raises:
            EngineError: the recogniser was closed.
        """
        if self._closed:
            raise EngineError("the recogniser was closed")
        return self._lines(image) if callable(self._lines) else list(self._lines)

    def close(self) -> None:
        self._closed = True


class FakeTranscriber:
    """The Transcriber protocol by a function from a window to the words that are said in it, one segment for all.

    The segment reaches from the window's beginning to its end; no words, no segment.
    """

    def __init__(self, card: SpeechCard, hear: Callable[[NDArray[np.float32]], str], language: str = "en") -> None:
        self.card = card
        self._hear, self._language = hear, language
        self._closed = False

    def transcribe(self, windows: Sequence[NDArray[np.float32]], *, language: str | None = None) -> list[WindowText]:
        """Gives the text of each window.

        Raises:
            EngineError: the transcriber was closed.
        """
        if self._closed:
            raise EngineError(f"{self.card.name}: the transcriber was closed")
        return [self._of(window, language or self._language) for window in windows]

    def _of(self, window: NDArray[np.float32], language: str) -> WindowText:
        words = self._hear(window)
        segments = (Segment(0.0, len(window) / 16_000, words),) if words else ()
        return WindowText(segments, language, 0.0 if words else 1.0)

    def close(self) -> None:
        self._closed = True


class FakeAnswerer:
    """The Answerer protocol from a script: the same pieces for every question, or what a function says to each.

    What it was asked is in ``asked``. As of a model, NOT_FOUND alone is nothing.
    """

    def __init__(
        self, say: Iterable[str] | Callable[[Asked], Iterable[str]], *, sees: bool = True, name: str = "fake"
    ) -> None:
        self.name, self.sees = name, sees
        self.asked: list[Asked] = []
        self._say = say if callable(say) else _always(tuple(say))
        self._closed = False

    def answer(self, asked: Asked, *, stopped: Callable[[], bool] = lambda: False) -> Iterator[str]:
        """Gives the pieces of the answer; nothing is said without evidence.

        Raises:
            EngineError: the answerer was closed.
        """
        if self._closed:
            raise EngineError(f"{self.name}: the answerer was closed")
        if stopped() or not answerable(asked, sees=self.sees):
            return
        self.asked.append(asked)
        for piece in spoken(self._say(asked)):
            yield piece
            if stopped():
                return

    def close(self) -> None:
        self._closed = True


def _always(said: tuple[str, ...]) -> Callable[[Asked], Iterable[str]]:
    return lambda _: said

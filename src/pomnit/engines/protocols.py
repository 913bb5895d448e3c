"""What each kind of engine must do. One protocol per job; ``tests/contract`` runs a suite per protocol over all.

Engines are made by the governor only. They never touch the store, and hold no state that a caller could see
between two calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pomnit.records import Box, Lang, Segment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from pomnit.models.cards import EncoderCard, RerankerCard, SpeechCard


Terms = dict[int, float]
"""The weight, above 0, of each token that tells something about a text, by the token's number."""


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word: its text, its box as fractions of the image, and a confidence from 0 to 1."""

    text: str
    box: Box
    confidence: float


@dataclass(frozen=True, slots=True)
class Line:
    """The words of one line, left to right; ``block`` numbers the paragraph it belongs to, from 0, in reading order."""

    words: tuple[Word, ...]
    block: int


class Recogniser(Protocol):
    """Turns an image into lines of words.

    ``recognise`` may be called from several threads at once and gives the same lines each time for the same image.
    An image without text gives an empty list. ``close`` frees everything; the engine is not used after it.
    """

    def recognise(self, image: Image.Image, *, thorough: bool = False) -> list[Line]:
        """Gives the lines of ``image`` (any Pillow mode, at most 100 megapixels) in reading order.

        ``thorough`` takes the time to find more, where the engine knows how to; otherwise it changes nothing.

        Raises:
            EngineError: the engine failed on this image.
        """
        ...

    def close(self) -> None: ...


class Encoder(Protocol):
    """Turns texts into vectors of one space.

    Row *i* belongs to text *i*, whatever the batch; the same text gives the same vector alone and in any batch (to
    the card's tolerance). Rows are float32 of unit length, without NaN. A text longer than the card's window is
    windowed and pooled, never cut. ``close`` frees everything; the engine is not used after it.
    """

    card: EncoderCard

    def encode(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """Gives an array of shape (len(texts), card.dimensions), float32, each row of length 1.

        ``query`` chooses the card's prefix for questions instead of the one for passages.

        Raises:
            EngineError: the engine failed on this batch.
        """
        ...

    def encode_terms(self, texts: Sequence[str], *, query: bool = False) -> tuple[NDArray[np.float32], list[Terms]]:
        """Gives the vectors as ``encode`` does, and of the same reading the weights of each text's tokens.

        Raises:
            EngineError: the card says that the model weighs no tokens, or the engine failed on this batch.
        """
        ...

    def close(self) -> None: ...


class Reranker(Protocol):
    """Says how well passages answer a question, by reading both together.

    A pair has the same score alone and in any batch. A text longer than the card's window is cut at its end.
    ``close`` frees everything; the engine is not used after it.
    """

    card: RerankerCard

    def score(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Gives the score of each text, shape (len(texts),), float32, from 0 to 1.

        Raises:
            EngineError: the engine failed on this batch.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class WindowText:
    """What is said in one window; the times of its segments count from the window's beginning."""

    segments: tuple[Segment, ...]
    language: str  # as Whisper names it: "ru", "en", …
    no_speech: float  # how probable it is that nobody speaks, 0 to 1


class Transcriber(Protocol):
    """Turns windows of speech into text.

    A window has the same text alone and in any batch. Segments are in their order and lie within their window; a window
    in which nobody speaks has none. ``close`` frees everything; the engine is not used after it.
    """

    card: SpeechCard

    def transcribe(self, windows: Sequence[NDArray[np.float32]], *, language: str | None = None) -> list[WindowText]:
        """Gives the text of each window: float32 mono, 16,000 samples a second, -1 to 1, at most 30 s.

        ``language`` is that of all of them; else each window's own is found out.

        Raises:
            EngineError: the model does not know the language, or failed on these windows.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that an answerer may look at."""

    data: bytes  # PNG, JPEG or WebP
    digest: str  # of its original: what a model keeps of a picture is kept by this


@dataclass(frozen=True, slots=True)
class Offered:
    """A piece of evidence, by the number that an answer cites it with. All of it is data, whatever it says."""

    number: int  # from 1
    title: str
    time: str  # ISO 8601, UTC
    place: str  # in words: "page 3", "12:04-12:31", ""
    text: str
    picture: Picture | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A question that was asked before, and what was answered."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answerer is asked."""

    question: str
    lang: Lang  # that the answer shall be in
    offered: tuple[Offered, ...]  # the best first
    picture: Picture | None = None  # that the question is about
    earlier: tuple[Turn, ...] = ()


class Answerer(Protocol):
    """Answers questions from what it is offered, and has no tools: what it says is text, and nothing else.

    ``answer`` gives the text piece by piece as it comes, with [1], [2] behind what the evidence of that number
    supports; nothing at all when the evidence does not answer. It ends soon after ``stopped`` says True, or when the
    iterator is closed. ``close`` frees everything; the engine is not used after it.
    """

    name: str  # of the model, as a person would call it
    sees: bool  # whether it looks at pictures

    def answer(self, asked: Asked, *, stopped: Callable[[], bool] = lambda: False) -> Iterator[str]:
        """Gives the pieces of the answer.

        Raises:
            EngineError: the model failed, or the server did, with what to do about it.
        """
        ...

    def close(self) -> None: ...

"""Engines whose model lives in a child process: both ends of each job's messages, side by side.

``Remote…`` wears the protocol of its job in the process that asks; ``Served…`` does the work in the child. A child that
dies costs one retry, in a new child and with nothing else in it, so that a text or picture that kills its engine takes
no other with it the second time.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pomnit.engines.protocols import (
    Answerer,
    Asked,
    Encoder,
    Line,
    Offered,
    Picture,
    Recogniser,
    Reranker,
    Terms,
    Transcriber,
    Turn,
    WindowText,
    Word,
)
from pomnit.errors import EngineDied, EngineError
from pomnit.governor.children import Child
from pomnit.records import Segment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from pomnit.models.cards import EncoderCard, RerankerCard, SpeechCard, VisionCard

Answer = tuple[dict[str, Any], "Sequence[NDArray[Any]]"]

PICTURE_S = 180.0  # seconds for one picture; a full screen takes one or two
SPEECH_S = 1800.0  # seconds for one batch of windows; the largest model takes twice the time of the speech on two cores
TEXTS_S = 600.0  # seconds for one batch of texts
ANSWER_S = 600.0  # seconds until an answer goes on: the longest is that to its first words, on a processor alone
DEATHS = 4  # of a child before it began with a question, after which that is not asked again


class Remote:
    """What the remote engines share: their child, and what happens when it dies."""

    def __init__(self, start: Callable[[], Child]) -> None:
        """Starts the child and waits until it is ready.

        Raises:
            EngineError: the engine could not be made.
        """
        self._start = start
        self._turns, self._renewing = _Turns(), threading.Lock()
        self._closed, self._abandoned = False, 0
        self._child = start()
        self._child.load()

    @property
    def pid(self) -> int:
        """The process that holds the model."""
        return self._child.pid

    def close(self) -> None:
        """Ends the child; what was asked of it and is not answered fails."""
        self._closed = True
        self._child.close()

    def abandon(self) -> None:
        """Ends the child at once; what was asked of it and is not answered fails. The next question starts it anew."""
        self._abandoned += 1
        self._child.kill()

    def _ask(self, message: Mapping[str, Any], arrays: Sequence[Any], timeout_s: float) -> Answer:
        asked_in = self._abandoned
        with self._turns.together(), contextlib.suppress(EngineDied):
            return self._living(asked_in).ask(message, arrays, timeout_s=timeout_s)
        with self._turns.alone():
            return self._living(asked_in).ask(message, arrays, timeout_s=timeout_s)

    def _living(self, asked_in: int) -> Child:
        with self._renewing:
            self._refuse(asked_in)
            if not self._child.lives:
                self._child.close()
                self._child = self._start()  # known before it is loaded: who closes or abandons the engine ends it
                try:
                    self._refuse(asked_in)
                except EngineDied:
                    self._child.close()
                    raise
                self._child.load()
            return self._child

    def _refuse(self, asked_in: int) -> None:
        if self._closed or asked_in != self._abandoned:
            raise EngineDied(f"{self._child.name}: it was closed")


class _Turns:
    """Many together, or one alone; who wants to be alone goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = self._wanting = 0
        self._one = False

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._one and not self._wanting)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._wanting += 1
            try:
                self._changed.wait_for(lambda: not self._one and not self._inside)
            finally:
                self._wanting -= 1
                self._changed.notify_all()
            self._one = True
        try:
            yield
        finally:
            with self._changed:
                self._one = False
                self._changed.notify_all()


class Served(Protocol):
    """The child's end of a job."""

    at_once: int  # questions that are worked on at the same time

    def answer(self, message: Mapping[str, Any], arrays: Sequence[NDArray[Any]]) -> Answer: ...


class Streaming(Protocol):
    """The child's end of a job whose answers come piece by piece."""

    at_once: int

    def stream(
        self, message: Mapping[str, Any], arrays: Sequence[NDArray[Any]], stopped: Callable[[], bool]
    ) -> Iterator[Answer]: ...


def served(job: str, engine: Any, threads: int) -> Served | Streaming:
    """Gives the child's end for an engine."""
    kinds: dict[str, Callable[[Any, int], Served | Streaming]] = {
        "recognise": ServedRecogniser,
        "transcribe": ServedTranscriber,
        "embed": ServedEncoder,
        "rerank": ServedReranker,
        "answer": ServedAnswerer,
    }
    return kinds[job](engine, threads)


# Pictures to lines of words


class RemoteRecogniser(Remote):
    """The Recogniser protocol over a child."""

    def __init__(self, _: None, start: Callable[[], Child]) -> None:
        super().__init__(start)

    def recognise(self, image: Image.Image, *, thorough: bool = False) -> list[Line]:
        """Gives the lines of ``image``.

        Raises:
            EngineError: the engine failed on this image, or died of it twice.
        """
        import numpy as np

        from pomnit.engines.flatten import bounded, to_rgb

        try:
            # what the engines do first, and harmless to do twice; without a copy of what is plain already
            plain = image.mode == "RGB" and not image.has_transparency_data
            pixels = np.asarray(bounded(image if plain else to_rgb(image)))
        except (OSError, SyntaxError, ValueError) as error:
            raise EngineError(f"an image of mode {image.mode}, {image.size} cannot be prepared: {error}") from error
        answer, _ = self._ask({"thorough": thorough}, [pixels], PICTURE_S)
        return [
            Line(tuple(Word(text, tuple(box), sure) for text, box, sure in words), block)
            for block, words in answer["lines"]
        ]


class ServedRecogniser:
    """Does the work of RemoteRecogniser."""

    def __init__(self, engine: Recogniser, threads: int) -> None:
        self.at_once, self._engine = threads, engine

    def answer(self, message: Mapping[str, Any], arrays: Sequence[NDArray[Any]]) -> Answer:
        from PIL import Image

        lines = self._engine.recognise(Image.fromarray(arrays[0]), thorough=message["thorough"])
        return {"lines": [[line.block, [[w.text, w.box, w.confidence] for w in line.words]] for line in lines]}, ()


# Windows of speech to texts


class RemoteTranscriber(Remote):
    """The Transcriber protocol over a child."""

    def __init__(self, card: SpeechCard, start: Callable[[], Child]) -> None:
        super().__init__(start)
        self.card = card

    def transcribe(self, windows: Sequence[NDArray[np.float32]], *, language: str | None = None) -> list[WindowText]:
        """Gives the text of each window.

        Raises:
            EngineError: the engine failed on this batch, or died of it twice.
        """
        answer, _ = self._ask({"language": language}, list(windows), SPEECH_S)
        return [
            WindowText(tuple(Segment(start, end, text) for start, end, text in segments), found, no_speech)
            for segments, found, no_speech in answer["texts"]
        ]


class ServedTranscriber:
    """Does the work of RemoteTranscriber."""

    at_once = 1  # a batch, for which the engine has threads of its own, takes the memory that was counted for it

    def __init__(self, engine: Transcriber, _: int) -> None:
        self._engine = engine

    def answer(self, message: Mapping[str, Any], arrays: Sequence[NDArray[Any]]) -> Answer:
        texts = self._engine.transcribe(arrays, language=message["language"])
        return {"texts": [[[[s.start, s.end, s.text] for s in t.segments], t.language, t.no_speech] for t in texts]}, ()


# Texts to vectors


class RemoteEncoder(Remote):
    """The Encoder protocol over a child."""

    def __init__(self, card: EncoderCard, start: Callable[[], Child]) -> None:
        super().__init__(start)
        self.card = card

    def encode(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """Gives an array of shape (len(texts), card.dimensions), float32, each row of length 1.

        Raises:
            EngineError: the engine failed on this batch, or died of it twice.
        """
        return self._ask({"texts": list(texts), "query": query, "terms": False}, (), TEXTS_S)[1][0]

    def encode_terms(self, texts: Sequence[str], *, query: bool = False) -> tuple[NDArray[np.float32], list[Terms]]:
        """Gives the vectors as ``encode`` does, and the weights of each text's tokens.

        Raises:
            EngineError: as ``encode``, or this model weighs no tokens.
        """
        _, (vectors, ends, tokens, weights) = self._ask(
            {"texts": list(texts), "query": query, "terms": True}, (), TEXTS_S
        )
        return vectors, [
            dict(zip(tokens[a:b].tolist(), weights[a:b].tolist(), strict=True))
            for a, b in itertools.pairwise([0, *ends.tolist()])
        ]


class ServedEncoder:
    """Does the work of RemoteEncoder."""

    at_once = 2  # a batch, for whose texts the engine has threads of its own, and meanwhile a person's question

    def __init__(self, engine: Encoder, _: int) -> None:
        self._engine = engine

    def answer(self, message: Mapping[str, Any], arrays: Sequence[NDArray[Any]]) -> Answer:  # noqa: ARG002
        import numpy as np

        if not message["terms"]:
            return {}, [self._engine.encode(message["texts"], query=message["query"])]
        vectors, terms = self._engine.encode_terms(message["texts"], query=message["query"])
        ends = np.cumsum([len(found) for found in terms], dtype=np.int64)
        tokens = np.array([token for found in terms for token in found], np.int64)
        weights = np.array([weight for found in terms for weight in found.values()], np.float32)
        return {}, [vectors, ends, tokens, weights]


# Questions with passages to scores


class RemoteReranker(Remote):
    """The Reranker protocol over a child."""

    def __init__(self, card: RerankerCard, start: Callable[[], Child]) -> None:
        super().__init__(start)
        self.card = card

    def score(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Gives the score of each text, shape (len(texts),), float32, from 0 to 1.

        Raises:
            EngineError: the engine failed on this batch, or died of it twice.
        """
        return self._ask({"query": query, "texts": list(texts)}, (), TEXTS_S)[1][0]


class ServedReranker:
    """Does the work of RemoteReranker."""

    at_once = 2  # as an encoder

    def __init__(self, engine: Reranker, _: int) -> None:
        self._engine = engine

    def answer(self, message: Mapping[str, Any], arrays: Sequence[NDArray[Any]]) -> Answer:  # noqa: ARG002
        return {}, [self._engine.score(message["query"], message["texts"])]


# Questions with evidence to answers, piece by piece


class RemoteAnswerer(Remote):
    """The Answerer protocol over a child."""

    sees = True

    def __init__(self, card: VisionCard, start: Callable[[], Child]) -> None:
        super().__init__(start)
        self.name = card.name

    def answer(self, asked: Asked, *, stopped: Callable[[], bool] = lambda: False) -> Iterator[str]:
        """Gives the pieces of the answer. A child that dies of it is asked once more, but not after the first words.

        Raises:
            EngineError: the model failed, or its process died of this question.
        """
        message, arrays = _sent(asked)
        asked_in, deaths, of_it = self._abandoned, 0, 0
        while True:
            began = said = False
            pieces = self._living(asked_in).stream(message, arrays, stopped=stopped, timeout_s=ANSWER_S)
            try:
                with contextlib.closing(pieces):
                    for answer, _ in pieces:
                        began = True  # the first one says only that
                        if text := answer.get("text"):
                            said = True
                            yield text
                return
            except EngineDied:
                deaths, of_it = deaths + 1, of_it + began  # before this one began it was another one's doing
                if said or of_it > 1 or deaths > DEATHS:
                    raise


class ServedAnswerer:
    """Does the work of RemoteAnswerer."""

    at_once = 1  # an answer takes the memory that was counted for it

    def __init__(self, engine: Answerer, _: int) -> None:
        self._engine = engine

    def stream(
        self, message: Mapping[str, Any], arrays: Sequence[NDArray[Any]], stopped: Callable[[], bool]
    ) -> Iterator[Answer]:
        """Gives the pieces of the answer, each as a message."""
        for text in self._engine.answer(_received(message, arrays), stopped=stopped):
            yield {"text": text}, ()


def _sent(asked: Asked) -> tuple[dict[str, Any], list[NDArray[np.uint8]]]:
    """Gives a question as a message; a picture that is in it twice is sent once."""
    import numpy as np

    pictures = [asked.picture, *(piece.picture for piece in asked.offered)]
    data = {picture.digest: picture.data for picture in pictures if picture is not None}
    place = {digest: number for number, digest in enumerate(data)}

    def of(picture: Picture | None) -> int | None:
        return None if picture is None else place[picture.digest]

    message = {
        "question": asked.question,
        "lang": asked.lang,
        "offered": [[o.number, o.title, o.time, o.place, o.text, of(o.picture)] for o in asked.offered],
        "picture": of(asked.picture),
        "earlier": [[turn.question, turn.answer] for turn in asked.earlier],
        "digests": list(data),
    }
    return message, [np.array(memoryview(each), np.uint8) for each in data.values()]


def _received(message: Mapping[str, Any], arrays: Sequence[NDArray[Any]]) -> Asked:
    """Gives the question that ``_sent`` described."""
    pictures = [Picture(array.tobytes(), digest) for array, digest in zip(arrays, message["digests"], strict=True)]

    def at(place: int | None) -> Picture | None:
        return None if place is None else pictures[place]

    return Asked(
        question=message["question"],
        lang=message["lang"],
        offered=tuple(
            Offered(number, title, time, where, text, at(place))
            for number, title, time, where, text, place in message["offered"]
        ),
        picture=at(message["picture"]),
        earlier=tuple(Turn(question, answer) for question, answer in message["earlier"]),
    )


REMOTE: dict[str, Callable[[Any, Callable[[], Child]], Any]] = {
    "recognise": RemoteRecogniser,
    "transcribe": RemoteTranscriber,
    "embed": RemoteEncoder,
    "rerank": RemoteReranker,
    "answer": RemoteAnswerer,
}
"""The caller's end of each job, made of a card and of what starts the child."""

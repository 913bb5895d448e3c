"""Engines without models, for tests: of Pomnit and of those who build on it. They give the same output each time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pomnit.engines.protocols import Line
from pomnit.errors import EngineError
from pomnit.models.cards import EncoderCard

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
            row[:] = sum(_direction(word, len(row)) for word in ["", *re.findall(r"\w+", (prefix + text).lower())])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    def close(self) -> None:
        self._closed = True


def _direction(word: str, dimensions: int) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest())
    weight = 1.0 if word else 0.1
    return (weight * np.random.default_rng(seed).standard_normal(dimensions)).astype(np.float32)


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

"""Answers by Qwen3-VL on Apple silicon with mlx-vlm: it sees the pictures beside what was recognised on them.

The library's own caches know a prompt by its tokens alone, in which every picture of a size looks the same: asked about
another one it would answer about the first. Here what is kept belongs to the digests of the pictures, in their order.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pomnit.engines.looking import looked_at, shown
from pomnit.engines.mlx_session import in_its_thread
from pomnit.engines.mlx_vlm_session import Prompt, VlmModel, clear
from pomnit.engines.prompt import answerable, fewer, messages, spoken
from pomnit.engines.protocols import Asked
from pomnit.errors import EngineError, PomnitError
from pomnit.models.cards import VisionCard

ANSWER = 512  # tokens of an answer, at most; a quarter of all where that is less
_CODE = 12  # bytes of the code of the fences

T = TypeVar("T")


class MlxVlmAnswerer:
    """The Answerer protocol over mlx-vlm. It may be called from several threads at once; they take turns."""

    sees = True

    def __init__(self, card: VisionCard, folder: Path, *, tokens: int, pixels: int, side: int) -> None:
        """Loads the model in ``folder``.

        An answer and all that it rests on have at most ``tokens``; the pictures that are looked at for it together at
        most ``pixels``, and each at most ``side`` on its longer side.

        Raises:
            EngineMissing: mlx-vlm is not here.
            ModelDamaged: the files are not those of a Qwen3-VL, or a tensor is missing or does not fit.
        """
        self.name = card.name
        self._tokens, self._pixels, self._side = tokens, pixels, side
        self._model: VlmModel | None = in_its_thread(lambda: VlmModel(card, folder))
        self._code = secrets.token_hex(_CODE)  # the same for all questions, so that what they share is read once
        self._turn = threading.Lock()
        self._answering: int | None = None  # the thread whose answer is not finished

    def answer(self, asked: Asked, *, stopped: Callable[[], bool] = lambda: False) -> Iterator[str]:
        """Gives the pieces of the answer, nothing when the evidence does not answer.

        Raises:
            EngineError: a picture cannot be decoded, the question is too long, the model failed or was closed.
        """
        if not answerable(asked, sees=True) or stopped():
            return
        if self._answering == threading.get_ident():
            raise EngineError(f"{self.name}: an answer is not finished yet; close it first")
        with self._turn:
            self._answering = threading.get_ident()
            try:
                yield from spoken(self._said(asked, stopped))
            finally:
                self._answering = None

    def close(self) -> None:
        """Frees the model; an answer that is being given finishes, a later one raises EngineError."""
        with self._turn:
            self._model = None
            in_its_thread(clear)

    def _said(self, asked: Asked, stopped: Callable[[], bool]) -> Iterator[str]:
        model = self._model
        if model is None:
            raise EngineError(f"{self.name}: it was closed")
        prompt = self._prompt(model, asked)
        most = min(ANSWER, self._tokens // 4)
        pieces = self._visit(lambda: model.begin(prompt, most))
        try:
            while not stopped() and (piece := self._visit(lambda: next(pieces, None))) is not None:
                if piece:
                    yield piece
        finally:
            self._visit(pieces.close)

    def _prompt(self, model: VlmModel, asked: Asked) -> Prompt:
        """Gives the prompt, with as much of the evidence as there is room for.

        Raises:
            EngineError: not even the question has room.
        """
        room = self._tokens - min(ANSWER, self._tokens // 4)
        left: Asked | None = shown(asked)
        while left is not None:
            told = messages(left, sees=True, code=None if self._stands_in(left) else self._code)
            pictures = [part.picture for message in told for part in message.parts if part.picture is not None]
            looked = looked_at(pictures, pixels=self._pixels, side=self._side, step=model.step)
            prompt = self._visit(lambda told=told, looked=looked: model.prompt(told, looked))  # type: ignore[misc]
            if len(prompt.ids) <= room:
                return prompt
            left = fewer(left)
        raise EngineError(f"{self.name}: the question and its best evidence have more than {room} tokens")

    def _stands_in(self, asked: Asked) -> bool:
        """Says whether the code of the fences stands in what they fence, by whatever chance."""
        texts = [asked.question, *(f"{o.title} {o.time} {o.place} {o.text}" for o in asked.offered)]
        return any(self._code in text for text in [*texts, *(f"{t.question} {t.answer}" for t in asked.earlier)])

    def _visit(self, work: Callable[[], T]) -> T:
        """Gives what ``work`` gives, done in MLX's thread; each token is one visit."""
        try:
            return in_its_thread(work)
        except PomnitError:
            raise
        except Exception as error:  # MLX raises ValueError, RuntimeError and others of no common base
            raise EngineError(f"{self.name}: {error}") from error

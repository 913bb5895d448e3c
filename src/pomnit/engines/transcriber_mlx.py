"""Speech to text on Apple silicon with MLX, from weights as OpenAI or the MLX community publish them."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pomnit.engines import whisper, whisper_decode
from pomnit.engines.mlx_session import CACHE, in_its_thread
from pomnit.engines.protocols import WindowText
from pomnit.engines.text import Floats
from pomnit.engines.whisper import MOST_TOKENS, Decoded
from pomnit.engines.whisper_config import WhisperConfig, read_config
from pomnit.engines.whisper_mel import log_mel
from pomnit.engines.whisper_mlx_weights import WhisperWeights
from pomnit.engines.whisper_tokens import WhisperTokens
from pomnit.errors import EngineError, EngineMissing, ModelDamaged, PomnitError
from pomnit.models.cards import SpeechCard

if TYPE_CHECKING:
    from pomnit.engines.whisper_mlx_model import Speech, WhisperModel

T = TypeVar("T")


class MlxTranscriber:
    """The Transcriber protocol over MLX. It may be called from several threads at once; they take turns."""

    def __init__(self, card: SpeechCard, folder: Path, bits: int) -> None:
        """Loads the model in ``folder``: as published, quantised while it is read, or quantised before.

        Raises:
            EngineMissing: MLX or a file is not here.
            ModelDamaged: a file is not that of a Whisper, or a tensor is missing or does not fit.
            EngineError: it is another kind of model, or so many bits cannot be run.
        """
        self.card = card
        self._config = read_config(folder)
        self._tokens = WhisperTokens(folder, self._config)
        weights = WhisperWeights(folder, bits, self._config)
        self._model: WhisperModel | None = in_its_thread(lambda: _load(weights, self._config, bits))
        self._turn = threading.Lock()

    def transcribe(self, windows: Sequence[Floats], *, language: str | None = None) -> list[WindowText]:
        """Gives the text of each window.

        Raises:
            EngineError: the model does not know the language, failed on these windows, or was closed.
        """
        with self._turn:
            if self._model is None:
                raise EngineError(f"{self.card.name}: it was closed")
            heard = _Heard(self.card.name, self._model)
            most = min(MOST_TOKENS, self._config.text_places // 2)

            def decode(windows: Sequence[Floats], language: str | None, temperature: float) -> list[Decoded]:
                return whisper_decode.decode(
                    heard.begin(windows), len(windows), self._tokens, language, temperature, most=most
                )

            return whisper.transcribe(decode, self._tokens, windows, language)

    def close(self) -> None:
        """Frees the model; a call that is running finishes, a later one raises EngineError."""
        with self._turn:
            self._model = None
            in_its_thread(_clear)


class _Heard:
    """What the encoder made of the windows of one call: one that must be said again is not heard again.

    Each window, and each token of a batch, is one visit to MLX's thread, so that other engines get their turn between.
    """

    def __init__(self, name: str, model: WhisperModel) -> None:
        self.name = name
        self.model = model
        self._states: dict[int, tuple[Floats, Any]] = {}  # each with its window, whose id is then nobody else's

    def begin(self, windows: Sequence[Floats]) -> _Batch:
        """Gives a batch of windows of which nothing is said yet."""
        for window in windows:
            if id(window) not in self._states:
                self._states[id(window)] = window, self._hear(window)
        states = [self._states[id(window)][1] for window in windows]
        return _Batch(self, self.visit(lambda: self.model.begin(states)))

    def _hear(self, window: Floats) -> Any:
        mel = log_mel(window, self.model.config.bands, self.model.config.frames)
        return self.visit(lambda: self.model.hear(mel))

    def visit(self, work: Callable[[], T]) -> T:
        """Gives what ``work`` gives, done in MLX's thread."""
        try:
            return in_its_thread(work)
        except Exception as error:  # MLX raises ValueError, RuntimeError and others of no common base
            raise EngineError(f"{self.name}: {error}") from error


class _Batch:
    """The Listener protocol over MLX."""

    def __init__(self, heard: _Heard, speech: Speech) -> None:
        self._heard = heard
        self._speech = speech

    def __call__(self, tokens: whisper_decode.Ids) -> Floats:
        return self._heard.visit(lambda: self._speech.logits(tokens))

    def keep(self, rows: Sequence[int]) -> None:
        self._heard.visit(lambda: self._speech.keep(rows))


def _load(weights: WhisperWeights, config: WhisperConfig, bits: int) -> WhisperModel:
    try:
        import mlx.core as mx

        from pomnit.engines.whisper_mlx_model import WhisperModel
    except ImportError as error:
        raise EngineMissing(f"MLX cannot be imported ({error}); type: pip install mlx") from None
    mx.set_cache_limit(CACHE)
    try:
        model = WhisperModel(weights, config, exact=bits == 32)
        _try(model, weights)
    except PomnitError:
        raise
    except Exception as error:  # a tensor that does not fit the others: MLX's errors have no common base
        raise ModelDamaged(f"{weights.path}: {error}") from error
    return model


def _try(model: WhisperModel, weights: WhisperWeights) -> None:
    """Hears next to nothing and says a token, so that a tensor that does not fit the others is found now."""
    heard = model.hear(np.zeros((2, model.config.bands), np.float32))
    words = model.begin([heard]).logits(np.zeros((1, 1), np.int32)).shape[1]
    if words != model.config.words:
        raise ModelDamaged(f"{weights.path}: it tells {words} tokens apart, config.json {model.config.words}")


def _clear() -> None:
    """Gives the memory back: no cycle, nothing kept for later, in this order."""
    import mlx.core as mx

    gc.collect()
    mx.clear_cache()

"""Speech to text from the files of faster-whisper, by CTranslate2: weights of 8 bits, a batch of windows at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctranslate2
import numpy as np

from pomnit.engines import whisper
from pomnit.engines.protocols import WindowText
from pomnit.engines.whisper import Decoded
from pomnit.engines.whisper_mel import log_mel
from pomnit.errors import EngineError, ModelDamaged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pomnit.models.cards import SpeechCard


class FasterWhisperTranscriber:
    """The Transcriber protocol over a model in the form of CTranslate2."""

    def __init__(self, card: SpeechCard, folder: Path, threads: int) -> None:
        """Loads the model in ``folder``.

        Raises:
            ModelDamaged: its files are not those of a Whisper.
        """
        self.card = card
        self._tokens = whisper.Tokens(folder)
        try:
            self._model = ctranslate2.models.Whisper(
                str(folder), device="cpu", compute_type="int8", intra_threads=threads, inter_threads=1
            )
        except (RuntimeError, ValueError) as error:
            raise ModelDamaged(f"{folder}: {error}") from None
        ctranslate2.set_random_seed(0)  # what is drawn is the same each time

    def transcribe(self, windows: Sequence[NDArray[np.float32]], *, language: str | None = None) -> list[WindowText]:
        """Gives the text of each window.

        Raises:
            EngineError: the model does not know the language, or failed on these windows.
        """
        try:
            return whisper.transcribe(self._decode, self._tokens, windows, language)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise EngineError(f"{self.card.name}: {error}") from error

    def close(self) -> None:
        """Frees the model."""
        self._model.unload_model()

    def _decode(
        self, windows: Sequence[NDArray[np.float32]], language: str | None, temperature: float
    ) -> list[Decoded]:
        # One by one: a batch makes the encoder hardly faster, and its attention takes 110 MB for each window of base.
        encoded = _view(np.concatenate([self._encoded(window) for window in windows]))
        languages = [language] * len(windows) if language else self._languages(encoded, len(windows))
        drawing: dict[str, Any] = {"sampling_topk": 0, "sampling_temperature": temperature} if temperature else {}
        results = self._model.generate(
            encoded,
            [self._tokens.prompt(one) for one in languages],
            beam_size=1,
            return_scores=True,
            return_no_speech_prob=True,
            **drawing,
        )
        return [
            # a score is the mean over the tokens, and the end is one more
            Decoded(tokens, spoken, score * len(tokens) / (len(tokens) + 1), result.no_speech_prob)
            for spoken, result in zip(languages, results, strict=True)
            for tokens, score in [(result.sequences_ids[0], result.scores[0])]
        ]

    def _encoded(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gives what the encoder makes of a window, shape (1, 1500, its width)."""
        mel = log_mel(window, self._model.n_mels).T[None]
        return np.array(self._model.encode(_view(mel)), np.float32)

    def _languages(self, encoded: Any, count: int) -> list[str]:
        """Gives the likeliest language of each window."""
        if not self._model.is_multilingual:
            return ["en"] * count
        return [found[0][0].strip("<|>") for found in self._model.detect_language(encoded)]


def _view(numbers: NDArray[np.float32]) -> Any:
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(numbers))

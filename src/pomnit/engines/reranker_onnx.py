"""How well passages answer a question, on a CPU with ONNX Runtime; ``reranker_mlx`` is the same with MLX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pomnit.engines.onnx_session import OnnxModel
from pomnit.engines.text import Floats, PairReader, read_config, scores
from pomnit.models.cards import RerankerCard


class OnnxReranker:
    """The Reranker protocol over ONNX Runtime. ``score`` may be called from several threads at once."""

    def __init__(self, card: RerankerCard, folder: Path, threads: int | None = None) -> None:
        """Loads the reranker whose ONNX form (see ``onnx_build``) lies in ``folder``.

        ``threads`` is how many texts are read at once: by default one per processor, at most 8.

        Raises:
            EngineMissing: a package or a file is not here.
            ModelDamaged: the files are not of the card.
            EngineError: this kind of model cannot be run.
        """
        self.card = card
        config = read_config(folder, card)
        self._reader = PairReader(card, folder, config)
        self._model = OnnxModel(card, folder, config, threads)

    def score(self, query: str, texts: Sequence[str]) -> Floats:
        """Gives the score of each text, shape (len(texts),), float32, from 0 to 1.

        Raises:
            EngineError: the model gave something that is not a score, or was closed.
        """
        logits = np.empty(len(texts), np.float32)

        def work(i: int) -> None:
            ids, second = self._reader.pair(query, texts[i])
            logits[i] = self._model.run(ids, second)[0][0, 0]

        self._model.each(len(texts), work)
        return scores(logits, self.card.name)

    def close(self) -> None:
        """Frees the model; a call that is running finishes or raises EngineError."""
        self._model.close()

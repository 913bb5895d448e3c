"""How well passages answer a question, on Apple silicon with MLX; ``reranker_onnx`` is the same with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pomnit.engines.mlx_session import MlxModel
from pomnit.engines.text import Floats, PairReader, read_config, scores
from pomnit.models.cards import RerankerCard


class MlxReranker:
    """The Reranker protocol over MLX. ``score`` may be called from several threads at once; they take turns."""

    def __init__(self, card: RerankerCard, folder: Path, bits: int) -> None:
        """Loads the reranker in ``folder``: as published, quantised while it is read, or quantised before.

        Raises:
            EngineMissing: a package or a file is not here.
            ModelDamaged: the files are not what the card says.
            EngineError: this kind of model, its head or so many bits cannot be run.
        """
        self.card = card
        config = read_config(folder, card)
        self._reader = PairReader(card, folder, config)
        self._model = MlxModel(card, folder, config, bits, self._reader.answers)

    def score(self, query: str, texts: Sequence[str]) -> Floats:
        """Gives the score of each text, shape (len(texts),), float32, from 0 to 1.

        Raises:
            EngineError: the model gave something that is not a number, or was closed.
        """
        found = self._model.run([self._reader.pair(query, text) for text in texts])
        return scores((float(heads[0][0]) for heads in found), self.card.name)

    def close(self) -> None:
        """Frees the model; a call that is running finishes, a later one raises EngineError."""
        self._model.close()

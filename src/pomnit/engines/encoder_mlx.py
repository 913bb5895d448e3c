"""Text to vectors on Apple silicon with MLX; ``encoder_onnx`` is the same with ONNX Runtime."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pomnit.engines.mlx_session import MlxModel
from pomnit.engines.protocols import Terms
from pomnit.engines.text import Floats, TextReader, average, read_config, unit
from pomnit.errors import EngineError
from pomnit.models.cards import EncoderCard


class MlxEncoder:
    """The Encoder protocol over MLX. It may be called from several threads at once; they take turns."""

    def __init__(self, card: EncoderCard, folder: Path, bits: int) -> None:
        """Loads the encoder in ``folder``: as published, quantised while it is read, or quantised before.

        Raises:
            EngineMissing: a package or a file is not here.
            ModelDamaged: the files are not what the card says.
            EngineError: this kind of model, its pooling or so many bits cannot be run.
        """
        self.card = card
        config = read_config(folder, card)
        self._reader = TextReader(card, folder, config)
        self._model = MlxModel(card, folder, config, bits)

    def encode(self, texts: Sequence[str], *, query: bool = False) -> Floats:
        """Gives an array of shape (len(texts), card.dimensions), float32, each row of length 1.

        A text longer than the window is read in windows that share 32 tokens; their pooled states are averaged, each
        weighted by its tokens. A text of no words has the vector of the bare start and end tokens.

        Raises:
            EngineError: the model gave something that is not a vector, or was closed.
        """
        return self._encode(texts, query, None)

    def encode_terms(self, texts: Sequence[str], *, query: bool = False) -> tuple[Floats, list[Terms]]:
        """Gives the vectors as ``encode`` does, and of the same reading the weights of each text's tokens.

        A token that stands in a text, or in its windows, several times has its greatest weight.

        Raises:
            EngineError: the card says that the model weighs no tokens, or it failed as in ``encode``.
        """
        if not self.card.sparse:
            raise EngineError(f"{self.card.name}: this model does not weigh tokens")
        terms: list[Terms] = []
        return self._encode(texts, query, terms), terms

    def close(self) -> None:
        """Frees the model; a call that is running finishes, a later one raises EngineError."""
        self._model.close()

    def _encode(self, texts: Sequence[str], query: bool, terms: list[Terms] | None) -> Floats:
        prefix = self.card.query_prefix if query else self.card.passage_prefix
        rows = np.empty((len(texts), self.card.dimensions), np.float32)
        read = [self._reader.windows(prefix + text) for text in texts]
        outputs = iter(self._model.run([(ids, None) for windows in read for ids in windows]))
        for row, windows in zip(rows, read, strict=True):
            found = list(itertools.islice(outputs, len(windows)))
            row[:] = average([said[0] for said in found], windows)[: self.card.dimensions]
            if terms is not None:
                terms.append(self._reader.terms(windows, [said[1] for said in found]))
        return unit(rows, self.card.name)

"""Text to vectors on a CPU with ONNX Runtime; ``encoder_mlx`` is the same with MLX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pomnit.engines.onnx_session import OnnxModel
from pomnit.engines.protocols import Terms
from pomnit.engines.text import Floats, TextReader, average, read_config, unit
from pomnit.errors import EngineError
from pomnit.models.cards import EncoderCard


class OnnxEncoder:
    """The Encoder protocol over ONNX Runtime. ``encode`` may be called from several threads at once."""

    def __init__(self, card: EncoderCard, folder: Path, threads: int | None = None) -> None:
        """Loads the encoder whose ONNX form (see ``onnx_build``) lies in ``folder``.

        ``threads`` is how many texts are encoded at once: by default one per processor, at most 8.

        Raises:
            EngineMissing: a package or a file is not here.
            ModelDamaged: the files are not of the card.
            EngineError: this kind of model cannot be run.
        """
        self.card = card
        config = read_config(folder, card)
        self._reader = TextReader(card, folder, config)
        self._model = OnnxModel(card, folder, config, threads)

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
        terms: list[Terms] = [{} for _ in texts]
        return self._encode(texts, query, terms), terms

    def close(self) -> None:
        """Frees the model; a call that is running finishes or raises EngineError."""
        self._model.close()

    def _encode(self, texts: Sequence[str], query: bool, terms: list[Terms] | None) -> Floats:
        prefix = self.card.query_prefix if query else self.card.passage_prefix
        rows = np.empty((len(texts), self.card.dimensions), np.float32)

        def work(i: int) -> None:
            read = self._reader.windows(prefix + texts[i])
            found = [self._model.run(ids) for ids in read]
            rows[i] = average([outputs[0][0] for outputs in found], read)[: self.card.dimensions]
            if terms is not None:
                terms[i] = self._reader.terms(read, [outputs[1][0, :, 0] for outputs in found])

        self._model.each(len(texts), work)
        return unit(rows, self.card.name)

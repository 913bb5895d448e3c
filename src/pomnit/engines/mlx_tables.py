"""The embeddings of tokens. They stay on disk: half of the weights of a small encoder, of which a text needs few."""

from __future__ import annotations

from collections.abc import Sequence

from pomnit.engines.mlx_weights import MlxWeights
from pomnit.engines.text import Floats, TextConfig, find_prefix, read_places, read_second
from pomnit.errors import ModelDamaged


class Embeddings:
    """What the first layer of a model reads, of one checkpoint."""

    def __init__(self, weights: MlxWeights, config: TextConfig, tokens: int) -> None:
        """``tokens`` are the most that are read at once.

        Raises:
            ModelDamaged: a table is missing or does not fit the configuration.
        """
        self._weights = weights
        self._words = find_prefix(weights, config) + config.table
        self._places = read_places(weights, config, tokens) if config.places else None
        self._second = read_second(weights, config) if config.types > 1 else None
        rows, columns = weights.table(self._words).shape
        if columns != config.hidden or rows < config.words:
            raise ModelDamaged(
                f"{weights.path}: {rows} words of {columns} numbers, not {config.words} of {config.hidden}"
            )
        if self._places is not None and self._places.shape != (tokens, config.hidden):
            raise ModelDamaged(f"{weights.path}: places of {self._places.shape}, not of {(tokens, config.hidden)}")

    def __call__(self, ids: Sequence[int], second: int | None = None) -> Floats:
        """Gives what tokens are embedded as, float32 of shape (tokens, hidden).

        ``second`` is where those of the second text begin.
        """
        rows = self._weights.rows(self._words, ids)
        if self._places is not None:
            rows += self._places[: len(rows)]
        if self._second is not None and second is not None:
            rows[second:] += self._second
        return rows

"""Text to vectors on Apple silicon with MLX, from the published weights of a BERT encoder.

Each window of a text runs alone, as in ``encoder_onnx``: no padding, no mask, and a text's vector is the same to the
last bit alone and in any batch. Several windows are described to MLX before they are evaluated together, so that the
processor graphics do not wait for Python between two of them.

MLX keeps a stream, and with it a native thread, for every thread that ever used it, and arrays of one stream cannot be
evaluated by another (mlx 0.32: 30 short-lived callers left 30 threads behind). So one thread does all of MLX's work
for the whole process; that also makes ``encode`` safe to call from several threads.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from pomnit.engines.bert import Floats, average, read_config, read_embeddings, read_tokenizer, unit, windows
from pomnit.errors import EngineError, EngineMissing
from pomnit.models.cards import EncoderCard
from pomnit.models.checkpoint import Checkpoint
from pomnit.models.hub import WEIGHTS

CACHE = 32 << 20  # bytes that MLX may keep for later; on a Mac its default is all of its memory limit
TOGETHER = 16  # windows that are evaluated at once

_mlx_thread = ThreadPoolExecutor(1, thread_name_prefix="mlx")  # starts no thread before it must

T = TypeVar("T")


class MlxEncoder:
    """The Encoder protocol over MLX. ``encode`` may be called from several threads at once; they take turns."""

    def __init__(self, card: EncoderCard, files: Path, precision: Literal["int8", "fp32"] = "int8") -> None:
        """Loads the encoder whose verified files (see ``models.hub.model_files``) lie in ``files``.

        Raises:
            EngineMissing: a package or a file is not here.
            ModelDamaged: the files are not a BERT encoder with the card's dimensions.
            EngineError: this kind of model or pooling cannot be run.
        """
        self.card = card
        self._words, self._places = read_embeddings(card, files)
        self._tokenizer = read_tokenizer(files, card.max_tokens)
        self._model: Any = _in_its_thread(lambda: _load(card, files, precision))

    def encode(self, texts: Sequence[str], *, query: bool = False) -> Floats:
        """Gives an array of shape (len(texts), card.dimensions), float32, each row of length 1.

        A text longer than ``card.max_tokens`` is read in windows that share 32 tokens; their pooled states are
        averaged, each weighted by its tokens. A text of no words has the vector of the bare start and end tokens.

        Raises:
            EngineError: the model gave something that is not a vector, or was closed.
        """
        self._check_open()
        prefix = self.card.query_prefix if query else self.card.passage_prefix
        rows = np.empty((len(texts), self.card.dimensions), np.float32)
        read = [windows(self._tokenizer, prefix + text) for text in texts]
        states = self._run([ids for parts in read for ids in parts])
        at = 0
        for i, parts in enumerate(read):
            rows[i] = average(states[at : at + len(parts)], parts)
            at += len(parts)
        return unit(rows, self.card.name)

    def close(self) -> None:
        """Frees the model; a call that is running finishes, a later one raises EngineError."""
        _in_its_thread(self._unload)
        self._words = self._places = np.empty((0, 0), np.float32)

    def _run(self, read: Sequence[list[int]]) -> list[Floats]:
        """Gives the pooled state of each window, not normalised, shape (dimensions,)."""
        states: list[Floats] = []
        for start in range(0, len(read), TOGETHER):
            part = read[start : start + TOGETHER]
            states += _in_its_thread(lambda part=part: self._evaluate(part))  # type: ignore[misc]
        return states

    def _evaluate(self, read: Sequence[list[int]]) -> list[Floats]:
        import mlx.core as mx

        self._check_open()
        try:
            pooled = [self._model(mx.array(self._words[ids] + self._places[: len(ids)])[None])[0] for ids in read]
            mx.eval(pooled)
            return [np.array(state) for state in pooled]
        except Exception as error:  # MLX raises ValueError, RuntimeError and others of no common base
            raise EngineError(f"{self.card.name}: {error}") from error

    def _check_open(self) -> None:
        if self._model is None:
            raise EngineError(f"{self.card.name}: the encoder was closed")

    def _unload(self) -> None:
        """Gives the memory back: no reference, no cycle, nothing kept for later, in this order."""
        import mlx.core as mx

        self._model = None
        gc.collect()
        mx.clear_cache()


def _load(card: EncoderCard, files: Path, precision: str) -> Any:
    try:
        import mlx.core as mx

        from pomnit.engines.mlx_bert import Bert
    except ImportError as error:
        raise EngineMissing(f"MLX cannot be imported ({error}); type: pip install mlx, or set runtime = onnx") from None
    mx.set_cache_limit(CACHE)
    return Bert(Checkpoint(files / WEIGHTS), read_config(files), precision, card.pooling)


def _in_its_thread(work: Callable[[], T]) -> T:
    return _mlx_thread.submit(work).result()

"""A model in MLX, ready to run: its layers and heads, its tables of embeddings, and the one thread it lives in.

Each text runs alone. So there is no padding and no mask, and what a text gives is the same to the last bit alone and in
any batch.

MLX keeps a stream, and with it a native thread, for every thread that ever used it, and arrays of one stream cannot be
evaluated by another (mlx 0.32: 30 short-lived callers left 30 threads behind). So one thread does all of MLX's work
for the whole process; that also makes the engines safe to call from several threads.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pomnit.engines.mlx_tables import Embeddings
from pomnit.engines.mlx_weights import MlxWeights
from pomnit.engines.text import Floats, TextConfig, window
from pomnit.errors import EngineError, EngineMissing, ModelDamaged, PomnitError
from pomnit.models.cards import EncoderCard, RerankerCard

CACHE = 32 << 20  # bytes that MLX may keep for later; on a Mac its default is all of its memory limit
TOGETHER = 16  # windows that are evaluated at once

_mlx_thread = ThreadPoolExecutor(1, thread_name_prefix="mlx")  # starts no thread before it must

T = TypeVar("T")
Window = tuple[Sequence[int], int | None]
"""The ids of its tokens, and where those of a second text begin."""


class MlxModel:
    """A model of texts in MLX. Its methods may be called from several threads at once."""

    def __init__(
        self,
        card: EncoderCard | RerankerCard,
        folder: Path,
        config: TextConfig,
        bits: int,
        answers: tuple[int, int] = (0, 0),
    ) -> None:
        """Loads the weights in ``folder``, quantised to ``bits`` while they are read unless they are so already.

        ``answers`` are the numbers of "yes" and "no", for a reranker that says these.

        Raises:
            EngineMissing: MLX or a file is not here.
            ModelDamaged: a tensor is missing or does not fit.
            EngineError: it is quantised to other bits, or its pooling or head cannot be run.
        """
        self._name = card.name
        weights = MlxWeights(folder, bits)
        embedded = Embeddings(weights, config, window(card))
        layers, heads = in_its_thread(lambda: _load(card, weights, config, answers))
        self._loaded: tuple[Embeddings, Any, list[Any]] | None = (embedded, layers, heads)

    def run(self, windows: Sequence[Window]) -> list[list[Floats]]:
        """Gives what each head says of each window.

        Several are described to MLX before they are evaluated together, so that the processor graphics do not wait
        for Python between two of them.

        Raises:
            EngineError: MLX failed, or the model was closed.
        """
        self._parts()
        found: list[list[Floats]] = []
        for start in range(0, len(windows), TOGETHER):
            part = windows[start : start + TOGETHER]
            found += in_its_thread(lambda part=part: self._evaluate(part))  # type: ignore[misc]
        return found

    def close(self) -> None:
        """Frees the model; a call that is running finishes, a later one raises EngineError."""
        in_its_thread(self._unload)

    def _evaluate(self, windows: Sequence[Window]) -> list[list[Floats]]:
        import mlx.core as mx

        embedded, layers, heads = self._parts()
        try:
            states = [layers(mx.array(embedded(*each))[None]) for each in windows]
            results = [[head(state) for head in heads] for state in states]
            mx.eval(results)
            return [[np.array(said) for said in result] for result in results]
        except Exception as error:  # MLX raises ValueError, RuntimeError and others of no common base
            raise EngineError(f"{self._name}: {error}") from error

    def _parts(self) -> tuple[Embeddings, Any, list[Any]]:
        if self._loaded is None:
            raise EngineError(f"{self._name}: it was closed")
        return self._loaded

    def _unload(self) -> None:
        """Gives the memory back: no reference, no cycle, nothing kept for later, in this order."""
        import mlx.core as mx

        self._loaded = None
        gc.collect()
        mx.clear_cache()


def _load(
    card: EncoderCard | RerankerCard, weights: MlxWeights, config: TextConfig, answers: tuple[int, int]
) -> tuple[Any, list[Any]]:
    """Gives the layers and the heads."""
    try:
        import mlx.core as mx

        from pomnit.engines.mlx_bert import Bert
        from pomnit.engines.mlx_heads import encoder_heads, reranker_heads
        from pomnit.engines.mlx_qwen3 import Qwen3
    except ImportError as error:
        raise EngineMissing(f"MLX cannot be imported ({error}); type: pip install mlx, or set runtime = onnx") from None
    mx.set_cache_limit(CACHE)
    kind = Qwen3 if config.architecture == "qwen3" else Bert
    try:
        layers = kind(weights, config)
        heads = encoder_heads(layers, card) if isinstance(card, EncoderCard) else reranker_heads(layers, card, answers)
    except PomnitError:
        raise
    except Exception as error:  # a tensor that does not fit the others: MLX's errors have no common base
        raise ModelDamaged(f"{weights.path}: {error}") from error
    return layers, heads


def in_its_thread(work: Callable[[], T]) -> T:
    """Gives what ``work`` gives, done by the one thread."""
    return _mlx_thread.submit(work).result()

"""A model in ONNX form, ready to run: its session, its tables of embeddings, and threads that take texts in turn.

Each text runs alone, and the threads take different texts. So there is no padding and no mask, memory does not grow
with the batch, and what a text gives is the same to the last bit alone and in any batch: dynamic quantisation takes its
ranges from the whole input, and in a shared batch neighbours would move each other's vectors.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from pomnit.engines import onnx_silent
from pomnit.engines.onnx_graph import GRAPH, INPUT, PLACES, SECOND, TABLES, WORDS
from pomnit.engines.text import Floats, TextConfig, window
from pomnit.errors import EngineError, EngineMissing, ModelDamaged
from pomnit.models.cards import TextCard
from pomnit.models.checkpoint import Checkpoint, Table
from pomnit.models.hub import read_manifest


class OnnxModel:
    """The layers and the head of one model. ``run`` and ``each`` may be called from several threads at once."""

    def __init__(self, card: TextCard, folder: Path, config: TextConfig, threads: int | None) -> None:
        """Loads what ``onnx_build`` made; ``threads`` is how many texts run at once: by default one per processor, at
        most 8.

        Raises:
            EngineMissing: a package or a file is not here.
            ModelDamaged: the files are not of this card.
            EngineError: ONNX Runtime cannot run the graph.
        """
        self._name = card.name
        tables = Checkpoint(folder / TABLES)
        self._words: Table | None = tables.table(WORDS)
        wanted = {WORDS: (config.words, config.hidden)}
        if config.places:
            wanted[PLACES] = window(card), config.hidden
        found = {name: tables.shape(name) for name in wanted}
        if found != wanted:
            raise ModelDamaged(f"{folder / TABLES}: tables {found}, not {wanted}; {_remedy(folder)}")
        # a copy: these few rows are read with every text
        self._places = np.array(tables[PLACES]) if config.places else None
        self._second = np.array(tables[SECOND]) if SECOND in tables else None
        self._session: Any = _session(folder)
        self._threads = threads or min(_processors(), 8)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="texts")  # starts none before it must

    def run(self, ids: list[int], second: int | None = None) -> list[Floats]:
        """Gives the outputs for one text; ``second`` says where the tokens of the second type begin.

        Raises:
            EngineError: the model failed, or was closed.
        """
        words, session = self._words, self._session
        if words is None or session is None:
            raise EngineError(f"{self._name}: it was closed")
        try:
            embedded = words.rows(np.asarray(ids, np.int64))
            if self._places is not None:
                embedded += self._places[: len(ids)]
            if self._second is not None and second is not None:
                embedded[second:] += self._second
            outputs: list[Floats] = session.run(None, {INPUT: embedded[None]})
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            raise EngineError(f"{self._name}: {error}") from error
        return outputs

    def each(self, count: int, work: Callable[[int], None]) -> None:
        """Calls ``work`` with every number below ``count``, from as many threads as there are for texts.

        Raises:
            EngineError: the model was closed.
        """
        if self._session is None:
            raise EngineError(f"{self._name}: it was closed")
        turns = itertools.count()  # its next() is atomic, so each text is taken by one thread

        def in_turn() -> None:
            while (i := next(turns)) < count:
                work(i)

        if count <= 1 or self._threads == 1:
            in_turn()
        else:
            for done in [self._pool.submit(in_turn) for _ in range(min(self._threads, count))]:
                done.result()

    def close(self) -> None:
        """Frees the model; a call that is running finishes or raises EngineError."""
        self._pool.shutdown()
        self._session = self._words = self._places = self._second = None


def _session(folder: Path) -> Any:
    try:
        onnxruntime = onnx_silent.onnxruntime()
    except ImportError as error:
        raise EngineMissing(f"{error}; type: pip install onnxruntime") from None
    graph = folder / GRAPH
    if not graph.is_file():
        raise EngineMissing(f"{graph}: no such file; {_remedy(folder)}")
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the threads are ours: one text each
    options.enable_cpu_mem_arena = False  # as fast without, and nothing is kept between calls
    options.enable_mem_pattern = False  # lengths differ from call to call
    # fused when it was made; but what is stored in 16 bits is to be widened once, not with every text
    levels = onnxruntime.GraphOptimizationLevel
    manifest = read_manifest(folder)
    widened = manifest is not None and manifest.bits == 16
    options.graph_optimization_level = levels.ORT_ENABLE_BASIC if widened else levels.ORT_DISABLE_ALL
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        raise EngineError(f"{graph}: {error}; {_remedy(folder)}") from error


def _remedy(folder: Path) -> str:
    return f"it is made anew after: rm -r {shlex.quote(str(folder))}"


def _processors() -> int:
    allowed = getattr(os, "sched_getaffinity", None)  # Linux: fewer than there are, in a container or by taskset
    return len(allowed(0)) if allowed else os.cpu_count() or 1

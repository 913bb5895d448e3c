"""Text to vectors on a CPU with ONNX Runtime, from the published weights of a BERT encoder.

Each window of a text runs alone, and the threads take different windows. So there is no padding and no mask, memory
does not grow with the batch, and a text's vector is the same to the last bit alone and in any batch: dynamic
quantisation takes its ranges from the whole input, and in a shared batch neighbours would move each other's vectors.
"""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pomnit.engines.bert import Floats, average, read_embeddings, read_tokenizer, unit, windows
from pomnit.engines.onnx_bert import INPUT, graph_path
from pomnit.errors import EngineError, EngineMissing, ModelDamaged
from pomnit.models.cards import EncoderCard

_BUILD_LIMIT = 600.0  # seconds; 3 are usual


class OnnxEncoder:
    """The Encoder protocol over ONNX Runtime. ``encode`` may be called from several threads at once."""

    def __init__(
        self,
        card: EncoderCard,
        files: Path,
        cache: Path,
        precision: Literal["int8", "fp32"] = "int8",
        threads: int | None = None,
    ) -> None:
        """Loads the encoder whose verified files (see ``models.hub.model_files``) lie in ``files``.

        ``cache`` is the folder of all caches; the graph is made there when it is not yet (about 3 s, in a process of
        its own). ``threads`` is how many texts are encoded at once: by default one per processor, at most 8.

        Raises:
            EngineMissing: a package or a file is not here.
            ModelDamaged: the files are not a BERT encoder with the card's dimensions.
            EngineError: the graph could not be made.
        """
        self.card = card
        self._words, self._places = read_embeddings(card, files)
        self._tokenizer = read_tokenizer(files, card.max_tokens)
        graph = graph_path(files, card.weights_sha256, card.pooling, precision, cache)
        if not graph.exists():
            _build(files, graph, precision, card.pooling)
        self._session: Any = _session(graph)
        self._threads = threads or min(_processors(), 8)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="encoder")  # starts none before it must

    def encode(self, texts: Sequence[str], *, query: bool = False) -> Floats:
        """Gives an array of shape (len(texts), card.dimensions), float32, each row of length 1.

        A text longer than ``card.max_tokens`` is read in windows that share 32 tokens; their pooled states are
        averaged, each weighted by its tokens. A text of no words has the vector of the bare start and end tokens.

        Raises:
            EngineError: the model gave something that is not a vector, or was closed.
        """
        if self._session is None:
            raise EngineError(f"{self.card.name}: the encoder was closed")
        prefix = self.card.query_prefix if query else self.card.passage_prefix
        rows = np.empty((len(texts), self.card.dimensions), np.float32)
        turns = itertools.count()  # its next() is atomic, so each text is taken by one thread

        def work() -> None:
            while (i := next(turns)) < len(texts):
                rows[i] = self._pooled(prefix + texts[i])

        if len(texts) <= 1 or self._threads == 1:
            work()
        else:
            for done in [self._pool.submit(work) for _ in range(min(self._threads, len(texts)))]:
                done.result()
        return unit(rows, self.card.name)

    def close(self) -> None:
        """Frees the model; a call that is running finishes or raises EngineError."""
        self._pool.shutdown()
        self._session = None
        self._words = self._places = np.empty((0, 0), np.float32)

    def _pooled(self, text: str) -> Floats:
        """Gives the state of one text, pooled over all its windows, not normalised; shape (dimensions,)."""
        read = windows(self._tokenizer, text)
        return average([self._run(ids) for ids in read], read)

    def _run(self, ids: list[int]) -> Floats:
        try:
            embedded = self._words[ids]
            embedded += self._places[: len(ids)]
            pooled: Floats = self._session.run(None, {INPUT: embedded[None]})[0][0]
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            raise EngineError(f"{self.card.name}: {error}") from error
        return pooled


def _session(graph: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineMissing(f"{error}; type: pip install onnxruntime") from None
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the threads are ours: one text each
    options.enable_cpu_mem_arena = False  # as fast without, and nothing is kept between calls
    options.enable_mem_pattern = False  # lengths differ from call to call
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # fused when it was made
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        raise EngineError(f"{graph}: {error}; it is made anew after: rm {shlex.quote(str(graph))}") from error


def _build(files: Path, graph: Path, precision: str, pooling: str) -> None:
    """Makes the graph in a process of its own, so that ``onnx`` never enters this one."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-P", "-m", "pomnit.engines.onnx_bert", str(files), str(graph)]
    command += ["--precision", precision, "--pooling", pooling]  # -P: the working folder is not searched for code
    try:
        done = subprocess.run(
            command,
            check=False,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_BUILD_LIMIT,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"{graph}: not made within {_BUILD_LIMIT:.0f} s") from None
    if done.returncode:
        kind = {21: EngineMissing, 22: ModelDamaged}.get(done.returncode, EngineError)
        raise kind(done.stderr.strip() or f"{graph}: making it ended with {done.returncode}")


def _processors() -> int:
    allowed = getattr(os, "sched_getaffinity", None)  # Linux: fewer than there are, in a container or by taskset
    return len(allowed(0)) if allowed else os.cpu_count() or 1

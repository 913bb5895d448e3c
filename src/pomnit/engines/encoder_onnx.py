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
from numpy.typing import NDArray

from pomnit.engines.onnx_bert import INPUT, graph_path
from pomnit.errors import EngineError, EngineMissing, ModelDamaged
from pomnit.models.cards import EncoderCard
from pomnit.models.checkpoint import Checkpoint
from pomnit.models.hub import TOKENIZER, WEIGHTS

OVERLAP = 32  # tokens that two neighbouring windows of a long text share
_BUILD_LIMIT = 600.0  # seconds; 3 are usual

Floats = NDArray[np.float32]


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
        self._words, self._places = _embeddings(card, files)
        self._tokenizer = _tokenizer(files, card.max_tokens)
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
        return _unit(rows, self.card.name)

    def close(self) -> None:
        """Frees the model; a call that is running finishes or raises EngineError."""
        self._pool.shutdown()
        self._session = None
        self._words = self._places = np.empty((0, 0), np.float32)

    def _pooled(self, text: str) -> Floats:
        """Gives the state of one text, pooled over all its windows, not normalised; shape (dimensions,)."""
        windows = self._windows(text)
        if len(windows) == 1:
            return self._run(windows[0])
        return np.average([self._run(w) for w in windows], axis=0, weights=[len(w) for w in windows])

    def _windows(self, text: str) -> list[list[int]]:
        try:
            found = self._tokenizer.encode(text)
        except (TypeError, UnicodeError):  # half of a surrogate pair, which file names and bad decoders leave
            found = self._tokenizer.encode(text.encode("utf-8", "replace").decode())
        return [found.ids, *(part.ids for part in found.overflowing)]

    def _run(self, ids: list[int]) -> Floats:
        try:
            embedded = self._words[ids]
            embedded += self._places[: len(ids)]
            pooled: Floats = self._session.run(None, {INPUT: embedded[None]})[0][0]
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            raise EngineError(f"{self.card.name}: {error}") from error
        return pooled


def _unit(rows: Floats, name: str) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths) & (lengths > 0)):
        raise EngineError(f"{name}: row {int(np.argmin(np.isfinite(lengths) & (lengths > 0)))} is not a vector")
    rows /= lengths
    return rows


def _embeddings(card: EncoderCard, files: Path) -> tuple[Floats, Floats]:
    """Gives the table of words (a view of the file) and the sum of place and type embeddings."""
    weights = Checkpoint(files / WEIGHTS)
    words, places, types = (
        weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
    )
    if words.shape[1:] != (card.dimensions,) or places.shape[1:] != words.shape[1:] or len(places) < card.max_tokens:
        raise ModelDamaged(
            f"{files}: embeddings of {words.shape} and {places.shape}; the card of {card.name} says"
            f" {card.dimensions} dimensions and {card.max_tokens} tokens"
        )
    return words, places[: card.max_tokens] + types[0]


def _tokenizer(files: Path, max_tokens: int) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise EngineMissing(f"{error}; type: pip install tokenizers") from None
    path = files / TOKENIZER
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ModelDamaged(f"{path}: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens, stride=min(OVERLAP, max_tokens // 4))
    return tokenizer


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

"""Makes the ONNX graph of a BERT encoder from its published weights: ``python -m pomnit.engines.onnx_bert --help``.

The encoder runs this once, in a process of its own, since only here the packages ``onnx`` and its protobuf are
needed. The graph (Devlin et al. 2018, arXiv:1810.04805; norm after each sublayer, exact erf GELU) takes the sum of
the three embeddings as float32 [1, tokens, hidden] and gives the pooled, not yet normalised vector [1, hidden]. The
embeddings stay outside: they are half of the weights, and a text needs a few rows of them.

In int8 every product quantises its input by the least and the greatest number in it. A few channels of BERT are ten
times as large as the rest and make the steps of all others coarse. So the largest channels are split: a copy is
appended for each split, all copies are divided by their count, and their rows of weights are repeated (Zhao et al.
2019, arXiv:1901.09504). Which channels those are is measured in fp32 on random tokens: it is a property of the weights.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pomnit.engines.bert import Floats, read_config
from pomnit.errors import EngineError, EngineMissing, PomnitError
from pomnit.models.checkpoint import Checkpoint
from pomnit.models.hub import CONFIG, TOKENIZER, WEIGHTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRAPH_VERSION = 2  # raise it whenever the same weights give another graph
INPUT = "embedded"
_OPSET, _IR = 20, 10  # the first opset with Gelu, and its file version
_MS = "com.microsoft"
_SPLITS = 8  # copies appended for one product; 16 gain nothing more
_SAMPLES, _SAMPLE_TOKENS = 12, 64  # random tokens on which channels are measured


def graph_path(files: Path, digest: str, pooling: str, precision: str, cache: Path) -> Path:
    """Gives where in ``cache`` the graph belongs that is made from the weights with this digest.

    The version of ONNX Runtime is not part of the name: the file is a plain ONNX graph, already of fused operators,
    and letting the runtime optimise it further gained nothing.
    """
    config = (files / CONFIG).read_text("utf-8")
    made_from = json.dumps([digest, config, pooling, precision, GRAPH_VERSION])
    return cache / "onnx" / f"{hashlib.sha256(made_from.encode()).hexdigest()[:24]}-{precision}.onnx"


class Graph:
    """Collects nodes and constants; ``const`` and ``node`` give the name by which later nodes take their value."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def const(self, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        """Adds a node; several outputs are named ``name:0``, ``name:1``…, and what stands before the colon is given."""
        from onnx import helper

        name = f"n{len(self.nodes)}"
        names = [name] if outputs == 1 else [f"{name}:{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return name

    def model(self, hidden: int, outputs: list[str]) -> bytes:
        """Gives the ONNX file with these outputs."""
        from onnx import TensorProto, helper

        graph = helper.make_graph(
            self.nodes,
            "bert",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, "tokens", hidden])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.constants,
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_MS, 1)]
        model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=_IR).SerializeToString()
        return model


class Builder:
    """Writes the layers of one checkpoint into a graph.

    With ``peaks`` (the greatest magnitude of each channel, by the product that reads it) products are int8, without
    they are fp32. ``inputs`` says afterwards which node each product reads.
    """

    def __init__(self, weights: Checkpoint, config: dict[str, Any], peaks: dict[str, Floats] | None = None) -> None:
        self.weights = weights
        self.config = config
        self.peaks = peaks
        self.graph = Graph()
        self.inputs: dict[str, str] = {}

    def build(self, pooling: str) -> str:
        """Writes the whole encoder; gives the node of the pooled vector."""
        x = self.norm(INPUT, "embeddings.LayerNorm")
        for number in range(self.config["num_hidden_layers"]):
            x = self.layer(x, f"encoder.layer.{number}.")
        if pooling == "mean":
            return self.graph.node("ReduceMean", x, self.graph.const(np.array([1], np.int64)), keepdims=0)
        if pooling == "cls":
            return self.graph.node("Gather", x, self.graph.const(np.array(0, np.int64)), axis=1)
        raise EngineError(f"pooling {pooling!r}: a BERT encoder is pooled by mean or cls")

    def layer(self, x: str, at: str) -> str:
        context = self.attention(x, at + "attention.self.")
        x = self.add_norm(self.linear(context, at + "attention.output.dense"), x, at + "attention.output.LayerNorm")
        inner = self.graph.node("Gelu", self.linear(x, at + "intermediate.dense"), domain=_MS)
        return self.add_norm(self.linear(inner, at + "output.dense"), x, at + "output.LayerNorm")

    def attention(self, x: str, at: str) -> str:
        """One product gives queries, keys and values; the fused attention never holds the scores of all heads."""
        joined = self.linear(x, *(at + name for name in ("query", "key", "value")))
        parts = self.graph.node("Split", joined, outputs=3, axis=2, num_outputs=3)
        heads = self.config["num_attention_heads"]
        return self.graph.node("MultiHeadAttention", *(f"{parts}:{i}" for i in range(3)), domain=_MS, num_heads=heads)

    def add_norm(self, x: str, skip: str, at: str) -> str:
        # SkipLayerNormalization would be one node, but its CPU kernel takes six times as long as these two
        return self.norm(self.graph.node("Add", x, skip), at)

    def norm(self, x: str, at: str) -> str:
        scale, bias = (self.graph.const(self.weights[f"{at}.{part}"]) for part in ("weight", "bias"))
        return self.graph.node("LayerNormalization", x, scale, bias, epsilon=self.config["layer_norm_eps"])

    def linear(self, x: str, *names: str) -> str:
        """Multiplies by the joined weights of ``names`` and adds their joined biases."""
        self.inputs[names[0]] = x
        weight = np.concatenate([self.weights[f"{name}.weight"] for name in names]).T
        bias = self.graph.const(np.concatenate([self.weights[f"{name}.bias"] for name in names]))
        if self.peaks is None:
            return self.graph.node("Add", self.graph.node("MatMul", x, self.graph.const(weight)), bias)
        copies, counts = split_channels(self.peaks[names[0]])
        if len(copies):
            appended = self.graph.node("Gather", x, self.graph.const(copies), axis=2)
            x = self.graph.node("Concat", x, appended, axis=2)
            weight = np.concatenate([weight, weight[copies]])
            shares = 1 / np.concatenate([counts, counts[copies]])
            x = self.graph.node("Mul", x, self.graph.const(shares.astype(np.float32)))
        numbers, steps = quantise(weight)
        constants: tuple[NDArray[Any], ...] = (numbers, steps, np.zeros_like(steps, np.int8))
        return self.graph.node("DynamicQuantizeMatMul", x, *map(self.graph.const, constants), bias, domain=_MS)


def split_channels(peaks: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Gives the channels to append copies of, and how many copies each channel then has in all.

    Each turn splits the channel with the greatest share. No splits when they do not even halve the range.
    """
    counts = np.ones(len(peaks), np.int64)
    for _ in range(_SPLITS):
        counts[np.argmax(peaks / counts)] += 1
    if (peaks / counts).max() > peaks.max() / 2:
        counts[:] = 1
    return np.repeat(np.arange(len(peaks)), counts - 1), counts


def quantise(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Gives whole numbers from -127 to 127, shape (inputs, outputs), and one step per output; their product is about
    ``weight``.

    Processors older than VNNI multiply the activations (0 to 255) by these and add neighbouring pairs in 16 bits,
    cutting off what does not fit. So the step is chosen such that every pair fits: 255 * 128 < 2**15. That costs
    nothing measurable; unsigned weights, which avoid it too, cost a third of the speed.
    """
    pairs = weight[: len(weight) // 2 * 2].reshape(-1, 2, weight.shape[1])
    reach = np.abs(weight).max(axis=0)
    for sign in (1, -1):
        reach = np.maximum(reach, np.maximum(sign * pairs, 0).sum(axis=1).max(axis=0))
    steps = np.maximum(reach / 127, np.finfo(np.float32).tiny).astype(np.float32)
    return np.rint(weight / steps).astype(np.int8), steps


def measure_peaks(files: Path, weights: Checkpoint, config: dict[str, Any]) -> dict[str, Floats]:
    """Gives the greatest magnitude of each channel that each product reads, over random tokens in fp32."""
    import onnxruntime

    builder = Builder(weights, config)
    builder.build("mean")
    model = builder.graph.model(config["hidden_size"], list(builder.inputs.values()))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    words, places, types = (weights[f"embeddings.{k}_embeddings.weight"] for k in ("word", "position", "token_type"))
    tokens = min(_SAMPLE_TOKENS, len(places))
    draw = np.random.default_rng(0)
    peaks: dict[str, Floats] = {}
    for _ in range(_SAMPLES):
        ids = draw.integers(0, len(words), tokens)
        ids[[0, -1]] = _ends(files)
        states = session.run(None, {INPUT: (words[ids] + places[:tokens] + types[0])[None]})
        for name, state in zip(builder.inputs, states, strict=True):
            peak = np.abs(state).max(axis=(0, 1))
            peaks[name] = np.maximum(peaks.get(name, peak), peak)
    return peaks


def _ends(files: Path) -> tuple[int, int]:
    """Gives the tokens that stand before and after every text: often they carry the largest channels."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(files / TOKENIZER))
    tokenizer.no_padding()
    ids = tokenizer.encode("").ids or [0]
    return ids[0], ids[-1]


def graph_bytes(files: Path, precision: str, pooling: str) -> bytes:
    """Gives the ONNX file for the checkpoint in ``files``.

    Raises:
        ModelDamaged: a tensor is missing or does not fit.
        EngineError: this kind of model or pooling cannot be run.
    """
    weights, config = Checkpoint(files / WEIGHTS), read_config(files)
    builder = Builder(weights, config, measure_peaks(files, weights, config) if precision == "int8" else None)
    return builder.graph.model(config["hidden_size"], [builder.build(pooling)])


def make(files: Path, target: Path, precision: str, pooling: str) -> None:
    """Makes the graph at ``target`` unless it is there; of several processes one makes it and the others wait.

    What a killed process left half-written has another name, and the next one writes over it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return
        aside = target.with_suffix(".part")
        with aside.open("wb") as file:
            file.write(graph_bytes(files, precision, pooling))
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, target)


def main(arguments: list[str] | None = None) -> int:
    """Makes a graph from the command line; gives the exit code of what failed, its message on standard error."""
    parser = argparse.ArgumentParser(prog="python -m pomnit.engines.onnx_bert", description=main.__doc__)
    parser.add_argument("files", type=Path, help=f"folder with {WEIGHTS}, config.json and {TOKENIZER}")
    parser.add_argument("target", type=Path, help="the graph to make")
    parser.add_argument("--precision", choices=("int8", "fp32"), default="int8")
    parser.add_argument("--pooling", default="mean", help="mean or cls")
    asked = parser.parse_args(arguments)
    try:
        make(asked.files, asked.target, asked.precision, asked.pooling)
    except PomnitError as error:
        return _failed(error, error.exit_code)
    except ImportError as error:
        return _failed(f"{error}; type: pip install {error.name}", EngineMissing.exit_code)
    except OSError as error:  # no room, or a cache folder that cannot be written
        return _failed(error, EngineError.exit_code)
    return 0


def _failed(message: object, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())

"""Writes ONNX graphs: nodes, constants, and products of activations and weights in 32, 16, 8 or 4 bits.

Constants of some size go to a file beside the graph as they are made: a graph of more than 2 GB does not fit its own
format, and ONNX Runtime maps such a file instead of reading it (ONNX, ExternalData.md).

In 8 bits a product may quantise its input by the least and the greatest number in it (``DynamicQuantizeMatMul``). A
few channels of BERT are ten times as large as the rest and make the steps of all others coarse. So the largest channels
are split: a copy is appended for each split, all copies are divided by their count, and their rows of weights are
repeated (Zhao et al. 2019, arXiv:1901.09504). Or both sides are quantised in blocks of 32 numbers (``MatMulNBits``):
half as fast, but a large number spoils only its own block. 16 bits are for the disk alone: ONNX Runtime multiplies
them on no x86 processor, so they are widened when the graph is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from pomnit.engines.text import Floats
from pomnit.errors import EngineError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS = (4, 8, 16, 32)
MS = "com.microsoft"
GRAPH, DATA, TABLES = "graph.onnx", "graph.data", "tables.safetensors"
WORDS, STEPS, PLACES, SECOND = "words", "words.steps", "places", "second"  # of the tables
INPUT = "embedded"  # of the graph: the sum of the embeddings, [1, tokens, hidden]
BLOCK = 32  # weights that share a step and a zero
_OPSET, _IR = 20, 10  # the first opset with Gelu, and its file version
_INLINE = 1024  # bytes: smaller constants stay in the graph
_PAGE = 4096  # bytes: what is mapped begins at such a place
_SPLITS = 8  # copies appended for one product; 16 gain nothing more
_INT8_ACTIVATIONS = 4  # the "accuracy level" of MatMulNBits that multiplies whole numbers


class Graph:
    """Collects nodes and constants; ``const`` and ``node`` give the name by which later nodes take their value.

    With ``data``, a file open for writing, large constants are written to it at once and not kept.
    """

    def __init__(self, data: BinaryIO | None = None) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._data = data

    def const(self, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        value = np.asarray(value, order="C")  # ascontiguousarray would make a list of a single number
        if self._data is None or value.nbytes < _INLINE:
            self.constants.append(numpy_helper.from_array(value, name))
        else:
            self.constants.append(self._write(name, value, self._data))
        return name

    def _write(self, name: str, value: NDArray[Any], data: BinaryIO) -> Any:
        from onnx import TensorProto, helper

        data.write(bytes(-data.tell() % _PAGE))
        tensor = TensorProto(name=name, dims=value.shape, data_type=helper.np_dtype_to_tensor_dtype(value.dtype))
        tensor.data_location = TensorProto.EXTERNAL
        for key, said in {"location": DATA, "offset": data.tell(), "length": value.nbytes}.items():
            tensor.external_data.add(key=key, value=str(said))
        data.write(value.data)
        return tensor

    def node(self, kind: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        """Adds a node; several outputs are named ``name:0``, ``name:1``…, and what stands before the colon is given."""
        from onnx import helper

        name = f"n{len(self.nodes)}"
        names = [name] if outputs == 1 else [f"{name}:{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return name

    def split(self, x: str, *sizes: int) -> list[str]:
        """Gives the parts of the last axis of [1, tokens, sum of sizes]."""
        name = self.node("Split", x, self.const(np.array(sizes, np.int64)), outputs=len(sizes), axis=2)
        return [f"{name}:{i}" for i in range(len(sizes))]

    def output(self, x: str, name: str) -> str:
        """Gives a value the name by which it is asked for."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [x], [name]))
        return name

    def model(self, inputs: Mapping[str, list[int | str]], outputs: list[str]) -> bytes:
        """Gives the ONNX file with these inputs, float32 of the given shapes, and outputs."""
        from onnx import TensorProto, helper

        graph = helper.make_graph(
            self.nodes,
            "pomnit",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.constants,
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(MS, 1)]
        model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=_IR).SerializeToString()
        return model


@dataclass(slots=True)
class Products:
    """How the products of a graph are written.

    ``peaks`` holds the greatest magnitude of each channel, by the product that reads it: such a product quantises its
    whole input at once, the others in blocks. ``read`` says afterwards which node each product reads.
    """

    bits: int
    peaks: Mapping[str, Floats] = field(default_factory=dict)
    read: dict[str, str] = field(default_factory=dict)

    def add(self, graph: Graph, x: str, name: str, weight: Floats, bias: Floats | None = None) -> str:
        """Multiplies ``x`` by a weight of shape (outputs, inputs), as published, and adds its bias."""
        self.read[name] = x
        if self.bits == 8 and name in self.peaks:
            return dynamic_product(graph, x, weight, bias, self.peaks[name])
        if self.bits <= 8:
            product = block_product(graph, x, weight, self.bits)
        elif self.bits == 16:
            halves = weight.T.astype(np.float16)
            if np.isinf(halves).any():
                raise EngineError(f"{name}: its numbers do not fit 16 bits; convert it with --bits 8 or 32")
            product = graph.node("MatMul", x, graph.node("Cast", graph.const(halves), to=1))
        else:
            product = graph.node("MatMul", x, graph.const(weight.T))
        return product if bias is None else graph.node("Add", product, graph.const(bias))


def dynamic_product(graph: Graph, x: str, weight: Floats, bias: Floats | None, peaks: Floats) -> str:
    """Writes a product that quantises its whole input at once, whose greatest magnitudes by channel are ``peaks``."""
    weight = weight.T
    copies, counts = split_channels(peaks)
    if len(copies):
        appended = graph.node("Gather", x, graph.const(copies), axis=2)
        x = graph.node("Concat", x, appended, axis=2)
        weight = np.concatenate([weight, weight[copies]])
        shares = 1 / np.concatenate([counts, counts[copies]])
        x = graph.node("Mul", x, graph.const(shares.astype(np.float32)))
    numbers, steps = quantise(weight)
    constants = [graph.const(value) for value in (numbers, steps, np.zeros_like(steps, np.int8))]
    if bias is not None:
        constants.append(graph.const(bias))
    return graph.node("DynamicQuantizeMatMul", x, *constants, domain=MS)


def block_product(graph: Graph, x: str, weight: Floats, bits: int) -> str:
    """Writes a product that quantises weights and input in blocks."""
    outputs, inputs = weight.shape
    constants = [graph.const(value) for value in quantise_blocks(weight, bits)]
    sizes = {"K": inputs, "N": outputs, "bits": bits, "block_size": BLOCK, "accuracy_level": _INT8_ACTIVATIONS}
    return graph.node("MatMulNBits", x, *constants, domain=MS, **sizes)


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
        reach = np.maximum(reach, np.maximum(sign * pairs, 0).sum(axis=1).max(axis=0, initial=0))
    steps = np.maximum(reach / 127, np.finfo(np.float32).tiny).astype(np.float32)
    return np.rint(weight / steps).astype(np.int8), steps


def quantise_blocks(weight: Floats, bits: int) -> tuple[NDArray[np.uint8], Floats, NDArray[np.uint8]]:
    """Gives a weight of shape (outputs, inputs) as ``MatMulNBits`` reads it, in blocks of 32 inputs.

    Numbers of ``bits`` bits, shape (outputs, blocks, bytes); steps, shape (outputs, blocks); and zeros, as the numbers
    but packed along the blocks. A block's numbers reach from its least to its greatest weight: their error is 0.083 of
    the weights in 4 bits, against 0.090 with zero in the middle, at the same speed.
    """
    outputs, inputs = weight.shape
    padded = np.pad(weight, ((0, 0), (0, -inputs % BLOCK))).reshape(outputs, -1, BLOCK)
    most = 2**bits - 1
    low, high = np.minimum(padded.min(axis=2), 0), np.maximum(padded.max(axis=2), 0)
    steps = np.maximum((high - low) / most, np.finfo(np.float32).tiny).astype(np.float32)
    zeros = np.rint(-low / steps)
    numbers = np.clip(np.rint(padded / steps[..., None]) + zeros[..., None], 0, most).astype(np.uint8)
    return _packed(numbers, bits), steps, _packed(zeros.astype(np.uint8), bits)


def _packed(numbers: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Gives numbers of 4 bits two to a byte along the last axis, the first in the lower half."""
    if bits == 8:
        return numbers
    if numbers.shape[-1] % 2:
        numbers = np.concatenate([numbers, np.zeros_like(numbers[..., :1])], axis=-1)
    halves: NDArray[np.uint8] = numbers[..., ::2] | numbers[..., 1::2] << np.uint8(4)
    return halves

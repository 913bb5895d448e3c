"""Multiplication by the weights of a checkpoint in MLX, in 32, 16, 8, 6 or 4 bits.

Numbers of 8 bits and fewer stand in groups that share a scale and a bias (``mx.quantize``, affine). What they are
multiplied with stays float32, so no channels need to be split as for ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from pomnit.engines.mlx_weights import MlxWeights
from pomnit.models.affine import Packed

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Matrix:
    """Multiplication by one matrix, shape (outputs, inputs), quantised or not."""

    def __init__(self, parts: Sequence[mx.array], bits: int = 0, group: int = 0) -> None:
        """``bits`` and ``group`` are 0 for one that is not quantised."""
        self.parts = parts
        self.bits = bits
        self.group = group

    @property
    def like(self) -> Any:
        """What two matrices share that can be joined."""
        return self.bits, self.group, [(part.dtype, part.shape[1]) for part in self.parts]

    def __call__(self, x: mx.array) -> mx.array:
        if not self.bits:
            return x @ self.parts[0].T
        weight, scales, biases = self.parts
        return mx.quantized_matmul(x, weight, scales, biases, True, self.group, self.bits)


class Product:
    """Multiplication by a matrix, or by several that are stored in different ways, and addition of a bias."""

    def __init__(self, matrices: Sequence[Matrix], bias: mx.array | None) -> None:
        self.matrices = matrices
        self.bias = bias

    def __call__(self, x: mx.array) -> mx.array:
        """Gives float32, shape (…, outputs), of float32, shape (…, inputs)."""
        parts = [matrix(x) for matrix in self.matrices]
        product = parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=-1)
        return product if self.bias is None else product + self.bias


def read_product(weights: MlxWeights, names: Sequence[str]) -> Product:
    """Gives the layers ``names``, which read the same numbers, as one; each is quantised before the next one is read.

    Raises:
        ModelDamaged: a tensor is missing or does not fit.
    """
    bias = None
    if f"{names[0]}.bias" in weights:
        bias = read_array(np.concatenate([weights[f"{name}.bias"] for name in names]))
    return Product(list(_joined([read_matrix(weights, f"{name}.weight") for name in names])), bias)


def read_matrix(weights: MlxWeights, name: str) -> Matrix:
    """Gives a matrix, copied into MLX; what was read of its file leaves memory."""
    stored = weights.matrix(name)
    if isinstance(stored, Packed):
        read_scales = _read_bfloat16 if weights.has_brain_scales(name) else read_array
        parts = [read_array(stored.weight), *map(read_scales, (stored.scales, stored.biases))]
        matrix = Matrix(parts, stored.bits, stored.group)
    else:
        matrix = Matrix([read_array(stored)])
    weights.release()
    return matrix


def read_array(numbers: NDArray[Any]) -> mx.array:
    """Gives a copy, made at once: else the file would be read again, and float32 weights stay until the first text."""
    array = mx.array(numbers)
    mx.eval(array)
    return array


def _read_bfloat16(numbers: NDArray[Any]) -> mx.array:
    """Gives float32 numbers that were stored in bfloat16 as such: they would take half a bit more per weight.

    NumPy has no bfloat16.
    """
    upper = (np.ascontiguousarray(numbers).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return read_array(upper).view(mx.bfloat16)


def _joined(matrices: Sequence[Matrix]) -> Iterator[Matrix]:
    for _, run in groupby(matrices, key=lambda matrix: matrix.like):
        first, *others = run
        if others:
            each = zip(first.parts, *(other.parts for other in others), strict=True)
            parts = [mx.concatenate(list(rows)) for rows in each]
            mx.eval(parts)
            yield Matrix(parts, first.bits, first.group)
        else:
            yield first

"""Weights of a few bits: groups along a row that share a scale and a bias (``mx.quantize``, mode affine), in NumPy.

A number w of a group is stored as q = (w - bias) / scale, rounded. The end of the group's range that lies farther from
zero is the bias, and the scale is stretched so that zero is exactly one of the steps (mlx/backend/cpu/quantized.cpp).
A row is one stream of bits, lowest first, in words of 32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS = (2, 3, 4, 5, 6, 8)  # that MLX writes
GROUPS = (64, 32, 128)
_NUMBERS_AT_ONCE = 1 << 20  # 4 MB of float32, and a few times that while they are worked on
_PACKS = {2: (4, 1), 3: (8, 3), 4: (2, 1), 5: (8, 5), 6: (4, 3), 8: (1, 1)}  # bits: so many numbers in so many bytes
_SMALLEST = np.float32(1e-7)


@dataclass(frozen=True, slots=True)
class Packed:
    """A matrix of few bits: ``weight`` uint32 (rows, columns * bits / 32), ``scales``, ``biases`` (rows, groups)."""

    weight: NDArray[np.uint32]
    scales: NDArray[Any]  # float32 or float16
    biases: NDArray[Any]
    bits: int
    group: int

    @property
    def shape(self) -> tuple[int, int]:
        """Gives (rows, columns) of the matrix that this stands for."""
        return self.scales.shape[0], self.scales.shape[1] * self.group

    def rows(self, which: slice | NDArray[Any]) -> Packed:
        """Gives some of the rows."""
        return Packed(self.weight[which], self.scales[which], self.biases[which], self.bits, self.group)


def quantise(weight: NDArray[np.float32], group: int, bits: int, scales: str = "float32") -> Packed:
    """Gives a float32 matrix (rows, columns) as ``mx.quantize`` does. ``group`` divides the columns.

    With ``scales`` in float16 the steps are chosen for the scales and biases as they were rounded.
    """
    rows, columns = weight.shape
    packed = Packed(
        np.empty((rows, columns * bits // 32), np.uint32),
        np.empty((rows, columns // group), scales),
        np.empty((rows, columns // group), scales),
        bits,
        group,
    )
    for some in row_chunks(rows, columns):
        _quantise(weight[some], packed.rows(some))
    return packed


def _quantise(weight: NDArray[np.float32], packed: Packed) -> None:
    groups = weight.reshape(len(weight), -1, packed.group)
    steps = np.float32(2**packed.bits - 1)
    low, high = groups.min(-1), groups.max(-1)
    scale = np.maximum((high - low) / steps, _SMALLEST)
    below = np.abs(low) > np.abs(high)
    scale = np.where(below, scale, -scale)
    edge = np.where(below, low, high)
    zero = np.rint(edge / scale)
    packed.scales[:] = np.divide(edge, zero, out=scale, where=zero != 0)
    packed.biases[:] = np.where(zero != 0, edge, np.float32(0))
    scale, bias = packed.scales.astype(np.float32, copy=False), packed.biases.astype(np.float32, copy=False)
    places = np.rint((groups - bias[..., None]) / scale[..., None])
    packed.weight[:] = _pack(np.clip(places, 0, steps).astype(np.uint8).reshape(weight.shape), packed.bits)


def dequantise(packed: Packed) -> NDArray[np.float32]:
    """Gives the matrix (rows, columns) as float32."""
    matrix = np.empty(packed.shape, np.float32)
    for some in row_chunks(*packed.shape):
        part = packed.rows(some)
        groups = _unpack(part.weight, packed.bits).reshape(*part.scales.shape, packed.group).astype(np.float32)
        groups *= part.scales.astype(np.float32, copy=False)[..., None]
        groups += part.biases.astype(np.float32, copy=False)[..., None]
        matrix[some] = groups.reshape(len(part.weight), -1)
    return matrix


def row_chunks(rows: int, columns: int) -> list[slice]:
    """Gives the rows of a matrix in runs of about a million numbers."""
    step = max(1, _NUMBERS_AT_ONCE // max(1, columns))
    return [slice(first, min(first + step, rows)) for first in range(0, rows, step)]


def _pack(places: NDArray[np.uint8], bits: int) -> NDArray[np.uint32]:
    """Gives numbers below 2**bits (rows, columns) as words (rows, columns * bits / 32)."""
    count, width = _PACKS[bits]
    word = _word(width)
    packs = places.reshape(len(places), -1, count)
    joined = np.zeros(packs.shape[:2], word)
    for i in range(count):
        joined |= packs[..., i].astype(word) << word(i * bits)
    out = np.empty((*joined.shape, width), np.uint8)
    for i in range(width):
        out[..., i] = (joined >> word(8 * i)) & word(255)
    return out.reshape(len(places), -1).view(np.uint32)


def _unpack(words: NDArray[np.uint32], bits: int) -> NDArray[np.uint8]:
    """Gives the numbers (rows, columns) of what ``_pack`` made."""
    count, width = _PACKS[bits]
    word = _word(width)
    packs = np.ascontiguousarray(words).view(np.uint8).reshape(len(words), -1, width)
    joined = np.zeros(packs.shape[:2], word)
    for i in range(width):
        joined |= packs[..., i].astype(word) << word(8 * i)
    out = np.empty((*joined.shape, count), np.uint8)
    for i in range(count):
        out[..., i] = (joined >> word(i * bits)) & word(2**bits - 1)
    return out.reshape(len(words), -1)


def _word(width: int) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if width == 1 else np.uint32 if width == 3 else np.uint64

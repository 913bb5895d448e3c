"""The weights of a model as MLX gets them: as they are stored, or as a conversion to so many bits would store them.

Both give the same numbers, so a text has the same vector from the published folder as from the converted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pomnit.engines.text import Floats
from pomnit.errors import EngineError, ModelDamaged
from pomnit.models.affine import Packed, dequantise, quantise
from pomnit.models.cards import CONFIG
from pomnit.models.checkpoint import Checkpoint
from pomnit.models.hub import read_json
from pomnit.models.quantise import quantised

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS = (4, 6, 8, 16, 32)


class MlxWeights(Checkpoint):
    """The weights in a folder, in ``bits``; nothing larger than one tensor is ever in memory."""

    def __init__(self, folder: Path, bits: int) -> None:
        """Opens the folder.

        Raises:
            EngineMissing: there are no weights.
            ModelDamaged: a file is not what its name says, or is cut short.
            EngineError: they are quantised to other bits, or MLX has no numbers of so many.
        """
        if bits not in BITS:
            raise EngineError(f"{bits} bits: MLX multiplies numbers of {', '.join(map(str, BITS))} bits")
        said = read_json(folder / CONFIG).get("quantization")
        stored = said.get("bits", bits) if isinstance(said, dict) else bits
        if stored != bits:
            raise EngineError(f"{folder}: its weights are of {stored} bits and cannot be run in {bits}")
        super().__init__(folder)
        self._bits = 32 if said else bits  # what is quantised is taken as it is
        self._products, self._group = quantised(self, self._bits)

    def __getitem__(self, name: str) -> Floats:
        """Gives a tensor as float32; a matrix of few bits as the numbers it stands for.

        Raises:
            ModelDamaged: there is no such tensor, it does not fit its file, or it holds NaN or infinite numbers.
        """
        numbers = self._sound(name)
        return numbers if self.packed(name) else self._rounded(name, numbers)

    def rows(self, name: str, ids: Sequence[int]) -> Floats:
        """Gives some rows of a matrix, shape (ids, columns), as float32."""
        return self._rounded(name, self.table(name).rows(np.asarray(ids)))

    def matrix(self, name: str) -> Packed | NDArray[Any]:
        """Gives a matrix of few bits in its parts, or one of 16 or 32 as it is to be multiplied by.

        Raises:
            ModelDamaged: there is no such tensor, it does not fit its file, or it holds NaN or infinite numbers.
        """
        packed = self.packed(name)
        if packed:
            return packed
        numbers = self._sound(name)
        if name in self._products:
            return quantise(numbers, self._group, self._bits, "float16")
        return numbers if self._bits == 32 else _halves(numbers)

    def has_brain_scales(self, name: str) -> bool:
        """Says whether the scales and biases of a matrix are stored in bfloat16."""
        return self.packed(name) is not None and self.kind(f"{name.removesuffix('.weight')}.scales") == "BF16"

    def _rounded(self, name: str, numbers: Floats) -> Floats:
        if self._bits == 32:
            return numbers
        if name in self._products:
            return dequantise(quantise(numbers, self._group, self._bits, "float16"))
        return _halves(numbers).astype(np.float32)

    def _sound(self, name: str) -> Floats:
        numbers = super().__getitem__(name)
        if not np.isfinite(numbers).all():
            raise ModelDamaged(f"{self.path}: tensor {name!r} holds NaN or infinite numbers; fetch the model again")
        return numbers


def _halves(numbers: Floats) -> NDArray[Any]:
    """Gives float16, but float32 where that does not hold the numbers: there is no such conversion to agree with."""
    with np.errstate(over="ignore"):
        halves = numbers.astype(np.float16)
    return halves if np.isfinite(halves).all() else numbers

"""A file of weights as it lies in memory: mapped, never copied whole, and let go of when it was read."""

from __future__ import annotations

import mmap
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pomnit.errors import EngineMissing, ModelDamaged

if TYPE_CHECKING:
    from numpy.typing import NDArray

# How each type of number lies in a file, little-endian. NumPy has no bfloat16: it is the upper half of a float32.
LAYOUT = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "U32": "<u4", "I8": "|i1"}
FLOATS = ("F32", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor as it is stored: a view of its file. ``kind`` is a key of ``LAYOUT``."""

    kind: str
    numbers: NDArray[Any]


class MappedFile:
    """The bytes of one file; mapped as long as an array made of it is alive."""

    def __init__(self, path: Path) -> None:
        """Maps ``path``.

        Raises:
            EngineMissing: there is no such file, or it may not be read.
            ModelDamaged: it is empty.
        """
        if not path.is_file():  # a pipe of that name would block
            raise EngineMissing(f"{path}: no such file")
        try:
            with path.open("rb") as file:
                self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # mmap's word for a file of no bytes
            raise ModelDamaged(f"{path}: the file is empty") from None
        except OSError as error:
            raise EngineMissing(f"{path}: {error.strerror}") from None

    def release(self) -> None:
        """Drops what was read of the file from memory; reading on brings it back."""
        self.bytes.madvise(mmap.MADV_DONTNEED)


def as_float32(stored: Stored) -> NDArray[np.float32]:
    """Gives float32: the view itself when it is stored so, else a converted copy. ``stored`` is one of ``FLOATS``."""
    if stored.kind == "BF16":
        return (stored.numbers.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return stored.numbers.astype(np.float32, copy=False)


if sys.byteorder != "little":  # the numbers are read where they lie
    raise ImportError("Pomnit reads weights on little-endian machines only")

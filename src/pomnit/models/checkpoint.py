"""Reads the tensors of a safetensors file without copying them.

The format (huggingface/safetensors, README): eight bytes with the length of a JSON header, the header
``{name: {dtype, shape, data_offsets}}``, then the raw numbers, little-endian. The ``safetensors`` package copies each
tensor that it reads; the table of word embeddings is half of a small encoder and must stay on disk, hence this reader.
"""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from pomnit.errors import EngineMissing, ModelDamaged

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HEADER_LIMIT = 100_000_000  # bytes, as in the reference implementation
_FLOATS = {"F32": 4, "F16": 2, "BF16": 2}  # bytes per number


class Checkpoint:
    """The tensors of one file, by name; the file stays mapped into memory as long as an array of it is alive."""

    def __init__(self, path: Path) -> None:
        """Maps ``path`` and checks that its header lies within the file.

        Raises:
            EngineMissing: there is no such file.
            ModelDamaged: the file is not safetensors, or is cut short.
        """
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise EngineMissing(f"{path}: no such file") from None
        except ValueError:  # mmap's word for a file of no bytes
            raise ModelDamaged(f"{path}: the file is empty") from None
        self._header, self._start = self._read_header()

    def _read_header(self) -> tuple[dict[str, Any], int]:
        size = len(self._map)
        length = struct.unpack_from("<Q", self._map)[0] if size >= 8 else size
        if length > min(size - 8, _HEADER_LIMIT):
            raise ModelDamaged(f"{self.path}: a header of {length} bytes does not fit a file of {size}")
        try:
            header = json.loads(self._map[8 : 8 + length].decode("utf-8"))
        except (ValueError, RecursionError):
            raise ModelDamaged(f"{self.path}: its header is not JSON") from None
        if not isinstance(header, dict):
            raise ModelDamaged(f"{self.path}: its header is not a JSON object")
        header.pop("__metadata__", None)
        return header, 8 + length

    def __iter__(self) -> Iterator[str]:
        return iter(self._header)

    def __contains__(self, name: object) -> bool:
        return name in self._header

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        """Gives a tensor as float32: a read-only view of the file when it is stored so, else a converted copy.

        Raises:
            ModelDamaged: there is no such tensor, or its entry does not fit the file.
        """
        kind, shape, begin = self._entry(name)
        count = math.prod(shape)
        if kind == "F32":
            return np.frombuffer(self._map, "<f4", count, begin).reshape(shape)
        if kind == "F16":
            return np.frombuffer(self._map, "<f2", count, begin).reshape(shape).astype(np.float32)
        # bfloat16 is the upper half of a float32
        upper = np.frombuffer(self._map, "<u2", count, begin).reshape(shape).astype(np.uint32)
        return (upper << np.uint32(16)).view(np.float32)

    def _entry(self, name: str) -> tuple[str, tuple[int, ...], int]:
        """Gives dtype, shape and first byte of a tensor, after checking that they agree with the file's size."""
        entry = self._header.get(name)
        if not isinstance(entry, dict):
            raise ModelDamaged(f"{self.path}: it holds no tensor {name!r}")
        kind, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
        if not isinstance(kind, str) or kind not in _FLOATS:
            raise ModelDamaged(f"{self.path}: tensor {name!r} is of type {kind!r}, not one of {', '.join(_FLOATS)}")
        if not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
            raise ModelDamaged(f"{self.path}: tensor {name!r} has a shape or offsets that are not counts")
        begin, end = offsets
        if end - begin != math.prod(shape) * _FLOATS[kind] or self._start + end > len(self._map):
            raise ModelDamaged(
                f"{self.path}: tensor {name!r} of shape {shape} claims bytes {begin}..{end} of"
                f" {len(self._map) - self._start}"
            )
        return kind, tuple(shape), self._start + begin


def _counts(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)

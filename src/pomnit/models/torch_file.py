"""Reads the tensors of a PyTorch checkpoint (``torch.save``, 1.6 or newer) without PyTorch and without copying them.

The file is a zip archive of stored members: "ROOT/data.pkl" says which tensors there are, "ROOT/data/KEY" are the
numbers of one storage, "ROOT/byteorder" says which end comes first. A tensor is a place, a size and strides in a
storage; several may share one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from pomnit.errors import ModelDamaged
from pomnit.models.mapped import LAYOUT, MappedFile, Stored
from pomnit.models.torch_pickle import Tensor, tensors
from pomnit.models.torch_zip import members


class TorchFile:
    """The tensors of one file, by name, each a view of the file."""

    def __init__(self, path: Path) -> None:
        """Maps ``path`` and reads which tensors it holds.

        Raises:
            EngineMissing: there is no such file.
            ModelDamaged: it is no file of PyTorch's, is cut short, or asks for more than tensors.
        """
        self.path = path
        self._file = MappedFile(path)
        self._members = members(self._file.bytes, path)
        roots = [name.removesuffix("data.pkl") for name in self._members if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise ModelDamaged(f"{path}: it holds {len(roots)} members named data.pkl, not one")
        self._root = roots[0]
        order = self._member("byteorder") if self._root + "byteorder" in self._members else b"little"
        if order != b"little":
            raise ModelDamaged(f"{path}: its numbers are {bytes(order[:20])!r}-endian, not little-endian")
        self._tensors = tensors(self._member("data.pkl"), path)

    def _member(self, name: str) -> memoryview:
        begin, size = self._members[self._root + name]
        return memoryview(self._file.bytes)[begin : begin + size]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def release(self) -> None:
        """Drops what was read from memory."""
        self._file.release()

    def kind(self, name: str) -> str:
        """Gives the type of a tensor's numbers, named as safetensors does."""
        return self._tensors[name].storage.kind

    def stored(self, name: str) -> Stored:
        """Gives a tensor as a view, after checking that it lies within its storage, and the storage within the file.

        Raises:
            ModelDamaged: it does not.
        """
        tensor = self._tensors[name]
        storage = tensor.storage
        if storage.kind not in LAYOUT:
            raise ModelDamaged(
                f"{self.path}: tensor {name!r} is of type {storage.kind!r}, not one of {', '.join(LAYOUT)}"
            )
        begin, room = self._members.get(f"{self._root}data/{storage.key}", (0, 0))
        if storage.count < 0 or storage.count * storage.width > room or not _within(tensor):
            raise ModelDamaged(f"{self.path}: tensor {name!r} does not lie within its storage of {room} bytes")
        # a stride is never taken along a side of one, whatever it says there
        strides = [step * storage.width if n > 1 else 0 for n, step in zip(tensor.size, tensor.stride, strict=True)]
        start = begin + tensor.offset * storage.width
        view = np.ndarray(tensor.size, LAYOUT[storage.kind], self._file.bytes, start, strides)
        return Stored(storage.kind, view)


def _within(tensor: Tensor) -> bool:
    """Says whether the tensor has numbers, no more of them than its storage, and all of them inside it."""
    size, stride, offset, count = tensor.size, tensor.stride, tensor.offset, tensor.storage.count
    if not _counts(size) or not _counts(stride) or not _counts((offset,)) or len(size) != len(stride):
        return False
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # not more: a matrix of stride 0 can claim any size while it lies within four bytes
    return 0 < math.prod(size) <= count and last < count


def _counts(value: Any) -> TypeGuard[tuple[int, ...]]:
    return isinstance(value, tuple) and len(value) <= 8 and all(type(n) is int and n >= 0 for n in value)

"""Reads the tensors of a safetensors file without copying them.

The format (huggingface/safetensors, README): eight bytes with the length of a JSON header, the header
``{name: {dtype, shape, data_offsets}}``, then the raw numbers, little-endian. The ``safetensors`` package copies each
tensor that it reads; the table of word embeddings is half of a small encoder and must stay on disk, hence this reader.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from pomnit.errors import ModelDamaged
from pomnit.models.mapped import LAYOUT, MappedFile, Stored

_HEADER_LIMIT = 100_000_000  # bytes, as in the reference implementation


class SafetensorsFile:
    """The tensors of one file, by name, each a view of the file."""

    def __init__(self, path: Path) -> None:
        """Maps ``path`` and checks that its header lies within the file.

        Raises:
            EngineMissing: there is no such file.
            ModelDamaged: the file is not safetensors, or is cut short.
        """
        self.path = path
        self._file = MappedFile(path)
        self._header, self._start = self._read_header()

    def _read_header(self) -> tuple[dict[str, Any], int]:
        data = self._file.bytes
        size = len(data)
        length = struct.unpack_from("<Q", data)[0] if size >= 8 else size
        if length > min(size - 8, _HEADER_LIMIT):
            raise ModelDamaged(f"{self.path}: a header of {length} bytes does not fit a file of {size}")
        try:
            header = json.loads(data[8 : 8 + length].decode("utf-8"))
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

    def release(self) -> None:
        """Drops what was read from memory."""
        self._file.release()

    def kind(self, name: str) -> str:
        """Gives the type of a tensor's numbers, by its name in the format.

        Raises:
            ModelDamaged: its entry names none.
        """
        entry = self._header[name]
        if not isinstance(entry, dict) or not isinstance(kind := entry.get("dtype"), str):
            raise ModelDamaged(f"{self.path}: tensor {name!r} has an entry that is not one")
        return kind

    def stored(self, name: str) -> Stored:
        """Gives a tensor as a view, after checking that its type, its shape and the file's size agree.

        Raises:
            ModelDamaged: they do not.
        """
        kind = self.kind(name)
        shape, offsets = self._header[name].get("shape"), self._header[name].get("data_offsets")
        if kind not in LAYOUT:
            raise ModelDamaged(f"{self.path}: tensor {name!r} is of type {kind!r}, not one of {', '.join(LAYOUT)}")
        if not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
            raise ModelDamaged(f"{self.path}: tensor {name!r} has a shape or offsets that are not counts")
        begin, end = offsets
        count, room = math.prod(shape), len(self._file.bytes) - self._start
        if end - begin != count * np.dtype(LAYOUT[kind]).itemsize or end > room:
            raise ModelDamaged(f"{self.path}: tensor {name!r} of shape {shape} claims bytes {begin}..{end} of {room}")
        view = np.frombuffer(self._file.bytes, LAYOUT[kind], count, self._start + begin)
        return Stored(kind, view.reshape(shape))


def _counts(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and len(value) <= 8 and all(type(n) is int and 0 <= n < 2**48 for n in value)

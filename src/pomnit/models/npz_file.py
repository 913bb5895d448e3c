"""Reads the arrays of NumPy's .npz without copying them: what mlx-whisper saved its weights as.

It is a zip archive of files of NumPy's own format (numpy/lib/format.py), stored as they are.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pomnit.errors import ModelDamaged
from pomnit.models.mapped import LAYOUT, MappedFile, Stored
from pomnit.models.torch_zip import members

_SUFFIX = ".npy"
_HEADER = 10_128  # bytes that NumPy's header may have, at most, with what stands before it
_KINDS = {np.dtype(layout): kind for kind, layout in LAYOUT.items() if kind != "BF16"}


class NpzFile:
    """The arrays of one file, by name, each a view of the file."""

    def __init__(self, path: Path) -> None:
        """Maps ``path`` and finds its members.

        Raises:
            EngineMissing: there is no such file.
            ModelDamaged: it is no archive of stored members, or is cut short.
        """
        self.path = path
        self._file = MappedFile(path)
        if self._file.bytes[:4] != b"PK\3\4":
            raise ModelDamaged(f"{path}: not a zip archive, as files of NumPy's arrays are")
        found = members(self._file.bytes, path)
        self._members = {name.removesuffix(_SUFFIX): place for name, place in found.items() if name.endswith(_SUFFIX)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def release(self) -> None:
        """Drops what was read from memory."""
        self._file.release()

    def kind(self, name: str) -> str:
        """Gives the type of an array's numbers as safetensors names it: of whole numbers NumPy's name, as in I64.

        Raises:
            ModelDamaged: its header is not one.
        """
        numbers = self._header(name)[2]
        return _KINDS.get(numbers, f"{numbers.kind.upper()}{8 * numbers.itemsize}")

    def stored(self, name: str) -> Stored:
        """Gives an array as a view, after checking that its type, its shape and its size agree.

        Raises:
            ModelDamaged: they do not.
        """
        shape, by_column, numbers, begin = self._header(name)
        if numbers not in _KINDS:
            raise ModelDamaged(f"{self.path}: array {name!r} is of type {numbers}, not one of {', '.join(LAYOUT)}")
        place, size = self._members[name]
        count = int(np.prod(shape, dtype=object))
        if begin + count * numbers.itemsize != size:
            raise ModelDamaged(f"{self.path}: array {name!r} of shape {shape} claims other than its {size} bytes")
        view = np.frombuffer(self._file.bytes, numbers, count, place + begin)
        return Stored(_KINDS[numbers], view.reshape(shape, order="F" if by_column else "C"))

    def _header(self, name: str) -> tuple[tuple[int, ...], bool, np.dtype[np.generic], int]:
        """Gives the shape, whether columns come first, the type of number, and the first byte of the numbers."""
        place, size = self._members[name]
        read = io.BytesIO(self._file.bytes[place : place + min(size, _HEADER)])
        try:
            version = np.lib.format.read_magic(read)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, by_column, numbers = read_header(read)
        except ValueError as error:
            raise ModelDamaged(f"{self.path}: array {name!r} has no header of NumPy's ({error})") from None
        return shape, by_column, numbers, read.tell()

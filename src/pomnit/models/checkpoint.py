"""The weights of a model by name, however they are stored: safetensors in one file or in several, PyTorch's own file,
NumPy's, or quantised as MLX does. They stay on disk; what is asked for is a view of the file, or computed from one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pomnit.errors import EngineMissing, ModelDamaged
from pomnit.models.affine import BITS, GROUPS, Packed, dequantise
from pomnit.models.cards import CONFIG, INDEX, PICKLED, SPARSE, WEIGHTS
from pomnit.models.hub import read_json, shards
from pomnit.models.mapped import FLOATS, Stored, as_float32
from pomnit.models.npz_file import NpzFile
from pomnit.models.safetensors_file import SafetensorsFile
from pomnit.models.torch_file import TorchFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TORCH, _NUMPY = (".bin", ".pt"), ".npz"
_MLX_WHISPER = ("weights.safetensors", "weights.npz")  # what its folders have instead, newer and older ones

_File = SafetensorsFile | TorchFile | NpzFile


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a matrix that stays on disk."""

    shape: tuple[int, int]
    _source: Stored | Packed
    _steps: NDArray[np.float32] | None = None  # of each row, of whole numbers

    def rows(self, which: NDArray[np.integer[Any]] | slice) -> NDArray[np.float32]:
        """Gives some rows as float32 (rows, columns): a copy, or for a slice of float32 a view of the file."""
        if isinstance(self._source, Packed):
            return dequantise(self._source.rows(which))
        rows = Stored(self._source.kind, self._source.numbers[which])
        if self._steps is None:
            return as_float32(rows)
        return rows.numbers * self._steps[which, None]


class Checkpoint:
    """The tensors of a model, by name. The files stay mapped as long as an array of theirs is alive.

    Of a tensor that is stored in parts the name is the whole's: "X.weight" of MLX's "X.weight", "X.scales" and
    "X.biases", and "words" of "words" and "words.steps". BGE-M3's separate file counts as "sparse_linear.weight" and
    "sparse_linear.bias".
    """

    def __init__(self, path: Path) -> None:
        """Opens a folder or a single file.

        Raises:
            EngineMissing: there is no such file, or no weights in the folder.
            ModelDamaged: a file is not what its name says, or is cut short.
        """
        self.path = path
        self._folder = path if path.is_dir() else path.parent
        self._files: list[_File] = []
        self._at: dict[str, tuple[_File, str]] = {}
        if path.is_dir():
            self._open_folder()
        else:
            self._add(_open(path))

    def _open_folder(self) -> None:
        folder = self.path
        if (folder / WEIGHTS).is_file():
            self._add(SafetensorsFile(folder / WEIGHTS))
        elif (folder / INDEX).is_file():
            self._open_shards()
        elif (folder / PICKLED).is_file():
            self._add(TorchFile(folder / PICKLED))
        elif own := next((folder / name for name in _MLX_WHISPER if (folder / name).is_file()), None):
            self._add(_open(own))
        else:
            raise EngineMissing(f"{folder}: no weights here: neither {WEIGHTS} nor {INDEX} nor {PICKLED}")
        if (folder / SPARSE).is_file() and "sparse_linear.weight" not in self._at:
            self._add(TorchFile(folder / SPARSE), "sparse_linear.")

    def _open_shards(self) -> None:
        index = self.path / INDEX
        files = {name: SafetensorsFile(self.path / name) for name in shards(index)}
        self._files += files.values()
        for tensor, name in read_json(index)["weight_map"].items():
            if tensor not in files[name]:
                raise ModelDamaged(f"{index}: {name} holds no tensor {tensor!r}")
            self._at[tensor] = files[name], tensor

    def _add(self, file: _File, prefix: str = "") -> None:
        self._files.append(file)
        self._at |= {prefix + name: (file, name) for name in file}

    def release(self) -> None:
        """Drops what was read from memory; arrays that are views of a file stay good and are read again on use."""
        for file in self._files:
            file.release()

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._at if not self._is_part(name))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._at and not self._is_part(name)

    def _is_part(self, name: str) -> bool:
        whole, _, last = name.rpartition(".")
        if last == "steps":
            return whole in self._at
        return last in ("scales", "biases") and f"{whole}.weight" in self._at

    def kind(self, name: str) -> str:
        """Gives how a tensor's numbers are stored: F32, F16, BF16, I8, I64 … or U32 when it is quantised."""
        file, own = self._place(name)
        return file.kind(own)

    def shape(self, name: str) -> tuple[int, ...]:
        """Gives the shape of a tensor: of a quantised one, that of the matrix it stands for."""
        packed = self.packed(name)
        return packed.shape if packed else self._stored(name).numbers.shape

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        """Gives a tensor as float32: a read-only view of the file when it is stored so, else a converted copy.

        Raises:
            ModelDamaged: there is no such tensor, it does not fit its file, or it is not of numbers with a fraction.
        """
        packed = self.packed(name)
        if packed:
            return dequantise(packed)
        if f"{name}.steps" in self._at:
            table = self.table(name)
            return table.rows(slice(None))
        return as_float32(self._float(name))

    def table(self, name: str) -> Table:
        """Gives a matrix to read rows of.

        Raises:
            ModelDamaged: there is no such tensor, or it is not a matrix.
        """
        packed = self.packed(name)
        if packed:
            return Table(packed.shape, packed)
        steps = self._at.get(f"{name}.steps")
        stored = self._stored(name) if steps else self._float(name)
        shape = stored.numbers.shape
        if len(shape) != 2:
            raise ModelDamaged(f"{self.path}: tensor {name!r} of shape {shape} is not a matrix")
        if not steps:
            return Table(shape, stored)
        if stored.kind != "I8":
            raise ModelDamaged(f"{self.path}: tensor {name!r} has steps, but is of type {stored.kind!r} and not 'I8'")
        each = as_float32(self._float(f"{name}.steps"))
        if each.shape != shape[:1]:
            raise ModelDamaged(f"{self.path}: tensor {name!r} has {shape[0]} rows, and steps of shape {each.shape}")
        return Table(shape, stored, each)

    def packed(self, name: str) -> Packed | None:
        """Gives the parts of a quantised matrix, uncopied (bfloat16 scales become float32); None when it is not one.

        Raises:
            ModelDamaged: there is no such tensor, or its parts do not fit together.
        """
        if not name.endswith(".weight") or self.kind(name) != "U32":
            return None
        layer = name.removesuffix(".weight")
        weight = self._stored(name).numbers
        for part in ("scales", "biases"):
            if f"{layer}.{part}" not in self._at:
                raise ModelDamaged(f"{self.path}: {name!r} is packed but has no {part}; only affine groups can be read")
        scales, biases = (self._half(f"{layer}.{part}") for part in ("scales", "biases"))
        if weight.ndim != 2 or scales.ndim != 2 or scales.shape != biases.shape or len(weight) != len(scales):
            raise ModelDamaged(
                f"{self.path}: {name!r} has parts of shapes {weight.shape}, {scales.shape} and {biases.shape}"
            )
        bits, group = self._bits_and_group(layer, weight.shape[1], scales.shape[1])
        return Packed(weight, scales, biases, bits, group)

    def _half(self, name: str) -> NDArray[Any]:
        stored = self._float(name)
        return as_float32(stored) if stored.kind == "BF16" else stored.numbers

    def _bits_and_group(self, layer: str, words: int, groups: int) -> tuple[int, int]:
        """Gives what config.json says of a layer; where it is silent, the first pair of ours that fits the shapes."""
        said = self._quantisation.get(layer, self._quantisation)
        if isinstance(said, dict) and "bits" in said:
            pairs = [(said["bits"], said.get("group_size", 64))]
        else:  # 4 bits in groups of 64 and 8 bits in groups of 32 look alike: 64 is what everybody writes
            pairs = [(bits, group) for group in GROUPS for bits in BITS]
        for bits, group in pairs:
            if bits in BITS and group in GROUPS and words * 32 == groups * group * bits:
                return bits, group
        raise ModelDamaged(
            f"{self.path}: {layer!r} has {words} words and {groups} groups in a row, which does not fit"
            f" {self._quantisation or 'any number of bits'}"
        )

    @cached_property
    def _quantisation(self) -> dict[str, Any]:
        path = self._folder / CONFIG
        config = read_json(path) if path.is_file() else {}
        said = (config.get("quantization") if isinstance(config, dict) else None) or {}
        if not isinstance(said, dict) or said.get("mode", "affine") != "affine":
            raise ModelDamaged(f"{path}: its quantization is not of affine groups: {str(said)[:200]}")
        return said

    def _float(self, name: str) -> Stored:
        stored = self._stored(name)
        if stored.kind not in FLOATS:
            raise ModelDamaged(
                f"{self.path}: tensor {name!r} is of type {stored.kind!r}, not one of {', '.join(FLOATS)}"
            )
        return stored

    def _stored(self, name: str) -> Stored:
        file, own = self._place(name)
        return file.stored(own)

    def _place(self, name: str) -> tuple[_File, str]:
        if name not in self._at:
            raise ModelDamaged(f"{self.path}: it holds no tensor {name!r}")
        return self._at[name]


def _open(path: Path) -> _File:
    if path.suffix == _NUMPY:
        return NpzFile(path)
    return TorchFile(path) if path.suffix in _TORCH else SafetensorsFile(path)

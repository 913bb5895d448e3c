"""Writes a published model in the form of the mlx-community folders: matrices of few bits, everything else float16.

It takes neither MLX nor memory: tensors are read, quantised and written in runs of rows, so that a machine of 8 GB
converts what is larger than it. Scales and biases are float16, and the numbers are chosen for them as rounded: that
loses nothing against float32 (all-MiniLM-L6-v2 at 8 bits: 0.543 % off with both, 0.549 % when rounded afterwards), and
takes half a bit per weight less.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pomnit.errors import DiskFull, EngineError, EngineMissing, ModelDamaged, UsageError
from pomnit.models.affine import quantise, row_chunks
from pomnit.models.cards import CONFIG, TOKENIZER, WEIGHTS, Card
from pomnit.models.checkpoint import Checkpoint
from pomnit.models.hub import PART, ModelFiles, put_in_place, read_json, read_manifest, write_manifest
from pomnit.models.mapped import LAYOUT

if TYPE_CHECKING:
    from numpy.typing import NDArray

MLX_BITS = (4, 6, 8, 16)
_GROUPS = (64, 32)  # numbers that share a scale: the first that fits every matrix
_READ_BY_ROW = ("position_embeddings.weight", "token_type_embeddings.weight", "embed_positions.weight")  # small tables
_BESIDE = (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json", "generation_config.json")
_SLACK = 16 << 20  # bytes on disk for the tokenizer and the like, and for the file system itself
_HALF_MAX = float(np.finfo(np.float16).max)

Progress = Callable[[int, int], None]


def convert(card: Card, files: ModelFiles, target: Path, bits: int, *, on_progress: Progress | None = None) -> None:
    """Makes the folder ``target`` of a published model: 4, 6 or 8 bits by groups, or float16 for 16.

    ``on_progress`` is told how many bytes of the weights were read, and of how many. The work is done in
    ``target.part``, which is removed when anything goes wrong, and renamed when it is whole.

    Raises:
        UsageError: there is no such number of bits, or the files are quantised already.
        EngineMissing: a file of the model is not there.
        ModelDamaged: a tensor does not fit its file, or holds NaN or infinite numbers.
        EngineError: a number is beyond what float16 can hold, or the folder cannot be written.
        DiskFull: there is no room.
    """
    if bits not in MLX_BITS:
        raise UsageError(f"{card.name}: {bits} bits; for MLX it can be {', '.join(map(str, MLX_BITS))}")
    source = Checkpoint(files.folder)
    if files.form != "published" or any(source.kind(name) == "U32" for name in source):
        raise UsageError(f"{files.folder}: its weights are quantised already; convert the model as it was published")
    part = target.with_name(target.name + PART)
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a conversion that was killed
        part.mkdir(parents=True)
        _write_folder(source, part, bits, on_progress)
        known = read_manifest(files.folder)
        write_manifest(
            part,
            card=card.name,
            repository=card.repository,
            revision=known.revision if known else "",
            form="mlx",
            bits=bits,
            made_from=files.digest,
        )
        put_in_place(part, target)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, OSError):
            raise _as_ours(error, target) from error
        raise


def _as_ours(error: OSError, target: Path) -> DiskFull | EngineError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"{target.parent}: the disk is full; nothing of {target.name} is left behind")
    return EngineError(f"{target}: it cannot be written: {error}")


def _write_folder(source: Checkpoint, part: Path, bits: int, on_progress: Progress | None) -> None:
    config = source.path / CONFIG
    for path in (config, source.path / TOKENIZER):
        if not path.is_file():
            raise EngineMissing(f"{path}: no such file; it goes with the weights")
    described = read_json(config)
    if not isinstance(described, dict):
        raise ModelDamaged(f"{config}: not a JSON object")
    plan = _Plan(source, bits)
    _check_room(part, plan.size)
    if plan.group:
        described["quantization"] = {"group_size": plan.group, "bits": bits}
    (part / CONFIG).write_text(json.dumps(described, indent=2), "utf-8")
    for name in _BESIDE:
        if (source.path / name).is_file():
            shutil.copyfile(source.path / name, part / name)
    with (part / WEIGHTS).open("wb", buffering=0) as file:
        _write_tensors(source, plan, file.fileno(), on_progress)


def _check_room(part: Path, size: int) -> None:
    free, needed = shutil.disk_usage(part).free, size + _SLACK
    if free < needed:
        raise DiskFull(
            f"{part.parent}: {free >> 20} MB are free, {needed >> 20} are needed for {part.name.removesuffix(PART)};"
            f" free {(needed - free >> 20) + 1} MB and type the command again"
        )


# -------------------------------------------------------------------------------------------------- what goes where


@dataclass(frozen=True, slots=True)
class _Region:
    """Where a tensor goes in the file to write; ``begin`` counts from the end of the header."""

    kind: str
    shape: tuple[int, ...]
    begin: int

    @property
    def end(self) -> int:
        return self.begin + math.prod(self.shape) * np.dtype(LAYOUT[self.kind]).itemsize

    def at(self, row: int) -> int:
        """Gives the first byte of a row."""
        return self.begin + row * math.prod(self.shape[1:]) * np.dtype(LAYOUT[self.kind]).itemsize


class _Plan:
    """The tensors to write and their places, known before the first number is read."""

    def __init__(self, source: Checkpoint, bits: int) -> None:
        self.names = _numbers(source)
        self.bits = bits
        shapes = {name: source.shape(name) for name in self.names}
        self.packed, self.group = quantised(source, bits)
        self.regions: dict[str, _Region] = {}
        self._end = 0
        self._place(shapes)
        self.header = self._header()
        self.size = len(self.header) + self._end
        self.read = sum(math.prod(shapes[name]) * _width(source, name) for name in self.names)

    def _place(self, shapes: dict[str, tuple[int, ...]]) -> None:
        for name in self.names:  # words first, so that all of them lie at multiples of four
            if name in self.packed:
                rows, columns = shapes[name]
                self._add(name, "U32", (rows, columns * self.bits // 32))
        for name in self.names:
            if name in self.packed:
                rows, columns = shapes[name]
                for part in _parts(name):
                    self._add(part, "F16", (rows, columns // self.group))
            else:
                self._add(name, "F16", shapes[name])

    def _add(self, name: str, kind: str, shape: tuple[int, ...]) -> None:
        self.regions[name] = _Region(kind, shape, self._end)
        self._end = self.regions[name].end

    def _header(self) -> bytes:
        entries: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
        for name, region in self.regions.items():
            offsets = [region.begin, region.end]
            entries[name] = {"dtype": region.kind, "shape": list(region.shape), "data_offsets": offsets}
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text


def quantised(source: Checkpoint, bits: int) -> tuple[frozenset[str], int]:
    """Gives which tensors of a published model become matrices of few bits, and the size of their groups, else 0.

    An engine that quantises while it loads takes the same ones, and so gives what the converted folder gives.
    """
    shapes = {name: source.shape(name) for name in _numbers(source)}
    products = frozenset(name for name, shape in shapes.items() if bits < 16 and _is_product(name, shape))
    group = next((n for n in _GROUPS if all(shapes[name][1] % n == 0 for name in products)), 0)
    return products, group if products else 0


def _numbers(source: Checkpoint) -> list[str]:
    """Gives all tensors but buffers of integers, such as the numbers of the places, which no engine reads."""
    return [name for name in source if not source.kind(name).startswith(("I", "U", "BOOL"))]


def _parts(name: str) -> tuple[str, str]:
    """Gives the names of the scales and biases of a quantised "X.weight"."""
    layer = name.removesuffix(".weight")
    return f"{layer}.scales", f"{layer}.biases"


def _is_product(name: str, shape: tuple[int, ...]) -> bool:
    """Says whether a tensor is the matrix of a product, or the table of words."""
    matrix = len(shape) == 2 and shape[0] > 1 and shape[1] % _GROUPS[-1] == 0
    return matrix and name.endswith(".weight") and not name.endswith(_READ_BY_ROW)


def _width(source: Checkpoint, name: str) -> int:
    return np.dtype(LAYOUT[source.kind(name)]).itemsize


# ---------------------------------------------------------------------------------------------------------- writing


def _write_tensors(source: Checkpoint, plan: _Plan, file: int, on_progress: Progress | None) -> None:
    _write(file, 0, plan.header)
    done = 0
    for name in plan.names:
        for row, numbers in _runs(source, name):
            _check(source.path, name, numbers)
            if name in plan.packed:
                packed = quantise(numbers, plan.group, plan.bits, "float16")
                pieces = zip((name, *_parts(name)), (packed.weight, packed.scales, packed.biases), strict=True)
            else:
                pieces = zip((name,), (numbers.astype(np.float16),), strict=True)
            for piece, values in pieces:
                _write(file, len(plan.header) + plan.regions[piece].at(row), values.tobytes())
            source.release()
            done += numbers.size * _width(source, name)
            if on_progress:
                on_progress(done, plan.read)


def _runs(source: Checkpoint, name: str) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Gives a tensor as float32 in runs of rows, each with its first row."""
    if len(source.shape(name)) != 2:
        yield 0, source[name]
        return
    table = source.table(name)
    for rows in row_chunks(*table.shape):
        yield rows.start, table.rows(rows)


def _check(path: Path, name: str, numbers: NDArray[np.float32]) -> None:
    if not np.isfinite(numbers).all():
        raise ModelDamaged(f"{path}: tensor {name!r} holds NaN or infinite numbers; fetch the model again")
    largest = float(np.abs(numbers).max(initial=0))
    if largest > _HALF_MAX:
        raise EngineError(
            f"{path}: tensor {name!r} holds {largest:g}, and float16 ends at {_HALF_MAX:g};"
            " the model can be used as it was published, without converting"
        )


def _write(file: int, at: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        count = os.pwrite(file, rest, at)
        rest, at = rest[count:], at + count

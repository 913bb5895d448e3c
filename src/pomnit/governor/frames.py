"""Messages between processes on a pipe or socket: a length, a JSON header, raw arrays. No pickle, nothing is run.

::

    8 bytes   length of the header, little-endian; its upper 4 bytes are the magic number
    header    JSON: the message, with "arrays": [{"dtype", "shape"}] for what follows
    arrays    the numbers, C order, little-endian, one after the other
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from pomnit.errors import EngineError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC = 0x504D4E54
_LARGEST_HEADER = 64 << 20  # bytes
_LARGEST_ARRAYS = 1 << 30  # bytes of all arrays of one message
_DTYPES = ("uint8", "int8", "int64", "float32")


class FrameError(EngineError):
    """What came is not a message."""


def packed(message: Mapping[str, Any], arrays: Sequence[NDArray[Any]] = ()) -> list[bytes | memoryview]:
    """Gives the bytes of one message, in pieces; those of arrays that lie whole in memory are not copied.

    Raises:
        FrameError: what no message can hold: other types of arrays than those of ``_DTYPES``, other values than those
            of JSON, or too much.
    """
    import numpy as np

    whole = [np.require(array, requirements="C") for array in arrays]  # unlike ascontiguousarray it keeps 0 dimensions
    if sum(array.nbytes for array in whole) > _LARGEST_ARRAYS:
        raise FrameError(f"arrays of more than {_LARGEST_ARRAYS} bytes do not fit into one message")
    if foreign := [str(array.dtype) for array in whole if str(array.dtype) not in _DTYPES]:
        raise FrameError(f"arrays of {', '.join(foreign)} cannot be sent")
    described = [{"dtype": str(array.dtype), "shape": list(array.shape)} for array in whole]
    try:
        header = json.dumps({**message, "arrays": described}).encode("ascii")
    except (TypeError, ValueError) as error:
        raise FrameError(f"a message cannot be sent: {error}") from None
    if len(header) > _LARGEST_HEADER:
        raise FrameError(f"a message of {len(header)} bytes is larger than {_LARGEST_HEADER}")
    start = struct.pack("<II", len(header), _MAGIC)
    return [start, header, *(array.data.cast("B") for array in whole if array.size)]


def write(stream: IO[bytes], message: Mapping[str, Any], arrays: Sequence[NDArray[Any]] = ()) -> None:
    """Writes one message and flushes.

    Raises:
        FrameError: as ``packed``; then nothing was written.
    """
    for piece in packed(message, arrays):
        stream.write(piece)
    stream.flush()


def read(stream: IO[bytes]) -> tuple[dict[str, Any], list[NDArray[Any]]] | None:
    """Gives the next message and its arrays; None when the other side has closed.

    Raises:
        FrameError: what came is not a message, is too large, or ends in the middle.
    """
    import numpy as np

    start = stream.read(8)
    if not start:
        return None
    length, magic = struct.unpack("<II", start) if len(start) == 8 else (0, 0)
    if magic != _MAGIC or length > _LARGEST_HEADER:
        raise FrameError("what came over the pipe is not a message")
    try:
        header = json.loads(_exactly(stream, length))
        described = [(str(a["dtype"]), tuple(int(n) for n in a["shape"])) for a in header.pop("arrays")]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise FrameError(f"a message without a proper header came over the pipe: {error!r}") from None
    arrays: list[NDArray[Any]] = []
    left = _LARGEST_ARRAYS
    for dtype, shape in described:
        if dtype not in _DTYPES or min(shape, default=0) < 0:
            raise FrameError(f"a message brought an array of {dtype} {shape}")
        left -= math.prod(shape) * np.dtype(dtype).itemsize
        if left < 0:
            raise FrameError(f"a message brought arrays of more than {_LARGEST_ARRAYS} bytes")
        try:
            array = np.empty(shape, dtype)
        except ValueError as error:  # too many dimensions, or an empty array that would be huge without its 0
            raise FrameError(f"a message brought an array of {dtype} {shape}: {error}") from None
        if array.size:
            _fill(stream, array.data.cast("B"))
        arrays.append(array)
    return header, arrays


def _exactly(stream: IO[bytes], length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise FrameError("the other side ended in the middle of a message")
    return data


def _fill(stream: IO[bytes], view: memoryview) -> None:
    done = 0
    while done < len(view):
        n = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not n:
            raise FrameError("the other side ended in the middle of a message")
        done += n

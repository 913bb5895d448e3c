"""Where the members of a PyTorch or NumPy file lie in it: a zip archive whose members are stored as they are.

A reader of its own, since the numbers are to be mapped where they lie (``zipfile`` gives no such place), and since
what is written here must stay within the file and within bounds. APPNOTE.TXT of PKWARE, 4.3 and 4.5.3.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

from pomnit.errors import ModelDamaged

_END, _END_64_PLACE, _END_64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sLQL"), struct.Struct("<4sQ2H2L4Q")
_ENTRY, _LOCAL = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
_MEMBERS = 200_000  # at most: two for each tensor that a model may have
_COMMENT = 65_535  # bytes after the end record, at most
_FULL = 0xFFFF_FFFF  # a number that stands in the entry's extra field, as 64 bits
_ENCRYPTED = 1


def members(data: mmap.mmap, path: Path) -> dict[str, tuple[int, int]]:
    """Gives the first byte and the size of each member, by name. Nothing is read of the members themselves.

    Raises:
        ModelDamaged: it is no zip archive, or one that does not fit its file, or a member is compressed.
    """
    if data[:4] != b"PK\3\4":
        raise ModelDamaged(
            f"{path}: not a zip archive, so no file of PyTorch 1.6 or newer. A file of an older one can be rewritten"
            " where PyTorch is: torch.save(torch.load(old, weights_only=True), new)"
        )
    try:
        found: dict[str, tuple[int, int]] = {}
        for name, begin, size in _members(data, path):
            if name in found:
                raise ModelDamaged(f"{path}: two members are named {name!r}")
            found[name] = begin, size
    except (struct.error, OverflowError, ValueError):  # a record beyond the end of the file, a name that is not text
        raise ModelDamaged(f"{path}: its list of members is cut short or damaged") from None
    return found


def _members(data: mmap.mmap, path: Path) -> Iterator[tuple[str, int, int]]:
    count, at = _directory(data, path)
    if count > _MEMBERS:
        raise ModelDamaged(f"{path}: {count} members, more than {_MEMBERS}")
    for _ in range(count):
        mark, _, _, flags, method, _, _, _, packed, size, *lengths, _, _, _, place = _ENTRY.unpack_from(data, at)
        if mark != b"PK\1\2":
            raise ModelDamaged(f"{path}: its list of members is cut short or damaged")
        begin_of_extra = at + _ENTRY.size + lengths[0]
        name = data[at + _ENTRY.size : begin_of_extra].decode("utf-8")
        extra = data[begin_of_extra : begin_of_extra + lengths[1]]
        at = begin_of_extra + lengths[1] + lengths[2]
        if method != 0 or flags & _ENCRYPTED:
            raise ModelDamaged(f"{path}: member {name!r} is compressed or encrypted; it must be stored as it is")
        size, packed, place = _long_numbers(extra, size, packed, place)
        mark, *_, name_length, extra_length = _LOCAL.unpack_from(data, place)
        begin = place + _LOCAL.size + name_length + extra_length
        if mark != b"PK\3\4" or size != packed or begin + size > len(data):
            raise ModelDamaged(f"{path}: member {name!r} claims bytes {begin}..{begin + size} of {len(data)}")
        yield name, begin, size


def _directory(data: mmap.mmap, path: Path) -> tuple[int, int]:
    """Gives how many members the list has, and its first byte."""
    end = data.rfind(b"PK\5\6", max(0, len(data) - _END.size - _COMMENT))
    if end < 0:
        raise ModelDamaged(f"{path}: the end of the archive is missing; the file is cut short")
    _, _, _, _, count, _, begin, _ = _END.unpack_from(data, end)
    before = end - _END_64_PLACE.size
    if before >= 0 and data[before : before + 4] == b"PK\6\7":
        _, _, place, _ = _END_64_PLACE.unpack_from(data, before)
        mark, _, _, _, _, _, _, count, _, begin = _END_64.unpack_from(data, place)
        if mark != b"PK\6\6":
            raise ModelDamaged(f"{path}: its list of members is cut short or damaged")
    return count, begin


def _long_numbers(extra: bytes, *numbers: int) -> list[int]:
    """Gives size, stored size and place, those that do not fit 32 bits from the extra field."""
    at, long = 0, b""
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            long = extra[at + 4 : at + 4 + length]
        at += 4 + length
    given = iter(struct.unpack(f"<{len(long) // 8}Q", long[: len(long) // 8 * 8]))
    return [next(given, number) if number == _FULL else number for number in numbers]

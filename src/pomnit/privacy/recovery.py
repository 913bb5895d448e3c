"""A memory's key on paper: letters and digits in groups of four, each line with a check of its own.

The letters are those of Crockford's base 32, which has no I, L, O and U: what is typed for them is understood. A line
holds twelve signs and two that check them and the line's number; so a sign that was misread is found in its line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from pomnit.errors import UsageError

_SIGNS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ_AS = str.maketrans("OIL", "011")
_PART, _CHECK = 12, 2  # signs of a line
_VERSION = 1
_ID, _KEY, _SUM = 8, 32, 4  # bytes
_BYTES = 1 + _ID + _KEY + _SUM
_LINES = _BYTES * 8 // 5 // _PART
_LINE = re.compile(r"\s*(\d{1,2})[.):]?\s+([0-9A-Za-z][0-9A-Za-z \t-]*)$")
LARGEST = 65_536  # bytes of a file with a recovery key


def written(memory: str, root: bytes) -> str:
    """Gives the lines of a key, to be printed: "1  K7QX-9M2P-4TZ0-5C"."""
    body = bytes([_VERSION]) + bytes.fromhex(memory) + root
    body += hashlib.sha256(body).digest()[:_SUM]
    number, signs = int.from_bytes(body, "big"), ""
    for _ in range(_BYTES * 8 // 5):
        number, last = divmod(number, 32)
        signs = _SIGNS[last] + signs
    parts = [signs[at : at + _PART] for at in range(0, len(signs), _PART)]
    return "".join(f"{i}  {'-'.join(_groups(part + _check(i, part)))}\n" for i, part in enumerate(parts, 1))


def read(text: str) -> tuple[str, bytes]:
    """Gives the memory's id and its key from text that holds the lines, whatever else stands in it.

    Raises:
        UsageError: lines are missing, or one is not as it was written. What it holds is not shown.
    """
    found = dict(_lines(text))
    for number in range(1, _LINES + 1):
        if number not in found:
            raise UsageError(f"this is no recovery key of Pomnit: line {number} of its {_LINES} is missing")
        part, check = found[number][:_PART], found[number][_PART:]
        if len(part) != _PART or check != _check(number, part):
            raise UsageError(f"line {number} of the recovery key is not as it was written; compare it with the paper")
    value = 0
    for sign in "".join(found[number][:_PART] for number in range(1, _LINES + 1)):
        value = value * 32 + _SIGNS.index(sign)
    body = value.to_bytes(_BYTES, "big")
    if body[0] != _VERSION or hashlib.sha256(body[:-_SUM]).digest()[:_SUM] != body[-_SUM:]:
        raise UsageError("the lines of the recovery key are not all of one key; compare them with the paper")
    return body[1 : 1 + _ID].hex(), body[1 + _ID : 1 + _ID + _KEY]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for line in text.splitlines():
        if found := _LINE.fullmatch(line):
            signs = re.sub(r"[\s-]", "", found[2]).upper().translate(_READ_AS)
            if not set(signs) - set(_SIGNS):
                yield int(found[1]), signs


def _groups(signs: str) -> list[str]:
    return [signs[at : at + 4] for at in range(0, len(signs), 4)]


def _check(number: int, part: str) -> str:
    first, second = hashlib.sha256(f"{number} {part}".encode()).digest()[:2]
    return _SIGNS[first % 32] + _SIGNS[second % 32]

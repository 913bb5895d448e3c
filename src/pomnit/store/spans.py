"""The places of a passage's words, packed: compressed JSON, a row of start, length and place for each word."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

from pomnit.records import Place
from pomnit.text.split import Span

_BOX_UNITS = 20_000  # boxes are stored as whole numbers of this: a quarter of a pixel of a 5K screen

Range = tuple[int, int]


def pack(spans: Sequence[Span]) -> bytes:
    """Gives spans as bytes."""
    rows = []
    for span in spans:
        p = span.place
        box = [round(v * _BOX_UNITS) for v in p.box] if p.box else None
        row: list[Any] = [span.start, span.end - span.start, box, p.page, p.line, p.start_s, p.end_s, p.sheet]
        while row[-1] is None:
            row.pop()
        rows.append(row)
    return zlib.compress(json.dumps(rows, separators=(",", ":")).encode())


def unpack(packed: bytes, ranges: Sequence[Range] | None = None) -> list[Span]:
    """Gives back what ``pack`` packed, boxes to 1/20000; with ``ranges`` (in order, apart) only what touches them."""
    rows = json.loads(zlib.decompress(packed))
    if ranges is None:
        return [_span(row) for row in rows]
    found, i = [], 0
    for row in rows:
        start, end = row[0], row[0] + row[1]
        while i < len(ranges) and ranges[i][1] <= start:
            i += 1
        if i < len(ranges) and ranges[i][0] < end:
            found.append(_span(row))
    return found


def _span(row: list[Any]) -> Span:
    start, length, box, page, line, start_s, end_s, sheet = row + [None] * (8 - len(row))
    where = tuple(v / _BOX_UNITS for v in box) if box else None
    return Span(start, start + length, Place(page, line, where, start_s, end_s, sheet))

"""Passages: a text cut once, the same for every encoder, at natural borders, with the place of every word kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pomnit.records import Place

TARGET = 800  # characters of a passage: about what all-MiniLM-L6-v2 reads of English (256 tokens)
LONGEST = 1000  # a passage grows to this when its natural border comes a little later

# Borders from the strongest to the weakest; a passage ends at the strongest one in its last half.
_BORDERS = (
    re.compile(r"\n\s*\n"),
    re.compile(r"(?<=[.!?…])[\"»”)\]]*\n"),
    re.compile(r"(?<=[.!?…])[\"»”)\]]*\s+(?=[«“\"(]?[A-ZА-ЯЁ0-9])"),
    re.compile(r"\n"),
    re.compile(r"(?<=[;:,])\s+"),
    re.compile(r"\s+"),
)


@dataclass(frozen=True, slots=True)
class Span:
    """The place of the characters ``start`` to ``end`` of a text."""

    start: int
    end: int
    place: Place


@dataclass(frozen=True, slots=True)
class PlacedText:
    """A text and where its parts lie in the item. Spans are in order and do not overlap."""

    text: str
    spans: Sequence[Span] = field(default=())


def split(placed: PlacedText) -> list[PlacedText]:
    """Gives the passages of a text, each at most ``LONGEST`` characters, together every word of it once."""
    text, passages, start, first = placed.text, [], 0, 0
    while start < len(text):
        end = _border(text, start)
        piece = text[start:end].strip()
        if piece:
            at = start + (len(text[start:end]) - len(text[start:end].lstrip()))
            first = _skip(placed.spans, first, at)
            passages.append(PlacedText(piece, _shift(placed.spans, first, at, at + len(piece))))
        start = end
    return passages


def _border(text: str, start: int) -> int:
    """Gives where the passage that begins at ``start`` ends: the best border from half the target to the longest."""
    if len(text) - start <= LONGEST:
        return len(text)
    low, high = start + TARGET // 2, start + LONGEST
    for border in _BORDERS:
        ends = [m.end() for m in border.finditer(text, low, high)]
        if ends:
            return min(ends, key=lambda end: abs(end - (start + TARGET)))
    return high


def _skip(spans: Sequence[Span], first: int, start: int) -> int:
    while first < len(spans) and spans[first].end <= start:
        first += 1
    return first


def _shift(spans: Sequence[Span], first: int, start: int, end: int) -> list[Span]:
    """Gives the spans inside ``start`` to ``end``, counted from ``start``."""
    inside = []
    for at in range(first, len(spans)):
        span = spans[at]
        if span.start >= end:
            break
        inside.append(Span(max(span.start, start) - start, min(span.end, end) - start, span.place))
    return inside


def places(spans: Iterable[Span]) -> tuple[Place, ...]:
    """Gives the places of ``spans``, neighbours on one line joined into one box."""
    joined: list[Place] = []
    for span in spans:
        place = span.place
        if joined and (whole := _join(joined[-1], place)):
            joined[-1] = whole
        else:
            joined.append(place)
    return tuple(joined)


def _join(a: Place, b: Place) -> Place | None:
    """Gives one place for two on the same line or in touching time, None when they lie apart."""
    if a == b:
        return a
    if a.box and b.box and a.page == b.page:
        top, bottom = max(a.box[1], b.box[1]), min(a.box[3], b.box[3])
        height = min(a.box[3] - a.box[1], b.box[3] - b.box[1])
        gap = b.box[0] - a.box[2]
        if bottom - top > height / 2 and -0.005 < gap < 0.02 + height:
            x0, y0 = min(a.box[0], b.box[0]), min(a.box[1], b.box[1])
            x1, y1 = max(a.box[2], b.box[2]), max(a.box[3], b.box[3])
            return Place(page=a.page, box=(x0, y0, x1, y1))
    if a.end_s is not None and b.start_s is not None and b.start_s - a.end_s < 1.0 and a.page == b.page:
        return Place(start_s=a.start_s, end_s=b.end_s)
    return None

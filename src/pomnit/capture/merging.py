"""The words of one frame, made of those known before and those read in its changed regions.

A word whose pixels did not change keeps its reading, so a second reading of the same line brings no noise; a word that
holds a changed pixel is replaced by what is read there now.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pomnit.capture.difference import Change
from pomnit.capture.frames import Pixels, common
from pomnit.engines.protocols import Line, Word
from pomnit.engines.reading_order import blocks
from pomnit.records import Box

Size = tuple[int, int]

OVERLAP = 0.3  # of the smaller box, from which on two words are at one place
LEVEL = 0.5  # of the lower one's height that two pieces of one line share
TALL = 2.2  # heights of a word: a line that is taller is none
LEGIBLE = 0.8  # of a word's height must be in sight for it to be read
GAP = 1.5  # heights between two pieces of one line, at most


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a frame before anything of it is read."""

    lines: tuple[Line, ...]
    cut: tuple[Pixels, ...]  # where a word was scrolled half out of sight: what is left of it is to be read
    whole: tuple[Pixels, ...]  # around the lines as they were, those that hold anything new too


def pixels(box: Box, size: Size) -> Pixels:
    """Gives the whole pixels that a box in fractions covers."""
    (x0, y0, x1, y1), (width, height) = box, size
    return (math.floor(x0 * width + 0.01), math.floor(y0 * height + 0.01),
            math.ceil(x1 * width - 0.01), math.ceil(y1 * height - 0.01))  # fmt: skip


def box_of_words(words: Iterable[Word]) -> Box:
    """Gives the box around words."""
    x0, y0, x1, y1 = zip(*(word.box for word in words), strict=True)
    return min(x0), min(y0), max(x1), max(y1)


# --- what stays -------------------------------------------------------------------------------------------------


def keep(lines: Sequence[Line], change: Change, size: Size) -> Kept:
    """Gives the words that are still there, those that were scrolled at their new places."""
    kept: list[Line] = []
    whole: list[Pixels] = []
    for line in lines:
        words = tuple(word for word in line.words if change.stays(pixels(word.box, size)))
        if words:
            kept.append(Line(words, line.block))
        if words or not change.dy:
            whole += _row(line.words, size)
    if not change.dy:
        return Kept(tuple(kept), (), tuple(whole))
    taken = [pixels(word.box, size) for line in kept for word in line.words]
    cut: list[Pixels] = []
    for line in lines:
        moved = [_moved(word, change.dy / size[1]) for word in line.words]
        came: list[Word] = []
        for old, new in zip(line.words, moved, strict=True):
            place = pixels(new.box, size)
            seen = common(place, (0, 0, *size))
            if seen is None or change.stays(seen):  # out of sight, or behind what did not move
                continue
            if seen != place or not change.came(place):
                legible = change.rows_that_came(seen) >= LEGIBLE * (place[3] - place[1])
                cut += [seen] if legible and not change.stays(pixels(old.box, size)) else []
            elif not any(_same_place(place, other) for other in taken):
                came.append(new)
        if came:
            kept.append(Line(tuple(came), line.block))
            whole += [part for row in _row(moved, size) if (part := common(row, (0, 0, *size)))]
    return Kept(tuple(kept), tuple(cut), tuple(whole))


def _row(words: Sequence[Word], size: Size) -> list[Pixels]:
    """Gives the box around the words of a line; none when they stand one below the other, as icons may be read."""
    box = pixels(box_of_words(words), size)
    heights = sorted((word.box[3] - word.box[1]) * size[1] for word in words)
    return [box] if box[3] - box[1] <= TALL * heights[len(heights) // 2] else []


def _moved(word: Word, dy: float) -> Word:
    x0, y0, x1, y1 = word.box
    return Word(word.text, (x0, y0 + dy, x1, y1 + dy), word.confidence)


def _same_place(one: Pixels, other: Pixels) -> bool:
    shared = common(one, other)
    return shared is not None and _area(shared) > OVERLAP * min(_area(one), _area(other))


def _area(box: Pixels) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


# --- what comes -------------------------------------------------------------------------------------------------


def merge(kept: Sequence[Line], read: Sequence[Line], change: Change, size: Size) -> list[Line]:
    """Gives the kept lines and those that were read, in reading order, as one page.

    Where both have words, those that were read count if they hold anything new; so no word is there twice.
    """
    known = [(pixels(word.box, size), word) for line in kept for word in line.words]
    at_places = [(pixels(word.box, size), word) for line in read for word in line.words]
    gone: set[int] = set()
    unsure: list[tuple[Word, list[Word]]] = []
    for place, word in at_places:
        there = [old for other, old in known if _same_place(place, other)]
        if change.is_new(place):
            gone.update(map(id, there))
        elif there:
            unsure.append((word, there))
    dropped = {id(word) for word, there in unsure if any(id(old) not in gone for old in there)}
    rows = [list(words) for words in _without(kept, gone)]
    for words in _without(read, dropped):
        _join(rows, list(words), size)
    return in_order(rows, size)


def _without(lines: Sequence[Line], gone: set[int]) -> list[list[Word]]:
    left = ([word for word in line.words if id(word) not in gone] for line in lines)
    return [words for words in left if words]


def _join(rows: list[list[Word]], words: list[Word], size: Size) -> None:
    """Puts the words of one line to those of the row that they stand in, or makes them a row of their own."""
    boxes = [pixels(word.box, size) for word in words]
    box = pixels(box_of_words(words), size)
    near: list[tuple[int, int]] = []
    for i, row in enumerate(rows):
        other = pixels(box_of_words(row), size)
        low = min(box[3] - box[1], other[3] - other[1])
        if min(box[3], other[3]) - max(box[1], other[1]) <= LEVEL * low:
            continue
        gap = min(max(a[0], b[0]) - min(a[2], b[2]) for a in boxes for b in (pixels(word.box, size) for word in row))
        if gap <= GAP * low:
            near.append((gap, i))
    if near:
        row = rows[min(near)[1]]
        row.extend(words)
        row.sort(key=lambda word: word.box[0])
    else:
        rows.append(words)


def in_order(rows: Sequence[Sequence[Word]], size: Size) -> list[Line]:
    """Gives rows of words as lines in reading order, their blocks numbered anew."""
    boxes = [box_of_words(row) for row in rows]
    return [Line(tuple(rows[i]), number) for number, block in enumerate(blocks(boxes, size)) for i in block]

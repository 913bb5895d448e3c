"""Which parts of a frame are read when only something of it is new, and how: whole lines, as pictures of their own.

An engine decides by the size of a picture what a letter's size may be, and by what stands around a letter what is
paper. So a part of a large frame is laid on a sheet that is large as well, and every part gets a plain border.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pomnit.capture.frames import Pixels, common
from pomnit.engines import flatten
from pomnit.engines.protocols import Line, Word

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Lengths in pixels of a 1x screen; a 2x one has twice as many.
BORDER = 24  # plain, around a part: an engine takes what touches the edge for the edge
ROWS = 24  # that a part grows by, above and below, until no letter is cut
COLUMNS = 80  # to its left and right
SPACE = 6  # empty columns end a word
MARGIN = 4  # empty rows that are taken along
CALL = 25_000  # pixels that are read in the time of starting to read: parts so near are read as one
MOST_PARTS = 60
CONTRAST = 24  # levels between neighbours, in a row that is not empty
FAINT = 12  # levels between the lightest and the darkest pixel where something is written
SLIVER = 0.5  # of a line's height: what is lower, and of no line that is known, is a rule, or cut by a pane's edge
MOST_READ = 0.5  # of a frame: more of it is read as a whole, with all around it


def unit_of(image: Image.Image) -> int:
    """Gives how many pixels a pixel of a 1x screen takes, by the measure that engines have: 1, 2, or more."""
    return flatten.cell_size(image) // 2


def parts(image: Image.Image, boxes: Sequence[Pixels], lines: Sequence[Pixels]) -> list[Pixels] | None:
    """Gives the parts of a frame to be read for all in ``boxes`` to be read, with whole ``lines``; None: all of it."""
    unit, grey = unit_of(image), np.asarray(image.convert("L"))
    grown = [_whole_lines(box, lines, unit) for box in boxes]
    grown = [box for box in grown if not _is_plain(grey, box)]
    together = _together(grown, CALL * unit**2)
    if together is None:
        return None
    least = SLIVER * float(np.median([y1 - y0 for _, y0, _, y1 in lines])) if lines else 0
    whole = [uncut for box in together if _high(uncut := _uncut(grey, box, unit), unit) >= least]
    together = _together(whole, CALL * unit**2)
    if together is None or sum(map(_area, together)) > MOST_READ * image.width * image.height:
        return None
    return together


def _high(part: Pixels, unit: int) -> int:
    """Gives how high what is written in a part may be, without its margins."""
    return part[3] - part[1] - 2 * MARGIN * unit


def _is_plain(grey: NDArray[np.uint8], box: Pixels) -> bool:
    """Says whether a box shows nothing at all, and is no spot that stands out."""
    part = grey[max(0, box[1] - 2) : box[3] + 2, max(0, box[0] - 2) : box[2] + 2]
    return int(part.max()) - int(part.min()) < FAINT


def _whole_lines(box: Pixels, lines: Sequence[Pixels], unit: int) -> Pixels:
    """Gives a box grown over the lines that it touches. What stands a letter beside a line may belong to it."""
    grown = box
    for line in lines:
        high = line[3] - line[1]
        beside = high if box[3] - box[1] < 3 * high else 2 * unit
        if common((box[0] - beside, box[1] - unit, box[2] + beside, box[3] + unit), line):
            grown = _around(grown, line)
    return grown


def _around(one: Pixels, other: Pixels) -> Pixels:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def _area(box: Pixels) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _together(boxes: Sequence[Pixels], call: int) -> list[Pixels] | None:
    """Gives the boxes, those made one that are read faster as one; None when they are too many."""
    left, done = list(dict.fromkeys(boxes)), list[Pixels]()
    if len(left) > 5 * MOST_PARTS:
        return None
    while left:
        box = left.pop()
        for i, other in enumerate(done):
            both = _around(box, other)
            if _area(both) <= _area(box) + _area(other) + call:
                del done[i]
                left.append(both)
                break
        else:
            done.append(box)
    return done if len(done) <= MOST_PARTS else None


def _uncut(grey: NDArray[np.uint8], box: Pixels, unit: int) -> Pixels:
    """Gives a box grown until its edges cut no letter and, when it is a line or two high, no word."""
    x0, y0, x1, y1 = box
    height, width = grey.shape
    if y1 - y0 < 3 * ROWS * unit:
        reach = COLUMNS * unit
        left = grey[y0:y1, max(0, x0 - reach) : x0 + 1].T[::-1]
        right = grey[y0:y1, x1 - 1 : x1 + reach].T
        x0, x1 = max(0, x0 - _to_space(left, SPACE * unit)), min(width, x1 + _to_space(right, SPACE * unit))
    reach = ROWS * unit
    above = grey[max(0, y0 - reach) : y0 + 1, x0:x1][::-1]
    below = grey[y1 - 1 : y1 + reach, x0:x1]
    return (x0, max(0, y0 - _to_space(above, MARGIN * unit)), x1, min(height, y1 + _to_space(below, MARGIN * unit)))


def _to_space(rows: NDArray[np.uint8], least: int) -> int:
    """Gives how many rows to go on from the first one to have ``least`` empty ones behind all that is written.

    Where as many do not come, it is those up to the widest space; where none comes, none.
    """
    steps = np.abs(np.diff(rows.astype(np.int16), axis=1)) > CONTRAST
    empty = steps.sum(axis=1) <= 2  # the edges of one upright rule
    best, end, run = 0, 0, 0
    for i in range(1, len(empty)):
        run = run + 1 if empty[i] else 0
        if run > best:
            best, end = run, i
        if run == least:
            break
    return end


def read_part(image: Image.Image, part: Pixels, recognise: Callable[[Image.Image], list[Line]]) -> list[Line]:
    """Gives the lines of a part of a frame, as fractions of the frame; words that lie outside it are left out."""
    unit = unit_of(image)
    x0, y0, x1, y1 = part
    sheet = _sheet(image.crop(part), BORDER * unit, _size_like(image))
    across, down = sheet.width / image.width, sheet.height / image.height
    left, top = (x0 - BORDER * unit) / image.width, (y0 - BORDER * unit) / image.height
    lines: list[Line] = []
    for line in recognise(sheet):
        words: list[Word] = []
        for word in line.words:
            a, b, c, d = word.box
            box = (left + a * across, top + b * down, left + c * across, top + d * down)
            x, y = (box[0] + box[2]) / 2 * image.width, (box[1] + box[3]) / 2 * image.height
            if x0 <= x < x1 and y0 <= y < y1:
                words.append(Word(word.text, (max(0.0, box[0]), max(0.0, box[1]), min(1.0, box[2]), min(1.0, box[3])),
                                  word.confidence))  # fmt: skip
        if words:
            lines.append(Line(tuple(words), line.block))
    return lines


def _size_like(image: Image.Image) -> int:
    """Gives the least length of a sheet on which an engine takes letters for as large as in the whole frame."""
    cell, length = flatten.cell_size(image), max(image.size)
    low, high = 1, length
    while low < high:  # a longer picture never has smaller cells
        middle = (low + high) // 2
        if flatten.cell_size(Image.new("1", (middle, 1))) < cell:
            low = middle + 1
        else:
            high = middle
    return low


def _sheet(part: Image.Image, border: int, least: int) -> Image.Image:
    """Gives a part with a border of the colour that its edges have, and as long as it must be."""
    pixels = np.asarray(part)
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    paper = tuple(int(level) for level in np.median(edges, axis=0))
    width, height = part.width + 2 * border, part.height + 2 * border
    sheet = Image.new("RGB", (max(width, least if height < least else 0), height), paper)
    sheet.paste(part, (border, border))
    return sheet

"""What an image shows beside the words read from it: lines passed over, big letters, signs of a poor reading."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps

from pomnit.engines.flatten import PLAIN_RUN, Bits, cell_size, difference, window
from pomnit.engines.protocols import Line
from pomnit.records import Box

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELL = 8  # pixels as Tesseract sees them; small letters are 14 to 20 high there
LONG_RUN = 24  # cells: about three words
MOST_UNREAD = 8

LEAST_CERTAIN = 0.88  # mean confidence; plain screens have 0.92 to 0.96
MOST_UNREAD_SHARE = 0.18  # cells that look like text and were not read, by those that were
MOST_GREY = 0.3  # share of pixels that are not paper: a photo or a dithered picture behind the text

Pixels = tuple[int, int, int, int]


def is_poor(page: NDArray[np.uint8], lines: Sequence[Line]) -> bool:
    """Says whether much of ``page`` (flattened: dark on white) may have been missed or misread."""
    words = [word for line in lines for word in line.words]
    letters = sum(len(word.text) for word in words)
    if sum(word.confidence * len(word.text) for word in words) < LEAST_CERTAIN * letters or has_picture(page):
        return True
    ink = _ink(page)
    rows, columns = ink.shape[0] // CELL, ink.shape[1] // CELL
    starts = np.zeros(ink.shape, np.bool_)
    starts[:, 1:] = ink[:, 1:] & ~ink[:, :-1]
    inked, strokes = (_in_cells(bits, rows, columns) for bits in (ink, starts))
    text = (inked > 0.04) & (inked < 0.8) & (strokes * CELL > 0.25)
    read = ~_without(np.ones_like(text), page.shape, [word.box for word in words])
    return bool((text & ~read).sum() > max(MOST_UNREAD_SHARE * (text & read).sum(), 12))


def has_picture(page: NDArray[np.uint8]) -> bool:
    """Says whether a photo or a dithered picture lies behind the text: little of the flattened page is white."""
    return bool((page[::3, ::3] < 245).mean() > MOST_GREY)


def second_page(rgb: Image.Image, size: tuple[int, int], picture: bool) -> Image.Image:
    """Gives an image for the second reading, which finds its own threshold: grey, dark on light for the most part.

    It fails at other places than the flattened one: it loses coloured cards, and keeps what flattening takes for paper.
    With a ``picture`` behind the text, the grain of a 2x screen is smoothed: its dither has cells of two pixels.
    """
    if picture and cell_size(rgb) > 2:
        rgb = rgb.filter(ImageFilter.GaussianBlur(cell_size(rgb) / 2))
    grey = rgb.convert("L")
    if np.median(np.asarray(grey)[::4, ::4]) < 128:
        grey = ImageChops.invert(grey)
    return grey if grey.size == size else grey.resize(size, Image.Resampling.BICUBIC)


def _ink(page: NDArray[np.uint8]) -> Bits:
    height, width = page.shape
    return page[: height // CELL * CELL, : width // CELL * CELL] < 160


def _in_cells(bits: Bits, rows: int, columns: int) -> NDArray[np.float64]:
    """Gives the share of set bits in each cell. Rows first: both axes at once take ten times as long."""
    by_row = bits.view(np.uint8).reshape(rows, CELL, columns * CELL).sum(axis=1, dtype=np.uint8)
    return np.asarray(by_row.reshape(rows, columns, CELL).sum(axis=2, dtype=np.uint8) / CELL**2)


def _without(cells: Bits, shape: tuple[int, ...], boxes: Sequence[Box]) -> Bits:
    """Gives ``cells`` with those under ``boxes``, and one around, made False."""
    height, width = shape
    for x0, y0, x1, y1 in boxes:
        cells[max(0, int(y0 * height) // CELL - 1) : int(y1 * height) // CELL + 2,
              max(0, int(x0 * width) // CELL - 1) : int(x1 * width) // CELL + 2] = False  # fmt: skip
    return cells


def unread_lines(page: NDArray[np.uint8], boxes: Sequence[Box]) -> list[Pixels]:
    """Gives the places in ``page`` (dark on white) that look like a line of text and lie under none of ``boxes``.

    Tesseract's search for lines now and then leaves out a whole line in the middle of a paragraph. At most
    MOST_UNREAD are given: a picture may look like many lines.
    """
    ink = _ink(page)
    rows, columns = ink.shape[0] // CELL, ink.shape[1] // CELL
    by_row = np.logical_or.reduce(ink.reshape(rows, CELL, columns * CELL), axis=1)
    cells = _without(np.asarray(by_row.reshape(rows, columns, CELL).any(axis=2)), page.shape, boxes)
    gap = 5  # cells: the spaces between words are closed
    cells = window(window(cells, gap, operator.or_, gap - 1), gap, operator.and_)
    return [place for place in _stacked_runs(cells) if _looks_like_text(ink, place)][:MOST_UNREAD]


def _stacked_runs(cells: Bits) -> list[Pixels]:
    """Gives boxes in pixels, with some margin, around the long runs of cells that lie one below the other."""
    edges = np.diff(np.pad(cells, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)
    long = ends[:, 1] - starts[:, 1] >= LONG_RUN
    stacks: list[Pixels] = []
    for (y, x0), (_, x1) in zip(starts[long].tolist(), ends[long].tolist(), strict=True):
        above = next((box for box in stacks if box[3] == y and box[0] < x1 and x0 < box[2]), None)
        if above is None:
            stacks.append((x0, y, x1, y + 1))
            continue
        stacks[stacks.index(above)] = (min(above[0], x0), above[1], max(above[2], x1), y + 1)
    boxes = [box for box in stacks if 2 <= box[3] - box[1] <= 10]
    rows, columns = cells.shape
    grown = [(max(0, x0 - 1), max(0, y0 - 1), min(columns, x1 + 1), min(rows, y1 + 1)) for x0, y0, x1, y1 in boxes]
    return [(x0 * CELL, y0 * CELL, x1 * CELL, y1 * CELL) for x0, y0, x1, y1 in grown]


def _looks_like_text(ink: Bits, place: Pixels) -> bool:
    x0, y0, x1, y1 = place
    part = ink[y0:y1, x0:x1]
    strokes = int((part[:, 1:] & ~part[:, :-1]).sum(axis=1).max())  # in the row that has most
    return 0.05 < float(part.mean()) < 0.5 and strokes * 2 * CELL > x1 - x0  # rules and frames have few


def big_line(rgb: Image.Image, line: Line) -> tuple[Image.Image, Box] | None:
    """Gives a line of big letters, prepared by its difference from the commonest colour, and its box; else None."""
    x0, y0, x1, y1 = (min(word.box[0] for word in line.words), min(word.box[1] for word in line.words),
                      max(word.box[2] for word in line.words), max(word.box[3] for word in line.words))  # fmt: skip
    height = (y1 - y0) * rgb.height
    if height < PLAIN_RUN * cell_size(rgb) * 0.8:
        return None
    beside, above = 0.6 * height, 0.35 * height  # a broken letter at either end may have been left out
    left, top = max(0, int(x0 * rgb.width - beside)), max(0, int(y0 * rgb.height - above))
    right, bottom = min(rgb.width, int(x1 * rgb.width + beside)), min(rgb.height, int(y1 * rgb.height + above))
    part = rgb.crop((left, top, right, bottom))
    paper = tuple(int(level) for level in np.median(np.asarray(part).reshape(-1, 3), axis=0))
    ink = ImageOps.autocontrast(difference(part, Image.new("RGB", part.size, paper)))
    shrink = 60 / height
    ink = ink.resize((max(1, round(ink.width * shrink)), max(1, round(ink.height * shrink))), Image.Resampling.BICUBIC)
    box = left / rgb.width, top / rgb.height, right / rgb.width, bottom / rgb.height
    return ImageChops.invert(ink), box

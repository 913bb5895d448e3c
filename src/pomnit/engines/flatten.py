"""Screens made easy for engines that were made for paper: grey, dark text on white, at a readable size.

Every pixel becomes its difference from the background around it, so light and dark themes and cards of any colour look
the same; faint text is made stronger, small text is enlarged.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

MOST_PIXELS = 40_000_000  # of an image as the engine sees it: 40 MB there, and some copies of that
PLAIN_RUN = 20  # cells: 40 px of a 1x screen. Wider than the bars of most headings, narrower than most buttons
REACH = 40  # cells: how far a plain run speaks for its column, above and below; covers headings of 120 px
SAME = 3  # levels: gradients pass, the edges of letters do not
SMALLEST_LETTER = 5  # pixels

Bits = NDArray[np.bool_]


def prepare(rgb: Image.Image) -> Image.Image | None:
    """Gives an RGB image as Tesseract reads it best: grey, dark text on white, small text enlarged; None without text.

    It keeps the image's proportions, so fractions of it are fractions of the image.
    """
    if min(rgb.size) < SMALLEST_LETTER:
        return None
    step = cell_size(rgb)
    ink = _strengthen(difference(rgb, local_background(rgb, step)), 4 * step)
    heights = text_heights(ink)
    if not len(heights):
        return None
    # The smaller text decides: 7 to 10 px on a 1x screen, 14 and more on a 2x one (measured on 90 screens).
    if np.percentile(heights, 25) < 12:
        scale = min(2.0, math.sqrt(MOST_PIXELS / (ink.width * ink.height)))
        ink = ink.resize((round(ink.width * scale), round(ink.height * scale)), Image.Resampling.BICUBIC)
    return ImageChops.invert(ink)


def bounded(rgb: Image.Image) -> Image.Image:
    """Gives an image of at most MOST_PIXELS: larger ones (photos, never a screen) are reduced by a whole number."""
    pixels = rgb.width * rgb.height
    return rgb.reduce(math.ceil(math.sqrt(pixels / MOST_PIXELS))) if pixels > MOST_PIXELS else rgb


def cell_size(rgb: Image.Image) -> int:
    """Gives how many pixels one cell of the background covers: 2 for a 1x screen, 4 for a 2x one."""
    longest = max(rgb.size)
    return 2 if longest <= 2200 else max(4, longest // 1500)


def to_rgb(image: Image.Image) -> Image.Image:
    """Gives an image of any mode as RGB; what is transparent becomes white behind dark ink, black behind light ink."""
    if image.mode.startswith("I") or image.mode == "F":  # 16 or 32 bits: Pillow would clip them, not scale them
        values = np.nan_to_num(np.asarray(image).astype(np.float32))
        low, high = float(values.min()), float(values.max())
        return Image.fromarray(((values - low) * (255 / max(high - low, 1.0))).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    sample = rgba.resize((min(1000, rgba.width), min(1000, rgba.height)), Image.Resampling.NEAREST)
    grey, alpha = np.asarray(sample.convert("L")), np.asarray(sample.getchannel("A"))
    light = bool(alpha.any()) and np.average(grey, weights=alpha) > 127
    paper = Image.new("RGBA", rgba.size, "black" if light else "white")
    return Image.alpha_composite(paper, rgba).convert("RGB")


def local_background(rgb: Image.Image, step: int) -> Image.Image:
    """Gives the colour behind the text at every ``step``-th pixel of an RGB image.

    Between lines, and above and below any word on a button, run stretches of one colour, longer than the bars of
    letters. They are the background; every other pixel takes the colour of the nearest one in its column. A window
    around each pixel (a median) needs a size instead: it takes big letters for background, or small buttons for ink.
    Where no plain stretch is near (photos), the median it is.
    """
    small = rgb.resize((max(1, rgb.width // step), max(1, rgb.height // step)), Image.Resampling.NEAREST)
    plain = _plain(small)
    nearest, distance = _nearest_in_column(plain)
    colours = np.asarray(small.convert("RGBX")).copy().view(np.uint32)[..., 0]  # a pixel as one number: one gather
    background = np.take_along_axis(colours, nearest, axis=0)
    far = distance > REACH
    if far.any():
        tiny = small.resize((max(1, small.width // 2), max(1, small.height // 2)), Image.Resampling.NEAREST)
        median = tiny.filter(ImageFilter.MedianFilter(5)).resize(small.size, Image.Resampling.NEAREST)
        background[far] = np.asarray(median.convert("RGBX")).copy().view(np.uint32)[..., 0][far]
    return Image.fromarray(background[..., None].view(np.uint8)[..., :3].copy())


def _plain(small: Image.Image) -> Bits:
    """Says of each pixel whether it lies in a stretch of one colour, PLAIN_RUN wide and two high."""
    right = _like_neighbour(small, -1, 0)[:, :-1]
    below = _like_neighbour(small, 0, -1)[:-1]
    plain = np.zeros((small.height, small.width), dtype=np.bool_)
    if small.width <= PLAIN_RUN:
        return plain
    runs = window(window(right, PLAIN_RUN, operator.and_), PLAIN_RUN, operator.or_, PLAIN_RUN - 1)
    runs = np.pad(runs, ((0, 0), (0, 1)), mode="edge")  # from links between pixels to pixels
    pairs = runs[1:] & runs[:-1] & below
    plain[1:] |= pairs
    plain[:-1] |= pairs
    return plain


def _like_neighbour(small: Image.Image, dx: int, dy: int) -> Bits:
    return np.asarray(difference(small, ImageChops.offset(small, dx, dy))) <= SAME


def window(bits: Bits, width: int, join: Callable[[Bits, Bits], Bits], pad: int = 0) -> Bits:
    """Gives ``join`` over each ``width`` neighbours of a row, by doubling: five steps for twenty."""
    out, have = np.pad(bits, ((0, 0), (pad, pad))), 1
    while have < width:
        more = min(have, width - have)
        out, have = join(out[:, :-more], out[:, more:]), have + more
    return out


def _nearest_in_column(marked: Bits) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Gives for each cell the row of the nearest marked cell of its column, and how many rows away it is."""
    height = marked.shape[0]
    none = 2 * height + 2 * REACH  # farther than anything
    rows = np.arange(height, dtype=np.int32)[:, None]
    above = np.maximum.accumulate(np.where(marked, rows, np.int32(-none)), axis=0)
    below = np.minimum.accumulate(np.where(marked, rows, np.int32(none))[::-1], axis=0)[::-1]
    nearest = np.where(rows - above <= below - rows, above, below)
    return np.clip(nearest, 0, height - 1).astype(np.intp), np.abs(nearest - rows)


def difference(one: Image.Image, other: Image.Image) -> Image.Image:
    """Gives the largest difference over the channels of two RGB images, the other enlarged to the first, as grey."""
    if other.size != one.size:
        other = other.resize(one.size, Image.Resampling.NEAREST)
    red, green, blue = ImageChops.difference(one, other).split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)


def _strengthen(ink: Image.Image, cell: int) -> Image.Image:
    """Gives faint ink more contrast, up to 3.5 times, by the strongest ink within a ``cell`` of pixels around.

    One page-wide threshold inside Tesseract loses pale text beside black text. A curve over the whole image
    (gamma) finds it too, but thickens the letters: recall of the other text falls.
    """
    page = np.asarray(ink)
    height, width = page.shape
    rows, columns = -(-height // cell), -(-width // cell)
    padded = np.zeros((rows * cell, columns * cell), np.uint8)
    padded[:height, :width] = page
    strongest = Image.fromarray(padded.reshape(rows, cell, columns, cell).max(axis=(1, 3)))
    unit = 64  # a gain of 1
    gains = strongest.filter(ImageFilter.MaxFilter(3)).point(
        [round(unit * (255 / max(32, v)) ** 0.6) for v in range(256)]
    )
    gain = np.asarray(gains.resize((columns * cell, rows * cell), Image.Resampling.BILINEAR))[:height, :width]
    stronger = page.astype(np.uint16) * gain // unit
    return Image.fromarray(np.minimum(stronger, 255).astype(np.uint8))


def text_heights(ink: Image.Image) -> NDArray[np.intp]:
    """Gives the heights in pixels of the pieces of lines of text: runs of rows with ink in strips 32 px wide."""
    page = np.asarray(ink) > 96
    height, width = page.shape
    strips = max(1, width // 32)
    across = width // strips
    rows = page[:, : strips * across].reshape(height, strips, across).any(axis=2)
    edges = np.diff(np.pad(rows, ((1, 1), (0, 0))).astype(np.int8).T, axis=1)
    heights = np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1]
    return heights[heights >= SMALLEST_LETTER]

"""Words drawn as blocks of ink that a few lines of code read: a recogniser for tests of what is read where."""

import numpy as np
from PIL import Image, ImageDraw

from pomnit.engines.protocols import Line, Word

HIGH, BAR, BITS = 12, 3, 12  # pixels of a word's height, of one bit's width; a word is as long as 6 letters
WIDE = BAR * BITS
PITCH = 20  # from line to line
STEP = WIDE + 12  # from word to word
GAP = 8  # blank columns between two words


def draw(image: Image.Image, x: int, y: int, words: list[int], ink: str = "black") -> None:
    """Writes a line of numbers from 1 to 4095, its top left at x, y."""
    pen = ImageDraw.Draw(image)
    for i, number in enumerate(words):
        for bit in range(BITS):
            left, top = x + i * STEP + bit * BAR, y if number >> bit & 1 else y + HIGH // 2
            pen.rectangle((left, top, left + BAR - 1, y + HIGH - 1), ink)


def name(number: int) -> str:
    """Gives how a number is read."""
    return f"word{number}"


def read(image: Image.Image) -> list[Line]:
    """Gives the lines of a picture. What is cut reads as "cut", as a real engine would guess; tiny specks do not."""
    grey = np.asarray(image.convert("L")).astype(np.int16)
    levels, counts = np.unique(grey, return_counts=True)
    ink = np.abs(grey - levels[counts.argmax()]) > 60
    rows: dict[int, list[Word]] = {}
    for x0, y0, x1, y1 in _blocks(ink, 0, 0):
        if x1 - x0 < 4 or y1 - y0 < 4:
            continue
        box = (x0 / image.width, y0 / image.height, x1 / image.width, y1 / image.height)
        text = _decoded(ink[y0:y1, x0:x1])
        rows.setdefault(y1, []).append(Word(text, box, 0.3 if text == "cut" else 0.9))
    lines = sorted(rows.items())
    return [Line(tuple(sorted(words, key=lambda word: word.box[0])), i) for i, (_, words) in enumerate(lines)]


def _blocks(ink: np.ndarray, left: int, top: int) -> list[tuple[int, int, int, int]]:
    """Gives the boxes of what stands apart, by cutting rows and columns in turn."""
    across = _runs(ink.any(axis=1), 1)
    down = _runs(ink.any(axis=0), GAP)
    if len(across) == 1 and len(down) == 1:
        (y0, y1), (x0, x1) = across[0], down[0]
        return [(left + x0, top + y0, left + x1, top + y1)]
    found = []
    if len(down) > 1:
        for x0, x1 in down:
            found += _blocks(ink[:, x0:x1], left + x0, top)
    else:
        for y0, y1 in across:
            found += _blocks(ink[y0:y1], left, top + y0)
    return found


def _runs(any_ink: np.ndarray, gap: int) -> list[tuple[int, int]]:
    at = np.flatnonzero(any_ink)
    if not len(at):
        return []
    ends = np.flatnonzero(np.diff(at) > gap)
    starts = [int(at[0]), *(int(at[i + 1]) for i in ends)]
    return list(zip(starts, [*(int(at[i]) + 1 for i in ends), int(at[-1]) + 1], strict=True))


def _decoded(block: np.ndarray) -> str:
    if block.shape != (HIGH, WIDE):
        return "cut"
    bars = block.reshape(HIGH, BITS, BAR)
    if not bars[HIGH // 2 :].all() or (bars[: HIGH // 2].any(axis=(0, 2)) != bars[: HIGH // 2].all(axis=(0, 2))).any():
        return "cut"
    return name(sum(1 << bit for bit in range(BITS) if bars[0, bit].all()))

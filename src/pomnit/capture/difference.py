"""What changed between two pictures of one screen: nothing, some regions, what a scroll brought in, or all of it.

Pixels are compared in tiles. What was scrolled is not new, only what came in is. Which areas do not count, because they
keep changing, is somebody else's to say (see ``restless``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from pomnit.capture.frames import Pixels
from pomnit.capture.scrolling import Levels, distances, shifted_levels
from pomnit.engines import flatten

TILE = 16  # pixels
NOISE = 6  # levels of a channel: dithering and a lamp that dims pass, no letter does
MOST_NEW = 0.6  # of all tiles: from here on it is another picture
SCROLLED_TILES = 40  # that must have changed before a scroll is looked for: less is read as fast as searched
EXPLAINED = 0.2  # of the changed tiles that have letters: what explains less is no scroll
EXPLAINED_BLURRED = 0.4  # of all changed tiles, where half a pixel is no difference: softness may look like it
INK = 40  # levels between a pixel and the one below, in a tile with letters; soft pictures agree with any scroll

Bits = NDArray[np.bool_]
Kind = Literal["same", "regions", "scroll", "all"]
Run = tuple[int, int, int]  # row, first column, the column after the last


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What one picture shows that another did not."""

    kind: Kind
    boxes: tuple[Pixels, ...]  # all that is new lies in them
    tiles: Bits  # those that hold something new, shape (rows, columns)
    dy: int = 0  # how far something was scrolled, downwards above 0
    still: Levels | None = None  # by how much each pixel differs from the one that was there; None: all of it is new
    moved: Levels | None = None  # from the one that was dy above

    @property
    def share(self) -> float:
        """Gives the share of the tiles that hold something new."""
        return float(self.tiles.mean())

    def stays(self, box: Pixels) -> bool:
        """Says whether all pixels of a box are as they were."""
        return self.still is not None and _quiet(_part(self.still, box))

    def came(self, box: Pixels) -> bool:
        """Says whether all pixels of a box are as they were ``dy`` above."""
        return self.moved is not None and _quiet(_part(self.moved, box))

    def rows_that_came(self, box: Pixels) -> int:
        """Gives how many rows of pixels of a box are as they were ``dy`` above: what is in sight of a word."""
        return 0 if self.moved is None else int((_part(self.moved, box).max(axis=1, initial=0) <= NOISE).sum())

    def is_new(self, box: Pixels) -> bool:
        """Says whether a box holds a pixel that neither stayed nor came by scrolling."""
        if self.still is None:
            return True
        part = _part(self.still, box)
        return not _quiet(part if self.moved is None else np.minimum(part, _part(self.moved, box)))


def _part(levels: Levels, box: Pixels) -> Levels:
    x0, y0, x1, y1 = (max(0, edge) for edge in box)
    return levels[y0:y1, x0:x1]


def _quiet(levels: Levels) -> bool:
    return int(levels.max(initial=0)) <= NOISE


def what_is_new(new: Bits, dy: int) -> Bits:  # noqa: ARG001 as difference() asks
    """Gives the tiles as they are: nothing is left out."""
    return new


def difference(before: Image.Image, now: Image.Image, wanted: Callable[[Bits, int], Bits] = what_is_new) -> Change:
    """Gives what ``now`` shows that ``before`` did not; both RGB.

    ``wanted`` is told the tiles that hold something new, and how far was scrolled, and gives those that count: fewer,
    where an area is left out, or more, where one is to be read after all. Pictures of two sizes have nothing in common.
    """
    if before.size != now.size:
        return Change("all", ((0, 0, *now.size),), np.ones(shape_of(now.size), np.bool_))
    if ImageChops.difference(before, now).getbbox() is None:  # most frames: several times as fast as what follows
        still = np.zeros((now.height, now.width), np.uint8)
    else:
        still = np.array(flatten.difference(now, before))
    new, moved, dy = strongest(still) > NOISE, None, 0
    if new.sum() >= SCROLLED_TILES:
        new, moved, dy = _scrolled(before, now, still, new)
    counting = wanted(new, dy)
    if counting.mean() > MOST_NEW:
        return Change("all", ((0, 0, *now.size),), counting)
    _paint(still, new & ~counting, 0)
    for levels in (still,) if moved is None else (still, moved):
        _paint(levels, counting & ~new, 255)
    unexplained = still if moved is None else np.minimum(still, moved)
    boxes = tuple(_tight(unexplained, box_of(area)) for area in areas(counting))
    kind: Kind = "scroll" if dy else "regions" if boxes else "same"
    return Change(kind, boxes, counting, dy, still, moved)


def _scrolled(before: Image.Image, now: Image.Image, still: Levels, changed: Bits) -> tuple[Bits, Levels | None, int]:
    """Gives the tiles that no scroll explains, the levels against what was scrolled, and how far; else 0 and no levels.

    A distance counts when the pixels agree with it in a good part of what changed and has letters.
    """
    left, top, right, bottom = box_of(_runs(changed))
    x0, y0, x1, y1 = left * TILE, top * TILE, min(right * TILE, now.width), min(bottom * TILE, now.height)
    old, new = before.crop((x0, y0, x1, y1)).convert("L"), now.crop((x0, y0, x1, y1)).convert("L")
    grey, part = np.asarray(new), changed[top:bottom, left:right]
    steps = np.abs(np.diff(grey.astype(np.int16), axis=0, append=grey[-1:])).astype(np.uint8)
    inked = part & (strongest(steps) > INK)
    for dy, exactly in distances(np.asarray(old), grey):
        moved = shifted_levels(old, new, dy, exactly=exactly)
        unexplained = part & (strongest(np.minimum(still[y0:y1, x0:x1], moved)) > NOISE)
        least = max(6, EXPLAINED * inked.sum()) if exactly else EXPLAINED_BLURRED * part.sum()
        if (inked & ~unexplained).sum() >= least:
            all_new, all_moved = changed.copy(), np.full(still.shape, 255, np.uint8)
            all_new[top:bottom, left:right], all_moved[y0:y1, x0:x1] = unexplained, moved
            return all_new, all_moved, dy
    return changed, None, 0


# --- tiles ------------------------------------------------------------------------------------------------------


def shape_of(size: tuple[int, int]) -> tuple[int, int]:
    """Gives how many rows and columns of tiles a picture of so many pixels (width, height) has."""
    return -(-size[1] // TILE), -(-size[0] // TILE)


def strongest(levels: Levels) -> Levels:
    """Gives the highest level of each tile. Rows first: both axes at once take several times as long."""
    height, width = levels.shape
    rows, columns = shape_of((width, height))
    if (rows * TILE, columns * TILE) != levels.shape:
        levels = np.pad(levels, ((0, rows * TILE - height), (0, columns * TILE - width)))
    by_row = levels.reshape(rows, TILE, columns * TILE).max(axis=1)
    return np.asarray(by_row.reshape(rows, columns, TILE).max(axis=2))


def _paint(levels: Levels, tiles: Bits, level: int) -> None:
    for y, x0, x1 in _runs(tiles):
        levels[y * TILE : (y + 1) * TILE, x0 * TILE : x1 * TILE] = level


def areas(tiles: Bits) -> list[list[Run]]:
    """Gives the runs of tiles of each area: tiles that touch, also by a corner, belong together."""
    runs = _runs(tiles)
    leader = list(range(len(runs)))

    def lead(i: int) -> int:
        while leader[i] != i:
            leader[i] = i = leader[leader[i]]
        return i

    above = 0
    for i, (row, x0, x1) in enumerate(runs):
        while runs[above][0] < row - 1:
            above += 1
        for j in range(above, i):
            if runs[j][0] == row:
                break
            if runs[j][1] <= x1 and x0 <= runs[j][2]:
                leader[lead(i)] = lead(j)
    found: dict[int, list[Run]] = {}
    for i, run in enumerate(runs):
        found.setdefault(lead(i), []).append(run)
    return list(found.values())


def _runs(tiles: Bits) -> list[Run]:
    edges = np.diff(np.pad(tiles, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)
    return [(y, x0, x1) for (y, x0), (_, x1) in zip(starts.tolist(), ends.tolist(), strict=True)]


def box_of(area: Sequence[Run]) -> Pixels:
    """Gives the box around an area, in tiles."""
    return (min(run[1] for run in area), min(run[0] for run in area),
            max(run[2] for run in area), max(run[0] for run in area) + 1)  # fmt: skip


def _tight(levels: Levels, tiles: Pixels) -> Pixels:
    """Gives the box in pixels around what is above the noise within a box of tiles."""
    x0, y0, x1, y1 = (edge * TILE for edge in tiles)
    loud = levels[y0:y1, x0:x1] > NOISE
    rows, columns = np.nonzero(loud.any(axis=1))[0], np.nonzero(loud.any(axis=0))[0]
    return x0 + int(columns[0]), y0 + int(rows[0]), x0 + int(columns[-1]) + 1, y0 + int(rows[-1]) + 1

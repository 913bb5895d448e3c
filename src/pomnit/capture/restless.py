"""Which areas of a screen keep changing, as a playing video does: they are left out, and read now and then.

An area of text that keeps changing is no such area: what scrolls by in a terminal may be looked for one day.
"""

from __future__ import annotations

import numpy as np

from pomnit.capture.difference import TILE, Bits, areas, box_of

FRAME_S = 2.0  # seconds between two frames of a screen that changes
FADE = 0.8  # of what is known of a tile stays from frame to frame, for as long as that
RESTLESS = 2.4  # a tile that changed three times in a row has 2.44
LEAST_SHARE = 0.02  # of all tiles: a clock or a cursor is read as fast as left out
MOST_WORDS = 0.2  # share of an area's tiles with words from which on it is text; subtitles fill a tenth of a video
CALM = 0.1  # share of its tiles that may still change when an area has come to rest
FIRST_WAIT, LONGEST_WAIT = 10, 80  # frames until an area is read all the same; each time it is twice as long


class Tiles:
    """What is known about the tiles of one screen, from one frame to the next."""

    def __init__(self, shape: tuple[int, int]) -> None:
        """``shape`` is the rows and columns of tiles."""
        self._changes = np.zeros(shape, np.float32)
        self._unread = np.zeros(shape, np.bool_)  # changed, and left out
        self._at = 0.0
        self._waited, self._wait = 0, FIRST_WAIT

    @property
    def unread(self) -> float:
        """Gives the share of the tiles that changed and were not read since."""
        return float(self._unread.mean())

    def wanted(self, new: Bits, dy: int, words: Bits, at: float) -> Bits:
        """Gives the tiles to be read, of a frame of time ``at``, in seconds.

        ``new`` are those that hold something new; ``words`` those on which words are known. After a scroll by ``dy``
        tiles show something else than before: all is forgotten, and nothing left out.
        """
        gap, self._at = at - self._at, at
        if dy:
            left, self._unread = self._unread, np.zeros_like(new)
            self._changes[:] = 0
            return new | _spread(left, dy)
        self._changes = np.asarray(self._changes * FADE ** max(1.0, gap / FRAME_S) + new, np.float32)
        self._waited += 1
        out = self._left_out(new, words)
        wanted = (new | self._unread) & ~out
        if out.any() and self._waited >= self._wait:
            wanted, out = wanted | out, np.zeros_like(out)
            self._waited, self._wait = 0, min(2 * self._wait, LONGEST_WAIT)
        elif not out.any():
            self._waited, self._wait = 0, FIRST_WAIT
        self._unread = out
        return wanted

    def read_all(self) -> None:
        """Says that the whole screen was read."""
        self._unread = np.zeros_like(self._unread)

    def _left_out(self, new: Bits, words: Bits) -> Bits:
        """Gives the tiles of areas that are restless now: changed, or left unread before."""
        out = np.zeros_like(new)
        for area in areas((self._changes >= RESTLESS) | self._unread):
            here = np.zeros_like(new)
            for y, x0, x1 in area:
                here[y, x0:x1] = True
            size = int(here.sum())
            if size < LEAST_SHARE * new.size or (here & new).sum() < CALM * size:
                continue
            if (here & words).sum() > MOST_WORDS * size:
                continue
            x0, y0, x1, y1 = box_of(area)
            if 2 * size > (x1 - x0) * (y1 - y0):  # parts of a video rest for a while
                here[y0:y1, x0:x1] = True
            out |= here & (new | self._unread)
        return out


def _spread(tiles: Bits, dy: int) -> Bits:
    """Gives the tiles, and those that they may have been scrolled to."""
    if not tiles.any():
        return tiles
    rows, step = np.nonzero(tiles)[0], abs(dy) // TILE + 1
    spread = tiles.copy()
    first, last = max(0, int(rows.min()) - step * (dy < 0)), int(rows.max()) + 1 + step * (dy > 0)
    spread[first:last, tiles.any(axis=0)] = True
    return spread

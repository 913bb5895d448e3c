"""How far what a screen shows was scrolled between two pictures of it: by whole pixels, or by parts of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

STRIPE = 64  # pixels: panes beside each other scroll on their own, so a row is known by its pieces
LEAST_ROWS = 8  # pieces of rows that must agree: a line of text has as many
LIKE = 0.5  # correlation of the strokes, row by row, from which on a scroll by parts of pixels is tried
HALF_PIXEL = 40  # levels, of 255: what it changes at an edge that is blurred over three pixels
SHARED = 0.15  # of the height: less than this has not stayed on the screen

Levels = NDArray[np.uint8]


def distances(before: Levels, now: Levels) -> Iterator[tuple[int, bool]]:
    """Gives how far may have been scrolled, in pixels, downwards above 0, and whether by whole pixels; likeliest first.

    Both are grey and of the same shape. None of them is sure before the pixels are compared.
    """
    if min(before.shape) < 2 * LEAST_ROWS:
        return
    for dy, exactly in ((_by_rows(before, now), True), (_by_strokes(before, now), False)):
        if dy:
            yield dy, exactly


def _by_rows(before: Levels, now: Levels) -> int:
    """Gives the distance at which most pieces of rows are found again as they were; 0 when too few are.

    Only pieces that changed and are there once tell something, with the piece above that they differ from: the rows of
    an upright stroke are all alike.
    """
    old, new = _pieces(before), _pieces(now)
    changed = old != new
    keys_old, rows_old = _once(old, changed)
    keys_new, rows_new = _once(new, changed)
    _, i, j = np.intersect1d(keys_old, keys_new, assume_unique=True, return_indices=True)
    height = before.shape[0]
    votes = np.bincount(rows_new[j] - rows_old[i] + height, minlength=2 * height)
    votes[height] = 0
    best = int(votes.argmax())
    return best - height if votes[best] >= LEAST_ROWS else 0


def _pieces(grey: Levels) -> NDArray[np.uint64]:
    """Gives a number for each piece of each row with the one above; 0 where they are the same. (height - 1, pieces)"""
    height, width = grey.shape
    wide = min(STRIPE, width // 8 * 8)
    count = width // wide
    words = np.ascontiguousarray(grey[:, : count * wide]).view(np.uint64).reshape(height, count, wide // 8)
    factors = np.random.default_rng(1).integers(1, 2**63, (count, wide // 8), np.uint64) | np.uint64(1)
    words = (words ^ (words >> np.uint64(29))) * factors
    rows = (words ^ (words >> np.uint64(32))).sum(axis=2, dtype=np.uint64)
    return np.asarray(
        np.where(rows[1:] == rows[:-1], np.uint64(0), rows[1:] * np.uint64(0x9E3779B97F4A7C15) + rows[:-1])
    )


def _once(keys: NDArray[np.uint64], told: NDArray[np.bool_]) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    told = told & (keys != 0)
    found, first, counts = np.unique(keys[told], return_index=True, return_counts=True)
    return found[counts == 1], np.nonzero(told)[0][first[counts == 1]]


def _by_strokes(before: Levels, now: Levels) -> int:
    """Gives the distance at which the amount of strokes in the rows is most alike; 0 when it is nowhere.

    A scroll by half a pixel blends each row with its neighbour: no row is as it was, but its strokes stay near.
    """
    old, new = _strokes(before), _strokes(now)
    height = len(old)
    size = 1 << (2 * height - 1).bit_length()
    products = np.fft.irfft(
        (np.fft.rfft(new, size, axis=0) * np.conj(np.fft.rfft(old, size, axis=0))).sum(axis=1), size
    )
    shifts = np.arange(-height + 1, height)
    shared = np.concatenate([_shared(old, new)[:0:-1], _shared(new, old)])  # upwards, then downwards from 0
    alike = products[shifts] / np.maximum(shared, 1e-6)
    alike[np.abs(shifts) > (1 - SHARED) * height] = 0
    alike[shared < SHARED * shared.max()] = 0
    alike[height - 1] = 0
    best = int(alike.argmax())
    return _nearest(before, now, int(shifts[best])) if alike[best] > LIKE else 0


def _nearest(before: Levels, now: Levels, about: int) -> int:
    """Gives the whole distance nearest to a scroll of ``about`` so much."""

    def apart(dy: int) -> float:
        old, new = (before[:-dy], now[dy:]) if dy > 0 else (before[-dy:], now[:dy])
        return float(np.abs(old.astype(np.int16) - new).mean())

    return min((dy for dy in (about - 1, about, about + 1) if dy), key=apart)


def _strokes(grey: Levels) -> NDArray[np.float64]:
    """Gives how much of each piece of each row is edges of letters, the mean of its column taken off."""
    edges = np.abs(np.diff(grey.astype(np.int16), axis=1))
    count = max(1, edges.shape[1] // STRIPE)
    wide = edges.shape[1] // count
    profile = edges[:, : count * wide].reshape(len(grey), count, wide).mean(axis=2)
    return np.asarray(profile - profile.mean(axis=0))


def _shared(later: NDArray[np.float64], earlier: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gives for each scroll downwards from 0 what the product would be if the rows that both have were the same."""
    below = (later**2).sum(axis=1)[::-1].cumsum()[::-1]  # of the rows from i on
    above = (earlier**2).sum(axis=1).cumsum()[::-1]  # of the rows that are still there after i
    return np.asarray(np.sqrt(below * above))


def shifted_levels(before: Image.Image, now: Image.Image, dy: int, *, exactly: bool) -> Levels:
    """Gives by how many levels each pixel of a grey picture differs from the one ``dy`` above it before, 255 if none.

    The pixels above and below that one count, too: a page whose heights are no whole pixels rounds each of its lines.
    Not ``exactly``, both are blurred from row to row, and what half a pixel may do is no difference.
    """
    moved = ImageChops.offset(before, 0, dy)
    if exactly:
        levels = np.array(ImageChops.difference(now, moved))
        for by in (-1, 1):
            np.minimum(levels, np.asarray(ImageChops.difference(now, ImageChops.offset(moved, 0, by))), out=levels)
    else:
        apart = np.abs(_blurred(moved) - _blurred(now)) // 3
        levels = np.clip(apart - HALF_PIXEL, 0, 255).astype(np.uint8)
    height = levels.shape[0]
    levels[slice(0, dy) if dy > 0 else slice(max(0, height + dy), height)] = 255
    return levels


def _blurred(grey: Image.Image) -> NDArray[np.int16]:
    """Gives the sum of each pixel and those above and below."""
    rows = np.pad(np.asarray(grey).astype(np.int16), ((1, 1), (0, 0)), mode="edge")
    return np.asarray(rows[:-2] + rows[1:-1] + rows[2:])

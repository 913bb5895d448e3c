"""Blackens what is left out, in the very buffer that the system filled, before anything else sees it.

What of a window shows is found by painting the stack, the lowest window first: a window that is left out claims its
box, and another one takes back only where nothing shines through it. So a shadow, a round corner or a translucent
window over one that is left out is blackened with it, and not the other way round.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

import numpy as np

from pomnit.capture.frames import Monitor, Pixels, Window, common

if TYPE_CHECKING:
    from numpy.typing import NDArray


def shown(windows: Iterable[Window], out: Container[int], monitor: Monitor) -> NDArray[np.bool_] | None:
    """Gives where windows that are left out may show on a monitor, shape (height, width) in pixels of its picture.

    None when they show nowhere. ``windows`` are the lowest first.
    """
    mask: NDArray[np.bool_] | None = None
    for window in windows:
        if window.id in out:
            if (box := on(monitor, window.box)) is not None:
                if mask is None:
                    mask = np.zeros(size_of(monitor)[::-1], np.bool_)
                _fill(mask, box, to=True)
        elif mask is not None:
            for part in window.opaque:
                if (box := on(monitor, part, inside=True)) is not None:
                    _fill(mask, box, to=False)
    return mask if mask is not None and mask.any() else None


def blacken(pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
    """Makes pixels black in place; a picture that is larger than was thought is blackened beyond."""
    height, width = mask.shape
    if pixels.shape[:2] != mask.shape:
        pixels[height:], pixels[:, width:] = 0, 0
        height, width = min(height, pixels.shape[0]), min(width, pixels.shape[1])
    pixels[:height, :width][mask[:height, :width]] = 0


def size_of(monitor: Monitor) -> tuple[int, int]:
    """Gives width and height of a monitor's picture."""
    x0, y0, x1, y1 = monitor.box
    return round((x1 - x0) * monitor.scale), round((y1 - y0) * monitor.scale)


def on(monitor: Monitor, box: Pixels, *, inside: bool = False) -> Pixels | None:
    """Gives a box of the desktop as pixels of a monitor's picture; ``inside``: only those that are wholly in it."""
    part = common(box, monitor.box)
    if part is None:
        return None
    x, y = monitor.box[:2]
    scaled = [(part[0] - x) * monitor.scale, (part[1] - y) * monitor.scale,
              (part[2] - x) * monitor.scale, (part[3] - y) * monitor.scale]  # fmt: skip
    low, high = (np.ceil, np.floor) if inside else (np.floor, np.ceil)
    found = int(low(scaled[0])), int(low(scaled[1])), int(high(scaled[2])), int(high(scaled[3]))
    return found if found[0] < found[2] and found[1] < found[3] else None


def _fill(mask: NDArray[np.bool_], box: Pixels, *, to: bool) -> None:
    mask[box[1] : box[3], box[0] : box[2]] = to

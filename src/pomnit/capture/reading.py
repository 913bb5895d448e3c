"""The text of frames: only what changed is read, the rest is known. And which frames show nothing new.

A frame is compared with the last one of its monitor and window; coming back to a window costs what changed in it since.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pomnit.capture import crops, merging
from pomnit.capture.difference import NOISE, TILE, Bits, Change, difference, shape_of, strongest
from pomnit.capture.frames import Frame, Pixels
from pomnit.capture.restless import Tiles
from pomnit.engines.protocols import Line

MOST_BYTES = 96_000_000  # of pictures that are kept to compare with: six windows of a 2x screen of 2880 x 1800
MOST_READINGS = 40  # of regions, then all is read anew: what one reading missed is found by the next
MOST_CHANGED = 3.0  # times the whole screen, likewise
NEAR = 0.15  # share of the tiles that may have changed between two frames that show the same
SURE = 0.7  # confidence: what a video reads as mostly has less

_WORD = re.compile(r"[^\W_]{3,}")  # a clock and a count have fewer

Recognise = Callable[[Image.Image], list[Line]]
Key = tuple[str, str | None, str | None, int | None]


@dataclass(frozen=True, slots=True)
class FrameText:
    """The text of a whole frame."""

    lines: tuple[Line, ...]  # in reading order
    fresh: bool  # other words than in the frame before, of the same monitor
    near: bool  # shows the same as the last one that did not: one item, a longer span
    read_share: float  # of the pixels: those that were read for it
    unread: float = 0.0  # share of the frame that keeps changing and was not read; once it is still, hand it in again


@dataclass(slots=True)
class _Seen:
    """What is known of one window."""

    image: Image.Image
    lines: list[Line]
    tiles: Tiles
    readings: int = 0  # of regions, since all was read
    changed: float = 0.0


@dataclass(slots=True)
class _Shown:
    """What one monitor showed."""

    key: Key
    words: Counter[str]  # of the frame before
    item: list[Line]  # of the last frame that was not near
    altered: Bits  # the tiles whose pixels changed since that one
    new: Bits  # those whose pixels did not only scroll


class RegionReader:
    """Reads the frames of all monitors, in the order in which they come. For one thread."""

    def __init__(self, recognise: Recognise, *, most_bytes: int = MOST_BYTES) -> None:
        """``recognise`` gives the lines of a picture; ``most_bytes`` bounds the pictures that are kept to compare."""
        self._recognise = recognise
        self._most_bytes = most_bytes
        self._seen: OrderedDict[Key, _Seen] = OrderedDict()  # the last one used at the end
        self._shown: dict[str, _Shown] = {}

    def read(self, frame: Frame) -> FrameText:
        """Gives the text of a frame.

        Raises:
            EngineError: the recogniser failed. Its window is read as a whole the next time.
        """
        image = frame.image if frame.image.mode == "RGB" else frame.image.convert("RGB")
        key = (frame.monitor, frame.app, frame.window, frame.window_id)
        was, before = self._take(key)
        if before is None or before.image.size != image.size:
            change, now, share = None, _Seen(image, self._recognise(image), Tiles(shape_of(image.size))), 1.0
        else:
            change = _compare(before, image, frame.at)
            now, share = self._read_change(image, before, change)
        self._seen[key] = now
        self._forget_some()
        shown = self._shown.get(frame.monitor)
        if shown is not None and shown.key != was:
            change = None  # it was compared with an older frame than the last one of this monitor
        return self._tell(key, now, change, share)

    def forget(self) -> None:
        """Forgets all frames: the next one of each window is read as a whole."""
        self._seen.clear()
        self._shown.clear()

    def _take(self, key: Key) -> tuple[Key, _Seen | None]:
        """Takes what is known of a window, or of what it showed under another title just now; and by which key."""
        shown = self._shown.get(key[0])
        if key not in self._seen and shown is not None and (shown.key[1], shown.key[3]) == (key[1], key[3]):
            key = shown.key
        return key, self._seen.pop(key, None)

    def _forget_some(self) -> None:
        while len(self._seen) > 1 and sum(_bytes(seen.image) for seen in self._seen.values()) > self._most_bytes:
            self._seen.popitem(last=False)

    def _read_change(self, image: Image.Image, before: _Seen, change: Change) -> tuple[_Seen, float]:
        """Gives what is known now, and the share of the frame that was read for it."""
        if change.kind == "same":
            return _Seen(image, before.lines, before.tiles, before.readings, before.changed), 0.0
        size, changed = image.size, before.changed + change.share
        if change.kind != "all" and before.readings < MOST_READINGS and changed < MOST_CHANGED:
            kept = merging.keep(before.lines, change, size)
            parts = crops.parts(image, [*change.boxes, *kept.cut], kept.whole)
            if parts is not None:
                read = [line for part in parts for line in crops.read_part(image, part, self._recognise)]
                lines = merging.merge(kept.lines, read, change, size)
                share = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in parts) / (size[0] * size[1])
                return _Seen(image, lines, before.tiles, before.readings + 1, changed), share
        lines = self._recognise(image)
        before.tiles.read_all()
        return _Seen(image, lines, before.tiles), 1.0

    def _tell(self, key: Key, now: _Seen, change: Change | None, share: float) -> FrameText:
        """Gives the text, and compares it with what its monitor showed; without a change, all of it is another."""
        shown, size = self._shown.get(key[0]), now.image.size
        words = Counter(word.text for line in now.lines for word in line.words)
        fresh, near = shown is None or words != shown.words, False
        if shown is not None and change is not None:
            altered, new = shown.altered | _altered(change), shown.new | change.tiles
            few = bool(new.mean() <= NEAR)
            near = few and _telling(shown.item, altered, size) == _telling(now.lines, altered, size)
            if near:
                self._shown[key[0]] = _Shown(key, words, shown.item, altered, new)
        if not near:
            nothing = np.zeros(shape_of(size), np.bool_)
            self._shown[key[0]] = _Shown(key, words, now.lines, nothing, nothing)
        return FrameText(tuple(now.lines), fresh, near, share, now.tiles.unread)


def _compare(before: _Seen, image: Image.Image, at: float) -> Change:
    words = _under(before.lines, image.size, SURE)
    return difference(before.image, image, lambda new, dy: before.tiles.wanted(new, dy, words, at))


def _bytes(image: Image.Image) -> int:
    return image.width * image.height * 3


def _altered(change: Change) -> Bits:
    """Gives the tiles that do not show what they did, whether it is new or was scrolled there."""
    return np.ones_like(change.tiles) if change.still is None else strongest(change.still) > NOISE


def _tiles_of(box: Pixels) -> tuple[slice, slice]:
    x0, y0, x1, y1 = box
    return slice(y0 // TILE, -(-y1 // TILE)), slice(x0 // TILE, -(-x1 // TILE))


def _under(lines: Sequence[Line], size: tuple[int, int], sure: float) -> Bits:
    """Gives the tiles on which sure words stand."""
    tiles = np.zeros(shape_of(size), np.bool_)
    for line in lines:
        for word in line.words:
            if word.confidence >= sure:
                tiles[_tiles_of(merging.pixels(word.box, size))] = True
    return tiles


def _telling(lines: Sequence[Line], tiles: Bits, size: tuple[int, int]) -> Counter[str]:
    """Gives the words that touch any of the tiles, as they are looked for; numbers of two digits tell nothing."""
    if not tiles.any():
        return Counter()
    return Counter(
        part
        for line in lines
        for word in line.words
        if tiles[_tiles_of(merging.pixels(word.box, size))].any()
        for part in _WORD.findall(word.text.casefold().replace("ё", "е"))
    )

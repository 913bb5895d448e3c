"""What the tests of capture share: a desk of two monitors on a real X server, and a recogniser that reads colours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pomnit.capture.frames import Frame, Monitor
from pomnit.capture.loop import How, Loop, Then
from pomnit.capture.sign import Stop
from pomnit.capture.x11 import X11Screen
from pomnit.engines.protocols import Line, Word
from pomnit.privacy.exclusions import Exclusions
from support import xserver
from support.xserver import Desk

if TYPE_CHECKING:
    from PIL import Image

LEFT, RIGHT = ("LEFT", 0, 0, 400, 300), ("RIGHT", 400, 0, 400, 300)
KEY = 0xFF00FE  # the colour of what must never be seen
WORDS = {
    0xCC2200: "договор",
    0x00AA33: "boiler",
    0x2244EE: "счёт",
    0xEEAA00: "ticket",
    0x00AACC: "чай",
    0x8844AA: "garden",
    0x446688: "4111111111111111",  # a payment card
    KEY: "secret",
}  # what a colour says
QUICK = How(every_s=0.02, settle_s=0.0)


def colours(image: Image.Image) -> list[Line]:
    """Gives a word for each colour that is on a picture, where it is."""
    pixels = np.asarray(image.convert("RGB")).astype(np.uint32)
    numbers = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    lines = []
    for colour, word in WORDS.items():
        rows, columns = np.nonzero(numbers == colour)
        if len(rows):
            width, height = image.size
            box = (columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height)
            lines.append(Line((Word(word, box, 0.95),), len(lines)))
    return lines


def has(image: Image.Image, colour: int) -> bool:
    """Says whether a picture has a pixel of a colour."""
    wanted = np.array([colour >> 16, colour >> 8 & 255, colour & 255], np.uint8)
    return bool((np.asarray(image) == wanted).all(axis=-1).any())


@dataclass
class Stage:
    """A display with two monitors, somebody who works at it, and capture."""

    name: str
    desk: Desk
    screen: X11Screen

    def loop(self, exclusions: Exclusions, hand_up: Callable[[Frame], Any], how: How = QUICK) -> Loop:
        return Loop(self.screen, exclusions, lambda frame: (hand_up(frame), Then())[1], how)

    def frames(self, exclusions: Exclusions, how: How = QUICK) -> dict[str, Frame]:
        """Gives one frame of each monitor that is taken."""
        found: dict[str, Frame] = {}
        stop = Stop()
        try:
            self.loop(exclusions, lambda frame: found.update({frame.monitor: frame}), how).once(stop)
        finally:
            stop.close()
        return found


@contextmanager
def stage(exclusions: Exclusions, *, kind: type[X11Screen] = X11Screen) -> Iterator[Stage]:
    """Gives an empty stage."""
    with ExitStack() as stack:
        name = stack.enter_context(xserver.running())
        desk = stack.enter_context(xserver.desk(name))
        desk.monitors(LEFT, RIGHT)
        screen = kind(name, judge=exclusions.reason)
        stack.callback(screen.close)
        yield Stage(name, desk, screen)


class Scripted:
    """A screen that shows what a test says: the protocol ``Screen`` without a display."""

    name = "scripted"
    leaves_out = False

    def __init__(self, views: Iterable[Any], monitors: Sequence[Monitor] = (Monitor("one", (0, 0, 40, 30)),)) -> None:
        self._views, self._monitors = iter(views), tuple(monitors)
        self.changes: list[dict[str, float]] = []
        self.idle = 0.0
        self.grabbed = 0

    def monitors(self) -> tuple[Monitor, ...]:
        return self._monitors

    def look(self) -> Any:
        return next(self._views)

    def pixels(self, monitor: Monitor, out: Any = ()) -> Any:
        self.grabbed += 1
        x0, y0, x1, y1 = monitor.box
        return np.full((y1 - y0, x1 - x0, 4), 9, np.uint8)

    def changed(self) -> dict[str, float]:
        return self.changes.pop(0) if self.changes else {}

    def wait(self, seconds: float | None, stop: Stop) -> None:
        if not self.changes:
            stop.ask()

    def idle_s(self) -> float:
        return self.idle

    def close(self) -> None:
        """Holds nothing."""

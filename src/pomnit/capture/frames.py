"""What capture sees and hands up: monitors, windows and frames. Every kind of screen speaks in these words.

Boxes are pixels, (x0, y0, x1, y1), the right and lower edge outside. Times are seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from pomnit.capture.sign import Stop

Pixels = tuple[int, int, int, int]  # x0, y0, x1, y1


@dataclass(frozen=True, slots=True)
class Window:
    """One window that is shown. Its place in the stack is its place in the list, the lowest first."""

    app: str | None  # as its program calls itself: "firefox", "KeePassXC"
    title: str | None  # None where the system does not tell
    url: str | None
    private: bool  # a window of private browsing
    box: Pixels  # on the desktop
    focused: bool
    id: int
    names: tuple[str, ...] = ()  # other names of the program, by which a rule may mean it, too
    pid: int | None = None
    popup: bool = False  # a menu, a tooltip: it belongs to another window
    above: int | None = None  # the window that it belongs to
    doubtful: bool = False  # it may be private: nobody has told yet
    opaque: tuple[Pixels, ...] = ()  # where nothing shines through, on the desktop


@dataclass(frozen=True, slots=True)
class Monitor:
    """One monitor, as a part of the desktop."""

    name: str  # as the system calls it: "HDMI-1"
    box: Pixels  # on the desktop
    scale: float = 1.0  # pixels of a picture for each pixel of the desktop: 2.0 on most Macs


@dataclass(frozen=True, slots=True)
class View:
    """The windows at one moment."""

    windows: tuple[Window, ...] | None  # None where the system does not tell at all
    version: int  # another one when a window came, went, moved, or became one that is left out, or none any more


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of one monitor. What is left out was blackened before."""

    monitor: str
    image: Image.Image  # RGB
    at: float  # seconds since 1970
    app: str | None  # of the window in front
    window: str | None  # its title
    url: str | None
    window_id: int | None
    scale: float = 1.0


class Screen(Protocol):
    """Where frames come from: a display of some system. Used by one thread."""

    name: str  # "X11"
    leaves_out: bool  # the system leaves windows out itself: what lies behind them is in the picture instead

    def monitors(self) -> tuple[Monitor, ...]:
        """Gives the monitors that are on."""
        ...

    def look(self) -> View:
        """Gives the windows as they are now."""
        ...

    def pixels(self, monitor: Monitor, out: Collection[int]) -> NDArray[np.uint8]:
        """Gives what a monitor shows, shape (height, width, 4), blue, green, red and nothing, to be written in.

        ``out`` are the windows that are left out, for a system that does it itself.

        Raises:
            EngineError: the system does not give it.
        """
        ...

    def changed(self) -> dict[str, float]:
        """Gives the monitors that may show something else than when this was last asked.

        By name, with the share of the monitor (0 to 1) that the box around all that changed takes.
        """
        ...

    def wait(self, seconds: float | None, stop: Stop) -> None:
        """Waits until something changes, for so long at most, or for ever; ``stop`` ends it."""
        ...

    def idle_s(self) -> float:
        """Gives how long nobody has touched keyboard or mouse, in seconds."""
        ...

    def close(self) -> None: ...


def common(one: Pixels, other: Pixels) -> Pixels | None:
    """Gives what two boxes have in common; None when it is nothing."""
    x0, y0, x1, y1 = max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None

"""A display of the X Window System: pixels by mss, windows and what changed by python-xlib.

A still screen costs nothing: the server tells what was drawn (the DAMAGE extension), and nothing is asked meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from pomnit.capture.frames import Monitor, Pixels, View, common
from pomnit.capture.sign import Stop
from pomnit.capture.x11_windows import Judge, Windows
from pomnit.errors import EngineError, EngineMissing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INSTALL = "pip install 'pomnit[capture]'"


def check() -> str:
    """Gives the versions of what is needed.

    Raises:
        EngineMissing: something is not installed.
    """
    try:
        import mss
        import Xlib
    except ImportError as error:
        raise EngineMissing(f"the screen cannot be captured ({error}); type: {INSTALL}") from None
    return f"mss {mss.__version__}, python-xlib {'.'.join(map(str, Xlib.__version__))}"


class X11Screen:
    """One X display."""

    name = "X11"
    leaves_out = False

    def __init__(self, display: str | None = None, *, judge: Judge = lambda _: None) -> None:
        """Opens a display, that of DISPLAY when it is not named. ``judge``: see ``Windows``.

        Raises:
            EngineMissing: a package, the display or one of its extensions is not there.
        """
        check()
        from Xlib.display import Display

        shown = display or os.environ.get("DISPLAY") or ""
        if not shown:
            raise EngineMissing("there is no display: DISPLAY is not set; run this where your desktop runs")
        _refuse_dead(shown)
        with _refused(shown):
            self._display = Display(shown)
        self._display.set_error_handler(lambda *_: None)  # of windows that went meanwhile; it would print them
        self._name, self._closed = shown, False
        self._grabber: Any = None
        self._seen: dict[str, float] = {}  # monitor -> share of it that was drawn on
        self._monitors: tuple[Monitor, ...] | None = None
        try:
            missing = [n for n in ("DAMAGE", "RANDR") if not self._display.has_extension(n)]
            if missing:
                raise EngineMissing(f"the display {shown} lacks {' and '.join(missing)}: its screen cannot be captured")
            self._begin(judge)
        except BaseException:
            self.close()
            raise

    def _begin(self, judge: Judge) -> None:
        from Xlib.ext import damage, randr

        root = self._display.screen().root
        self._display.damage_query_version()  # the server wants to be asked first
        self._display.xrandr_query_version()
        root.xrandr_select_input(randr.RRScreenChangeNotifyMask)
        self._windows = Windows(self._display, judge, self._note)
        self._damage = root.damage_create(damage.DamageReportBoundingBox)
        self._damaged = self._display.extension_event.DamageNotify
        self._resized = self._display.extension_event.ScreenChangeNotify
        self._display.flush()

    # What it shows

    def monitors(self) -> tuple[Monitor, ...]:
        """Gives the monitors from left to right; those of a mirror once."""
        if self._monitors is None:
            found = self._display.screen().root.xrandr_get_monitors(is_active=True).monitors
            boxes: dict[Pixels, str] = {}
            for m in found:
                box = (m.x, m.y, m.x + m.width_in_pixels, m.y + m.height_in_pixels)
                boxes.setdefault(box, str(self._display.get_atom_name(m.name)))
            if not boxes:
                size = self._display.screen().root.get_geometry()
                boxes = {(0, 0, size.width, size.height): "screen"}
            self._monitors = tuple(Monitor(name, box) for box, name in sorted(boxes.items()))
        return self._monitors

    def look(self) -> View:
        """Gives the windows as they are now.

        Raises:
            EngineError: the display is gone.
        """
        with self._answers():
            return self._windows.look()

    def pixels(self, monitor: Monitor, out: Collection[int] = ()) -> NDArray[np.uint8]:  # noqa: ARG002 X knows no such thing
        """Gives what a monitor shows, shape (height, width, 4), blue, green, red and nothing.

        Raises:
            EngineError: the server does not give it.
        """
        import mss
        import numpy as np
        from mss.exception import ScreenShotError

        x0, y0, x1, y1 = monitor.box
        try:
            if self._grabber is None:
                self._grabber = mss.MSS(display=self._name)
            taken = self._grabber.grab({"left": x0, "top": y0, "width": x1 - x0, "height": y1 - y0})
        except (ScreenShotError, OSError) as error:
            self._let_go()
            raise EngineError(f"the display {self._name} gives no picture of {monitor.name}: {error}") from error
        return np.frombuffer(taken.raw, np.uint8).reshape(y1 - y0, x1 - x0, 4)

    # What changed

    def changed(self) -> dict[str, float]:
        """Gives the monitors on which something was drawn since this was last asked, and on how much of each."""
        with self._answers():
            self._display.damage_subtract(self._damage)  # what is drawn from now on is told anew
            self._display.sync()
            self._windows.events()
        seen, self._seen = self._seen, {}
        return seen

    def wait(self, seconds: float | None, stop: Stop) -> None:
        """Waits for the server to tell of something drawn."""
        with self._answers():
            self._display.flush()
            self._windows.events()
            if not self._seen and not stop.asked:
                select.select([self._display.fileno(), stop.fileno()], [], [], seconds)
                self._windows.events()

    def _note(self, event: Any) -> None:
        if event.type == self._damaged:
            area = event.area
            box = (area.x, area.y, area.x + area.width, area.y + area.height)
            for monitor in self.monitors():
                if part := common(box, monitor.box):
                    share = _area(part) / _area(monitor.box)
                    self._seen[monitor.name] = max(share, self._seen.get(monitor.name, 0.0))
        elif event.type == self._resized:
            self._monitors = None
            self._let_go()
            self._seen = {m.name: 1.0 for m in self.monitors()}

    def idle_s(self) -> float:
        """Gives how long nobody has touched keyboard or mouse; 0 where the server does not tell."""
        if not self._display.has_extension("MIT-SCREEN-SAVER"):
            return 0.0
        with self._answers():
            return float(self._display.screen().root.screensaver_query_info().idle) / 1000

    @contextlib.contextmanager
    def _answers(self) -> Iterator[None]:
        from Xlib.error import ConnectionClosedError

        try:
            yield
        except (ConnectionClosedError, OSError) as error:
            raise EngineError(f"the display {self._name} is gone: {error}") from error

    def _let_go(self) -> None:
        if self._grabber is not None:
            with contextlib.suppress(Exception):
                self._grabber.close()
            self._grabber = None

    def close(self) -> None:
        """Lets go of the display."""
        if not self._closed:
            self._closed = True
            self._let_go()
            with contextlib.suppress(Exception):
                self._display.close()


def _area(box: Pixels) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _refuse_dead(display: str) -> None:
    """Raises when no server listens at a display of this machine; python-xlib would knock at its ports instead.

    Raises:
        EngineMissing.
    """
    local = re.fullmatch(r"(?:unix)?:(\d{1,5})(?:\.\d+)?", display)
    if local is None:
        return
    path = f"/tmp/.X11-unix/X{local[1]}"
    for address in (f"\0{path}", path):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as knock:
            knock.connect(address)
            return
    raise EngineMissing(f"the display {display} cannot be opened: no X server listens there; is it on?")


@contextlib.contextmanager
def _refused(display: str) -> Iterator[None]:
    from Xlib.error import DisplayError, XauthError

    try:
        yield
    except (DisplayError, XauthError, OSError) as error:
        raise EngineMissing(f"the display {display} cannot be opened: {error}; is it yours, and is it on?") from None

"""A Mac's screen: pictures by ScreenCaptureKit, windows and permission by Quartz, through PyObjC.

Written without a Mac, against Apple's documentation: SCShareableContent, SCContentFilter
(``initWithDisplay:excludingWindows:``), SCStreamConfiguration, SCScreenshotManager
(``captureImageWithFilter:configuration:completionHandler:``, macOS 14), CGWindowListCopyWindowInfo and its keys,
CGPreflightScreenCaptureAccess, CGRequestScreenCaptureAccess, CGEventSourceSecondsSinceLastEventType, CGImage. A
completion handler runs on a queue of the framework's own, so a thread may wait for it.

- A window that is left out is left out by ScreenCaptureKit itself: its pixels are never in the picture, and what lies
  behind it is there instead. A window that it does not know and is to leave out makes the picture fail.
- CGWindowListCopyWindowInfo gives the windows that are on the screen from front to back; their titles only with the
  permission to record the screen. Boxes count points from the top left of the main display.
- No address of a page is told, and nobody tells what changed: while somebody is there a picture is taken each time.
"""

from __future__ import annotations

import contextlib
import platform
import threading
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from pomnit.capture.frames import Monitor, Pixels, View, Window
from pomnit.capture.sign import Stop
from pomnit.errors import EngineError, EngineMissing
from pomnit.privacy.exclusions import is_private

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OLDEST = 14  # of macOS, with SCScreenshotManager
WAIT_S = 10.0  # for the framework to answer
LOOK_S = 2.0  # seconds between two pictures while somebody works,
SELDOM_S = 10.0  # and while nothing was touched since the last one
MOST_PIXELS = 100_000_000
_HID, _ANY_INPUT = 1, 0xFFFFFFFF  # kCGEventSourceStateHIDSystemState, kCGAnyInputEventType
_ON_SCREEN, _NO_DESKTOP = 1, 16  # kCGWindowListOptionOnScreenOnly, kCGWindowListExcludeDesktopElements
_SERVER = "Window Server"  # who draws the pointer and the bar of menus
_BGRX = 2 << 12 | 6  # kCGBitmapByteOrder32Little | kCGImageAlphaNoneSkipFirst
ALLOW = "allow it in System Settings, Privacy & Security, Screen & System Audio Recording, for the program you type in"
OPEN = "open 'x-apple.systempreferences:com.apple.preference.security?Privacy_ScreenCapture'"

Judge = Callable[[Window], object]


def frameworks() -> tuple[Any, Any]:
    """Gives the modules Quartz and ScreenCaptureKit.

    Raises:
        EngineMissing: no macOS, an old one, or PyObjC is not installed.
    """
    if platform.system() != "Darwin":
        raise EngineMissing(f"ScreenCaptureKit is a part of macOS, and this is {platform.system()}")
    version = platform.mac_ver()[0]
    if version and int(version.partition(".")[0]) < OLDEST:
        raise EngineMissing(f"macOS {version} cannot give pictures of the screen so; macOS {OLDEST} or newer can")
    try:
        import Quartz
        import ScreenCaptureKit
    except ImportError as error:
        raise EngineMissing(f"the screen cannot be captured ({error}); type: pip install 'pomnit[capture]'") from None
    return Quartz, ScreenCaptureKit


class MacScreen:
    """The displays of a Mac."""

    name = "macOS"
    leaves_out = True

    def __init__(self, *, judge: Judge = lambda _: None) -> None:
        """``judge`` says what decides about a window: when that changes, the view is another one.

        Raises:
            EngineMissing: it cannot be captured here, or is not allowed, with what to do.
        """
        self._quartz, self._kit = frameworks()
        if not self._quartz.CGPreflightScreenCaptureAccess():
            self._quartz.CGRequestScreenCaptureAccess()  # puts us on the list, and shows the system's own question
            raise EngineMissing(f"macOS does not let this program record the screen; {ALLOW}; type: {OPEN}")
        self._judge = judge
        self._version, self._private = 0, dict[int, bool]()  # what a window told once about being private
        self._state: object = None

    # What is there

    def monitors(self) -> tuple[Monitor, ...]:
        """Gives the displays from left to right.

        Raises:
            EngineError: the framework does not tell.
        """
        found = [self._monitor(display) for display in self._content().displays()]
        return tuple(sorted(found, key=lambda monitor: monitor.box))

    def _monitor(self, display: Any) -> Monitor:
        box = _box(display.frame())
        number = int(display.displayID())
        mode = self._quartz.CGDisplayCopyDisplayMode(number)
        pixels = int(self._quartz.CGDisplayModeGetPixelWidth(mode)) if mode is not None else box[2] - box[0]
        return Monitor(f"display-{number}", box, max(1.0, pixels / max(1, box[2] - box[0])))

    def look(self) -> View:
        """Gives the windows as they are now; None when their titles are not told."""
        quartz = self._quartz
        infos = quartz.CGWindowListCopyWindowInfo(_ON_SCREEN | _NO_DESKTOP, 0)
        if infos is None or not quartz.CGPreflightScreenCaptureAccess():
            return View(None, self._version)
        focused = True
        windows: list[Window] = []
        for info in infos:  # front to back
            window = self._window(info)
            if window is not None:
                front = focused and not window.popup
                focused = focused and not front
                windows.append(_with(window, focused=front))
        windows.reverse()
        state = tuple((w.id, w.box, w.popup, self._judge(w)) for w in windows)
        if state != self._state:
            self._state, self._version = state, self._version + 1
        there = {w.id for w in windows}
        self._private = {number: told for number, told in self._private.items() if number in there}
        return View(tuple(windows), self._version)

    def _window(self, info: Any) -> Window | None:
        """Gives a window of the list; None for what shows nothing, for the background, and for the pointer."""
        bounds = info.get("kCGWindowBounds") or {}
        box = _rectangle(*(float(bounds.get(name, 0)) for name in ("X", "Y", "Width", "Height")))
        layer, alpha = int(info.get("kCGWindowLayer", 0)), float(info.get("kCGWindowAlpha", 1))
        if box[0] >= box[2] or box[1] >= box[3] or alpha <= 0 or layer < 0:
            return None
        number, app = int(info["kCGWindowNumber"]), info.get("kCGWindowOwnerName")
        if app == _SERVER:
            return None
        title = info.get("kCGWindowName")
        window = Window(
            app=str(app) if app else None,
            title=str(title) if title else None,
            url=None,
            private=False,
            box=box,
            focused=False,
            id=number,
            names=(str(app),) if app else (),
            pid=int(info["kCGWindowOwnerPID"]) if "kCGWindowOwnerPID" in info else None,
            popup=layer > 0,  # panels, menus, the Dock
            opaque=(),  # round corners and shadows: what a window hides is not told
        )
        told = is_private(window)
        if told is not None:
            self._private[number] = told or self._private.get(number, False)
        private = self._private.get(number)
        return _with(window, private=bool(private), doubtful=private is None and not window.popup)

    def _content(self) -> Any:
        """Gives the SCShareableContent of this moment."""
        found = _answer(self._kit.SCShareableContent.getShareableContentWithCompletionHandler_)
        if found is None:
            raise EngineError("macOS tells of no display")
        return found

    # Pixels

    def pixels(self, monitor: Monitor, out: Collection[int]) -> NDArray[np.uint8]:
        """Gives what a display shows without the windows ``out``, shape (height, width, 4): blue, green, red, nothing.

        Raises:
            EngineError: the framework gives no picture.
        """
        content = self._content()
        display = next((d for d in content.displays() if f"display-{int(d.displayID())}" == monitor.name), None)
        if display is None:
            raise EngineError(f"{monitor.name} is gone")
        left_out = [w for w in content.windows() if int(w.windowID()) in out]
        missing = set(out) - {int(w.windowID()) for w in left_out}
        if missing:
            raise EngineError(f"{len(missing)} windows that are left out came or went while the picture was taken")
        content_filter = self._kit.SCContentFilter.alloc().initWithDisplay_excludingWindows_(display, left_out)
        configuration = self._kit.SCStreamConfiguration.alloc().init()
        x0, y0, x1, y1 = monitor.box
        configuration.setWidth_(round((x1 - x0) * monitor.scale))
        configuration.setHeight_(round((y1 - y0) * monitor.scale))
        configuration.setShowsCursor_(False)

        def ask(handler: Callable[[Any, Any], None]) -> None:
            take = self._kit.SCScreenshotManager.captureImageWithFilter_configuration_completionHandler_
            take(content_filter, configuration, handler)

        image = _answer(ask)
        if image is None:
            raise EngineError(f"macOS gives no picture of {monitor.name}")
        return self._array(image)

    def _array(self, image: Any) -> NDArray[np.uint8]:
        """Gives the pixels of a CGImage, drawn once more: its own order of colours may be any."""
        import numpy as np

        quartz = self._quartz
        width, height = int(quartz.CGImageGetWidth(image)), int(quartz.CGImageGetHeight(image))
        if not 0 < width * height <= MOST_PIXELS:
            raise EngineError(f"macOS gave a picture of {width} x {height} pixels")
        raw = bytearray(4 * width * height)
        space = quartz.CGColorSpaceCreateDeviceRGB()
        context = quartz.CGBitmapContextCreate(raw, width, height, 8, 4 * width, space, _BGRX)
        if context is None:
            raise EngineError(f"macOS does not draw a picture of {width} x {height} pixels")
        quartz.CGContextDrawImage(context, quartz.CGRectMake(0, 0, width, height), image)
        quartz.CGContextFlush(context)
        return np.frombuffer(raw, np.uint8).reshape(height, width, 4)

    # What changed

    def changed(self) -> dict[str, float]:
        """Says that everything may have changed: nobody tells."""
        return {monitor.name: 1.0 for monitor in self.monitors()}

    def wait(self, seconds: float | None, stop: Stop) -> None:
        """Waits until the next picture is due: longer when nothing was touched since the last one."""
        idle = self.idle_s()
        longest = SELDOM_S if idle > LOOK_S else LOOK_S
        stop.wait(longest if seconds is None else min(longest, seconds))

    def idle_s(self) -> float:
        """Gives how long nobody has touched keyboard or mouse, in seconds."""
        return float(self._quartz.CGEventSourceSecondsSinceLastEventType(_HID, _ANY_INPUT))

    def close(self) -> None:
        """Holds nothing."""


def _answer(ask: Callable[[Callable[[Any, Any], None]], None]) -> Any:
    """Gives what a completion handler is told.

    Raises:
        EngineError: it is told an error, or nothing in time.
    """
    told = threading.Event()
    found: list[Any] = [None, None]

    def handler(result: Any, error: Any) -> None:
        found[:] = result, error
        told.set()

    ask(handler)
    if not told.wait(WAIT_S):
        raise EngineError(f"macOS has not answered within {WAIT_S:.0f} s")
    if found[1] is not None:
        error = found[1]
        with contextlib.suppress(AttributeError):
            error = f"{error.localizedDescription()} ({error.domain()} {error.code()})"
        raise EngineError(f"macOS does not give the screen: {error}; {ALLOW}")
    return found[0]


def _box(rect: Any) -> Pixels:
    return _rectangle(rect.origin.x, rect.origin.y, rect.size.width, rect.size.height)


def _rectangle(x: float, y: float, width: float, height: float) -> Pixels:
    """Gives the whole points around a rectangle."""
    return int(x // 1), int(y // 1), int(-(-(x + width) // 1)), int(-(-(y + height) // 1))


def _with(window: Window, **changes: Any) -> Window:
    from dataclasses import replace

    return replace(window, **changes)

"""A stand-in of the modules Quartz and ScreenCaptureKit, as far as ``capture.macos`` calls them.

It is as strict as the real ones where a mistake would hide: completion handlers are called on another thread, sizes of
a buffer must fit, and a window that is excluded must be one of the content that was asked for. Names, arguments and
constants are those of Apple's documentation that ``capture.macos`` names.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from pomnit.capture import macos


@dataclass(frozen=True)
class Shown:
    """A window of the stand-in, in points."""

    number: int
    app: str
    title: str | None
    box: tuple[float, float, float, float]
    colour: int
    pid: int = 1
    layer: int = 0
    alpha: float = 1.0
    shared: bool = True  # ScreenCaptureKit knows it


def rect(x: float, y: float, width: float, height: float) -> SimpleNamespace:
    return SimpleNamespace(origin=SimpleNamespace(x=x, y=y), size=SimpleNamespace(width=width, height=height))


def error(text: str, code: int) -> SimpleNamespace:
    domain = "com.apple.ScreenCaptureKit.SCStreamErrorDomain"
    return SimpleNamespace(localizedDescription=lambda: text, domain=lambda: domain, code=lambda: code)


class FakeMac:
    """What is on the screen, back to front, and what the frameworks are to do next."""

    def __init__(self, windows: Sequence[Shown] = (), *, scale: int = 2) -> None:
        self.windows, self.scale = list(windows), scale
        self.displays = {7: (0, 0, 100, 60), 9: (100, 0, 80, 60)}
        self.allowed, self.requested = True, 0
        self.fails: Any = None
        self.silent = False
        self.idle = 0.5
        self.excluded: list[int] = []

    # Quartz

    def quartz(self) -> ModuleType:
        module = ModuleType("Quartz")
        module.__dict__.update(
            CGPreflightScreenCaptureAccess=lambda: self.allowed,
            CGRequestScreenCaptureAccess=self._request,
            CGWindowListCopyWindowInfo=self._list,
            CGDisplayCopyDisplayMode=lambda number: self.displays[number],
            CGDisplayModeGetPixelWidth=lambda mode: mode[2] * self.scale,
            CGEventSourceSecondsSinceLastEventType=self._idle,
            CGImageGetWidth=lambda image: image.shape[1],
            CGImageGetHeight=lambda image: image.shape[0],
            CGColorSpaceCreateDeviceRGB=lambda: "RGB",
            CGBitmapContextCreate=self._context,
            CGRectMake=rect,
            CGContextDrawImage=self._draw,
            CGContextFlush=lambda context: None,
        )
        return module

    def _request(self) -> bool:
        self.requested += 1
        return False

    def _list(self, options: int, relative: int) -> list[dict[str, Any]]:
        assert options == 1 | 16
        assert relative == 0
        return [
            {
                "kCGWindowNumber": w.number, "kCGWindowOwnerName": w.app, "kCGWindowOwnerPID": w.pid,
                "kCGWindowLayer": w.layer, "kCGWindowAlpha": w.alpha,
                "kCGWindowBounds": dict(zip(("X", "Y", "Width", "Height"), w.box, strict=True)),
                **({"kCGWindowName": w.title} if self.allowed and w.title is not None else {}),
            }
            for w in reversed(self.windows)
        ]  # fmt: skip

    def _idle(self, state: int, kind: int) -> float:
        assert (state, kind) == (1, 0xFFFFFFFF)
        return self.idle

    def _context(self, raw: bytearray, width: int, height: int, bits: int, row: int, space: str, info: int) -> Any:
        assert len(raw) == row * height == 4 * width * height
        assert (bits, space, info) == (8, "RGB", 2 << 12 | 6)
        return np.frombuffer(raw, np.uint8).reshape(height, width, 4)

    def _draw(self, context: Any, where: Any, image: Any) -> None:
        assert (where.size.width, where.size.height) == (image.shape[1], image.shape[0])
        context[..., :3] = image[..., ::-1]

    # ScreenCaptureKit

    def kit(self) -> ModuleType:
        module = ModuleType("ScreenCaptureKit")
        module.__dict__.update(
            SCShareableContent=SimpleNamespace(getShareableContentWithCompletionHandler_=self._content),
            SCContentFilter=SimpleNamespace(
                alloc=lambda: SimpleNamespace(initWithDisplay_excludingWindows_=self._filter)
            ),
            SCStreamConfiguration=SimpleNamespace(alloc=lambda: SimpleNamespace(init=_Configuration)),
            SCScreenshotManager=SimpleNamespace(captureImageWithFilter_configuration_completionHandler_=self._capture),
        )
        return module

    def _later(self, handler: Any, value: Any) -> None:
        told = (None, self.fails) if self.fails is not None else (value, None)
        if not self.silent:
            threading.Thread(target=handler, args=told).start()

    def _content(self, handler: Any) -> None:
        displays = [
            SimpleNamespace(displayID=lambda n=n: n, frame=lambda b=b: rect(*b)) for n, b in self.displays.items()
        ]
        windows = [SimpleNamespace(windowID=lambda w=w: w.number) for w in self.windows if w.shared]
        self._later(handler, SimpleNamespace(displays=lambda: displays, windows=lambda: windows))

    def _filter(self, display: Any, windows: list[Any]) -> Any:
        assert isinstance(windows, list)
        return SimpleNamespace(display=display.displayID(), out=[w.windowID() for w in windows])

    def _capture(self, content_filter: Any, configuration: Any, handler: Any) -> None:
        x, y, width, height = self.displays[content_filter.display]
        assert configuration.size == (width * self.scale, height * self.scale)
        assert configuration.cursor is False
        self.excluded = content_filter.out
        image = np.zeros((height * self.scale, width * self.scale, 3), np.uint8)
        for w in self.windows:
            if w.number not in content_filter.out:
                x0, y0 = (round((a - b) * self.scale) for a, b in zip(w.box[:2], (x, y), strict=True))
                x1, y1 = x0 + round(w.box[2] * self.scale), y0 + round(w.box[3] * self.scale)
                image[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = [
                    w.colour >> 16,
                    w.colour >> 8 & 255,
                    w.colour & 255,
                ]
        self._later(handler, image)


class _Configuration:
    """SCStreamConfiguration."""

    def __init__(self) -> None:
        self.size, self.cursor = (0, 0), True

    def setWidth_(self, width: int) -> None:  # noqa: N802 selectors have their own spelling
        assert isinstance(width, int)
        self.size = (width, self.size[1])

    def setHeight_(self, height: int) -> None:  # noqa: N802
        assert isinstance(height, int)
        self.size = (self.size[0], height)

    def setShowsCursor_(self, on: bool) -> None:  # noqa: N802
        self.cursor = on


@contextlib.contextmanager
def installed(fake: FakeMac, version: str = "14.5") -> Iterator[None]:
    """The modules are the stand-in's, and this is a Mac."""
    with (
        mock.patch.dict("sys.modules", {"Quartz": fake.quartz(), "ScreenCaptureKit": fake.kit()}),
        mock.patch.object(macos.platform, "system", return_value="Darwin"),
        mock.patch.object(macos.platform, "mac_ver", return_value=(version, ("", "", ""), "arm64")),
    ):
        yield

"""A real X server without a screen, Xvfb, and windows on it that are nobody's."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest


def why_not() -> str | None:
    """Gives why there can be no X server here."""
    try:
        import mss  # noqa: F401
        import Xlib  # noqa: F401
    except ImportError as error:
        return f"the extra `capture` is not installed ({error})"
    return None if shutil.which("Xvfb") else "Xvfb is not here (Debian: apt-get install xvfb)"


@contextlib.contextmanager
def running(width: int = 800, height: int = 300) -> Iterator[str]:
    """Gives the name of a display as long as the block runs. It speaks through a Unix socket alone."""
    if reason := why_not():
        pytest.skip(reason)
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp", "-noreset"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        number = server.stdout.readline().decode().strip()
        if not number:
            pytest.skip(f"Xvfb does not start here (it ended with {server.wait(10)})")
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(10)
        server.stdout.close()


class Desk:
    """A person's side of a display: makes windows, moves them, types."""

    def __init__(self, name: str) -> None:
        from Xlib.display import Display

        self.display = Display(name)
        self.screen = self.display.screen()
        self.root = self.screen.root
        self.windows: list[Any] = []

    def monitors(self, *boxes: tuple[str, int, int, int, int]) -> None:
        """Makes virtual monitors of (name, x, y, width, height). The first one takes the only output."""
        outputs = self.root.xrandr_get_screen_resources().outputs
        for i, (name, x, y, width, height) in enumerate(boxes):
            _set_monitor(self.display, self.root, name, (x, y, width, height), outputs if i == 0 else [])
        self.display.sync()

    def window(
        self,
        box: tuple[int, int, int, int],
        colour: int = 0xFFFFFF,
        *,
        title: str | None = None,
        app: str | None = None,
        pid: int | None = None,
        above: Any = None,
        popup: bool = False,
    ) -> Any:
        """Makes a window of one colour, (x0, y0, x1, y1), on top of all."""
        x0, y0, x1, y1 = box
        window = self.root.create_window(
            x0, y0, x1 - x0, y1 - y0, 0, self.screen.root_depth, background_pixel=colour, override_redirect=popup
        )
        if title is not None:
            self.name(window, title)
        if app is not None:
            window.set_wm_class(app.lower(), app)
        if pid is not None:
            self.numbers(window, "_NET_WM_PID", "CARDINAL", [pid])
        if above is not None:
            window.set_wm_transient_for(above)
        window.map()
        self.windows.append(window)
        self.display.sync()
        return window

    def name(self, window: Any, title: str) -> None:
        """Sets a window's title."""
        kind = self.display.intern_atom("UTF8_STRING")
        window.change_property(
            self.display.intern_atom("_NET_WM_NAME"), kind, 8, title.encode("utf-8", "surrogateescape")
        )
        self.display.sync()

    def numbers(self, window: Any, name: str, kind: str, values: list[int]) -> None:
        """Sets a property of numbers."""
        window.change_property(self.display.intern_atom(name), self.display.intern_atom(kind), 32, values)
        self.display.sync()

    def fill(self, window: Any, colour: int, box: tuple[int, int, int, int] | None = None) -> None:
        """Paints a window, or a part of it."""
        size = window.get_geometry()
        x0, y0, x1, y1 = box or (0, 0, size.width, size.height)
        context = window.create_gc(foreground=colour)
        window.fill_rectangle(context, x0, y0, x1 - x0, y1 - y0)
        context.free()
        self.display.sync()

    def write(self, window: Any, picture: Any, at: tuple[int, int] = (0, 0)) -> None:
        """Shows a Pillow picture in a window."""
        context = window.create_gc()
        rows = max(1, 200_000 // (picture.width * 4))  # a request has at most 256 KiB
        for top in range(0, picture.height, rows):
            part = picture.crop((0, top, picture.width, min(picture.height, top + rows))).convert("RGB")
            data = part.tobytes("raw", "BGRX")
            window.put_image(context, at[0], at[1] + top, part.width, part.height, 2, self.screen.root_depth, 0, data)
        context.free()
        self.display.sync()

    def type(self) -> None:
        """Presses a key that does nothing, so that somebody is there."""
        from Xlib import X
        from Xlib.ext import xtest

        for event in (X.KeyPress, X.KeyRelease):
            xtest.fake_input(self.display, event, 50)  # a shift key
        self.display.sync()

    def destroy(self, *windows: Any) -> None:
        """Takes windows away; all when none is named."""
        for window in windows or list(self.windows):
            window.destroy()
            self.windows.remove(window)
        self.display.sync()

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.display.close()


@contextlib.contextmanager
def desk(name: str) -> Iterator[Desk]:
    """Gives a desk on a display."""
    made = Desk(name)
    try:
        yield made
    finally:
        made.close()


def _set_monitor(display: Any, root: Any, name: str, box: tuple[int, int, int, int], outputs: Any) -> None:
    """RRSetMonitor; python-xlib 0.33 has it, and cannot pack it."""
    from Xlib.protocol import rq

    class SetMonitor(rq.Request):
        _request = rq.Struct(
            rq.Card8("opcode"), rq.Opcode(43), rq.RequestLength(), rq.Window("window"), rq.Card32("name"),
            rq.Bool("primary"), rq.Bool("automatic"), rq.LengthOf("outputs", 2), rq.Int16("x"), rq.Int16("y"),
            rq.Card16("width"), rq.Card16("height"), rq.Card32("mm_width"), rq.Card32("mm_height"),
            rq.List("outputs", rq.Card32Obj),
        )  # fmt: skip

    SetMonitor(
        display=display.display, opcode=display.display.get_extension_major("RANDR"), window=root,
        name=display.intern_atom(name), primary=False, automatic=False, outputs=list(outputs), x=box[0], y=box[1],
        width=box[2], height=box[3], mm_width=box[2] // 4, mm_height=box[3] // 4,
    )  # fmt: skip

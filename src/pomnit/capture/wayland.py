"""A Wayland desktop, through its portal: pictures by org.freedesktop.portal.Screenshot, over D-Bus by jeepney.

A Wayland desktop tells no program which windows there are, so nothing can be left out of a picture: unless the setting
unknown_windows says "keep", nothing is taken. Nor does it tell what changed: a picture is taken each time, and the
reader finds out. The portal gives each picture as a file, mostly in the user's folder of pictures, in the clear; it is
read and removed at once. Asked for the first time the desktop asks the user, which may take as long as it wants.
Documentation: flatpak.github.io/xdg-desktop-portal, Screenshot and Request. The handle of an answer is known before
the question is sent, so that none is missed.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

from pomnit.capture.frames import Monitor, View
from pomnit.capture.sign import Stop
from pomnit.errors import EngineError, EngineMissing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BUS, PATH = "org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop"
SCREENSHOT, REQUEST = "org.freedesktop.portal.Screenshot", "org.freedesktop.portal.Request"
ANSWER_S = 120.0  # seconds that the user has to allow the first picture
CALL_S = 10.0
LOOK_S = 2.0  # seconds between two pictures
MOST_BYTES = 256 << 20
INSTEAD = "log in to an X11 session of your desktop, or add screenshots that you take with `pomnit add`"


class WaylandScreen:
    """The whole desktop as one monitor."""

    name = "Wayland"
    leaves_out = False

    def __init__(self) -> None:
        """Connects to the session's bus.

        Raises:
            EngineMissing: there is no bus or no portal, with what to do.
        """
        try:
            from jeepney.io.blocking import open_dbus_connection
        except ImportError as error:
            how = "pip install 'pomnit[capture]'"
            raise EngineMissing(f"the portal cannot be spoken to ({error}); type: {how}") from None
        try:
            self._bus = open_dbus_connection("SESSION")
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise EngineMissing(f"this Wayland session has no D-Bus ({error!r:.200}); {INSTEAD}") from None
        self._size: tuple[int, int] | None = None
        try:
            self.version = self._portal_version()
        except BaseException:
            self.close()
            raise

    def _portal_version(self) -> int:
        from jeepney import DBusAddress, Properties

        try:
            found = self._call(Properties(DBusAddress(PATH, BUS, SCREENSHOT)).get("version"))
            return int(found[0][1])
        except (EngineError, TypeError, ValueError, IndexError) as error:
            raise EngineMissing(f"this desktop has no portal for screenshots ({error}); {INSTEAD}") from None

    def monitors(self) -> tuple[Monitor, ...]:
        """Gives the whole desktop; how large it is, the first picture tells."""
        width, height = self._size or (0, 0)
        return (Monitor("desktop", (0, 0, width, height)),)

    def look(self) -> View:
        """Gives that no window is known."""
        return View(None, 0)

    def pixels(self, monitor: Monitor, out: Collection[int] = ()) -> NDArray[np.uint8]:  # noqa: ARG002 there is one alone
        """Gives what the desktop shows, shape (height, width, 4), blue, green, red and nothing.

        Raises:
            EngineError: the user or the desktop refused, or the file cannot be read.
        """
        import numpy as np
        from PIL import Image

        data = _taken_away(self._screenshot())
        try:
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
                rgb = picture.convert("RGB")
        except Exception as error:  # Pillow raises whatever it meets
            raise EngineError(f"the portal's picture cannot be read: {error}") from error
        self._size = rgb.size
        raw = bytearray(rgb.tobytes("raw", "BGRX"))
        return np.frombuffer(raw, np.uint8).reshape(rgb.height, rgb.width, 4)

    def _screenshot(self) -> str:
        """Asks the portal for a picture; gives its uri.

        Raises:
            EngineError.
        """
        from jeepney import DBusAddress, MatchRule, message_bus, new_method_call

        token = f"pomnit_{secrets.token_hex(8)}"
        sender = self._bus.unique_name.lstrip(":").replace(".", "_")
        rule = MatchRule(type="signal", interface=REQUEST, member="Response", path=f"{PATH}/request/{sender}/{token}")
        options = {"handle_token": ("s", token), "interactive": ("b", False), "modal": ("b", False)}
        question = new_method_call(DBusAddress(PATH, BUS, SCREENSHOT), "Screenshot", "sa{sv}", ("", options))
        with self._bus.filter(rule) as answers:
            self._call(message_bus.AddMatch(rule))
            try:
                self._call(question)
                response, results = self._wait(answers)
            finally:
                with contextlib.suppress(EngineError):
                    self._call(message_bus.RemoveMatch(rule))
        if response:
            why = "you did not allow it" if response == 1 else "it ended the question"
            raise EngineError(f"the desktop gave no picture: {why}; allow it in its settings, under screenshots")
        uri = results.get("uri", ("s", ""))[1]
        if not isinstance(uri, str) or not uri.startswith("file:///"):
            raise EngineError(f"the portal gave no file, but {uri!r:.80}")
        return uri

    def _wait(self, answers: Any) -> tuple[int, dict[str, Any]]:
        with self._answers():
            response, results = self._bus.recv_until_filtered(answers, timeout=ANSWER_S).body
        return int(response), dict(results)

    def _call(self, message: Any) -> Any:
        """Gives the answer of a call.

        Raises:
            EngineError: it is an error, or none came.
        """
        from jeepney import MessageType

        with self._answers():
            reply = self._bus.send_and_get_reply(message, timeout=CALL_S)
        if reply.header.message_type is MessageType.error:
            raise EngineError(f"{reply.header.fields.get(4, 'an error')}: {reply.body!r:.200}")  # 4 is its name
        return reply.body

    @contextlib.contextmanager
    def _answers(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise EngineError("the desktop's portal does not answer") from error
        except OSError as error:
            raise EngineError(f"the session's bus is gone: {error}") from error

    def changed(self) -> dict[str, float]:
        """Says that everything may have changed: nobody tells."""
        return {"desktop": 1.0}

    def wait(self, seconds: float | None, stop: Stop) -> None:
        """Waits until the next picture is due."""
        stop.wait(LOOK_S if seconds is None else min(LOOK_S, seconds))

    def idle_s(self) -> float:
        """Gives how long nobody has touched keyboard or mouse, where GNOME tells; else 0."""
        from jeepney import DBusAddress, new_method_call

        address = DBusAddress(
            "/org/gnome/Mutter/IdleMonitor/Core", "org.gnome.Mutter.IdleMonitor", "org.gnome.Mutter.IdleMonitor"
        )
        try:
            return float(self._call(new_method_call(address, "GetIdletime"))[0]) / 1000
        except (EngineError, TypeError, ValueError, IndexError):
            return 0.0

    def close(self) -> None:
        """Lets go of the bus."""
        self._bus.close()


def _taken_away(uri: str) -> bytes:
    """Gives the bytes of the portal's file, and removes it.

    Raises:
        EngineError.
    """
    path = Path(os.fsdecode(unquote_to_bytes(urlsplit(uri).path)))
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_uid != os.getuid():
            raise EngineError("the portal named something that is no file of yours")
        if path.stat().st_size > MOST_BYTES:
            raise EngineError(f"the portal's picture has {path.stat().st_size} bytes")
        return path.read_bytes()
    except OSError as error:
        raise EngineError(f"the portal's picture cannot be read: {error.strerror}") from error
    finally:
        if path.is_file() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.unlink()

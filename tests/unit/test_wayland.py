"""A Wayland desktop over a real D-Bus with a portal of our own: pictures come, and nothing without being allowed."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from pomnit.capture import wayland
from pomnit.capture.loop import How, Loop, Then
from pomnit.capture.sign import Stop
from pomnit.errors import EngineError, EngineMissing
from pomnit.privacy.exclusions import Exclusions

KEEP = Exclusions.of(unknown="keep")


class Portal:
    """org.freedesktop.portal.Desktop on a bus: answers as it is told, in a thread."""

    def __init__(self, folder: Path) -> None:
        from jeepney import message_bus
        from jeepney.io.blocking import open_dbus_connection

        self.folder, self.response, self.there, self.idle = folder, 0, True, 4200
        self.uri: str | None = None  # instead of the picture's
        self.asked: list[dict] = []
        self._bus = open_dbus_connection("SESSION")
        for name in (wayland.BUS, "org.gnome.Mutter.IdleMonitor"):
            self._bus.send_and_get_reply(message_bus.RequestName(name))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        numbers = itertools.count()
        while True:
            try:
                message = self._bus.receive()
            except (OSError, ValueError):
                return
            if message.header.message_type.name == "method_call":
                self._answer(message, next(numbers))

    def _answer(self, message, number: int) -> None:
        from jeepney import DBusAddress, HeaderFields, new_error, new_method_return, new_signal

        member = message.header.fields[HeaderFields.member]
        if member == "Get" and self.there:
            self._bus.send(new_method_return(message, "v", (("u", 2),)))
        elif member == "GetIdletime":
            self._bus.send(new_method_return(message, "t", (self.idle,)))
        elif member == "Screenshot" and self.there:
            _, options = message.body
            self.asked.append(dict(options))
            sender = message.header.fields[HeaderFields.sender].lstrip(":").replace(".", "_")
            handle = f"{wayland.PATH}/request/{sender}/{options['handle_token'][1]}"
            self._bus.send(new_method_return(message, "o", (handle,)))
            path = self.folder / f"Снимок {number}.png"
            if not self.response:
                Image.new("RGB", (60, 40), (1, 2, 250)).save(path)
            results = {"uri": ("s", self.uri or path.as_uri())} if not self.response else {}
            where = DBusAddress(handle, interface=wayland.REQUEST)
            self._bus.send(new_signal(where, "Response", "ua{sv}", (self.response, results)))
        else:
            self._bus.send(new_error(message, "org.freedesktop.DBus.Error.UnknownMethod", "s", ("no such thing",)))

    def close(self) -> None:
        self._bus.sock.shutdown(2)
        self._thread.join(10)
        self._bus.close()


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pytest.importorskip("jeepney")
    if shutil.which("dbus-daemon") is None:
        pytest.skip("dbus-daemon is not here (Debian: apt-get install dbus-daemon)")
    daemon = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--print-address=1", f"--address=unix:tmpdir={tmp_path}"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", daemon.stdout.readline().strip())
        yield
    finally:
        daemon.terminate()
        daemon.wait(10)
        daemon.stdout.close()


@pytest.fixture
def portal(bus: None, tmp_path: Path) -> Iterator[Portal]:
    folder = tmp_path / "Изображения"
    folder.mkdir()
    portal = Portal(folder)
    yield portal
    portal.close()


@pytest.fixture
def screen(portal: Portal) -> Iterator[wayland.WaylandScreen]:
    screen = wayland.WaylandScreen()
    yield screen
    screen.close()


def once(screen, exclusions):
    found, stop = [], Stop()
    loop = Loop(screen, exclusions, lambda frame: (found.append(frame), Then())[1], How(settle_s=0))
    loop.once(stop)
    stop.close()
    return found, loop


def test_a_picture_comes_and_the_portals_file_is_gone(screen, portal):
    (frame,), _ = once(screen, KEEP)
    assert frame.image.size == (60, 40)
    assert frame.image.getpixel((5, 5)) == (1, 2, 250)
    assert (frame.monitor, frame.app, frame.window) == ("desktop", None, None)
    assert list(portal.folder.iterdir()) == []
    assert portal.asked[0]["interactive"] == ("b", False)


def test_nothing_is_asked_for_as_long_as_the_settings_do_not_keep_what_is_unknown(screen, portal):
    found, loop = once(screen, Exclusions.of())
    assert found == portal.asked == []
    assert loop.counts.passed_over == 1


@pytest.mark.parametrize("response", [1, 2])
def test_a_refusal_is_told_with_what_to_do(screen, portal, response):
    portal.response = response
    with pytest.raises(EngineError, match="allow it in its settings"):
        screen.pixels(screen.monitors()[0])
    found, loop = once(screen, KEEP)
    assert (found, loop.counts.failed) == ([], 1)


def test_only_a_file_of_this_user_is_read_and_removed(screen, portal, tmp_path):
    kept = tmp_path / "kept.png"
    Image.new("RGB", (9, 9)).save(kept)
    (portal.folder / "link.png").symlink_to(kept)
    for uri in (
        (portal.folder / "link.png").as_uri(),
        tmp_path.as_uri(),
        "https://example.org/a.png",
        "file:///no/file",
    ):
        portal.uri = uri
        with pytest.raises(EngineError):
            screen.pixels(screen.monitors()[0])
    assert kept.exists()
    assert (portal.folder / "link.png").is_symlink()


def test_a_file_that_is_no_picture_fails_and_is_removed(screen, portal, tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    portal.uri = (tmp_path / "text.png").as_uri()
    with pytest.raises(EngineError, match="cannot be read"):
        screen.pixels(screen.monitors()[0])
    assert not (tmp_path / "text.png").exists()


def test_how_long_nobody_was_there_is_asked_of_gnome(screen, portal):
    assert screen.idle_s() == 4.2


def test_a_desktop_without_a_portal_says_what_else_there_is(bus):
    with pytest.raises(EngineMissing, match="X11 session"):
        wayland.WaylandScreen()


def test_a_session_without_a_bus_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path / 'none'}")
    with pytest.raises(EngineMissing, match="no D-Bus"):
        wayland.WaylandScreen()


def test_many_pictures_leave_no_descriptor_open(screen):
    screen.pixels(screen.monitors()[0])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        screen.pixels(screen.monitors()[0])
    assert len(os.listdir("/proc/self/fd")) == before

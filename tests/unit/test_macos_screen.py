"""A Mac's screen over a stand-in of its frameworks: see ``support.fake_quartz``. No Mac has run it yet."""

from __future__ import annotations

import platform
import sys

import pytest

from pomnit.capture import macos
from pomnit.capture.frames import Monitor
from pomnit.capture.loop import How, Loop, Then
from pomnit.capture.sign import Stop
from pomnit.errors import EngineError, EngineMissing
from pomnit.privacy.exclusions import Exclusions
from support.fake_quartz import FakeMac, Shown, error, installed
from support.screens import has

GREEN, KEY = 0x00AA33, 0xFF00FE
NOTES = Shown(1, "TextEdit", "Заметки", (0, 0, 100, 60), GREEN)
VAULT = Shown(2, "1Password", "Vault", (20.5, 10.2, 30, 30), KEY, pid=2)
FIRST_RUN = Exclusions.of()


@pytest.fixture
def stop():
    stop = Stop()
    yield stop
    stop.close()


def frames(fake: FakeMac, stop: Stop, exclusions: Exclusions = FIRST_RUN, **how):
    found = {}
    with installed(fake):
        screen = macos.MacScreen(judge=exclusions.reason)
        loop = Loop(
            screen, exclusions, lambda f: (found.update({f.monitor: f}), Then())[1], How(settle_s=0, **how)
        )  # fmt: skip
        loop.once(stop)
    return found, loop


def test_displays_are_monitors_with_their_scale():
    with installed(FakeMac()):
        assert macos.MacScreen().monitors() == (
            Monitor("display-7", (0, 0, 100, 60), 2.0),
            Monitor("display-9", (100, 0, 180, 60), 2.0),
        )


def test_windows_come_from_the_back_with_whole_boxes_and_the_front_one_focused():
    menu = Shown(3, "TextEdit", None, (5, 5, 10, 20), GREEN, layer=101)
    pointer = Shown(4, "Window Server", "Cursor", (1, 1, 5, 5), GREEN, layer=2147483630)
    desktop = Shown(5, "Finder", None, (0, 0, 100, 60), GREEN, layer=-2147483603)
    with installed(FakeMac([desktop, NOTES, VAULT, menu, pointer])):
        windows = macos.MacScreen().look().windows
    assert [(w.id, w.app, w.title, w.box, w.focused, w.popup) for w in windows] == [
        (1, "TextEdit", "Заметки", (0, 0, 100, 60), False, False),
        (2, "1Password", "Vault", (20, 10, 51, 41), True, False),
        (3, "TextEdit", None, (5, 5, 15, 25), False, True),
    ]


def test_a_window_that_is_left_out_is_left_out_by_the_system_and_what_lies_behind_it_is_there(stop):
    fake = FakeMac([NOTES, VAULT])
    found, loop = frames(fake, stop, only=("1",))
    image = found["display-7"].image
    assert fake.excluded == [2]
    assert image.size == (200, 120)
    assert not has(image, KEY)
    assert image.getpixel((60, 50)) == (0x00, 0xAA, 0x33)
    assert (found["display-7"].app, found["display-7"].window) == ("TextEdit", "Заметки")
    assert loop.counts.reasons == {"app:1Password": 1}


def test_a_window_to_leave_out_that_the_framework_does_not_know_makes_the_picture_fail(stop):
    found, loop = frames(
        FakeMac([NOTES, Shown(2, "1Password", "x", (0, 0, 9, 9), KEY, shared=False)]), stop, only=("1",)
    )
    assert found == {}
    assert loop.counts.failed == 1


def test_a_private_window_stays_private_under_another_title():
    fake = FakeMac([Shown(1, "Google Chrome", "New Incognito Tab", (0, 0, 9, 9), KEY)])
    with installed(fake):
        screen = macos.MacScreen(judge=FIRST_RUN.reason)
        assert screen.look().windows[0].private
        fake.windows = [Shown(1, "Google Chrome", "Bank", (0, 0, 9, 9), KEY)]
        assert screen.look().windows[0].private
        fake.windows = []
        screen.look()
        fake.windows = [Shown(1, "Google Chrome", "Bank", (0, 0, 9, 9), KEY)]
        (window,) = screen.look().windows
        assert not window.private
        assert window.doubtful
        fake.windows = [Shown(1, "Google Chrome", "New Tab", (0, 0, 9, 9), KEY)]
        assert not screen.look().windows[0].doubtful


def test_the_view_is_another_one_when_a_window_moves_or_is_left_out_and_not_when_a_title_changes():
    fake = FakeMac([NOTES])
    with installed(fake):
        screen = macos.MacScreen(judge=FIRST_RUN.reason)
        versions = [screen.look().version]
        for window in (
            Shown(1, "TextEdit", "other", NOTES.box, GREEN),
            Shown(1, "TextEdit", "other", (1, 0, 100, 60), GREEN),
            Shown(1, "TextEdit", "Bitwarden", (1, 0, 100, 60), GREEN),
        ):
            fake.windows = [window]
            versions.append(screen.look().version)
    assert versions[0] == versions[1] < versions[2] < versions[3]


def test_without_the_permission_it_is_asked_for_and_explained():
    fake = FakeMac()
    fake.allowed = False
    with installed(fake), pytest.raises(EngineMissing, match=r"Screen & System Audio Recording.*type: open"):
        macos.MacScreen()
    assert fake.requested == 1


def test_a_permission_that_is_taken_back_leaves_nothing_known(stop):
    fake = FakeMac([NOTES])
    with installed(fake):
        screen = macos.MacScreen()
        fake.allowed = False
        assert screen.look().windows is None


def test_an_error_of_the_framework_is_told_with_what_to_do():
    fake = FakeMac([NOTES])
    with installed(fake):
        screen = macos.MacScreen()
        fake.fails = error("The user declined TCCs", -3801)
        with pytest.raises(EngineError, match=r"declined TCCs .*-3801.*System Settings"):
            screen.monitors()


def test_a_framework_that_does_not_answer_ends_in_time(monkeypatch):
    monkeypatch.setattr(macos, "WAIT_S", 0.01)
    fake = FakeMac()
    with installed(fake):
        screen = macos.MacScreen()
        fake.silent = True
        with pytest.raises(EngineError, match="has not answered"):
            screen.monitors()


@pytest.mark.parametrize(("idle", "longest"), [(0.5, macos.LOOK_S), (30, macos.SELDOM_S)])
def test_pictures_are_seldom_while_nothing_is_touched(idle, longest, stop):
    fake = FakeMac()
    fake.idle = idle
    waited: list[float] = []
    stop.wait = lambda seconds: bool(waited.append(seconds))
    with installed(fake):
        screen = macos.MacScreen()
        screen.wait(None, stop)
        screen.wait(1, stop)
        assert screen.idle_s() == idle
    assert waited == [longest, 1]


def test_an_old_macos_is_named():
    with installed(FakeMac(), version="13.6"), pytest.raises(EngineMissing, match=r"macOS 13\.6.*macOS 14 or newer"):
        macos.MacScreen()


def test_without_pyobjc_the_command_is_named(monkeypatch):
    with installed(FakeMac()):
        monkeypatch.setitem(sys.modules, "ScreenCaptureKit", None)
        with pytest.raises(EngineMissing, match="type: pip install"):
            macos.MacScreen()


def test_elsewhere_than_on_macos_it_says_so(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    with pytest.raises(EngineMissing, match="a part of macOS"):
        macos.MacScreen()

"""Capture on a real X server: what is on it, who it is, and that what is left out is on no frame, however it lies."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from pomnit.capture.frames import Monitor
from pomnit.capture.loop import How
from pomnit.capture.sign import Stop
from pomnit.capture.x11 import X11Screen
from pomnit.errors import EngineError, EngineMissing, UsageError
from pomnit.privacy.exclusions import Exclusions
from support import screens, xserver
from support.screens import KEY, QUICK, WORDS, Stage, has

FIRST_RUN = Exclusions.of(["title:*online bank*"])
RED, GREEN, BLUE = list(WORDS)[:3]
PRIVATE = "Page — Mozilla Firefox Private Browsing"


class Watched(X11Screen):
    """A real screen; ``meanwhile`` is done between looking and taking the pixels, ``after`` behind that."""

    meanwhile = after = staticmethod(lambda: None)

    def pixels(self, monitor: Monitor, out=()):
        self.meanwhile()
        try:
            return super().pixels(monitor, out)
        finally:
            self.after()


@pytest.fixture(scope="module")
def server() -> Iterator[Stage]:
    with screens.stage(FIRST_RUN, kind=Watched) as stage:
        yield stage


@pytest.fixture
def stage(server: Stage) -> Iterator[Stage]:
    yield server
    server.screen.meanwhile = server.screen.after = lambda: None
    server.desk.destroy()


def titles(stage: Stage) -> list[tuple[str | None, str | None]]:
    return [(window.app, window.title) for window in stage.screen.look().windows]


# What is there


def test_monitors_are_those_of_the_server_from_left_to_right(stage):
    assert stage.screen.monitors() == (Monitor("LEFT", (0, 0, 400, 300)), Monitor("RIGHT", (400, 0, 800, 300)))


def test_windows_are_told_in_their_order_with_names_and_boxes(stage):
    desk = stage.desk
    low = desk.window((10, 10, 200, 200), title="Заметки — ёлка", app="Gedit", pid=42)
    high = desk.window((350, 20, 500, 100), title="Terminal", app="XTerm")
    view = stage.screen.look().windows
    assert [(w.id, w.app, w.title, w.box) for w in view] == [
        (low.id, "Gedit", "Заметки — ёлка", (10, 10, 200, 200)),
        (high.id, "XTerm", "Terminal", (350, 20, 500, 100)),
    ]
    assert view[0].names == ("gedit", "Gedit")
    assert view[0].pid == 42
    low.configure(stack_mode=0)  # above all
    desk.display.sync()
    assert [w.id for w in stage.screen.look().windows] == [high.id, low.id]


def test_what_changes_about_a_window_is_seen_at_the_next_look(stage):
    desk = stage.desk
    window = desk.window((10, 10, 100, 100), title="one", app="A")
    assert titles(stage) == [("A", "one")]
    desk.name(window, "two")
    assert titles(stage) == [("A", "two")]
    window.configure(x=50, width=60)
    desk.display.sync()
    assert stage.screen.look().windows[0].box == (50, 10, 110, 100)
    window.unmap()
    desk.display.sync()
    assert titles(stage) == []
    window.map()
    desk.display.sync()
    assert titles(stage) == [("A", "two")]
    desk.destroy(window)
    assert titles(stage) == []


def test_the_focused_window_is_told(stage):
    desk = stage.desk
    one, two = desk.window((0, 0, 50, 50), app="A"), desk.window((60, 0, 90, 50), app="B")
    one.set_input_focus(1, 0)
    desk.display.sync()
    assert [w.focused for w in stage.screen.look().windows] == [True, False]
    two.set_input_focus(1, 0)
    desk.display.sync()
    assert [w.focused for w in stage.screen.look().windows] == [False, True]


def test_titles_of_any_bytes_are_text(stage):
    desk = stage.desk
    window = desk.window((0, 0, 50, 50), app="A")
    for raw in (b"\xff\xfe\x00broken", b"", b"x" * 100_000, b"\x1b[31m"):
        window.change_property(desk.display.intern_atom("WM_NAME"), 31, 8, raw)
        desk.display.sync()
        (title,) = [w.title for w in stage.screen.look().windows]
        assert title is None or len(title) <= 2000


def test_behind_a_window_managers_frame_is_the_program(stage):
    desk = stage.desk
    frame = desk.window((20, 20, 220, 220), RED)
    client = desk.window((0, 0, 190, 170), KEY, title=PRIVATE, app="firefox")
    client.unmap()
    client.reparent(frame, 5, 25)
    desk.numbers(client, "WM_STATE", "WM_STATE", [1, 0])
    client.map()
    desk.numbers(desk.root, "_NET_CLIENT_LIST", "WINDOW", [client.id])
    desk.display.sync()
    (window,) = stage.screen.look().windows
    assert (window.id, window.app, window.title) == (client.id, "firefox", PRIVATE)
    assert window.box == (20, 20, 220, 220)  # the frame and all
    assert not has(stage.frames(FIRST_RUN)["LEFT"].image, KEY)
    assert not has(stage.frames(FIRST_RUN)["LEFT"].image, RED)
    desk.root.delete_property(desk.display.intern_atom("_NET_CLIENT_LIST"))
    desk.windows.remove(client)


def test_a_display_that_is_not_there_is_named():
    with pytest.raises(EngineMissing, match=":98765"):
        X11Screen(":98765")


def test_without_a_display_it_says_so(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(EngineMissing, match="DISPLAY is not set"):
        X11Screen()


def test_a_display_that_goes_away_ends_capture_with_its_name():
    with xserver.running() as name:
        screen = X11Screen(name)
    with pytest.raises(EngineError, match=name):
        screen.look()
    screen.close()


# Frames


def test_a_frame_has_the_pixels_of_its_monitor_and_the_window_in_front(stage):
    desk = stage.desk
    desk.window((0, 0, 400, 300), RED, title="wall", app="A")
    desk.window((300, 100, 500, 200), BLUE, title="over both", app="B")
    frames = stage.frames(FIRST_RUN)
    assert frames["LEFT"].image.size == (400, 300)
    assert frames["LEFT"].image.getpixel((0, 0)) == (0xCC, 0x22, 0x00)
    assert frames["LEFT"].image.getpixel((399, 150)) == frames["RIGHT"].image.getpixel((0, 150)) == (0x22, 0x44, 0xEE)
    assert {(f.app, f.window) for f in frames.values()} == {("B", "over both")}
    assert abs(frames["LEFT"].at - time.time()) < 60


def test_only_the_monitors_that_were_asked_for_are_taken(stage):
    assert set(stage.frames(FIRST_RUN, How(settle_s=0, only=("2",)))) == {"RIGHT"}
    assert set(stage.frames(FIRST_RUN, How(settle_s=0, only=("LEFT",)))) == {"LEFT"}
    with pytest.raises(UsageError, match="1 LEFT, 2 RIGHT"):
        stage.frames(FIRST_RUN, How(settle_s=0, only=("3",)))


def test_what_is_drawn_marks_its_monitor_alone(stage):
    desk, screen = stage.desk, stage.screen
    window = desk.window((380, 10, 420, 50), RED, app="A")
    screen.changed()
    assert screen.changed() == {}
    desk.fill(window, GREEN, (0, 0, 5, 5))
    assert screen.changed() == {"LEFT": 25 / 120_000}
    desk.fill(window, GREEN, (30, 0, 35, 5))
    assert screen.changed().keys() == {"RIGHT"}
    desk.fill(window, BLUE)
    assert screen.changed().keys() == {"LEFT", "RIGHT"}


def test_what_is_drawn_while_the_windows_are_looked_at_is_told(stage, monkeypatch):
    window = stage.desk.window((0, 0, 400, 300), RED, app="A")
    stage.screen.look()
    stage.screen.changed()
    display = stage.screen._display
    real = display.sync

    def sync() -> None:
        stage.desk.fill(window, GREEN)
        real()

    with monkeypatch.context() as patch:
        patch.setattr(display, "sync", sync)
        stage.screen.look()
    assert stage.screen.changed().keys() == {"LEFT"}


def test_a_still_screen_gives_one_frame_and_waits_until_something_is_drawn(stage):
    desk = stage.desk
    window = desk.window((10, 10, 300, 200), RED, title="a", app="A")
    desk.type()
    stop, waits, frames = Stop(), threading.Semaphore(0), []
    real = stage.screen.wait

    def wait(seconds, stop):
        waits.release()
        real(seconds, stop)

    stage.screen.wait = wait
    loop = stage.loop(FIRST_RUN, frames.append)
    thread = threading.Thread(target=loop.run, args=(stop,))
    thread.start()
    try:
        assert waits.acquire(timeout=30)
        assert sorted(f.monitor for f in frames) == ["LEFT", "RIGHT"]
        assert not waits.acquire(timeout=0.3)  # it sleeps in the first wait still
        desk.fill(window, GREEN)
        assert waits.acquire(timeout=30)
        assert [f.monitor for f in frames[2:]] == ["LEFT"]
        assert has(frames[2].image, GREEN)
    finally:
        stop.ask()
        thread.join(30)
        del stage.screen.wait
        stop.close()
    assert not thread.is_alive()


def test_nobody_there_gives_no_frames_until_a_key_is_pressed(stage):
    stage.desk.window((10, 10, 300, 200), RED, app="A")
    frames: list[object] = []
    stop = Stop()
    gone = How(every_s=0.02, settle_s=0, idle_s=-1)
    stage.loop(FIRST_RUN, frames.append, gone).run(stop, until=time.monotonic() + 0.2)
    assert frames == []
    stage.desk.type()
    assert stage.screen.idle_s() < 30
    stage.loop(FIRST_RUN, lambda frame: (frames.append(frame), len(frames) == 2 and stop.ask())).run(stop)
    assert len(frames) == 2
    stop.close()


# What is left out


def test_a_password_manager_is_black_and_names_nothing(stage):
    desk = stage.desk
    desk.window((0, 0, 300, 300), RED, title="notes", app="Gedit")
    vault = desk.window((100, 100, 350, 250), KEY, title="Passwords.kdbx - KeePassXC", app="KeePassXC")
    vault.set_input_focus(1, 0)
    desk.display.sync()
    frame = stage.frames(FIRST_RUN)["LEFT"]
    assert not has(frame.image, KEY)
    assert frame.image.getpixel((200, 200)) == (0, 0, 0)
    assert frame.image.getpixel((10, 10)) == (0xCC, 0x22, 0x00)
    assert (frame.app, frame.window) == ("Gedit", "notes")


def test_a_window_over_one_that_is_left_out_is_seen(stage):
    desk = stage.desk
    desk.window((0, 0, 400, 300), KEY, title=PRIVATE, app="firefox")
    desk.window((100, 100, 200, 200), GREEN, title="over", app="Gedit")
    image = stage.frames(FIRST_RUN)["LEFT"].image
    assert image.getpixel((150, 150)) == (0x00, 0xAA, 0x33)
    assert not has(image, KEY)


def test_what_may_shine_through_a_window_is_black_with_it(stage):
    desk = stage.desk
    desk.window((0, 0, 400, 300), KEY, title=PRIVATE, app="firefox")
    shaped = desk.window((0, 0, 200, 300), GREEN, title="shaped", app="A")
    shaped.shape_rectangles(0, 0, 0, 0, 0, [(0, 0, 50, 50)])
    glass = desk.window((200, 0, 400, 300), GREEN, title="glass", app="B")
    desk.numbers(glass, "_NET_WM_WINDOW_OPACITY", "CARDINAL", [0x80000000])
    image = stage.frames(FIRST_RUN)["LEFT"].image
    assert not np.asarray(image).any()


def test_a_translucent_window_hides_only_where_it_says_so(stage):
    from Xlib import X

    desk = stage.desk
    desk.window((0, 0, 400, 300), KEY, title=PRIVATE, app="firefox")
    visual = next(v.visual_id for d in desk.screen.allowed_depths if d.depth == 32 for v in d.visuals)
    colours = desk.root.create_colormap(visual, X.AllocNone)
    glass = desk.root.create_window(
        50, 40, 300, 200, 0, 32, X.InputOutput, visual, background_pixel=0xFF00AA33, border_pixel=0, colormap=colours
    )
    glass.set_wm_class("glass", "Glass")
    desk.windows.append(glass)
    glass.map()
    desk.display.sync()
    assert not np.asarray(stage.frames(FIRST_RUN)["LEFT"].image).any()
    desk.numbers(glass, "_NET_WM_OPAQUE_REGION", "CARDINAL", [10, 20, 100, 50, 200, 0, 10, 10])
    image = np.asarray(stage.frames(FIRST_RUN)["LEFT"].image)
    seen = image.any(axis=-1)
    assert seen[60:110, 60:160].all()
    assert seen[40:50, 250:260].all()
    assert seen.sum() == 100 * 50 + 10 * 10


def test_a_skipped_monitor_is_not_taken_and_the_other_one_is(stage):
    desk = stage.desk
    desk.window((10, 10, 100, 100), KEY, title=PRIVATE, app="firefox")
    skip = How(settle_s=0, skip=True)
    assert set(stage.frames(FIRST_RUN, skip)) == {"RIGHT"}
    desk.window((0, 0, 110, 110), GREEN, title="hides it", app="A")
    assert set(stage.frames(FIRST_RUN, skip)) == {"LEFT", "RIGHT"}


def test_menus_and_dialogs_of_a_private_window_are_left_out_with_it(stage):
    desk = stage.desk
    private = desk.window((0, 0, 100, 100), KEY, title=PRIVATE, app="firefox", pid=7)
    desk.window((200, 0, 250, 100), KEY, pid=7, popup=True)
    desk.window((260, 0, 300, 100), KEY, title="Save as", app="Portal", above=private)
    assert not has(stage.frames(FIRST_RUN)["LEFT"].image, KEY)


def test_a_window_that_was_private_once_stays_so_whatever_its_title_says(stage):
    desk = stage.desk
    window = desk.window((0, 0, 100, 100), KEY, title="New Incognito Tab - Google Chrome", app="Google-chrome")
    assert not has(stage.frames(FIRST_RUN)["LEFT"].image, KEY)
    desk.name(window, "Bank - Google Chrome")
    assert not has(stage.frames(FIRST_RUN)["LEFT"].image, KEY)
    desk.destroy(window)
    desk.window((0, 0, 100, 100), GREEN, title="New Tab - Google Chrome", app="Google-chrome")
    assert has(stage.frames(FIRST_RUN)["LEFT"].image, GREEN)


def test_a_window_of_chrome_is_seen_once_its_empty_tab_told_that_it_is_an_ordinary_one(stage):
    desk = stage.desk
    window = desk.window((0, 0, 100, 100), GREEN, title="Bank - Google Chrome", app="Google-chrome")
    assert not has(stage.frames(FIRST_RUN)["LEFT"].image, GREEN)
    desk.name(window, "New Tab - Google Chrome")
    assert has(stage.frames(FIRST_RUN)["LEFT"].image, GREEN)
    desk.name(window, "Bank - Google Chrome")
    assert has(stage.frames(FIRST_RUN)["LEFT"].image, GREEN)
    desk.name(window, "New Incognito Tab - Google Chrome")
    desk.name(window, "New Tab - Google Chrome")
    stage.screen.look()
    desk.name(window, "New Incognito Tab - Google Chrome")
    assert not has(stage.frames(FIRST_RUN)["LEFT"].image, GREEN)
    desk.name(window, "New Tab - Google Chrome")
    assert not has(stage.frames(FIRST_RUN)["LEFT"].image, GREEN)  # once private, always private


def test_a_browser_that_was_started_with_private_windows_has_them(stage, monkeypatch):
    desk = stage.desk
    keep = Exclusions.of(unknown="keep")
    desk.window((0, 0, 100, 100), GREEN, title="Bank - Chromium", app="Chromium", pid=os.getpid())
    assert has(stage.frames(keep)["LEFT"].image, GREEN)
    desk.destroy()
    child = subprocess.Popen([sys.executable, "-c", "input()", "--incognito"], stdin=subprocess.PIPE)
    desk.window((0, 0, 100, 100), KEY, title="Bank - Chromium", app="Chromium", pid=child.pid)
    image = stage.frames(keep)["LEFT"].image
    child.communicate(b"\n")
    assert not has(image, KEY)


def test_a_window_that_nobody_knows_is_left_out(stage):
    stage.desk.window((0, 0, 100, 100), KEY)
    assert not has(stage.frames(FIRST_RUN)["LEFT"].image, KEY)
    assert has(stage.frames(Exclusions.of(unknown="keep"))["LEFT"].image, KEY)


@pytest.mark.parametrize("when", ["before the pixels", "behind them", "and gone again"])
def test_a_frame_is_thrown_away_when_a_window_comes_while_it_is_taken(stage, when):
    desk, happened = stage.desk, []
    desk.window((0, 0, 400, 300), RED, title="notes", app="Gedit")

    def come() -> None:
        if not happened:
            happened.append(desk.window((50, 50, 90, 90), KEY, title=PRIVATE, app="firefox"))

    def go() -> None:
        if happened and happened[0] in desk.windows:
            desk.destroy(happened[0])

    stage.screen.meanwhile = (lambda: None) if when == "behind them" else come
    stage.screen.after = {"before the pixels": lambda: None, "behind them": come, "and gone again": go}[when]
    frames: list[object] = []
    loop = stage.loop(FIRST_RUN, frames.append, How(settle_s=0, only=("LEFT",)))
    stop = Stop()
    loop.once(stop)
    stop.close()
    assert happened
    assert len(frames) == 1  # the second try
    assert not has(frames[0].image, KEY)


def test_a_frame_is_thrown_away_when_a_window_becomes_one_that_is_left_out(stage):
    desk = stage.desk
    window = desk.window((0, 0, 400, 300), GREEN, title="Shop - Files", app="Files")
    turns = iter(["Online Bank - Files"])

    def navigate() -> None:
        for title in turns:
            desk.fill(window, KEY)
            desk.name(window, title)

    stage.screen.meanwhile = navigate
    image = stage.frames(FIRST_RUN)["LEFT"].image
    assert not has(image, KEY)


def test_a_title_that_changes_and_decides_nothing_costs_no_frame(stage):
    desk = stage.desk
    window = desk.window((0, 0, 400, 300), GREEN, title="0 %", app="A")
    numbers = iter(range(100))
    stage.screen.meanwhile = lambda: desk.name(window, f"{next(numbers)} %")
    loop = stage.loop(FIRST_RUN, lambda _: None)
    stop = Stop()
    loop.once(stop)
    stop.close()
    assert (loop.counts.frames, loop.counts.moved) == (2, 0)


def layout(dice: random.Random, desk: xserver.Desk) -> list[tuple[object, int]]:
    """Puts some windows in random places and order, some of them to be left out; gives each with its colour."""
    kinds = [
        {"title": "Passwords - KeePassXC", "app": "KeePassXC"},
        {"title": PRIVATE, "app": "firefox", "pid": 7},
        {"pid": 7, "popup": True},
        {"title": "My Online Bank - Chromium", "app": "Chromium"},
        {},
    ]
    made: list[tuple[object, int]] = []
    for number in range(dice.randint(2, 7)):
        x, y = dice.randint(-60, 780), dice.randint(-60, 280)
        box = (x, y, x + dice.randint(1, 450), y + dice.randint(1, 300))
        if number == 0 or dice.random() < 0.4:
            kind = kinds[0] if number == 0 else dice.choice(kinds)
            if kind.get("popup"):
                desk.window((0, 0, 9, 9), KEY, **kinds[1])
            made.append((desk.window(box, KEY, **kind), KEY))
        else:
            colour = dice.choice([RED, GREEN, BLUE])
            made.append((desk.window(box, colour, title=f"t{number}", app="Gedit"), colour))
    for window, _ in dice.sample(made, len(made)):
        if dice.random() < 0.5:
            window.configure(stack_mode=dice.choice([0, 1]))
    if dice.random() < 0.5:
        dice.choice(made)[0].set_input_focus(1, 0)
    desk.display.sync()
    return made


def test_in_500_random_layouts_no_pixel_of_what_is_left_out_is_in_a_frame_and_all_others_are(stage):
    desk, dice = stage.desk, random.Random(8)
    seen = hidden = 0
    for number in range(500):
        layout(dice, desk)
        shown = {m.name: stage.screen.pixels(m)[..., 2::-1].copy() for m in stage.screen.monitors()}
        for name, frame in stage.frames(FIRST_RUN).items():
            taken = np.asarray(frame.image)
            key = (shown[name] == [0xFF, 0x00, 0xFE]).all(axis=-1)
            assert not (taken == [0xFF, 0x00, 0xFE]).all(axis=-1).any(), number
            assert np.array_equal(taken, np.where(key[..., None], 0, shown[name])), number
            hidden += bool(key.any())
            seen += bool((~key).any())
        desk.destroy()
    assert hidden > 500  # of 1,000 frames showed some of it
    assert seen > 900


def test_a_round_of_frames_leaves_no_descriptor_open(stage):
    stage.desk.window((0, 0, 400, 300), RED, title="a", app="A")
    stage.frames(FIRST_RUN, QUICK)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        stage.frames(FIRST_RUN, QUICK)
    assert len(os.listdir("/proc/self/fd")) == before

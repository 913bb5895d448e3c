"""When frames are taken: not too often, not while paused or alone, and again where something keeps changing."""

from __future__ import annotations

import itertools
import math
import os
import time

import pytest

from pomnit.capture import sign
from pomnit.capture.choose import choose
from pomnit.capture.frames import Frame, Monitor, View, Window
from pomnit.capture.loop import AGAIN_S, CALM, FAILURES, How, Loop, Then
from pomnit.capture.sign import Stop
from pomnit.errors import EngineError, UsageError
from pomnit.privacy.exclusions import Exclusions
from support.screens import Scripted

PLAIN = Window("Gedit", "notes", None, False, (0, 0, 40, 30), False, 1, ("gedit",), opaque=((0, 0, 40, 30),))
STILL = View((PLAIN,), 1)


@pytest.fixture
def stop():
    stop = Stop()
    yield stop
    stop.close()


class Clock:
    """A clock that goes when somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(screen, how, stop, *, paused=lambda: None, hand_up=lambda _: Then(), exclusions=None):
    """Runs a loop whose waits take no time; gives it and the moments of its frames."""
    clock, moments = Clock(), []

    def took(frame: Frame) -> Then:
        moments.append(clock.now)
        return hand_up(frame)

    def wait(seconds: float) -> bool:
        clock.now += seconds
        return stop.asked

    stop.wait = wait
    real = screen.wait

    def idle(seconds: float | None, asked: Stop) -> None:
        clock.now += seconds or 0.0
        real(seconds, asked)

    screen.wait = idle
    loop = Loop(screen, exclusions or Exclusions.of(), took, how, paused=paused, clock=clock)
    loop.run(stop)
    return loop, moments


def test_frames_are_at_least_so_far_apart_however_much_changes(stop):
    screen = Scripted(itertools.repeat(STILL))
    screen.changes = [{"one": 1.0} for _ in range(9)]
    _, moments = run(screen, How(every_s=3, settle_s=0), stop)
    assert len(moments) >= 5
    assert min(b - a for a, b in itertools.pairwise(moments)) >= 3


def test_a_screen_on_which_nothing_changes_gives_one_frame(stop):
    loop, moments = run(Scripted(itertools.repeat(STILL)), How(settle_s=0), stop)
    assert len(moments) == loop.counts.frames == 1


def test_nothing_is_taken_while_nobody_is_there(stop):
    screen = Scripted(itertools.repeat(STILL))
    screen.idle = 61
    screen.changes = [{"one": 1.0} for _ in range(5)]
    seen = iter(range(1000))

    def idle() -> float:
        if next(seen) >= 4:
            stop.ask()
        return 61

    screen.idle_s = idle
    run(screen, How(settle_s=0), stop)
    assert screen.grabbed == 0


def test_a_pause_holds_every_frame_back_and_what_changed_meanwhile_comes_after_it(stop):
    screen = Scripted(itertools.repeat(STILL))
    screen.changes = [{"one": 1.0} for _ in range(3)]
    pauses = iter([math.inf, math.inf, math.inf, None, None, None, None])
    loop, moments = run(screen, How(every_s=2, settle_s=0), stop, paused=lambda: next(pauses, None))
    assert moments[0] >= 106
    assert loop.counts.frames == len(moments) == 1


def test_a_monitor_is_taken_again_where_the_reader_asks_for_it_though_nothing_changes(stop):
    screen = Scripted(itertools.repeat(STILL))
    real, waits = screen.wait, []

    def wait(seconds: float | None, asked: Stop) -> None:
        waits.append(seconds)
        if seconds is None:
            real(seconds, asked)

    screen.wait = wait
    answers = iter([Then(again=True), Then()])
    _, moments = run(screen, How(every_s=1, settle_s=0), stop, hand_up=lambda _: next(answers))
    assert len(moments) == 2
    assert moments[1] - moments[0] >= AGAIN_S


def test_a_desktop_that_never_keeps_still_gives_no_frame_and_is_tried_again_later(stop):
    screen = Scripted(View((PLAIN,), number) for number in itertools.count())
    loops = iter(range(100))
    screen.idle_s = lambda: (stop.ask() if next(loops) == 3 else None) or 0.0
    loop, moments = run(screen, How(settle_s=0), stop)
    assert moments == []
    assert loop.counts.moved >= 3


def test_what_nothing_is_known_of_is_not_taken_unless_the_settings_keep_it(stop):
    blind = View(None, 1)
    loop, moments = run(Scripted(itertools.repeat(blind)), How(settle_s=0), stop)
    assert (moments, loop.counts.passed_over) == ([], 1)
    again = Stop()
    loop, moments = run(
        Scripted(itertools.repeat(blind)), How(settle_s=0), again, exclusions=Exclusions.of(unknown="keep")
    )
    assert len(moments) == 1
    again.close()


def test_why_something_was_left_out_is_counted(stop):
    vault = Window("KeePassXC", "x", None, False, (0, 0, 9, 9), True, 2)
    loop, _ = run(Scripted(itertools.repeat(View((PLAIN, vault), 1))), How(settle_s=0), stop)
    assert loop.counts.blackened == 1
    assert loop.counts.reasons == {"app:KeePassXC": 1}


def test_a_monitor_that_comes_later_is_taken(stop):
    screen = Scripted(itertools.repeat(STILL))
    screen.changes = [{}, {"two": 1.0}]
    frames: list[str] = []

    def took(frame: Frame) -> Then:
        frames.append(frame.monitor)
        screen._monitors = (*screen._monitors[:1], Monitor("two", (40, 0, 60, 30)))
        return Then()

    run(screen, How(settle_s=0), stop, hand_up=took)
    assert frames == ["one", "two"]


def test_small_changes_come_seldom_and_large_ones_at_once(stop):
    screen = Scripted(itertools.repeat(STILL))
    screen.changes = [{"one": 1.0}, *({"one": 0.02} for _ in range(14)), {"one": 0.5}, {"one": 0.02}]
    _, moments = run(screen, How(every_s=2, settle_s=0), stop, hand_up=lambda _: Then(small=True))
    calm = CALM * 2
    assert [b - a for a, b in itertools.pairwise(moments)] == [calm, calm, 4.0, calm]


def test_a_screen_that_gives_no_pixels_ends_capture_after_some_attempts_with_the_reason(stop):
    screen = Scripted(itertools.repeat(STILL))
    attempts = []

    def pixels(*_: object) -> None:
        attempts.append(1)
        raise EngineError("you did not allow it")

    screen.pixels = pixels
    with pytest.raises(EngineError, match="did not allow"):
        run(screen, How(settle_s=0), stop)
    assert len(attempts) == FAILURES


# The signs in the memory's folder


def test_a_pause_ends_by_itself_and_by_resume(tmp_path):
    assert sign.paused_until(tmp_path) is None
    sign.pause(tmp_path)
    assert sign.paused_until(tmp_path) == math.inf
    assert sign.state(tmp_path).paused
    assert sign.resume(tmp_path)
    assert not sign.resume(tmp_path)
    until = sign.pause(tmp_path, 600)
    assert abs(until - time.time() - 600) < 60
    assert sign.paused_until(tmp_path) == pytest.approx(until, abs=0.01)
    (tmp_path / sign.PAUSED).write_text(f"{time.time() - 1}")
    assert sign.paused_until(tmp_path) is None


@pytest.mark.parametrize("text", ["soon", "nan", "-", "\x00", "é"])
def test_a_sign_that_nobody_understands_pauses(tmp_path, text):
    (tmp_path / sign.PAUSED).write_text(text, "utf-8")
    assert sign.paused_until(tmp_path) == math.inf


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, 1e12])
def test_no_time_to_pause_for_is_refused(tmp_path, seconds):
    with pytest.raises(UsageError, match="such as 10m"):
        sign.pause(tmp_path, seconds)
    assert sign.paused_until(tmp_path) is None


def test_one_process_records_and_others_see_which(tmp_path):
    assert sign.recorder(tmp_path) is None
    with sign.recording(tmp_path):
        assert sign.recorder(tmp_path) == os.getpid()
        with pytest.raises(UsageError, match=f"process {os.getpid()} records already"), sign.recording(tmp_path):
            pass
    assert sign.recorder(tmp_path) is None
    assert (tmp_path / sign.LOCK).stat().st_mode & 0o077 == 0


def test_the_signs_are_readable_by_their_user_alone(tmp_path):
    sign.pause(tmp_path / "home")
    assert (tmp_path / "home" / sign.PAUSED).stat().st_mode & 0o077 == 0
    assert (tmp_path / "home").stat().st_mode & 0o077 == 0


# Which screen


@pytest.mark.parametrize(
    ("environ", "system", "kind"),
    [
        ({"DISPLAY": ":0"}, "Linux", "x11"),
        ({"DISPLAY": ":0", "XDG_SESSION_TYPE": "x11"}, "Linux", "x11"),
        ({"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"}, "Linux", "wayland"),
        ({"DISPLAY": ":0", "XDG_SESSION_TYPE": "wayland"}, "Linux", "wayland"),
        ({"DISPLAY": ":0"}, "Darwin", "macos"),
        ({}, "Linux", "none"),
    ],
)
def test_the_screen_is_chosen_with_a_reason(environ, system, kind):
    chosen = choose(environ, system)
    assert chosen.kind == kind
    assert chosen.reason

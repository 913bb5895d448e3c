"""The loop of capture: a frame of a monitor when something changed there and somebody is at it, not too often.

::

    wait until something changes -> nobody left, nothing paused? -> look -> grab -> blacken -> look again -> hand up

Windows are looked at before and after the pixels are taken, and a while apart: what a window shows and what it says of
itself do not change at the same moment. A frame during which a window came, went, moved, or became one that is left out
is thrown away and tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from PIL import Image

from pomnit.capture import masking
from pomnit.capture.frames import Frame, Monitor, Screen, View, Window, common
from pomnit.capture.sign import Stop
from pomnit.errors import EngineError, UsageError
from pomnit.privacy.exclusions import Exclusions

EVERY_S = 2.0  # seconds between two frames of a monitor, at least
IDLE_S = 60.0  # seconds after which nobody is there
SETTLE_S = 0.25  # seconds that no window may change in, before and after the pixels are taken
AGAIN_S = 10.0  # seconds after which a monitor is taken again on demand
SMALL = 0.1  # share of a monitor: what changes no more of it is a text that is written, a clock, a list that grows
CALM = 5.0  # times ``every_s`` from a small change to the next: a picture of each word would be 600 MB an hour
RESTS = 2.0  # times what reading and keeping took, from one round to the next at least
FAILURES = 3  # in a row, after which it is no use
TRIES = 3  # of a frame, until it waits for the next time


@dataclass(frozen=True, slots=True)
class Then:
    """What is to come after a frame."""

    again: bool = False  # take the monitor again after a while, though nothing may change on it
    small: bool = False  # only a little was new: more of that kind may wait, since it stays where it is


HandUp = Callable[[Frame], Then]


@dataclass(slots=True)
class Counts:
    """What became of the frames."""

    frames: int = 0  # handed up
    blackened: int = 0  # of them, with something left out
    passed_over: int = 0  # monitors not taken at all, since something on them is left out or nothing is known
    moved: int = 0  # thrown away, since a window changed meanwhile
    failed: int = 0  # the system gave no pixels
    reason: str = ""  # why not
    reasons: dict[str, int] = field(default_factory=dict)  # why windows were left out -> frames


@dataclass(frozen=True, slots=True)
class How:
    """How to capture."""

    every_s: float = EVERY_S
    idle_s: float = IDLE_S
    settle_s: float = SETTLE_S
    skip: bool = False  # a monitor on which something is left out is not taken at all
    only: tuple[str, ...] = ()  # monitors by name or by number from 1; all when there are none


class Loop:
    """Captures one screen until it is stopped."""

    def __init__(
        self,
        screen: Screen,
        exclusions: Exclusions,
        hand_up: HandUp,
        how: How,
        *,
        paused: Callable[[], float | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``paused`` gives until when capture is paused, as ``sign.paused_until`` does."""
        self.screen, self.exclusions, self.how = screen, exclusions, how
        self.counts = Counts()
        self._hand_up, self._paused, self._clock = hand_up, paused, clock
        self._in_a_row = 0  # failures
        self._due = 0.0  # when the next round may begin
        self._calm: dict[str, float] = {}  # monitor -> until when a small change waits
        self._worked = 0.0  # seconds that the frames of this round took to be read and kept
        self._again: dict[str, float] = {}  # monitor -> when it is to be taken again

    def chosen(self) -> tuple[Monitor, ...]:
        """Gives the monitors that are captured.

        Raises:
            UsageError: one that was asked for is not there.
        """
        return choose(self.screen.monitors(), self.how.only)

    def once(self, stop: Stop) -> None:
        """Takes a frame of each monitor now, whoever is there and whatever changed."""
        self.screen.changed()
        for monitor in self.chosen():
            if self._paused() is None and not stop.asked:
                self._take(monitor, stop)

    def run(self, stop: Stop, *, until: float | None = None) -> None:
        """Captures until it is stopped, or until that second of the clock."""
        waiting = {monitor.name: 1.0 for monitor in self.chosen()}
        while not stop.asked and (until is None or self._clock() < until):
            if not waiting:
                self.screen.wait(self._left(until, *self._again.values()), stop)
            elif (early := self._left(until, self._first(waiting))) is not None and early > 0:
                stop.wait(min(early, self.how.every_s))
            for name, share in (self.screen.changed() | self._asked_again()).items():
                waiting[name] = max(share, waiting.get(name, 0.0))
            if not waiting or self._first(waiting) > self._clock():
                continue
            started, self._worked = self._clock(), 0.0
            if self._paused() is None and self.screen.idle_s() <= self.how.idle_s:
                waiting = self._round(waiting, stop)
            self._due = started + max(self.how.every_s, RESTS * self._worked)

    def _first(self, waiting: Mapping[str, float]) -> float:
        """Gives the moment at which the first monitor that waits may be taken."""
        return max(self._due, min(self._calm.get(n, 0.0) if share <= SMALL else 0.0 for n, share in waiting.items()))

    def _left(self, *moments: float | None) -> float | None:
        """Gives the seconds until the first of some moments; None without any."""
        there = [moment for moment in moments if moment is not None]
        return max(0.0, min(there) - self._clock()) if there else None

    def _asked_again(self) -> dict[str, float]:
        """Gives the monitors whose time has come to be taken again."""
        now = self._clock()
        names = [name for name, moment in self._again.items() if moment <= now]
        for name in names:
            del self._again[name]
        return dict.fromkeys(names, 1.0)

    def _round(self, waiting: Mapping[str, float], stop: Stop) -> dict[str, float]:
        """Takes the monitors that wait; gives those that still do. One that is not captured, or gone, waits no more."""
        left = {}
        for monitor in self.chosen():
            share = waiting.get(monitor.name)
            if share is None:
                continue
            calm = share <= SMALL and self._calm.get(monitor.name, 0.0) > self._clock()
            if calm or stop.asked or not self._take(monitor, stop):
                left[monitor.name] = share
        return left

    def _take(self, monitor: Monitor, stop: Stop) -> bool:
        """Hands a frame of a monitor up; False when its windows did not keep still, or the pixels could not be had."""
        for _ in range(TRIES):
            before = self.screen.look()
            if stop.wait(self.how.settle_s):
                return False
            view = self.screen.look()
            if view.version != before.version:
                continue
            if not self._may(monitor, view):
                self.counts.passed_over += 1
                return True
            try:
                frame = self._frame(monitor, view)
            except EngineError as error:
                self._fail(error)
                return False
            self._in_a_row = 0
            if not stop.wait(self.how.settle_s) and self.screen.look().version == view.version:
                self._tell(monitor, view, frame)
                return True
        self.counts.moved += 1
        return False

    def _fail(self, error: EngineError) -> None:
        """Counts a failure.

        Raises:
            EngineError: it is one too many in a row: the user said no, or nobody answers.
        """
        self.counts.failed += 1
        self.counts.reason = str(error)
        self._in_a_row += 1
        if self._in_a_row >= FAILURES:
            raise error

    def _may(self, monitor: Monitor, view: View) -> bool:
        """Says whether a monitor may be taken at all."""
        if view.windows is None:
            return self.exclusions.unknown == "keep"
        return not self.how.skip or masking.shown(view.windows, self._out(view), monitor) is None

    def _out(self, view: View) -> dict[int, str]:
        return {} if view.windows is None else self.exclusions.excluded(view.windows)

    def _frame(self, monitor: Monitor, view: View) -> tuple[Frame, bool]:
        """Gives a frame, and whether something in it was blackened."""
        out = self._out(view)
        mask = masking.shown(view.windows or (), out, monitor)
        pixels = self.screen.pixels(monitor, out)
        if mask is not None and not self.screen.leaves_out:
            masking.blacken(pixels, mask)
        height, width = pixels.shape[:2]
        image = Image.frombuffer("RGB", (width, height), pixels.tobytes(), "raw", "BGRX", 0, 1)
        front = in_front(view.windows or (), out, monitor)
        if front is None:
            return Frame(monitor.name, image, time.time(), None, None, None, None, monitor.scale), mask is not None
        frame = Frame(
            monitor.name, image, time.time(), front.app, front.title, front.url, front.id, monitor.scale
        )  # fmt: skip
        return frame, mask is not None

    def _tell(self, monitor: Monitor, view: View, taken: tuple[Frame, bool]) -> None:
        frame, blackened = taken
        self.counts.frames += 1
        self.counts.blackened += blackened
        if blackened:
            on_it = {w.id for w in view.windows or () if common(w.box, monitor.box)}
            for why in {why for window, why in self._out(view).items() if window in on_it}:
                self.counts.reasons[why] = self.counts.reasons.get(why, 0) + 1
        started = self._clock()
        then = self._hand_up(frame)
        self._again.pop(frame.monitor, None)
        self._calm.pop(frame.monitor, None)
        if then.again:
            self._again[frame.monitor] = self._clock() + AGAIN_S
        if then.small:
            self._calm[frame.monitor] = started + CALM * self.how.every_s
        self._worked += self._clock() - started


def in_front(windows: Iterable[Window], out: Iterable[int], monitor: Monitor) -> Window | None:
    """Gives the window that a frame of a monitor is named after: the focused one, else the highest; none left out."""
    left_out = set(out)
    there = [w for w in windows if w.id not in left_out and not w.popup and common(w.box, monitor.box)]
    return next((w for w in there if w.focused), there[-1] if there else None)


def choose(monitors: tuple[Monitor, ...], only: Iterable[str]) -> tuple[Monitor, ...]:
    """Gives the monitors that were asked for, by name or by number from 1; all when none were.

    Raises:
        UsageError: one of them is not there.
    """
    by_name = {str(number): monitor for number, monitor in enumerate(monitors, 1)}
    by_name |= {monitor.name: monitor for monitor in monitors}
    found = []
    for name in only:
        if name not in by_name:
            there = ", ".join(f"{i} {m.name}" for i, m in enumerate(monitors, 1)) or "none"
            raise UsageError(f"there is no monitor {name!r:.80}; monitors: {there}")
        found.append(by_name[name])
    return tuple(dict.fromkeys(found)) or monitors

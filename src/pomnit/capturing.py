"""Frames of the screen to items: read what changed, mask what is sensitive, keep the picture, let the owner embed it.

A frame is an item as soon as its transaction is done; until then it is nothing, so a kill costs the frame in the air.
A frame whose words are those of the frame before it makes no item: that one's span of time grows, and is written down
now and then. While capture runs this process owns the memory, and does what others hand in.
"""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import quote

from pomnit import describe, ingest
from pomnit.capture import sign
from pomnit.capture.choose import exclusions, open_screen
from pomnit.capture.frames import Frame, Screen
from pomnit.capture.loop import SMALL, How, Loop, Then
from pomnit.errors import EngineError, EngineMissing, ModelDamaged, UsageError
from pomnit.governor import spaces
from pomnit.governor.leases import Governor
from pomnit.governor.ownership import Ownership
from pomnit.privacy import sensitive
from pomnit.privacy.exclusions import Exclusions
from pomnit.privacy.keys import Keys
from pomnit.privacy.policy import policy_for
from pomnit.readers import Reading, files
from pomnit.readers.image import lay_out, preview
from pomnit.records import CaptureReport, Original
from pomnit.settings import Settings
from pomnit.store import Store
from pomnit.text.times import from_seconds

if TYPE_CHECKING:
    from PIL import Image

    from pomnit.engines.protocols import Line

STAGE = "capture"
MEDIA_TYPE = "image/webp"
WRITTEN_S = 20.0  # seconds after which a span of time that grew is written down
EMBED_S = 30.0  # seconds that new frames gather before they are embedded: their words are found at once
LEAST_S = 0.1  # seconds between two frames
ASK_S = 1.0  # seconds between two attempts to become the owner
MOST_TITLE = 300  # characters of a window's title that are kept
_METHOD = 2  # of WebP, 0 to 6: the larger ones take twice the time for a few percent

Outcome = Literal["new", "longer", "known", "dropped", "failed"]


class FrameText(Protocol):
    """What a reader found in a frame: see ``capture.reading``."""

    @property
    def lines(self) -> tuple[Line, ...]: ...
    @property
    def near(self) -> bool: ...
    @property
    def unread(self) -> float: ...
    @property
    def read_share(self) -> float: ...


class FrameReader(Protocol):
    """Reads frames: see ``capture.reading.RegionReader``."""

    def read(self, frame: Frame) -> FrameText: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What capture works with."""

    store: Store
    keys: Keys
    governor: Governor
    settings: Settings
    owner: Ownership
    work: Callable[[Callable[[], bool]], None]  # works the queue off; stops when it is told to
    tell: Callable[[str], None]  # what keeps capture from beginning


@dataclass(frozen=True, slots=True)
class Begun:
    """What is recorded, told when it begins."""

    display: str
    monitors: tuple[tuple[str, int, int], ...]  # name, width, height
    every_s: float
    exclusions: Exclusions
    left_out: tuple[tuple[str, str], ...] = ()  # programs whose windows are left out now, and why


@dataclass(frozen=True, slots=True)
class Asked:
    """How capture was asked for."""

    once: bool = False
    seconds: float | None = None
    how: How = field(default_factory=How)
    exclusions: Exclusions = field(default_factory=Exclusions.of)
    begun: Callable[[Begun], None] = lambda _: None

    @classmethod
    def of(
        cls,
        settings: Settings,
        once: bool,
        seconds: float | None,
        every_s: float | None,
        monitors: Sequence[str],
        exclude: Sequence[str],
        begun: Callable[[Begun], None],
    ) -> Asked:
        """Gives how to capture by the settings and what was asked for.

        Raises:
            UsageError: a rule or a time that does not fit.
        """
        for name, value in (("every", every_s), ("seconds", seconds)):
            if value is not None and not LEAST_S <= value <= sign.LONGEST_S:
                raise UsageError(f"{name} = {value:g} seconds is not between {LEAST_S:g} and a year")
        how = How(
            every_s=settings.capture_every if every_s is None else every_s,
            idle_s=settings.capture_idle,
            skip=settings.excluded == "skip",
            only=tuple(monitors),
        )
        return cls(once, seconds, how, exclusions(settings, exclude), begun)


@contextlib.contextmanager
def stopping(stop: sign.Stop | None) -> Iterator[sign.Stop]:
    """Gives what stops capture: that of the caller, or one of its own."""
    if stop is not None:
        yield stop
        return
    own = sign.Stop()
    try:
        yield own
    finally:
        own.close()


@contextlib.contextmanager
def opened(screen: Screen | None, asked: Asked) -> Iterator[Screen]:
    """Gives the screen to record: that of the caller, or this desktop's.

    Raises:
        EngineMissing: it cannot be captured, with what to do.
    """
    if screen is not None:
        yield screen
        return
    own = open_screen(asked.exclusions.reason)
    try:
        yield own
    finally:
        own.close()


# Frames to items


class Recorder:
    """Keeps frames. Used by one thread."""

    def __init__(self, parts: Parts, reader: FrameReader) -> None:
        self.counts: dict[Outcome, int] = dict.fromkeys(("new", "longer", "known", "dropped", "failed"), 0)
        self.reason = ""  # of the last frame that could not be read
        self._parts, self._reader = parts, reader
        self._policy = policy_for(parts.settings, screen=True)
        self._last: dict[str, int | None] = {}  # monitor -> item; None: dropped or forgotten
        self._grown: dict[tuple[int, str], float] = {}  # until when items were seen, not written down yet
        self._written = time.monotonic()

    def take(self, frame: Frame) -> tuple[Outcome, Then]:
        """Keeps a frame; says what became of it, and what is to come then.

        Raises:
            EngineMissing, ModelDamaged: the recogniser cannot be had.
            HomeError: the disk is full, or the database is busy or damaged.
        """
        try:
            text = self._reader.read(frame)
        except (EngineMissing, ModelDamaged):
            raise
        except EngineError as error:  # this frame alone; the next one may do
            self.reason = str(error)
            return self._count("failed"), Then()
        if text.near and frame.monitor in self._last:
            outcome = self._longer(frame)
        else:
            self._last[frame.monitor], outcome = self._keep(frame, text.lines)
        return self._count(outcome), Then(text.unread > 0, outcome == "new" and text.read_share <= SMALL)

    def _count(self, outcome: Outcome) -> Outcome:
        self.counts[outcome] += 1
        return outcome

    def _longer(self, frame: Frame) -> Outcome:
        item = self._last[frame.monitor]
        if item is None:  # what was dropped or forgotten does not come back while it stands there
            return "dropped"
        self._grown[item, uri_of(frame.monitor)] = frame.at
        if time.monotonic() - self._written >= WRITTEN_S:
            self.write()
        return "longer"

    def write(self) -> None:
        """Writes down how long items were seen."""
        self._written = time.monotonic()
        grown, self._grown = self._grown, {}
        if not grown:
            return
        with self._parts.store.transaction():
            gone = {i for (i, uri), at in grown.items() if not self._seen(i, uri, at)}
        self._last = {monitor: None if item in gone else item for monitor, item in self._last.items()}

    def _seen(self, item: int, uri: str, at: float) -> bool:
        return self._parts.store.items.still_seen(item, uri, from_seconds(at))

    def _keep(self, frame: Frame, found: Sequence[Line]) -> tuple[int | None, Outcome]:
        """Stores a frame in one transaction; gives its item."""
        lines, boxes = sensitive.masked_lines(found, self._policy)
        app, title = (self._clean(text) for text in (frame.app, frame.window))
        if self._policy.action == "drop" and (boxes or title != _short(frame.window)):
            return None, "dropped"
        picture = sensitive.paint(frame.image, boxes) if boxes else frame.image
        data, small = self._encode(picture), preview(picture)
        digest = files.digest(data)
        keys, store, uri, at = self._parts.keys, self._parts.store, uri_of(frame.monitor), from_seconds(frame.at)
        if store.items.was_forgotten(keys.name(digest)):
            return None, "dropped"
        kept, shown = keys.name("kept " + digest), keys.name("preview " + digest)
        if store.items.by_digest(digest) is None:  # else the files are there, too
            store.originals.put(kept, data)
            store.originals.put(shown, small)
        with store.transaction():
            known = store.items.by_digest(digest)
            if known is not None:
                store.items.add_screen(known, uri, app, title, at)
                return known, "known"
            original = Original(digest, len(data), MEDIA_TYPE)
            name = title or app or f"screen {frame.monitor}"
            item = store.items.insert(original, kind="image", title=name, time=at)
            store.items.add_screen(item, uri, app, title, at)
            store.items.set_file(item, "kept", kept)
            store.items.set_file(item, "preview", shown)
            self._queue(item, Reading(lay_out(lines)))
        return item, "new"

    def _queue(self, item: int, reading: Reading) -> None:
        """Stores the words of an item, and lets it wait for what is done with it later."""
        store, number = self._parts.store, self._parts.store.queue.next_number()
        languages = ingest.store_text(store, item, reading)
        card = spaces.searched(store, self._parts.governor).card
        if not languages.isdisjoint(card.languages):
            store.queue.put("embed", item, number)
        if self._parts.settings.describe == "on" and describe.is_wanted(store, item):
            store.queue.put(describe.STAGE, item, number)

    def _clean(self, text: str | None) -> str | None:
        return _short(text) and _short(sensitive.masked(text or "", self._policy))

    def _encode(self, picture: Image.Image) -> bytes:
        out, quality = io.BytesIO(), self._parts.settings.capture_quality
        if quality == 100:
            picture.save(out, "WEBP", lossless=True, quality=20, method=0)
        else:
            picture.save(out, "WEBP", quality=quality, method=_METHOD)
        return out.getvalue()


def uri_of(monitor: str) -> str:
    """Gives the uri of a monitor as a source."""
    return f"screen:{quote(monitor, safe='-._~')}"


def _short(text: str | None) -> str | None:
    """Gives a text of the screen as one line without what steers a terminal; None when nothing is left."""
    plain = "".join(c if c.isprintable() else " " for c in text or "")
    return " ".join(plain.split())[:MOST_TITLE] or None


# Embedding meanwhile


class Background:
    """Works the queue off in a thread of its own: some time after new frames, at once for what others hand in."""

    def __init__(self, parts: Parts, stop: sign.Stop) -> None:
        self.error: BaseException | None = None
        self._parts, self._stop = parts, stop
        self._wake, self._hurry, self._done = threading.Event(), threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="embed", daemon=True)

    def __enter__(self) -> Background:
        self._parts.owner.on_work = self.now
        self._thread.start()
        self.now()  # what an earlier process left
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.owner.on_work = lambda: None
        self._done = True
        self.now()
        self._thread.join()

    def soon(self) -> None:
        """Lets it work after a while."""
        self._wake.set()

    def now(self) -> None:
        """Lets it work at once."""
        self._hurry.set()
        self._wake.set()

    def _run(self) -> None:
        try:
            while not self._done:
                self._wake.wait()
                self._hurry.wait(EMBED_S)
                self._wake.clear()
                self._hurry.clear()
                if not self._done:
                    self._parts.work(lambda: self._done)
        except BaseException as error:  # noqa: BLE001 told where capture runs, which ends with it
            self.error = error
            self._stop.ask()


# All together


def capture(parts: Parts, screen: Screen, asked: Asked, stop: sign.Stop) -> CaptureReport:
    """Records until it is stopped; gives what was done.

    Raises:
        UsageError: another process records this memory already, or a monitor is not there.
        EngineError: the screen or the recogniser cannot be had.
        HomeError: the disk is full, or the database is busy or damaged.
    """
    started = time.perf_counter()
    home = parts.settings.home
    recorder = Recorder(parts, _reader(parts.governor))
    with sign.recording(home):
        if not _own(parts, stop):
            return _report(screen, None, recorder, started)
        try:
            with parts.governor.recogniser():  # a missing one is told before anything is taken
                pass
            with Background(parts, stop) as background:

                def hand_up(frame: Frame) -> Then:
                    outcome, then = recorder.take(frame)
                    if outcome == "new":
                        background.soon()
                    return then

                loop = Loop(
                    screen, asked.exclusions, hand_up, asked.how, paused=lambda: sign.paused_until(home)
                )  # fmt: skip
                shown = tuple((m.name, m.box[2] - m.box[0], m.box[3] - m.box[1]) for m in loop.chosen())
                now = _left_out(screen, asked.exclusions)
                asked.begun(Begun(screen.name, shown, asked.how.every_s, asked.exclusions, now))
                try:
                    if asked.once:
                        loop.once(stop)
                    else:
                        loop.run(stop, until=None if asked.seconds is None else time.monotonic() + asked.seconds)
                finally:
                    recorder.write()
            if background.error is not None:
                raise background.error
            return _report(screen, loop, recorder, started)
        finally:
            parts.owner.end()


def _left_out(screen: Screen, exclusions: Exclusions) -> tuple[tuple[str, str], ...]:
    """Gives the programs whose windows are left out as things stand, and why."""
    windows = screen.look().windows or ()
    names = {window.id: _short(window.app) or "a window without a name" for window in windows}
    return tuple(dict.fromkeys((names[window], why) for window, why in exclusions.excluded(windows).items()))


def _reader(governor: Governor) -> FrameReader:
    from pomnit.capture.reading import RegionReader

    def recognise(image: Image.Image) -> list[Line]:
        with governor.recogniser() as recogniser:
            return recogniser.recognise(image)

    return RegionReader(recognise)


def _own(parts: Parts, stop: sign.Stop) -> bool:
    """Becomes the owner, and waits for another one that works; False when it is stopped before."""
    told = False
    while (turn := parts.owner.begin()) != "ours":
        if not told:
            told = True
            parts.tell(
                "another process works on this memory"
                + ("" if turn == "theirs" else ", and does not answer")
                + "; recording begins when it is done"
            )
        if stop.wait(ASK_S):
            return False
    return True


def _report(screen: Screen, loop: Loop | None, recorder: Recorder, started: float) -> CaptureReport:
    counts = recorder.counts
    seen = loop.counts if loop is not None else None
    return CaptureReport(
        display=screen.name,
        frames=seen.frames if seen else 0,
        new=counts["new"],
        longer=counts["longer"] + counts["known"],
        dropped=counts["dropped"],
        failed=counts["failed"] + (seen.failed if seen else 0),
        blackened=seen.blackened if seen else 0,
        passed_over=seen.passed_over if seen else 0,
        moved=seen.moved if seen else 0,
        reasons=dict(seen.reasons) if seen else {},
        reason=recorder.reason or (seen.reason if seen else "") or None,
        took_s=round(time.perf_counter() - started, 3),
    )

"""Recordings to text: windows of speech, in batches that fit, through the transcriber.

``texts`` gives what is said, batch by batch. ``Transcribing`` is the stage of ingest that stores it: each batch is
committed as it comes and can be found at once; after a stop a long recording goes on behind its last finished window.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pomnit.engines.protocols import WindowText
from pomnit.errors import EngineError, EngineMissing, ItemError, ModelDamaged, NotFound, PomnitError, TooLarge
from pomnit.governor import spaces
from pomnit.governor.choose import check_speech
from pomnit.governor.leases import Governor
from pomnit.readers import HEAD, choose, files
from pomnit.records import Segment, Transcript
from pomnit.settings import Settings
from pomnit.store import Store
from pomnit.store.queue import Task
from pomnit.text.language import detect
from pomnit.text.split import PlacedText, split
from pomnit.text.times import clock

if TYPE_CHECKING:  # what decodes is imported when there is something to hear
    from pomnit.readers.audio import Recording
    from pomnit.readers.speech_windows import Window

STAGE = "transcribe"
ROUND_S = 20.0  # seconds after which what was just added gets its turn

Tell = Callable[[float, float | None], None]
"""Takes the seconds of a recording that are done, and its length, None where it is not known."""


# Windows to texts


@dataclass(frozen=True, slots=True)
class Said:
    """What is said in one window of a recording; segments count from the recording's beginning."""

    window: Window
    segments: tuple[Segment, ...]
    language: str


def texts(
    governor: Governor, windows: Iterable[Window], language: str | None = None, *, person: bool = False
) -> Iterator[list[Said]]:
    """Gives what is said in windows, a batch after the other, as many at a time as there is room for.

    A batch that fails is halved, and those after it are as small: most often it was the memory.

    Raises:
        EngineError: the transcriber cannot be had.
        ItemError: it fails on a single window, or what ``windows`` raised, after all that came before.
    """
    failures: list[ItemError] = []
    ahead = _all(windows, failures)
    most, each = governor.budget.profile.speech_batch, governor.speech_card().window_bytes
    while batch := list(itertools.islice(ahead, governor.batch(most, each))):
        try:
            yield _said(governor, batch, language, person)
        except _Failed as error:
            if len(batch) == 1:
                window = batch[0]
                where = f"{clock(window.start_s)}-{clock(window.end_s)}"
                raise ItemError(f"the transcriber failed at {where}: {error}") from error
            most, ahead = len(batch) // 2, itertools.chain(batch, ahead)
    if failures:
        raise failures[0]


def _all(windows: Iterable[Window], failures: list[ItemError]) -> Iterator[Window]:
    """Gives windows; an error ends them, so that a batch in the making is not lost with it."""
    try:
        yield from windows
    except ItemError as error:
        failures.append(error)


class _Failed(Exception):
    """A transcriber failed on windows, with the reason. It may do well on fewer, or on others."""


def _said(governor: Governor, batch: Sequence[Window], language: str | None, person: bool) -> list[Said]:
    with governor.transcriber(person=person) as transcriber:
        try:
            found = transcriber.transcribe([window.samples for window in batch], language=language)
        except (EngineMissing, ModelDamaged, TooLarge):  # it was to be loaded anew
            raise
        except EngineError as error:
            raise _Failed(str(error)) from error
    return [Said(window, _moved(window, text), text.language) for window, text in zip(batch, found, strict=True)]


def _moved(window: Window, text: WindowText) -> tuple[Segment, ...]:
    """Gives segments of a window with their times in the recording."""
    return tuple(
        Segment(round(window.seconds(s.start), 2), round(window.seconds(s.end, end=True), 2), s.text)
        for s in text.segments
    )


def transcript(governor: Governor, settings: Settings, path: str, language: str | None, tell: Tell) -> Transcript:
    """Gives what is said in a file, without storing anything.

    Raises:
        NotFound: there is no such file.
        ItemError: it cannot be read, or is no recording.
        EngineError: it has speech, and the transcriber cannot be had.
    """
    path = str(Path(path).expanduser())
    name = files.display(path)
    if not Path(path).is_file():
        raise NotFound(f"{name}: there is no such file")
    reader = choose(path, files.head_of(path, HEAD))
    if reader is None or reader.stage != STAGE:
        raise ItemError(f"{name}: this is no recording and no film; `pomnit add` reads other files")
    check_speech()
    try:
        return _transcript(governor, settings, path, reader.media_type, language, tell)
    except ItemError as error:
        raise ItemError(f"{name}: {error}") from error


def _transcript(
    governor: Governor, settings: Settings, path: str, media_type: str, language: str | None, tell: Tell
) -> Transcript:
    from pomnit.readers.audio import Recording

    segments: list[Segment] = []
    spoken: Counter[str] = Counter()
    with open(path, "rb") as file, Recording(file, media_type, settings) as recording:
        for batch in texts(governor, recording.speech(), language, person=True):
            for said in batch:
                segments += said.segments
                spoken[said.language] += sum(len(segment.text) for segment in said.segments)
            tell(batch[-1].window.end_s, recording.length_s)
    return Transcript(spoken.most_common(1)[0][0] if segments else None, tuple(segments))


# The stage


def _raising(error: PomnitError) -> Iterator[list[Said]]:
    """Gives nothing but an error."""
    yield from ()
    raise error


@dataclass(frozen=True, slots=True)
class Heard:
    """How far a recording has come."""

    item: int
    seconds: float
    length_s: float | None


@dataclass(frozen=True, slots=True)
class Finished:
    """A recording that is done, or that failed."""

    item: int
    reason: str | None = None


@dataclass(slots=True)
class _Current:
    """The recording that is being transcribed."""

    task: Task
    recording: Recording
    file: BinaryIO
    said: Iterator[list[Said]] = field(default_factory=lambda: iter(()))

    def close(self) -> None:
        self.recording.close()
        self.file.close()


class Transcribing:
    """The stage of a drain: a recording stays open from one round to the next."""

    def __init__(
        self,
        store: Store,
        governor: Governor,
        settings: Settings,
        open_: Callable[[int], tuple[BinaryIO, str]],
        fit: Callable[[int, PlacedText], PlacedText | None] = lambda _, text: text,
    ) -> None:
        """``open_`` gives the bytes of an item and their media type; it raises ItemError.

        ``fit`` gives what may be stored of a text of an item, None when that took the item away.
        """
        self._store, self._governor, self._settings, self._open, self._fit = store, governor, settings, open_, fit
        self._current: _Current | None = None
        self._refusal: EngineError | None = None
        self._refused: set[int] = set()  # items with speech, which wait for the engine

    def round(self) -> Iterator[Heard | Finished]:
        """Works until nothing is left, or something else was added and has its turn.

        Without an engine, recordings are listened to all the same: those in which nobody speaks are done.

        Raises:
            EngineError: the transcriber, or what finds speech, cannot be had; what has speech waits.
        """
        check_speech()
        until = time.monotonic() + ROUND_S
        try:
            while self._current is not None or (yield from self._begin()):
                yield from self._go_on(until)
                if self._current is not None or (time.monotonic() > until and self._others_wait()):
                    return
        except (KeyboardInterrupt, GeneratorExit):  # nobody waits for what a batch still has to tell
            self._governor.abandon()
            raise
        if self._refusal is not None and self._refused:
            raise self._refusal

    def close(self) -> None:
        """Lets the recording that is not finished wait again."""
        if self._current is not None:
            self._put_back(self._current)

    def _put_back(self, current: _Current) -> None:
        self._close(current)
        with self._store.transaction():
            self._store.items.set_state([current.task.item], "waiting")

    def _others_wait(self) -> bool:
        waiting = self._store.queue.waiting()
        return any(waiting.get(stage) for stage in ("read", "recognise"))

    # Beginning

    def _begin(self) -> Generator[Heard | Finished, None, bool]:
        """Opens the next recording that can be worked on; returns whether there is one."""
        while tasks := self._store.queue.next([STAGE], 1, but=self._refused):
            task = tasks[0]
            self._refusal = self._check_engine()
            if self._refusal is not None and task.reached is not None:
                self._refused.add(task.item)
                continue
            yield Heard(task.item, task.reached or 0.0, None)
            reason = self._opened(task)
            if reason is not None:
                yield self._failed(task, reason)
            elif self._current is not None:
                return True
        return False

    def _check_engine(self) -> EngineError | None:
        try:
            self._governor.check_transcriber()
        except EngineError as error:
            return error
        return None

    def _opened(self, task: Task) -> str | None:
        """Opens a recording and listens until somebody speaks; gives the reason where it cannot be read."""
        from pomnit.readers.audio import Recording

        try:
            file, media_type = self._open(task.item)
        except PomnitError as error:
            return str(error)
        try:
            recording = Recording(file, media_type, self._settings)
        except ItemError as error:
            file.close()
            return str(error)
        self._current = current = _Current(task, recording, file)
        with self._store.transaction():
            self._store.items.set_state([task.item], "working")
            self._store.items.update(task.item, title=recording.title, time=recording.time)
        windows = recording.speech(task.reached or 0.0)
        if self._refusal is None:
            current.said = texts(self._governor, windows)
            return None
        try:
            first = next(windows, None)
        except (ItemError, EngineError) as error:
            current.said = _raising(error)
            return None
        if first is not None:
            self._put_back(current)
            with self._store.transaction():
                self._store.queue.reach(task, first.start_s)
            self._refused.add(task.item)
        return None

    # Going on

    def _go_on(self, until: float) -> Iterator[Heard | Finished]:
        """Transcribes the recording to its end, or until something else has its turn."""
        current = self._current
        assert current is not None
        while isinstance(batch := self._next(current), list):
            if not self._kept(current, batch):  # forgotten meanwhile
                self._close(current)
                return
            yield Heard(current.task.item, batch[-1].window.end_s, current.recording.length_s)
            if time.monotonic() > until and self._others_wait():
                return
        self._close(current)
        yield self._done(current.task) if batch is None else self._failed(current.task, batch)

    def _next(self, current: _Current) -> list[Said] | str | None:
        """Gives the next batch; None at the end, and a reason where it cannot be read any further.

        Raises:
            EngineError: the transcriber cannot be had.
        """
        try:
            return next(current.said, None)
        except EngineError:
            self._put_back(current)
            raise
        except PomnitError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 whatever a decoder throws must not end the others' work
            return f"unexpected {type(error).__name__}: {error}"

    def _close(self, current: _Current) -> None:
        self._current = None
        current.close()

    def _kept(self, current: _Current, batch: Sequence[Said]) -> bool:
        """Stores the passages of a batch, one for each window unless it is long; False when its item was forgotten."""
        from pomnit.readers.audio import lay_out

        item = current.task.item
        with self._store.transaction():
            if not self._store.queue.reach(current.task, batch[-1].window.end_s):
                return False
            ordinal = len(self._store.items.passage_rows(item))
            for said in batch:
                text = self._fit(item, lay_out(said.segments, self._settings.document_chars))
                if text is None:
                    return False
                for piece in split(text):
                    self._add(item, ordinal, piece)
                    ordinal += 1
        return True

    def _add(self, item: int, ordinal: int, piece: PlacedText) -> None:
        passage = self._store.items.add_passage(item, ordinal, piece, detect(piece.text))
        title = "" if ordinal else self._store.items.records([item])[item].title
        self._store.words.add(passage, piece.text, title)

    def _done(self, task: Task) -> Finished:
        card = spaces.searched(self._store, self._governor).card
        with self._store.transaction():
            if self._store.queue.done(task):
                passages = self._store.items.passages(self._store.items.passage_rows(task.item))
                if not passages:  # a recording in which nobody speaks still has a title to be found by
                    self._add(task.item, 0, PlacedText(""))
                self._store.items.set_state([task.item], "ready")
                if any(p.record.text and p.record.lang in card.languages for p in passages):
                    self._store.queue.put("embed", task.item, task.handed_in)
        return Finished(task.item)

    def _failed(self, task: Task, reason: str) -> Finished:
        """Notes why a recording could not be read, or not to its end; what was transcribed can be found."""
        with self._store.transaction():
            if self._store.queue.fail(task, reason):
                self._store.items.set_state([task.item], "failed", reason)
        return Finished(task.item, reason)

"""Folders followed: what is new or changed is remembered, what was moved keeps its history, what went is marked.

A file is remembered as ``add`` does it, in transactions of their own: a stop or a crash leaves nothing half. The queue
is worked off meanwhile in another thread, by the owner of the memory.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from pomnit import taking
from pomnit.capture.folders import Folders, is_gone
from pomnit.capture.sign import Stop
from pomnit.capturing import Background, Parts
from pomnit.readers import SUFFIXES, files
from pomnit.records import Failure, FolderEvent, FolderHappened, WatchReport
from pomnit.store.ids import show_id
from pomnit.text.times import now

AT_ONCE = taking.TAKEN_TOGETHER
_MOST_MOVED = 10_000  # files of one look whose moves are told


@dataclass(slots=True)
class Following:
    """Remembers what the folders tell. Called from one thread, but for ``tell``."""

    parts: Parts
    folders: Folders
    stop: Stop
    hear: Callable[[FolderEvent], None]
    wake: Callable[[], None] = lambda: None  # lets the queue be worked off
    counts: Counter[str] = field(default_factory=Counter)
    _telling: threading.Lock = field(default_factory=threading.Lock)

    # What the folders tell

    def look(self, folder: str, *, same: bool) -> None:
        """Looks at all of a folder: remembers what is new, marks what went while nobody watched."""
        arrived: dict[int, str] = {}
        paths = self.folders.walk(folder)
        while chunk := list(itertools.islice(paths, AT_ONCE)):
            if self.stop.asked:
                return
            self._take(chunk, {}, arrived)
        if same:
            self._mark_missing(folder, arrived)
        if not self.stop.asked:
            self.tell("looked", folder)

    def changed(self, present: Sequence[str], absent: Sequence[str]) -> None:
        """Remembers what is there, and marks what is not there any more."""
        lost = {item: path for path, item in self._lay(absent)}
        moved: set[str] = set()
        for at in range(0, len(present), AT_ONCE):
            if self.stop.asked:
                return
            moved |= self._take(present[at : at + AT_ONCE], lost, {})
        self._mark([(path, item) for item, path in lost.items()], moved)

    def away(self, folder: str) -> None:
        """Says that a folder is not there."""
        reason = "it is not there any more; nothing in it counts as gone, and it is followed again when it is back"
        self.tell("away", folder, reason=reason)

    # Remembering

    def _take(self, paths: Sequence[str], lost: dict[int, str], arrived: dict[int, str]) -> set[str]:
        """Remembers files; gives the paths from which they came, of those that lay at paths in ``lost``."""
        store, keys, settings = self.parts.store, self.parts.keys, self.parts.settings
        wanted = [path for path in paths if path.lower().endswith(tuple(SUFFIXES))]
        self.counts["passed over"] += len(paths) - len(wanted)
        before = store.sources.at(map(files.uri_of, wanted))
        came_from: set[str] = set()
        for taken in taking.take_in(store, keys, settings, wanted, copy=False, again=False):
            was = before.get(files.uri_of(taken.path))
            if taken.outcome == "new":
                self.tell("new" if was is None else "changed", taken.path, taken.item)
                self.wake()
            elif taken.outcome != "known" or taken.item is None:
                self._tell_other(taken)
            elif taken.item in lost:
                came_from.add(lost[taken.item])
                self.tell("moved", taken.path, taken.item, before=lost[taken.item])
            elif was != taken.item and len(arrived) < _MOST_MOVED:
                arrived[taken.item] = taken.path
                self.counts["known"] += 1
            else:
                self.counts["known"] += 1
        return came_from

    def _tell_other(self, taken: taking.Taken) -> None:
        if taken.outcome == "failed" and not os.path.lexists(taken.path):  # gone again before it was looked at
            return
        self.tell("forgotten" if taken.outcome == "forgotten" else "failed", taken.path, reason=taken.reason)

    # What went

    def _lay(self, absent: Iterable[str]) -> list[tuple[str, int]]:
        """Gives path and item of all that lay at these paths or below them, and is there no more."""
        return [
            (path, item)
            for above in absent
            for uri, item in self.parts.store.sources.below(files.uri_of(above))
            if not os.path.lexists(path := files.path_of(uri))
        ]

    def _mark_missing(self, folder: str, arrived: dict[int, str]) -> None:
        missing: list[tuple[str, int]] = []
        for uri, item in self.parts.store.sources.below(files.uri_of(folder)):
            if is_gone(path := files.path_of(uri), folder):
                missing.append((path, item))
        moved = set()
        for path, item in missing:
            if item in arrived:
                moved.add(path)
                self.tell("moved", arrived[item], item, before=path)
        self._mark(missing, moved)

    def _mark(self, gone: Sequence[tuple[str, int]], moved: set[str]) -> None:
        """Marks sources as gone, some in each transaction; tells of those that were not moved."""
        for at in range(0, len(gone), AT_ONCE):
            if self.stop.asked:  # the next look finds them
                return
            some = gone[at : at + AT_ONCE]
            with self.parts.store.transaction():
                self.parts.store.sources.mark_gone([files.uri_of(path) for path, _ in some])
            for path, item in some:
                if path not in moved:
                    self.tell("gone", path, item)

    # Telling

    def failed(self, failure: Failure) -> None:
        """Tells that a file could not be read, though it was remembered. May be called from any thread.

        Where it lies elsewhere by now, or is gone, that is told instead.
        """
        items = self.parts.store.items
        uris = [] if failure.item is None else items.file_uris(items.row_of(failure.item))
        if any(os.path.lexists(files.path_of(uri)) for uri in uris):
            self.tell("failed", failure.name, reason=failure.reason, uid=failure.item)

    def tell(
        self,
        what: FolderHappened,
        path: str,
        item: int | None = None,
        *,
        before: str | None = None,
        reason: str | None = None,
        uid: str | None = None,
    ) -> None:
        """Tells what happened to a file or folder. May be called from any thread."""
        if item is not None:
            raw = self.parts.store.database.value("SELECT uid FROM item WHERE id = ?", (item,))
            uid = None if raw is None else show_id(raw)
        shown = None if before is None else files.display(before)
        with self._telling:
            self.counts[what] += 1
            self.hear(FolderEvent(what, files.display(path), uid, shown, reason, now()))


def follow(following: Following) -> WatchReport:
    """Follows folders until it is stopped; gives what was done.

    Raises:
        EngineError: this system cannot tell what happens in folders.
        HomeError: the disk is full, or the database is busy, damaged or locked.
    """
    started = time.perf_counter()
    with Background(following.parts, following.stop) as background:
        following.wake = background.now
        following.folders.run(following, following.stop)
    if background.error is not None:
        raise background.error
    counts = following.counts
    return WatchReport(
        folders=tuple(map(files.display, following.folders.folders)),
        new=counts["new"],
        changed=counts["changed"],
        moved=counts["moved"],
        gone=counts["gone"],
        known=counts["known"],
        forgotten=counts["forgotten"],
        failed=counts["failed"],
        passed_over=counts["passed over"],
        waiting=sum(following.parts.store.queue.waiting().values()),
        took_s=round(time.perf_counter() - started, 3),
    )

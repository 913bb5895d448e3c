"""The memory: the only place where the parts are put together.

::

    with Memory.open(home="…") as memory:
        report = memory.add(["~/Pictures/Screenshots"])
        for hit in memory.search("счёт за октябрь", limit=10):
            print(hit.item.title, hit.snippet)
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pomnit import describe, explore, forgetting, ingest, keeping, recall, taking, transcribe
from pomnit import scan as scanning
from pomnit.ask import Asking, Chat, Parts, answer
from pomnit.errors import DatabaseDamaged, Locked, NotFound, UsageError
from pomnit.governor import advice, spaces
from pomnit.governor.leases import Governor
from pomnit.governor.ownership import Ownership
from pomnit.models.cards import RERANKERS
from pomnit.privacy.keys import Keys, locked, open_keys
from pomnit.privacy.policy import kinds_of
from pomnit.privacy.retention import Rules
from pomnit.privacy.sensitive import Action, Policy
from pomnit.privacy.session import Watch
from pomnit.readers import files
from pomnit.records import (
    AddReport,
    Answer,
    CaptureReport,
    CaptureState,
    DescribeReport,
    Failure,
    FolderEvent,
    Item,
    ItemView,
    MaskReceipt,
    Receipt,
    RetentionReport,
    RetryReport,
    ScanReport,
    SearchResult,
    Similarity,
    SpaceView,
    Status,
    Topics,
    Transcript,
    UseReport,
    WatchReport,
)
from pomnit.search import moments
from pomnit.search.cache import ResultCache
from pomnit.search.query import understand, understand_dated
from pomnit.search.rerank import Reranking
from pomnit.settings import Settings
from pomnit.store import Store
from pomnit.store.items import with_places

if TYPE_CHECKING:
    from pomnit.capture.frames import Screen
    from pomnit.capture.sign import Stop
    from pomnit.capturing import Begun
    from pomnit.engines.protocols import Turn
    from pomnit.search.vectors import SignCodes

_SMALLEST_DATABASE = 512  # bytes; SQLite takes less for an empty one

NO_RERANKER = "none"
MOST_CITED = 20  # pieces of evidence for one answer

Progress = Callable[["Happening"], None]


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened during long work, for a progress bar: ``done`` of ``total`` items of a stage.

    "transcribe" counts the seconds of the recording ``name``. The last stage, "fill", is that of a space which is made
    beside the one that is searched; it counts passages.
    """

    stage: str  # "remember", then the stages of ingest; "rerank" of a search
    done: int
    total: int  # 0 while it is not known
    name: str = ""
    reason: str | None = None  # why this one failed, or why the stage waits


class Memory:
    """One private memory. Open it with ``Memory.open``; close it, or use it in a ``with`` block."""

    def __init__(self, settings: Settings, keys: Keys, store: Store, governor: Governor) -> None:
        self.settings, self.keys = settings, keys
        self._store, self._governor = store, governor
        self._owner = Ownership(settings.home, governor)
        self._locked, self._is_unlocked = False, Watch(keys.memory) if keys.unlocked else None
        self._owner.on_lock, store.database.refusal = self._lock, self._refusal
        self._codes: SignCodes | None = None
        self._results = ResultCache()

    @classmethod
    def open(
        cls,
        home: str | os.PathLike[str] | None = None,
        *,
        settings: Settings | None = None,
        engines: dict[Any, Any] | None = None,
        passphrase: str | None = None,
    ) -> Memory:
        """Opens the memory in ``home`` (by default the system's place for application data), made when it is not there.

        ``engines`` are ready engines ("recognise", "transcribe", "embed", "rerank") to use instead of loading, as tests
        do with the fakes; for the last two also a list of several, the first of which is the default. ``passphrase`` is
        that of a memory which has one; else it must be unlocked.

        Raises:
            HomeError: and those below it in ``errors``: busy, damaged, no key, wrong key, locked, disk full.
            UsageError: a setting that does not fit.
        """
        if settings is None:
            settings = Settings.load(home=home)
        elif home is not None:
            raise UsageError("give either home or settings; settings say where the home is")
        keys = open_keys(settings, secret=passphrase)
        _refuse_emptied(settings.home)
        store = Store(settings.home, keys.database, keys.files, busy_s=settings.busy_s)
        return cls(settings, keys, store, Governor(settings, engines=engines))

    def close(self) -> None:
        """Lets go of the engines, the lock and the database."""
        self._owner.close()
        self._store.close()

    def _lock(self) -> None:
        """Hears that the memory is locked; from now on every use raises ``Locked``. May be called from any thread."""
        self._locked = True

    def _refusal(self) -> Locked | None:
        """Gives why the database may not be used now. Once it may not, it may not any more: the keys are old."""
        self._locked = self._locked or not (self._is_unlocked is None or self._is_unlocked())
        return locked(self.settings.home) if self._locked else None

    def __enter__(self) -> Memory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Remember

    def add(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        copy: bool = False,
        again: bool = False,
        sensitive: Action | None = None,
        on_progress: Progress | None = None,
    ) -> AddReport:
        """Remembers files and whole folders, then reads and embeds them, unless another process owns the memory.

        ``copy`` keeps the bytes, encrypted; else a file is referred to and only a preview is kept. ``again`` brings
        back what was forgotten. What is remembered is durable at once; an interruption loses nothing.
        ``sensitive`` says what becomes of the cards, passwords … in what is new (mask, keep or drop); by default the
        settings say.

        Raises:
            HomeError: the disk is full, or the database is busy or damaged.
        """
        started = time.perf_counter()
        tell = on_progress or (lambda _: None)
        counts = {"new": 0, "known": 0, "forgotten": 0, "failed": 0, "passed over": 0}
        failures: list[Failure] = []
        new: set[int] = set()
        for done, taken in enumerate(
            taking.take_in(
                self._store, self.keys, self.settings, list(paths), copy=copy, again=again, sensitive=sensitive
            ),
            1,
        ):
            counts[taken.outcome] += 1
            if taken.outcome == "new" and taken.item is not None:
                new.add(taken.item)
            if taken.outcome == "failed":
                failures.append(Failure(files.display(taken.path), taken.reason))
            tell(Happening("remember", done, 0, files.display(taken.path), taken.reason or None))
        drained = self._drain(tell)
        failed = [step for step in drained.failed if step.item in new]
        failures += self._failures(failed)
        dropped = len(drained.dropped & new)
        return AddReport(
            new=counts["new"] - len(failed) - dropped,
            known=counts["known"],
            failed=len(failures),
            forgotten=counts["forgotten"],
            passed_over=counts["passed over"],
            waiting=sum(self._store.queue.waiting().values()),
            failures=tuple(failures),
            blocked=self._reasons(drained),
            owner=drained.by("which reads and embeds what was handed in"),
            dropped=dropped,
            took_ms=round((time.perf_counter() - started) * 1000, 1),
        )

    def retry(self, *, on_progress: Progress | None = None) -> RetryReport:
        """Tries again everything that failed, and whatever still waits."""
        with self._store.transaction():
            items = self._store.queue.retry()
            self._store.items.try_again(items)
        drained = self._drain(on_progress or (lambda _: None))
        failures = tuple(self._failures(drained.failed))
        return RetryReport(
            tried=len(items),
            failed=len(failures),
            waiting=sum(self._store.queue.waiting().values()),
            failures=failures,
            blocked=self._reasons(drained),
        )

    def _drain(self, tell: Progress, stopped: Callable[[], bool] = lambda: False) -> _Drained:
        """Works the queue off when this process can be the owner.

        The queue is looked at again after the work: what another process handed in just before is either seen here, or
        that process was told that it is its turn.
        """
        drained = _Drained()
        while not stopped() and self._can_work(drained) and (turn := self._owner.begin()) != "theirs":
            if turn == "nobody's":
                drained.silent = True
                break
            drained.owned = True
            try:
                self._recover()
                self._work(drained, tell, stopped)
            finally:
                self._owner.end()
        drained.owned = drained.owned or not self._can_work(drained)
        return drained

    def _can_work(self, drained: _Drained) -> bool:
        return bool(ingest.open_stages(self._store, self._governor, drained.blocked))

    def _reasons(self, drained: _Drained) -> dict[str, str]:
        """Gives the stages that still cannot go on, and why."""
        unfinished = ingest.open_stages(self._store, self._governor, {})
        return {stage: blocked.reason for stage, blocked in drained.blocked.items() if stage in unfinished}

    def _recover(self) -> None:
        """Puts right what an owner that died left: items marked as being worked on, files that no row names."""
        with self._store.transaction():
            self._store.items.recover()
        self._store.originals.sweep(self._store.items.file_names())

    def _work(self, drained: _Drained, tell: Progress, stopped: Callable[[], bool] = lambda: False) -> None:
        done: dict[str, int] = {}
        for step in ingest.drain(self._store, self.keys, self._governor, self.settings):
            if stopped():
                return
            if isinstance(step, ingest.Blocked):
                drained.blocked[step.stage] = step
                tell(Happening(step.stage, done.get(step.stage, 0), 0, "", step.reason))
                continue
            if isinstance(step, transcribe.Heard):
                tell(self._heard(step))
                continue
            if isinstance(step, ingest.Filled):
                tell(Happening(ingest.FILL, step.done, step.total))
                continue
            done[step.stage] = done.get(step.stage, 0) + 1
            if step.dropped:
                drained.dropped.add(step.item)
            if step.reason is not None:
                drained.failed.append(step)
            if step.stage == transcribe.STAGE and step.reason is None:  # told second by second
                continue
            tell(Happening(step.stage, done[step.stage], done[step.stage] + step.left, "", step.reason))
        if keeping.is_due(self._store, self.settings):
            self._keep(tell, stopped)

    def _keep(self, tell: Progress, stopped: Callable[[], bool]) -> tuple[Receipt, keeping.Plan, bool]:
        """Applies the rules of retention, until it is stopped or a person waits."""
        return keeping.apply(
            self._store,
            self.keys,
            Rules.of(self.settings),
            lambda: stopped() or self._governor.person_waits,
            lambda done, total: tell(Happening(keeping.STAGE, done, total)),
        )

    def _heard(self, heard: transcribe.Heard) -> Happening:
        names = self._names([heard.item])
        name = os.path.basename(names[heard.item][0]) if names else ""
        return Happening(transcribe.STAGE, int(heard.seconds), int(heard.length_s or 0), name)

    def _failures(self, steps: Sequence[ingest.Step]) -> list[Failure]:
        """Gives the failed steps whose items are still there, as a person would name them."""
        names = self._names([step.item for step in steps])
        return [Failure(names[s.item][0], s.reason or "", names[s.item][1]) for s in steps if s.item in names]

    def _names(self, items: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Gives how a person would name each item, and its id."""
        return {row: (name_of(item), item.id) for row, item in self._store.items.records(items).items()}

    def transcribe(
        self, path: str | os.PathLike[str], *, language: str | None = None, on_progress: Progress | None = None
    ) -> Transcript:
        """Gives what is said in a recording or film, without storing anything. No model is needed where nobody speaks.

        ``language`` is that of all of it ("ru", "en", …); else that of each stretch is found out.

        Raises:
            ItemError: the file cannot be read, or is no recording.
            EngineError: the transcriber cannot be had, or does not know the language.
        """
        name = os.path.basename(os.fspath(path))

        def tell(done: float, length: float | None) -> None:
            if on_progress is not None:
                on_progress(Happening(transcribe.STAGE, int(done), int(length or 0), name))

        return transcribe.transcript(self._governor, self.settings, os.fspath(path), language, tell)

    def describe(self, *, limit: int | None = None, on_progress: Progress | None = None) -> DescribeReport:
        """Gives pictures with little text a caption, by an answerer that sees; the newest first, at most ``limit``.

        A caption is found like any text, and marked as generated. Each is kept as it comes; an interruption loses
        nothing, and the next call goes on.

        Raises:
            UsageError: a limit that does not fit.
            EngineError: no answerer that sees can be had, or it fails on whatever it gets; with what to do next.
        """
        if limit is not None and limit < 1:
            raise UsageError(f"limit = {limit} is not above 0")
        started = time.perf_counter()
        tell = on_progress or (lambda _: None)
        wanted = describe.all_wanted(self._store)
        rows = wanted[:limit]
        work = describe.Describing(self._store, self._governor, person=True)
        steps: list[ingest.Step] = []
        if rows:
            tell(Happening(describe.STAGE, 0, len(rows)))
        for step in work.describe(rows):
            steps.append(ingest.Step(describe.STAGE, step.item, 0, step.reason))
            tell(Happening(describe.STAGE, len(steps), len(rows), "", step.reason))
        self._drain(tell)
        failures = tuple(self._failures([step for step in steps if step.reason is not None]))
        return DescribeReport(
            described=sum(step.reason is None for step in steps),
            failed=len(failures),
            left=len(wanted) - len(steps),
            answerer=work.answerer,
            reason=work.reason,
            failures=failures,
            took_ms=round((time.perf_counter() - started) * 1000, 1),
        )

    # Capture

    def capture(
        self,
        *,
        once: bool = False,
        every_s: float | None = None,
        monitors: Sequence[str] = (),
        exclude: Sequence[str] = (),
        seconds: float | None = None,
        stop: Stop | None = None,
        screen: Screen | None = None,
        on_begin: Callable[[Begun], None] | None = None,
        on_progress: Progress | None = None,
    ) -> CaptureReport:
        """Records the screen until ``stop`` is asked, or for so many ``seconds``; with ``once`` takes one frame each.

        A monitor is taken when something changed on it and somebody is there, ``every_s`` seconds apart at least.
        ``monitors`` are names or numbers from 1; all by default. What the settings and ``exclude`` leave out is never
        in a frame. What was taken is durable; an interruption costs the frame in the air. ``screen`` is one to record
        instead of this desktop's; it stays open.

        Raises:
            UsageError: a rule, time or monitor that does not fit, or another process records already.
            EngineError: the screen or the recogniser cannot be had.
            HomeError: the disk is full, or the database is busy, damaged or locked.
        """
        from pomnit import capturing

        def work(stopped: Callable[[], bool]) -> None:
            if self._can_work(_Drained()):
                self._work(_Drained(), tell, stopped)

        tell = on_progress or (lambda _: None)
        parts = capturing.Parts(
            self._store,
            self.keys,
            self._governor,
            self.settings,
            self._owner,
            work,
            lambda why: tell(Happening(capturing.STAGE, 0, 0, "", why)),
        )
        begin = on_begin or (lambda _: None)
        asked = capturing.Asked.of(self.settings, once, seconds, every_s, monitors, exclude, begin)
        with capturing.stopping(stop) as until, capturing.opened(screen, asked) as shown:

            def lock() -> None:
                self._lock()
                until.ask()

            self._owner.on_lock = lock
            try:
                report = capturing.capture(parts, shown, asked, until)
            finally:
                self._owner.on_lock = self._lock
            if not until.asked:
                self._drain(tell)
        return report

    def pause_capture(self, seconds: float | None = None) -> CaptureState:
        """Pauses capture, in whatever process it runs, for so many seconds or until it is resumed.

        Raises:
            UsageError: a time that does not fit.
        """
        from pomnit.capture import sign

        sign.pause(self.settings.home, seconds)
        return self.capturing()

    def resume_capture(self) -> CaptureState:
        """Lets capture go on."""
        from pomnit.capture import sign

        sign.resume(self.settings.home)
        return self.capturing()

    def capturing(self) -> CaptureState:
        """Gives whether the screen is recorded, and by whom."""
        from pomnit.capture import sign

        return sign.state(self.settings.home)

    def watch(
        self,
        folders: Iterable[str | os.PathLike[str]],
        *,
        quiet_s: float | None = None,
        stop: Stop | None = None,
        on_event: Callable[[FolderEvent], None] | None = None,
    ) -> WatchReport:
        """Follows folders until ``stop`` is asked: first looks at all that is in them, then hears what changes.

        New and changed files are remembered as ``add`` does, once they were left alone for ``quiet_s`` seconds. Who was
        moved stays the same item; who was deleted is marked as gone, and what is remembered of it stays. An
        interruption leaves nothing half. ``on_event`` hears what happens, from several threads, but one at a time.

        Raises:
            UsageError: no folder, one that is not there, or one of the memory's own.
            EngineError: this system cannot tell what happens in folders.
            HomeError: the disk is full, or the database is busy, damaged or locked.
        """
        from pomnit import capturing, following
        from pomnit.capture.folders import QUIET_S, Folders

        own = (self.settings.home, self.settings.cache, self.settings.models, self.settings.key_dir)
        followed = Folders(folders, avoid=[str(path) for path in own], quiet_s=QUIET_S if quiet_s is None else quiet_s)

        def work(stopped: Callable[[], bool]) -> None:
            drained = self._drain(lambda _: None, stopped)
            for failure in self._failures(drained.failed):
                heard.failed(failure)

        with capturing.stopping(stop) as until:
            parts = capturing.Parts(
                self._store, self.keys, self._governor, self.settings, self._owner, work, lambda _: None
            )
            heard = following.Following(parts, followed, until, on_event or (lambda _: None))

            def lock() -> None:
                self._lock()
                until.ask()

            self._owner.on_lock = lock
            try:
                return following.follow(heard)
            finally:
                self._owner.on_lock = self._lock

    # Models

    def use(self, name: str, *, bits: int | None = None, on_progress: Progress | None = None) -> UseReport:
        """Makes an encoder or a reranker the one that this memory uses.

        A new encoder's space is filled here, or by the process that owns the memory; until it is whole, searches go on
        in the old space, with the old encoder. An interruption loses nothing: ``add`` and ``use`` go on with it.
        ``bits`` are those of an encoder's weight, by default the settings' or its card's.

        Raises:
            NotFound: no such model is known.
            UsageError: bits that do not fit.
            EngineMissing, ModelDamaged: the model cannot be run here, with what to do next.
        """
        started = time.perf_counter()
        job = spaces.use(self._store, self._governor, name, bits)
        drained = self._drain(on_progress or (lambda _: None)) if job == "embed" else _Drained(owned=True)
        new, old = (f(self._store, self._governor) for f in (spaces.wanted, spaces.searched))
        done, passages = spaces.progress(self._store, new)
        return UseReport(
            job=job,
            model=new.name if job == "embed" else name,
            in_use=job == "rerank" or new == old,
            searched=old.name,
            done=done,
            passages=passages,
            owner=drained.by("which fills its space"),
            blocked=self._reasons(drained).get(ingest.FILL),
            took_ms=round((time.perf_counter() - started) * 1000, 1),
        )

    def spaces(self) -> tuple[SpaceView, ...]:
        """Gives the spaces side by side: that of the encoder in use, the one to come, and those that are kept."""
        with self._store.snapshot():
            return spaces.views(self._store, self._governor)

    def drop(self, name: str) -> Receipt:
        """Takes the vectors of an encoder that is not in use away, or a reranker out of use.

        ``name`` is that of the model, or with its precision that of one space ("all-MiniLM-L6-v2 onnx-4"). The space
        that is being filled is given up: the encoder in use stays.

        Raises:
            NotFound: there are no such vectors, and no such reranker is in use.
            UsageError: they are those of the encoder in use.
        """
        before = self._store.size()
        with self._store.transaction():
            vectors = spaces.drop(self._store, self._governor, name)
        self._store.shrink()
        return Receipt((), 0, vectors, 0, 0, max(0, before - self._store.size()))

    # Find

    def search(
        self,
        query: str,
        *,
        type: str | None = None,  # noqa: A002 the word that queries use
        after: str | None = None,
        before: str | None = None,
        within: str | None = None,
        app: str | None = None,
        state: str | None = None,
        limit: int = 10,
        as_words: bool = False,
        rerank: str | None = None,
        timeout_s: float | None = None,
        cancelled: Callable[[], bool] | None = None,
        on_progress: Progress | None = None,
    ) -> SearchResult:
        """Gives the items that fit a query, best first. Iterating the result gives the hits.

        The query may hold "exact phrases" and the same filters as the arguments: ``type:image after:2026-11-01``.
        ``within`` is a folder, a part of a path, or a file (``in:`` inside the query); ``state`` is "superseded" for
        items that were replaced by newer bytes, "all" for both. A relative date ("вчера", "last week") is a filter,
        shown in ``query.dates`` of the result; with ``as_words`` it is words. ``rerank`` names a reranker for this
        search, which takes its time and tells ``on_progress`` ("none": no reranker); by default the one in use puts
        the best in its order, as far as it comes in 0.4 seconds. The search stops working after ``timeout_s`` seconds,
        and when ``cancelled``, which is asked often and from this thread, says True.

        Raises:
            UsageError: nothing to search for, or a filter or limit that does not fit.
            NotFound: no such reranker is known.
            Stopped: it was cancelled or ran out of time.
        """
        if not 1 <= limit <= 1000:
            raise UsageError(f"limit = {limit} is not between 1 and 1000")
        given = {"type": type, "after": after, "before": before, "in_": within, "app": app, "state": state}
        understood = understand(query, **given) if as_words else understand_dated(query, datetime.now(UTC), **given)
        used = spaces.searched(self._store, self._governor)
        reranking = self._reranking(rerank)
        key = (understood.key, limit, used, reranking)
        generation = self._store.database.generation()
        if (kept := self._results.get(key, generation)) is not None:
            return kept
        stop = _stop(timeout_s, cancelled)

        def tell(done: int, total: int) -> None:
            if on_progress is not None:
                on_progress(Happening("rerank", done, total))

        with self._store.database.stoppable(stop):
            result = recall.search(
                self._store, self._governor, self._sign_codes(), understood, limit, stop, reranking, tell
            )
        if recall.is_whole(result, used.card, reranking.card if reranking else None):
            self._results.put(key, generation, result)
        return result

    def _reranking(self, asked: str | None) -> Reranking | None:
        """Gives how this search reranks: with the reranker that was asked for by name, else with the one in use.

        Raises:
            NotFound: no such reranker is known.
        """
        if asked is None:
            name = self._store.spaces.reranker()
            card = self._governor.reranker_card(name) if name else None
            return None if card is None else Reranking(card)
        if asked == NO_RERANKER:
            return None
        card = self._governor.reranker_card(asked)
        if card is None:
            raise NotFound(f"there is no reranker {asked}; rerankers: {', '.join(RERANKERS)}; or {NO_RERANKER}")
        return Reranking.on_demand(card)

    def _sign_codes(self) -> SignCodes:
        if self._codes is None:
            from pomnit.search.vectors import SignCodes

            self._codes = SignCodes(self._store)
        return self._codes

    # Ask

    def ask(
        self,
        question: str,
        *,
        type: str | None = None,  # noqa: A002 the word that queries use
        after: str | None = None,
        before: str | None = None,
        within: str | None = None,
        app: str | None = None,
        limit: int = 5,
        image: str | os.PathLike[str] | None = None,
        answerer: str | None = None,
        earlier: Sequence[Turn] = (),
        on_text: Callable[[str], None] | None = None,
        timeout_s: float | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Answer:
        """Gives an answer to a question, in its language, with citations of what was remembered.

        Filters are those of ``search``; at most ``limit`` pieces are cited. ``image`` is a picture that the question is
        about; it is read, not remembered. ``answerer`` names who answers ("extractive": sentences as they stand); by
        default the settings say. ``earlier`` are the turns of a conversation that the question may refer to.
        ``on_text`` hears the text as it comes, before its citations are checked.

        Raises:
            UsageError: nothing to ask for, or a filter, limit or image that does not fit.
            ItemError: the image cannot be read.
            NotFound, EngineMissing: the answerer that was asked for is not known, or not here.
            Stopped: it was cancelled or ran out of time.
        """
        if not 1 <= limit <= MOST_CITED:
            raise UsageError(f"limit = {limit} is not between 1 and {MOST_CITED}")
        how = Asking(
            filters={"type": type, "after": after, "before": before, "in_": within, "app": app},
            limit=limit,
            image=None if image is None else os.fspath(image),
            answerer=answerer,
            earlier=tuple(earlier),
            on_text=on_text or (lambda _: None),
            stop=(stop := _stop(timeout_s, cancelled)),
            reranking=self._reranking(None),
        )
        parts = Parts(self._store, self._governor, self.settings, self._sign_codes())
        with self._store.database.stoppable(stop):
            return answer(parts, question, how)

    def chat(self) -> Chat:
        """Gives a conversation: its ``ask`` takes what ``ask`` here takes, and knows what was said before."""
        return Chat(self.ask)

    # Look around

    def similar(self, texts: Sequence[str]) -> Similarity:
        """Gives how near texts are to each other in meaning: the cosines between them by the encoder in use.

        Raises:
            UsageError: fewer than two texts, or an empty one.
            EngineError: the encoder is missing or failed.
        """
        return explore.similar(self._store, self._governor, texts)

    def more(self, item: str, *, limit: int = 10) -> SearchResult:
        """Gives the items that are most like one item, by its telling words and its vectors. Never itself.

        Raises:
            NotFound: no item begins so, or several do.
            UsageError: a limit that does not fit.
        """
        if not 1 <= limit <= 1000:
            raise UsageError(f"limit = {limit} is not between 1 and 1000")
        row = self._store.items.row_of(item)
        return explore.more(self._store, self._governor, self._sign_codes(), row, limit)

    def topics(
        self,
        *,
        groups: int | None = None,
        examples: int = 3,
        type: str | None = None,  # noqa: A002 the word that queries use
        after: str | None = None,
        before: str | None = None,
        within: str | None = None,
    ) -> Topics:
        """Gives the themes of what is remembered, each with its telling words and ``examples`` of its items.

        ``groups`` says how many; else the number that parts the items best is found. Filters are those of ``search``.

        Raises:
            UsageError: a filter or number that does not fit.
        """
        filters = {"type": type, "after": after, "before": before, "in_": within}
        scope = recall.demanded(self._store, understand("state:ready", **filters))
        return explore.topics(self._store, self._governor, scope, groups, examples)

    def show(self, item: str) -> ItemView:
        """Gives an item with all its passages and their places. The beginning of its id is enough.

        Raises:
            NotFound: no item begins so, or several do.
        """
        row = self._store.items.row_of(item)
        with self._store.snapshot():
            passages = self._store.items.passages(self._store.items.passage_rows(row))
            record = self._store.items.records([row])[row]
            waiting = self._store.queue.stages_of(row)
            kept, preview = self._store.items.files(row)
        return ItemView(record, tuple(with_places(p) for p in passages), waiting, kept is not None, preview is not None)

    def original(self, item: str) -> bytes:
        """Gives the bytes of an item that was added with ``copy``.

        Raises:
            NotFound: there is no such item, or its bytes were not kept.
        """
        kept, _ = self._store.items.files(self._store.items.row_of(item))
        if kept is None:
            raise NotFound(f"the bytes of {item} were not kept; add its file with --copy to keep them")
        return self._store.originals.get(kept)

    def preview(self, item: str) -> bytes:
        """Gives the small WebP picture of an item.

        Raises:
            NotFound: there is no such item, or it has no preview.
        """
        _, preview = self._store.items.files(self._store.items.row_of(item))
        if preview is None:
            raise NotFound(f"{item} has no preview")
        return self._store.originals.get(preview)

    def status(self) -> Status:
        """Gives what is remembered and what is not done yet, with the reasons."""
        with self._store.snapshot():
            failures = self._store.queue.failed()
            names = self._names([item for item, _, _ in failures])
            counts = self._store.items.counts()
            used, views = spaces.searched(self._store, self._governor), self.spaces()
            chosen = spaces.wanted(self._store, self._governor)
            missing = recall.what_is_missing(self._store)
            reranker = self._store.spaces.reranker()
        card = self._governor.reranker_card(reranker) if reranker else None
        hint = advice.hint(self.settings, chosen.card, reranker, counts.passages)
        choices = tuple(self._governor.choices(used.variant, card))
        # Each of the stages that may be blocked is named like the job of its engine.
        blocked = {c.job: c.reason for c in choices if c.job in missing.by_stage and not c.works}
        blocked.update((ingest.FILL, view.reason) for view in views if view.reason is not None)
        if describe.STAGE in missing.by_stage and (why := describe.why_not(self._governor)) is not None:
            blocked[describe.STAGE] = why
        return Status(
            home=str(self.settings.home),
            items=counts.items,
            passages=counts.passages,
            vectors=used.space.vectors if used.space else 0,
            waiting=missing.by_stage,
            blocked=blocked,
            failures=tuple(Failure(names[i][0], f"{stage}: {reason}", names[i][1]) for i, stage, reason in failures),
            n_failed=missing.failed,
            database_bytes=_size(self.settings.home / "memory.db") + _size(self.settings.home / "memory.db-wal"),
            files_bytes=self._store.originals.size(),
            key=self.keys.where,
            engines=choices,
            spaces=views,
            reranker=reranker,
            advice=None if chosen.variant.runtime == "given" else hint,
            capture=self.capturing(),
        )

    def waiting(self) -> Mapping[str, int]:
        """Gives the number of items that wait, by stage; quicker than ``status``."""
        with self._store.snapshot():
            return recall.what_is_missing(self._store).by_stage

    # Sensitive text

    def scan(
        self,
        kinds: Iterable[str] = (),
        *,
        mask: bool = False,
        forget: bool = False,
        on_progress: Progress | None = None,
    ) -> ScanReport:
        """Gives the cards, passwords … in all that is stored: how many of which kinds, in which items, and where.

        ``mask`` masks them in place, in text, words, vectors, previews and kept bytes, and ``forget`` forgets their
        items; else nothing is changed. ``kinds`` are those to look for, by default all. No secret is in the report.

        Raises:
            UsageError: no kind is called so, or both are asked for.
            HomeError: the disk is full, or the database is busy or damaged.
        """
        if mask and forget:
            raise UsageError("give either mask or forget")
        started = time.perf_counter()
        tell = on_progress or (lambda _: None)
        policy = Policy("mask", kinds_of(kinds))
        total = sum(sum(states.values()) for states in self._store.items.counts().items.values())
        seen, items, passages, unread = [], 0, 0, 0
        for row in scanning.item_rows(self._store):
            found = scanning.look(self._store, policy, row)
            if found is None:
                continue
            items, passages, unread = items + 1, passages + found.passages, unread + (found.passages == 0)
            seen += [found] if found.kinds else []
            tell(Happening("scan", items, max(items, total)))
        views = (scanning.view(self._store, policy, one) for one in seen)
        report = ScanReport(
            items_seen=items,
            passages_seen=passages,
            unread=unread,
            kinds=dict(sorted(Counter(kind for one in seen for kind in one.kinds).items())),
            items=tuple(view for view in views if view is not None),
            masked=self._mask(seen, policy, tell) if mask else None,
            forgotten=forgetting.forget(self._store, self.keys, [one.row for one in seen]) if forget else None,
        )
        return replace(report, took_ms=round((time.perf_counter() - started) * 1000, 1))

    def _mask(self, seen: Sequence[scanning.Seen], policy: Policy, tell: Progress) -> MaskReceipt:
        """Masks items, then has the vectors of their passages made anew."""
        masking = scanning.Masking(self._store, self.keys, self._governor, self.settings, policy)
        for done, one in enumerate(seen, 1):
            masking.mask(one)
            tell(Happening("mask", done, len(seen)))
        with self._store.transaction():  # even where nothing was seen: an earlier one may have been interrupted
            self._store.purge()
        self._store.shrink()
        self._drain(tell)
        return masking.receipt

    # Forget

    def to_forget(
        self,
        *,
        ids: Sequence[str] = (),
        source: str | None = None,
        query: str | None = None,
        after: str | None = None,
        before: str | None = None,
        during: str | None = None,
        last_s: float | None = None,
        app: str | None = None,
    ) -> tuple[Item, ...]:
        """Gives the items that ``forget`` would take away: those of ``ids``, and those that meet all the rest.

        ``source`` is a file or folder that items came from. ``query`` chooses items that hold all its words (and
        phrases) and meet its filters; likeness is not enough to lose something. ``after``, ``before`` and ``during``
        are dates, relative ones too ("вчера", "last week"): what was seen at some time between, for something on the
        screen from first to last. ``last_s`` seconds back take what was seen or remembered since, whatever its own
        date says. What still waits is among them.

        Raises:
            NotFound: an id that no item has.
            UsageError: nothing was chosen by, or a time that does not fit.
        """
        now = datetime.now(UTC)
        since = None if last_s is None else moments.seconds_ago(last_s, now)
        start, end = moments.span(after, before, during, now)
        rows = [self._store.items.row_of(uid) for uid in ids]
        chosen = []
        if source is not None:
            chosen.append(recall.from_source(self._store, source))
        if query is not None:
            chosen.append(recall.holding(self._store, understand(query)))
        if since is not None:
            chosen.append(recall.seen(self._store, since, None, None, added=True))
        if start is not None or end is not None or app is not None:
            chosen.append(recall.seen(self._store, start, end, app))
        if not ids and not chosen:
            raise UsageError("nothing to forget: give ids, --source, --query, --after, --before, --last or --app")
        if chosen:
            rows += sorted(set(chosen[0]).intersection(*chosen[1:]))
        records = self._store.items.records(rows)
        return tuple(records[row] for row in dict.fromkeys(rows) if row in records)

    def forget(self, items: Iterable[Item | str]) -> Receipt:
        """Takes items away completely: text, words, vectors, previews, kept bytes; gives the receipt of what went.

        The files that were added stay where they are; their keyed digests keep ``add`` from bringing them back.

        Raises:
            NotFound: an id that no item has; then nothing is forgotten.
        """
        rows = [self._store.items.row_of(i if isinstance(i, str) else i.id) for i in items]
        return forgetting.forget(self._store, self.keys, list(dict.fromkeys(rows)))

    def retention(self, *, apply: bool = False, on_progress: Progress | None = None) -> RetentionReport:
        """Gives what goes by the rules of retention in the settings, or lets it go when told to ``apply`` them.

        Whoever owns the memory applies them by itself, once a day at most, when its work is done.

        Raises:
            UsageError: there is no rule to apply.
        """
        if not apply:
            return keeping.report(self._store, self.settings)
        if not Rules.of(self.settings):
            raise UsageError('there is no rule; write one into settings.toml, such as retention.screen = "90d"')
        started = time.perf_counter()
        if self._owner.begin() != "ours":
            why = "another process works on this memory; it applies the rules itself when a day has passed since it did"
            return keeping.report(self._store, self.settings, unfinished=why)
        try:
            self._recover()
            receipt, planned, whole = self._keep(on_progress or (lambda _: None), lambda: False)
        finally:
            self._owner.end()
        self._drain(on_progress or (lambda _: None))  # what was handed in meanwhile
        why_not = None if whole else "a person waited for an engine; `pomnit retention --apply` goes on"
        took = time.perf_counter() - started
        return keeping.report(self._store, self.settings, planned, receipt, why_not, took)


class _Drained:
    """What a drain did."""

    def __init__(self, *, owned: bool = False) -> None:
        self.owned, self.silent = owned, False
        self.failed: list[ingest.Step] = []
        self.dropped: set[int] = set()
        self.blocked: dict[str, ingest.Blocked] = {}

    def by(self, what_for: str) -> str:
        """Says who does it."""
        if self.owned:
            return "this process"
        silent = "which does not answer; `pomnit add` and `pomnit retry` go on with it once that one has ended"
        return f"another process, {silent if self.silent else what_for}"


def name_of(item: Item) -> str:
    """Gives what a person would call an item: the path of its last source, else its title."""
    for source in item.sources:
        if source.kind == "file":
            return files.display(files.path_of(source.uri))
    return item.title


def _stop(timeout_s: float | None, cancelled: Callable[[], bool] | None) -> Callable[[], bool]:
    """Gives what tells whether a search is to stop now."""
    end = None if timeout_s is None else time.monotonic() + timeout_s
    return lambda: (end is not None and time.monotonic() > end) or (cancelled is not None and cancelled())


def _refuse_emptied(home: Path) -> None:
    """Raises when there was a database and now there is none: a new empty one in its place would hide the loss.

    Raises:
        DatabaseDamaged.
    """
    database = home / "memory.db"
    if (home / "owner.lock").exists() and _size(database) < _SMALLEST_DATABASE:
        raise DatabaseDamaged(f"{database} is gone or was emptied; restore it from a backup, or move {home} away")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0

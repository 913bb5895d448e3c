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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pomnit import explore, ingest, recall, transcribe
from pomnit.errors import DatabaseDamaged, NotFound, UsageError
from pomnit.governor import advice, spaces
from pomnit.governor.leases import Governor
from pomnit.governor.ownership import Ownership
from pomnit.models.cards import RERANKERS
from pomnit.privacy.keys import Keys, open_keys
from pomnit.readers import files
from pomnit.records import (
    AddReport,
    Failure,
    Item,
    ItemView,
    Receipt,
    RetryReport,
    SearchResult,
    Similarity,
    SpaceView,
    Status,
    Topics,
    Transcript,
    UseReport,
)
from pomnit.search.cache import ResultCache
from pomnit.search.query import understand, understand_dated
from pomnit.search.rerank import Reranking
from pomnit.settings import Settings
from pomnit.store import Store
from pomnit.store.items import with_places

if TYPE_CHECKING:
    from pomnit.search.vectors import SignCodes

_SMALLEST_DATABASE = 512  # bytes; SQLite takes less for an empty one

NO_RERANKER = "none"

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
        self._codes: SignCodes | None = None
        self._results = ResultCache()

    @classmethod
    def open(
        cls,
        home: str | os.PathLike[str] | None = None,
        *,
        settings: Settings | None = None,
        engines: dict[Any, Any] | None = None,
    ) -> Memory:
        """Opens the memory in ``home`` (by default the system's place for application data), made when it is not there.

        ``engines`` are ready engines ("recognise", "transcribe", "embed", "rerank") to use instead of loading, as tests
        do with the fakes; for the last two also a list of several, the first of which is the default.

        Raises:
            HomeError: and those below it in ``errors``: busy, damaged, no key, wrong key, disk full.
            UsageError: a setting that does not fit.
        """
        if settings is None:
            settings = Settings.load(home=home)
        elif home is not None:
            raise UsageError("give either home or settings; settings say where the home is")
        keys = open_keys(settings)
        _refuse_emptied(settings.home)
        store = Store(settings.home, keys.database, keys.files, busy_s=settings.busy_s)
        return cls(settings, keys, store, Governor(settings, engines=engines))

    def close(self) -> None:
        """Lets go of the engines, the lock and the database."""
        self._owner.close()
        self._store.close()

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
        on_progress: Progress | None = None,
    ) -> AddReport:
        """Remembers files and whole folders, then reads and embeds them, unless another process owns the memory.

        ``copy`` keeps the bytes, encrypted; else a file is referred to and only a preview is kept. ``again`` brings
        back what was forgotten. What is remembered is durable at once; an interruption loses nothing.

        Raises:
            HomeError: the disk is full, or the database is busy or damaged.
        """
        started = time.perf_counter()
        tell = on_progress or (lambda _: None)
        counts = {"new": 0, "known": 0, "forgotten": 0, "failed": 0, "passed over": 0}
        failures: list[Failure] = []
        new: set[int] = set()
        for done, taken in enumerate(
            ingest.take_in(self._store, self.keys, self.settings, list(paths), copy=copy, again=again), 1
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
        return AddReport(
            new=counts["new"] - len(failed),
            known=counts["known"],
            failed=len(failures),
            forgotten=counts["forgotten"],
            passed_over=counts["passed over"],
            waiting=sum(self._store.queue.waiting().values()),
            failures=tuple(failures),
            blocked=self._reasons(drained),
            owner=drained.by("which reads and embeds what was handed in"),
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

    def _drain(self, tell: Progress) -> _Drained:
        """Works the queue off when this process can be the owner.

        The queue is looked at again after the work: what another process handed in just before is either seen here, or
        that process was told that it is its turn.
        """
        drained = _Drained()
        while self._can_work(drained) and (turn := self._owner.begin()) != "theirs":
            if turn == "nobody's":
                drained.silent = True
                break
            drained.owned = True
            try:
                self._recover()
                self._work(drained, tell)
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

    def _work(self, drained: _Drained, tell: Progress) -> None:
        done: dict[str, int] = {}
        for step in ingest.drain(self._store, self.keys, self._governor, self.settings):
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
            if step.reason is not None:
                drained.failed.append(step)
            if step.stage == transcribe.STAGE and step.reason is None:  # told second by second
                continue
            tell(Happening(step.stage, done[step.stage], done[step.stage] + step.left, "", step.reason))

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
        )

    def waiting(self) -> Mapping[str, int]:
        """Gives the number of items that wait, by stage; quicker than ``status``."""
        with self._store.snapshot():
            return recall.what_is_missing(self._store).by_stage

    # Forget

    def to_forget(
        self, *, ids: Sequence[str] = (), source: str | None = None, query: str | None = None
    ) -> tuple[Item, ...]:
        """Gives the items that ``forget`` would take away.

        ``source`` is a file or folder that items came from. ``query`` chooses items that hold all its words (and
        phrases) and meet its filters; likeness is not enough to lose something.

        Raises:
            NotFound: an id that no item has.
            UsageError: nothing was chosen by.
        """
        rows = self._chosen(ids, source, query)
        records = self._store.items.records(rows)
        return tuple(records[row] for row in rows if row in records)

    def _chosen(self, ids: Sequence[str], source: str | None, query: str | None) -> list[int]:
        if not ids and source is None and query is None:
            raise UsageError("nothing to forget: give ids, --source or --query")
        rows = [self._store.items.row_of(uid) for uid in ids]
        if source is not None:
            rows += recall.from_source(self._store, source)
        if query is not None:
            rows += recall.holding(self._store, understand(query))
        return list(dict.fromkeys(rows))

    def forget(self, items: Iterable[Item | str]) -> Receipt:
        """Takes items away completely: text, words, vectors, previews, kept bytes; gives the receipt of what went.

        The files that were added stay where they are; their keyed digests keep ``add`` from bringing them back.

        Raises:
            NotFound: an id that no item has; then nothing is forgotten.
        """
        rows = [self._store.items.row_of(i if isinstance(i, str) else i.id) for i in items]
        return ingest.forget(self._store, self.keys, list(dict.fromkeys(rows)))


class _Drained:
    """What a drain did."""

    def __init__(self, *, owned: bool = False) -> None:
        self.owned, self.silent = owned, False
        self.failed: list[ingest.Step] = []
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

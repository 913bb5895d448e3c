"""Spine 1: take in -> read -> split -> embed -> store, stage by stage.

``take_in`` remembers: an item and its place in the queue in one transaction; from then on no crash loses it. ``drain``
works the queue off: first everything that is to be read, then everything that is to be embedded, in bounded rounds,
so that each model is loaded once and leaves before the next one comes. Each result is committed as it comes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from pomnit.engines.protocols import Recogniser
from pomnit.errors import EngineMissing, ItemError, ModelDamaged, PomnitError
from pomnit.governor.leases import Governor
from pomnit.models.cards import EncoderCard
from pomnit.privacy.keys import Keys
from pomnit.readers import HEAD, SUFFIXES, Reader, Reading, by_media_type, choose, files, names
from pomnit.records import Lang, Original, Receipt
from pomnit.settings import Settings
from pomnit.store import Store
from pomnit.store.originals import Originals
from pomnit.store.queue import Task
from pomnit.text.language import detect
from pomnit.text.split import PlacedText, split
from pomnit.text.times import from_seconds

STAGES = ("read", "recognise", "embed")
ROUND = 256  # items of one stage before the next stage gets its turn
TAKEN_TOGETHER = 64  # files that are remembered in one transaction
TEXTS_AT_ONCE = 16  # texts in work at a time: they are quick, and stored together
EMBED_BATCH = 64  # items whose passages are embedded and committed together


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one path."""

    path: str
    outcome: str  # new | known | forgotten | failed | passed over
    item: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One finished step of a drain."""

    stage: str
    item: int
    left: int  # items that still wait for this stage
    reason: str | None = None  # why it failed


@dataclass(frozen=True, slots=True)
class Blocked:
    """A stage that cannot run now; its tasks wait."""

    stage: str
    reason: str


def take_in(
    store: Store, keys: Keys, settings: Settings, paths: Sequence[str | os.PathLike[str]], *, copy: bool, again: bool
) -> Iterator[Taken]:
    """Remembers files, each durable before it is reported. Known ones are passed quickly by their stamp."""
    number = store.queue.next_number()
    looked_at: list[_Looked] = []
    for found in files.walk(paths):
        outcome = _look(store, keys, settings, found, copy=copy, again=again)
        if isinstance(outcome, Taken):
            yield outcome
        else:
            looked_at.append(outcome)
        if len(looked_at) >= TAKEN_TOGETHER:
            yield from _remember(store, keys, looked_at, number)
            looked_at = []
    yield from _remember(store, keys, looked_at, number)


@dataclass(frozen=True, slots=True)
class _Looked:
    """A file that was looked at and is to be remembered."""

    path: str
    stamp: str
    modified: float
    reader: Reader
    original: Original
    kept: str | None  # the name of its kept bytes


def _look(
    store: Store,
    keys: Keys,
    settings: Settings,
    found: files.FoundFile | files.NotFoundHere,
    *,
    copy: bool,
    again: bool,
) -> Taken | _Looked:
    """Gives what is to be remembered of a file, or what else became of it."""
    if isinstance(found, files.NotFoundHere):
        return Taken(found.path, "failed", reason=found.reason)
    path = found.path
    if not found.named and not path.lower().endswith(tuple(SUFFIXES)):
        return Taken(
            path, "passed over", reason=f"no reader for {os.path.splitext(path)[1] or 'a name without suffix'}"
        )
    try:
        stamp, modified = files.stamp_of(path)
        if not copy and (item := store.items.seen(files.uri_of(path), stamp)) is not None:
            return Taken(path, "known", item)
        reader, original, data = _examine(path, stamp, settings, copy=copy)
    except ItemError as error:
        return Taken(path, "failed", reason=str(error))
    if store.items.was_forgotten(keys.name(original.digest)) and not again:
        return Taken(path, "forgotten", reason="it was forgotten; add it with --again to bring it back")
    kept = None
    if data is not None:
        kept = keys.name("kept " + original.digest)
        store.originals.put(kept, data)
    return _Looked(path, stamp, modified, reader, original, kept)


def _examine(path: str, stamp: str, settings: Settings, *, copy: bool) -> tuple[Reader, Original, bytes | None]:
    """Gives the reader and the original of a file, and its bytes when they are to be kept.

    Raises:
        ItemError.
    """
    if stamp.startswith("0:"):
        raise ItemError("the file is empty (0 bytes)")
    reader = choose(path, files.head_of(path, HEAD))
    if reader is None:
        raise ItemError(f"no reader for it; Pomnit reads {', '.join(sorted(s[1:] for s in SUFFIXES))}")
    data = files.read_whole(path, getattr(settings, reader.limit)) if copy else None
    digest, size = (files.digest(data), len(data)) if data is not None else files.digest_file(path)
    return reader, Original(digest, size, reader.media_type), data


def _remember(store: Store, keys: Keys, looked_at: Sequence[_Looked], number: int) -> list[Taken]:
    """Stores items, sources and tasks in one transaction."""
    taken = []
    with store.transaction() if looked_at else nullcontext():
        for file in looked_at:
            known = store.items.by_digest(file.original.digest)
            item = known if known is not None else _insert(store, file)
            store.items.add_source(item, "file", files.uri_of(file.path), file.stamp)
            if known is None:
                store.items.unforget(keys.name(file.original.digest))
            if known is None or store.items.is_unread(item):
                store.queue.put(file.reader.stage, item, number)
            if file.kept:
                store.items.set_file(item, "kept", file.kept)
            taken.append(Taken(file.path, "new" if known is None else "known", item))
    return taken


def _insert(store: Store, file: _Looked) -> int:
    time = names.time_in_name(os.path.basename(file.path)) or from_seconds(file.modified)
    return store.items.insert(file.original, kind=file.reader.kind, title=files.title_of(file.path), time=time)


def drain(store: Store, keys: Keys, governor: Governor, settings: Settings) -> Iterator[Step | Blocked]:
    """Works off what waits, until nothing can go on. Only the owner may call this.

    A stage whose engine is missing gives one ``Blocked`` and its tasks wait.
    """
    blocked: set[str] = set()
    while stages := [s for s in STAGES if s not in blocked and store.queue.waiting().get(s)]:
        for stage in stages:
            try:
                if stage == "embed":
                    yield from _embed_stage(store, governor)
                else:
                    yield from _read_stage(store, keys, governor, settings, stage)
            except (EngineMissing, ModelDamaged) as error:
                blocked.add(stage)
                yield Blocked(stage, str(error))
    governor.unload()


# Read: originals to passages


def _read_stage(store: Store, keys: Keys, governor: Governor, settings: Settings, stage: str) -> Iterator[Step]:
    """Reads one round, several originals at a time; the results are stored here, by the one writer."""
    lease: AbstractContextManager[Recogniser | None] = governor.recogniser() if stage == "recognise" else nullcontext()
    with lease as recogniser, ThreadPoolExecutor(settings.threads) as pool:
        running: dict[Future[Reading], tuple[Task, _Lies]] = {}
        # Texts are quick and stored together; pictures are long, and no worker may wait for the next one.
        most = 2 * settings.threads if stage == "recognise" else TEXTS_AT_ONCE
        few = most - 1 if stage == "recognise" else most // 2
        started = 0
        try:
            while True:
                room = min(most - len(running), ROUND - started) if len(running) <= few else 0
                for task, lies in _take(store, stage, room, [task.item for task, _ in running.values()]):
                    running[pool.submit(_read_one, store.originals, settings, recogniser, lies)] = task, lies
                    started += 1
                if not running:
                    return
                ready = wait(running, return_when=FIRST_COMPLETED).done
                steps = _finish_reading(store, keys, governor.card, [(*running[future], future) for future in ready])
                for future in ready:
                    del running[future]
                yield from steps
        finally:
            pool.shutdown(cancel_futures=True)
            if running:  # interrupted: what was being read waits again
                with store.transaction():
                    store.items.set_state([task.item for task, _ in running.values()], "waiting")


def _take(store: Store, stage: str, room: int, busy: list[int]) -> list[tuple[Task, _Lies]]:
    """Gives up to ``room`` tasks to begin with, marked as being worked on, and where the bytes of each lie."""
    if room < 1 or not store.queue.next([stage], 1, but=busy):
        return []
    with store.transaction():  # in one, so that nothing is forgotten between the two
        tasks = store.queue.next([stage], room, but=busy)
        store.items.set_state([task.item for task in tasks], "working")
        return [(task, _where(store, task.item)) for task in tasks]


@dataclass(frozen=True, slots=True)
class _Lies:
    """Where the bytes of an item may lie."""

    original: Original
    kept: str | None
    uris: list[str]


def _where(store: Store, item: int) -> _Lies:
    return _Lies(store.items.original(item), store.items.files(item)[0], store.items.file_uris(item))


def _read_one(originals: Originals, settings: Settings, recogniser: Recogniser | None, lies: _Lies) -> Reading:
    """Reads one original, whose bytes must be the ones that were remembered. Runs in a worker: no database here.

    Raises:
        ItemError.
    """
    reader = by_media_type(lies.original.media_type)
    if reader is None:
        raise ItemError(f"no reader for {lies.original.media_type}")
    data = _bytes_of(originals, lies, getattr(settings, reader.limit))
    return reader.read(data, settings, recogniser)


def _bytes_of(originals: Originals, lies: _Lies, limit: int) -> bytes:
    """Gives the bytes of an item, from where they were kept or from any place they were seen at."""
    if lies.kept:
        return originals.get(lies.kept)
    reason = "the file is no longer there"
    for uri in lies.uris:
        try:
            data = files.read_whole(files.path_of(uri), limit)
        except ItemError as error:
            reason = str(error)
            continue
        if files.digest(data) == lies.original.digest:
            return data
        reason = "the file has changed since it was added; add it again"
    raise ItemError(reason)


def _finish_reading(
    store: Store, keys: Keys, card: EncoderCard, done: Sequence[tuple[Task, _Lies, Future[Reading]]]
) -> list[Step]:
    """Stores what was read, or why it could not be, in one transaction."""
    outcomes = [(task, lies, _outcome(future)) for task, lies, future in done]
    previews: dict[int, str] = {}
    for task, lies, outcome in outcomes:
        if isinstance(outcome, Reading) and outcome.preview:
            previews[task.item] = keys.name("preview " + lies.original.digest)
            store.originals.put(previews[task.item], outcome.preview)
    with store.transaction():
        alive = {task.item for task, _, outcome in outcomes if _store_outcome(store, card, task, outcome, previews)}
    for item in previews.keys() - alive:  # forgotten meanwhile
        if previews[item] not in store.items.file_names():
            store.originals.remove(previews[item])
    left = store.queue.waiting()
    return [
        Step(task.stage, task.item, left.get(task.stage, 0), outcome if isinstance(outcome, str) else None)
        for task, _, outcome in outcomes
    ]


def _outcome(future: Future[Reading]) -> Reading | str:
    """Gives what was read, or the reason why it could not be.

    Raises:
        EngineMissing, ModelDamaged: the stage cannot go on.
    """
    try:
        return future.result()
    except (EngineMissing, ModelDamaged):
        raise
    except PomnitError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 whatever a decoder throws must not end the others' work
        return f"unexpected {type(error).__name__}: {error}"


def _store_outcome(
    store: Store, card: EncoderCard, task: Task, outcome: Reading | str, previews: Mapping[int, str]
) -> bool:
    """Stores one outcome; False when its item was forgotten meanwhile."""
    if isinstance(outcome, str):
        if failed := store.queue.fail(task, outcome):
            store.items.set_state([task.item], "failed", outcome)
        return failed
    if not store.queue.done(task):
        return False
    languages = _store_text(store, task.item, outcome)
    if task.item in previews:
        store.items.set_file(task.item, "preview", previews[task.item])
    if outcome.more and task.stage != "recognise":
        store.queue.put("recognise", task.item, task.handed_in)
    if not languages.isdisjoint(card.languages):  # else there is nothing that this encoder knows
        store.queue.put("embed", task.item, task.handed_in)
    return True


def _store_text(store: Store, item: int, reading: Reading) -> set[Lang]:
    """Stores title, time and passages; gives the languages of the passages."""
    languages: set[Lang] = set()
    store.items.update(item, title=reading.title, time=reading.time)
    title = store.items.records([item])[item].title
    store.remove_text(item)
    # A picture without text still has a title to be found by.
    for ordinal, piece in enumerate(split(reading.text) or [PlacedText("")]):
        lang = detect(piece.text)
        languages.add(lang)
        passage = store.items.add_passage(item, ordinal, piece, lang)
        store.words.add(passage, piece.text, title if ordinal == 0 else "")
    store.items.set_state([item], "ready")
    return languages


# Embed: passages to vectors


def _embed_stage(store: Store, governor: Governor) -> Iterator[Step]:
    """Embeds one round, the passages of several items at a time."""
    started = 0
    while started < ROUND and (tasks := store.queue.next(["embed"], EMBED_BATCH)):
        started += len(tasks)
        card, precision = governor.card, governor.precision
        rows = [row for task in tasks for row in store.items.passage_rows(task.item)]
        wanted = [p for p in store.items.passages(rows) if p.record.lang in card.languages]
        with governor.encoder() as encoder:
            vectors = encoder.encode([p.record.text for p in wanted])
        with store.transaction():
            alive = {task.item for task in tasks if store.queue.done(task)}
            kept = [i for i, p in enumerate(wanted) if p.item_row in alive]
            space = store.vectors.make_space(card, precision)
            store.vectors.put(space, [wanted[i].row for i in kept], vectors[kept])
        left = store.queue.waiting().get("embed", 0) + len(tasks)
        for done, task in enumerate(tasks, 1):
            yield Step("embed", task.item, left - done)


# Forget


def forget(store: Store, keys: Keys, items: Sequence[int]) -> Receipt:
    """Takes items away: rows, words, vectors and then files, and leaves keyed digests behind.

    The index of words is written anew, so that no stem is left in its segments, and freed pages are overwritten and
    given back to the disk.
    """
    before = store.size()
    passages = vectors = n_sources = 0
    names: list[str] = []
    with store.transaction():
        records = store.items.records(items)
        for row, record in records.items():
            n_passages, n_vectors = store.remove_text(row)
            passages, vectors = passages + n_passages, vectors + n_vectors
            n_sources += len(record.sources)
            names += [name for name in store.items.files(row) if name]
            store.items.forget_digest(keys.name(record.original.digest))
            store.items.remove(row)
        store.words.purge()
    for name in names:
        store.originals.remove(name)
    store.shrink()
    ids = tuple(record.id for record in records.values())
    return Receipt(ids, passages, vectors, len(names), n_sources, max(0, before - store.size()))

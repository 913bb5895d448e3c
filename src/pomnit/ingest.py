"""Spine 1: take in -> read -> transcribe -> split -> embed -> store (-> describe), stage by stage.

``taking`` remembers: an item and its place in the queue in one transaction; from then on no crash loses it. ``drain``
works the queue off: first everything that is to be read, then what is to be heard, then everything that is to be
embedded, in bounded rounds, so that each model is loaded once and leaves before the next one comes. Each result is
committed as it comes. Pictures with little text are described after all that, where the settings say so, and their
captions embedded. When nothing else is to be done, a space that is wanted instead of the current one is filled; see
``governor.spaces``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from pomnit import describe, forgetting, transcribe
from pomnit.embed import embedded_or_why, store_vectors, without_vector
from pomnit.engines.protocols import Recogniser
from pomnit.errors import EngineError, EngineMissing, ItemError, ModelDamaged, PomnitError
from pomnit.governor import spaces
from pomnit.governor.leases import Governor
from pomnit.governor.spaces import Encoding
from pomnit.masking import Screened, masked_copy, screened
from pomnit.models.cards import EncoderCard, Variant
from pomnit.privacy.keys import Keys
from pomnit.privacy.policy import policy_of
from pomnit.privacy.sensitive import Policy
from pomnit.readers import Reading, by_media_type, files
from pomnit.records import Lang, Original
from pomnit.settings import Settings
from pomnit.store import Store
from pomnit.store.originals import Originals
from pomnit.store.queue import Task
from pomnit.text.language import detect
from pomnit.text.split import PlacedText, split

QUEUED = ("read", "recognise", transcribe.STAGE, "embed", describe.STAGE)
FILL = "fill"
ROUND = 256  # items of one stage before the next stage gets its turn
TEXTS_AT_ONCE = 16  # texts in work at a time: they are quick, and stored together
EMBED_BATCH = 64  # items whose passages are embedded and committed together
FILL_BATCH = 64  # passages of a new space at most,
FILL_S = 2.0  # and as many as take about so long: after each batch, what was just added gets its turn


@dataclass(frozen=True, slots=True)
class Step:
    """One finished step of a drain."""

    stage: str
    item: int
    left: int  # items that still wait for this stage
    reason: str | None = None  # why it failed
    dropped: bool = False  # it holds sensitive text, and the policy is to store none of it


@dataclass(frozen=True, slots=True)
class Filled:
    """One finished step of filling a space; ``done`` of ``total`` passages have a vector in it."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Blocked:
    """A stage that cannot run now; its tasks wait."""

    stage: str
    reason: str
    encoder: Variant | None  # that it needs: with another one the stage may go on


def drain(
    store: Store, keys: Keys, governor: Governor, settings: Settings
) -> Iterator[Step | Filled | Blocked | transcribe.Heard]:
    """Works off what waits, until nothing can go on. Only the owner may call this.

    A stage whose engine cannot be had (it is missing, does not load, is too large) gives one ``Blocked`` and its tasks
    wait. When a person waits for an engine, a stage gives way at the next border.
    """
    blocked: dict[str, Blocked] = {}
    gaps = _Gaps()
    if settings.describe == "off":
        describe.drop_unwanted(store)
    dropping = _Dropping(store, keys, settings)
    recordings = transcribe.Transcribing(
        store, governor, settings, lambda item: _opened(store, settings, item), dropping.fit
    )
    with contextlib.closing(recordings):
        while stages := open_stages(store, governor, blocked):
            for stage in stages:
                encoder = _encoder_of(store, governor, stage)
                try:
                    if stage == FILL:
                        if stages == [FILL]:  # what was just added goes first
                            yield from _fill_batch(store, governor, gaps)
                    elif stage == transcribe.STAGE:
                        yield from _transcribe_stage(store, recordings)
                        yield from dropping.steps()
                    elif stage == "embed":
                        yield from _embed_stage(store, governor, gaps)
                    elif stage == describe.STAGE:
                        yield from _describe_stage(store, governor)
                    else:
                        yield from _read_stage(store, keys, governor, settings, stage)
                except EngineError as error:  # one that is not there; one that fails on an item fails that item alone
                    blocked[stage] = Blocked(stage, str(error), encoder)
                    yield blocked[stage]
    governor.unload()


def open_stages(store: Store, governor: Governor, blocked: Mapping[str, Blocked]) -> list[str]:
    """Gives the stages that have something to do and are not blocked, in their order."""
    waiting = store.queue.waiting()
    stages = [stage for stage in QUEUED if waiting.get(stage)]
    new = spaces.filling(store, governor)
    if new is not None and not ("embed" in stages and new == spaces.searched(store, governor)):
        stages.append(FILL)  # else it is the first space, and the tasks fill it
    return [s for s in stages if s not in blocked or blocked[s].encoder != _encoder_of(store, governor, s)]


def _encoder_of(store: Store, governor: Governor, stage: str) -> Variant | None:
    """Gives the encoder that a stage needs."""
    if stage == FILL:
        return spaces.wanted(store, governor).variant
    return spaces.searched(store, governor).variant if stage == "embed" else None


# Read: originals to passages


def _read_stage(store: Store, keys: Keys, governor: Governor, settings: Settings, stage: str) -> Iterator[Step]:
    """Reads one round, several originals at a time; the results are stored here, by the one writer."""
    lease: AbstractContextManager[Recogniser | None] = governor.recogniser() if stage == "recognise" else nullcontext()
    with lease as recogniser, ThreadPoolExecutor(settings.threads) as pool:
        running: dict[Future[Screened], tuple[Task, _Lies]] = {}
        # Texts are quick and stored together; pictures are long, and no worker may wait for the next one.
        most = 2 * settings.threads if stage == "recognise" else TEXTS_AT_ONCE
        few = most - 1 if stage == "recognise" else most // 2
        started, done = 0, False
        try:
            while True:
                room = min(most - len(running), ROUND - started) if len(running) <= few else 0
                for task, lies in _take(store, settings, stage, room, [task.item for task, _ in running.values()]):
                    running[pool.submit(_read_one, store.originals, settings, recogniser, lies)] = task, lies
                    started += 1
                if not running:
                    done = True
                    return
                ready = wait(running, return_when=FIRST_COMPLETED).done
                card = spaces.searched(store, governor).card
                finished = [(*running[future], future) for future in ready]
                steps = _finish_reading(store, keys, card, finished, describing=settings.describe == "on")
                for future in ready:
                    del running[future]
                yield from steps
                if governor.person_waits:  # what has begun is done first; the rest waits again
                    started = ROUND
                    _put_back(store, running)
        except (KeyboardInterrupt, GeneratorExit):  # nobody waits for what a long scan still has to tell
            governor.abandon()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            if not done:  # interrupted: what was taken to be read waits again, begun or not
                with store.transaction():
                    store.items.recover()


def _put_back(store: Store, running: dict[Future[Screened], tuple[Task, _Lies]]) -> None:
    """Lets those wait again that no worker has begun with."""
    back = [running.pop(future) for future in list(running) if future.cancel()]
    with store.transaction():
        store.items.set_state([task.item for task, _ in back], "waiting")


def _take(store: Store, settings: Settings, stage: str, room: int, busy: list[int]) -> list[tuple[Task, _Lies]]:
    """Gives up to ``room`` tasks to begin with, marked as being worked on, and where the bytes of each lie."""
    if room < 1 or not store.queue.next([stage], 1, but=busy):
        return []
    with store.transaction():  # in one, so that nothing is forgotten between the two
        tasks = store.queue.next([stage], room, but=busy)
        store.items.set_state([task.item for task in tasks], "working")
        return [(task, _where(store, settings, task.item)) for task in tasks]


@dataclass(frozen=True, slots=True)
class _Lies:
    """Where the bytes of an item may lie, and what becomes of what is sensitive in them."""

    original: Original
    kept: str | None
    uris: list[str]
    policy: Policy


def _where(store: Store, settings: Settings, item: int) -> _Lies:
    kept, _ = store.items.files(item)
    return _Lies(store.items.original(item), kept, store.items.file_uris(item), policy_of(store, settings, item))


def _read_one(originals: Originals, settings: Settings, recogniser: Recogniser | None, lies: _Lies) -> Screened:
    """Reads one original, whose bytes must be the ones that were remembered. Runs in a worker: no database here.

    What is sensitive is masked before anything is stored, as the item's policy says.

    Raises:
        ItemError.
    """
    reader = by_media_type(lies.original.media_type)
    if reader is None:
        raise ItemError(f"no reader for {lies.original.media_type}")
    data = _bytes_of(originals, lies, getattr(settings, reader.limit))
    fit = screened(reader.read(data, settings, recogniser), lies.policy)
    if not (lies.kept and fit.found) or fit.drop or fit.reading.more:
        return fit
    copy = masked_copy(data, lies.original.media_type, fit.boxes, lies.policy, settings.image_pixels)
    return replace(fit, copy=copy)


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
    store: Store,
    keys: Keys,
    card: EncoderCard,
    done: Sequence[tuple[Task, _Lies, Future[Screened]]],
    *,
    describing: bool,
) -> list[Step]:
    """Stores what was read, or why it could not be, in one transaction."""
    outcomes = [(task, lies, _outcome(future)) for task, lies, future in done]
    previews: dict[int, str] = {}
    dropped: set[int] = set()
    gone: list[str] = []  # files that no row names any more
    for task, lies, outcome in outcomes:
        if isinstance(outcome, Screened) and outcome.reading.preview:
            previews[task.item] = _named(keys, "preview", lies, outcome.reading.preview, masked=bool(outcome.boxes))
            store.originals.put(previews[task.item], outcome.reading.preview)
    with store.transaction():
        shown = {item: store.items.preview(item) for item in previews}
        alive = {
            task.item
            for task, lies, outcome in outcomes
            if not _masked_meanwhile(store, task, lies) and _store_outcome(store, card, task, outcome, previews)
        }
        gone += [old[0] for item, old in shown.items() if item in alive and old and old[0] != previews[item]]
        for task, lies, outcome in outcomes:
            if isinstance(outcome, Screened) and outcome.found and task.item in alive:
                if outcome.drop:
                    dropped.add(task.item)
                    gone += forgetting.drop(store, keys, task.item)
                elif lies.kept and not outcome.reading.more:
                    gone += _replace_kept(store, keys, task.item, lies, outcome.copy)
        alive -= dropped
        for task in (task for task, *_ in outcomes if describing and task.item in alive):
            if describe.is_wanted(store, task.item):
                store.queue.put(describe.STAGE, task.item, task.handed_in)
    for name in gone:
        store.originals.remove(name)
    for item in previews.keys() - alive:  # forgotten meanwhile
        if previews[item] not in store.items.file_names():
            store.originals.remove(previews[item])
    left = store.queue.waiting()
    return [
        Step(
            task.stage,
            task.item,
            left.get(task.stage, 0),
            outcome if isinstance(outcome, str) else None,
            task.item in dropped,
        )
        for task, _, outcome in outcomes
    ]


def _masked_meanwhile(store: Store, task: Task, lies: _Lies) -> bool:
    """Tells whether an item was masked while it was read as it is; then it waits, and is read again."""
    masked = lies.policy.action == "keep" and store.items.sensitive(task.item)[0] == "mask"
    if masked:
        store.items.set_state([task.item], "waiting")
    return masked


def _named(keys: Keys, what: str, lies: _Lies, data: bytes, *, masked: bool) -> str:
    """Gives the name of a file that is kept of an original; a masked one goes by its bytes, for a name is kept once."""
    return keys.name(f"{what} {lies.original.digest}" + (f" {files.digest(data)}" if masked else ""))


def _replace_kept(store: Store, keys: Keys, item: int, lies: _Lies, copy: bytes | None) -> list[str]:
    """Keeps a masked copy in the place of an item's bytes, or nothing; gives the names of files that are to go."""
    name = None if copy is None else _named(keys, "kept", lies, copy, masked=True)
    if name is not None and copy is not None:
        store.originals.put(name, copy)
    store.items.set_file(item, "kept", name)
    return [lies.kept] if lies.kept and lies.kept != name else []


def _outcome(future: Future[Screened]) -> Screened | str:
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
    store: Store, card: EncoderCard, task: Task, outcome: Screened | str, previews: Mapping[int, str]
) -> bool:
    """Stores one outcome; False when its item was forgotten meanwhile."""
    if isinstance(outcome, str):
        if failed := store.queue.fail(task, outcome):
            store.items.set_state([task.item], "failed", outcome)
        return failed
    if not store.queue.done(task):
        return False
    if outcome.drop:
        return True
    languages = store_text(store, task.item, outcome.reading)
    if task.item in previews:
        store.items.set_file(task.item, "preview", previews[task.item])
    if outcome.reading.more and task.stage != "recognise":
        store.queue.put("recognise", task.item, task.handed_in)
    if not languages.isdisjoint(card.languages):  # else there is nothing that this encoder knows
        store.queue.put("embed", task.item, task.handed_in)
    return True


def store_text(store: Store, item: int, reading: Reading) -> set[Lang]:
    """Stores title, time and passages; gives the languages of the passages that have a text."""
    languages: set[Lang] = set()
    store.items.update(item, title=reading.title, time=reading.time)
    title = store.items.records([item])[item].title
    store.remove_text(item)
    # A picture without text still has a title to be found by.
    for ordinal, piece in enumerate(split(reading.text) or [PlacedText("")]):
        lang = detect(piece.text)
        if piece.text:
            languages.add(lang)
        passage = store.items.add_passage(item, ordinal, piece, lang)
        store.words.add(passage, piece.text, title if ordinal == 0 else "")
    store.items.set_state([item], "ready")
    return languages


# Transcribe: recordings to passages


def _transcribe_stage(store: Store, recordings: transcribe.Transcribing) -> Iterator[Step | transcribe.Heard]:
    """Transcribes one round of recordings."""
    for event in recordings.round():
        if isinstance(event, transcribe.Heard):
            yield event
        else:
            left = store.queue.waiting().get(transcribe.STAGE, 0)
            yield Step(transcribe.STAGE, event.item, left, event.reason)


def _opened(store: Store, settings: Settings, item: int) -> tuple[BinaryIO, str]:
    """Gives the bytes of a recording, which must be the ones that were remembered, and their media type.

    Raises:
        ItemError.
    """
    lies = _where(store, settings, item)
    if lies.kept:
        return store.originals.open(lies.kept), lies.original.media_type
    reason = "the file is no longer there"
    for uri in lies.uris:
        try:
            path = files.path_of(uri)
            return files.open_same(path, lies.original.digest, settings.audio_bytes), lies.original.media_type
        except ItemError as error:
            reason = str(error)
    raise ItemError(reason)


class _Dropping:
    """Masks what is said in recordings, and drops those of which nothing sensitive may be stored."""

    def __init__(self, store: Store, keys: Keys, settings: Settings) -> None:
        self._store, self._keys, self._settings = store, keys, settings
        self._dropped: dict[int, list[str]] = {}  # items, and their files
        self._masked: set[int] = set()  # items whose sound, where it is kept, says what their text does not

    def fit(self, item: int, text: PlacedText) -> PlacedText | None:
        """Gives what may be stored of a text, in the transaction that stores it; None: its item was dropped."""
        fit = screened(Reading(text), policy_of(self._store, self._settings, item))
        if fit.drop:
            self._dropped[item] = forgetting.drop(self._store, self._keys, item)
        elif fit.found:
            self._masked.add(item)
        return None if fit.drop else fit.reading.text

    def steps(self) -> Iterator[Step]:
        """Tells what was dropped since it was asked last; the sound of what was masked is not kept any more."""
        for item in [i for i in self._masked if transcribe.STAGE not in self._store.queue.stages_of(i)]:
            self._masked.remove(item)
            self._let_go(item)
        dropped, self._dropped = self._dropped, {}
        for item, names_ in dropped.items():
            for name in names_:
                self._store.originals.remove(name)
            yield Step(transcribe.STAGE, item, self._store.queue.waiting().get(transcribe.STAGE, 0), dropped=True)

    def _let_go(self, item: int) -> None:
        with self._store.transaction():
            if item not in self._store.items.records([item]):
                return
            kept, _ = self._store.items.files(item)
            self._store.items.set_file(item, "kept", None)
        if kept:
            self._store.originals.remove(kept)


# Describe: pictures with little text to captions


def _describe_stage(store: Store, governor: Governor) -> Iterator[Step]:
    """Describes one round of pictures."""
    for done in describe.Describing(store, governor).round():
        yield Step(describe.STAGE, done.item, store.queue.waiting().get(describe.STAGE, 0), done.reason)


# Embed: passages to vectors


def _embed_stage(store: Store, governor: Governor, gaps: _Gaps) -> Iterator[Step]:
    """Embeds one round, the passages of several items at a time, for the space that is searched."""
    started = 0
    while started < ROUND and (tasks := store.queue.next(["embed"], EMBED_BATCH)):
        started += len(tasks)
        encoding = spaces.searched(store, governor)
        rows = [row for task in tasks for row in store.items.passage_rows(task.item)]
        missing = store.items.passages(without_vector(store, encoding, rows))
        embedded, reasons = embedded_or_why(governor, encoding, missing)
        gaps.failed |= reasons.keys()
        with store.transaction():
            alive = {task.item for task in tasks if task.item not in reasons and store.queue.done(task)}
            for task in tasks:
                if task.item in reasons:  # it stays findable by its words
                    store.queue.fail(task, reasons[task.item])
            for item in store_vectors(store, encoding, embedded, alive):
                store.queue.put("embed", item, 0)
        left = store.queue.waiting().get("embed", 0) + len(tasks)
        for done, task in enumerate(tasks, 1):
            yield Step("embed", task.item, left - done, reasons.get(task.item))


# Fill: what a new space lacks


@dataclass(slots=True)
class _Gaps:
    """How far a space was looked through for passages that it lacks. New passages have higher rows."""

    space: int | None = None
    after: int = 0
    batch: int = field(default_factory=lambda: min(8, FILL_BATCH))  # a few, until it is known how long they take
    failed: set[int] = field(default_factory=set)  # items that are not tried again in this drain

    def look(self, store: Store, encoding: Encoding) -> list[int]:
        """Gives the next passages that have no vector in a space."""
        space = encoding.space.id if encoding.space else None
        if space != self.space:
            self.space, self.after = space, 0
        return store.vectors.next_missing(space, encoding.card.languages, self.after, self.batch)

    def done(self, rows: list[int], seconds: float) -> None:
        """Goes on behind passages that were embedded in so many seconds."""
        self.after = rows[-1]
        self.batch = max(1, min(FILL_BATCH, int(self.batch * FILL_S / max(seconds, 1e-3))))


def _fill_batch(store: Store, governor: Governor, gaps: _Gaps) -> Iterator[Filled | Step]:
    """Embeds some of what the wanted space lacks; when nothing is missing any more, makes it the current one.

    What the encoder fails on does not hold the others up: its items are marked as not embedded, with the reason, and
    ``retry`` embeds them.
    """
    started = time.monotonic()
    encoding = spaces.wanted(store, governor)
    rows = gaps.look(store, encoding)
    passages = [p for p in store.items.passages(rows) if p.item_row not in gaps.failed]
    embedded, reasons = embedded_or_why(governor, encoding, passages)
    gaps.failed |= reasons.keys()
    with store.transaction():
        if spaces.wanted(store, governor) != encoding:  # another one was asked for meanwhile, or this one dropped
            return
        alive = {p.item_row for p in store.items.passages(rows)}
        failed = {item: reason for item, reason in reasons.items() if item in alive}
        for item, reason in failed.items():
            store.queue.put("embed", item, 0)
            store.queue.fail(Task("embed", item, 0), reason)
        store_vectors(store, encoding, embedded, alive)
        if not rows and not gaps.look(store, encoding):
            store.spaces.make_current(spaces.made(store, encoding))
    for item, reason in failed.items():
        yield Step("embed", item, store.queue.waiting().get("embed", 0), reason)
    if rows:
        gaps.done(rows, time.monotonic() - started)
        yield Filled(*spaces.progress(store, spaces.wanted(store, governor)))

"""The rules of retention, applied: what is over its age or over the quota goes, in small steps.

Each step is one transaction, so an interruption costs nothing and the next run goes on. What was removed is written out
of the indexes, and the files shrink, in small steps too. Files that are still there do not come back with the next
``add``: their keyed digests stay, as after ``forget``. What was only on the screen leaves nothing.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pomnit import forgetting
from pomnit.privacy.keys import Keys
from pomnit.privacy.retention import Held, Rules, Step, expired, over_quota
from pomnit.records import Receipt, RetentionReport, RetentionRun, RetentionShare
from pomnit.settings import Settings
from pomnit.store import Store
from pomnit.store.holdings import PAGES, Holding
from pomnit.text.times import utc

STAGE = "retention"
AT_ONCE = 64  # items of one transaction
WINDOW = 50_000  # items that are looked through at once
EVERY = timedelta(days=1)

Stopped = Callable[[], bool]
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes by the rules, as far as it was looked through."""

    size: int  # bytes that all files of the memory take
    steps: tuple[Step, ...]
    more: bool


def plan(store: Store, rules: Rules, now: datetime, *, window: int = WINDOW) -> Plan:
    """Gives what goes by the rules now."""
    with store.snapshot():
        total = store.holdings.live() + store.originals.size()
        text = _text_of_a_passage(store)
        old = store.holdings.before(rules.cutoffs(now), window) if rules.days else []
        steps = expired((_held(store, one, text) for one in old), rules, now)
        if len(old) == window:
            return Plan(total, tuple(steps), more=True)
        if rules.quota is None or (left := total - sum(step.size for step in steps)) <= rules.quota:
            return Plan(total, tuple(steps), more=False)
        gone = {step.row for step in steps}
        rest = store.holdings.heaviest(window + len(gone))
        partial = len(rest) == window + len(gone)
        held = [_held(store, one, text) for one in rest if one.row not in gone]
        steps += over_quota(held, left, rules.quota, partial=partial)
    return Plan(total, tuple(steps), more=partial)


def _text_of_a_passage(store: Store) -> float:
    """Gives the bytes that a passage takes in the database, on the average, with all that belongs to it."""
    return store.holdings.live() / max(1, store.holdings.passages())


def _held(store: Store, one: Holding, text: float) -> Held:
    kept, preview = (_size(store, name) for name in (one.kept, one.preview))
    return Held(one.row, one.kind, one.since, kept, preview, round(one.passages * text), bool(one.unread))


def _size(store: Store, name: str | None) -> int:
    if name is not None:
        with contextlib.suppress(OSError):
            return store.originals.path(name).stat().st_size
    return 0


# Applying


@dataclass(slots=True)
class _Went:
    """What has gone so far."""

    ids: list[str] = field(default_factory=list)
    passages: int = 0
    vectors: int = 0
    files: int = 0
    sources: int = 0


def apply(
    store: Store, keys: Keys, rules: Rules, stopped: Stopped, tell: Tell = lambda _, __: None
) -> tuple[Receipt, Plan, bool]:
    """Lets go what goes by the rules; gives the receipt, what was planned first, and whether all of it was done.

    Only the owner may call this. ``stopped`` is asked before each step. ``tell`` hears how many of how many are done.
    """
    size, went, now = store.size(), _Went(), datetime.now(UTC)
    first = planned = plan(store, rules, now)
    whole = False
    while True:
        if not (_take_all(store, keys, planned.steps, went, stopped, tell) and _purge(store, stopped)):
            break
        if not planned.steps:
            whole = True
            break
        planned = plan(store, rules, now)
    shrunk = _shrink(store, stopped) if went.ids or went.files else True
    freed = max(0, size - store.size())
    receipt = Receipt(tuple(went.ids), went.passages, went.vectors, went.files, went.sources, freed)
    if whole:
        with store.transaction():
            run = {"at": utc(now), "items": len(receipt.items), "files": receipt.files, "bytes_freed": freed}
            store.holdings.set_note("last", json.dumps(run))
    return receipt, first, whole and shrunk


def _take_all(store: Store, keys: Keys, steps: Sequence[Step], went: _Went, stopped: Stopped, tell: Tell) -> bool:
    """Takes steps, some at a time; False when it was stopped."""
    for at in range(0, len(steps), AT_ONCE):
        if stopped():
            return False
        _take(store, keys, steps[at : at + AT_ONCE], went)
        tell(min(at + AT_ONCE, len(steps)), len(steps))
    return True


def _take(store: Store, keys: Keys, steps: Sequence[Step], went: _Went) -> None:
    """Takes some steps in one transaction, then removes their files. What was forgotten meanwhile is passed over."""
    files: list[str] = []
    with store.transaction():
        records = store.items.records([step.row for step in steps])
        went.vectors += store.remove_vectors(step.row for step in steps if step.what == "item")
        for step in (step for step in steps if step.row in records):
            if step.what == "item":
                one = forgetting.forget_one(store, keys, step.row, digest=store.holdings.was_elsewhere(step.row))
                files += one.names
                went.ids.append(records[step.row].id)
                went.sources += len(records[step.row].sources)
                went.passages += one.passages
            elif name := store.holdings.let_file_go(step.row, step.what):
                files.append(name)
        store.holdings.set_note("purge", "due")
    for name in files:
        store.originals.remove(name)
    went.files += len(files)


def _purge(store: Store, stopped: Stopped) -> bool:
    """Writes the indexes anew without what was removed, in this run or one that was interrupted; False when stopped."""
    begin = store.holdings.note("purge") == "due"
    more = store.holdings.note("purge") in ("due", "begun")
    while more:
        if stopped():
            return False
        with store.transaction():
            more = store.holdings.purge_some(begin=begin)
            store.holdings.set_note("purge", "begun" if more else "")
        begin = False
    return True


def _shrink(store: Store, stopped: Stopped) -> bool:
    """Gives what was freed back to the disk; False when it was stopped, and the next ``shrink`` does the rest."""
    while not stopped():
        if not store.database.vacuum(PAGES):
            store.shrink()
            return True
    return False


# By itself


def is_due(store: Store, settings: Settings) -> bool:
    """Tells whether the rules are to be applied by themselves: there are some, and the last time is a day ago."""
    if not Rules.of(settings):
        return False
    run = last(store)
    now = datetime.now(UTC)
    return run is None or not utc(now - EVERY) < run.at <= utc(now)


def last(store: Store) -> RetentionRun | None:
    """Gives when the rules were last applied to the end."""
    note = store.holdings.note("last")
    return None if note is None else RetentionRun(**json.loads(note))


# Shown


def report(
    store: Store,
    settings: Settings,
    planned: Plan | None = None,
    receipt: Receipt | None = None,
    unfinished: str | None = None,
    took_s: float = 0.0,
) -> RetentionReport:
    """Gives what goes, or with a ``receipt`` what went, by which rule and in which way."""
    started, rules = time.perf_counter(), Rules.of(settings)
    if planned is None:
        planned = plan(store, rules, datetime.now(UTC))
    return RetentionReport(
        days=rules.days,
        quota=rules.quota,
        size=planned.size,
        shares=tuple(_shares(planned.steps)),
        more=planned.more,
        applied=receipt is not None,
        receipt=receipt,
        unfinished=unfinished,
        last=last(store),
        took_ms=round((took_s + time.perf_counter() - started) * 1000, 1),
    )


def _shares(steps: Sequence[Step]) -> Iterator[RetentionShare]:
    groups: dict[tuple[str, str], list[Step]] = {}
    for step in steps:
        groups.setdefault((step.rule, step.what), []).append(step)
    for some in groups.values():
        since = sorted(step.since for step in some)
        size = sum(step.size for step in some)
        yield RetentionShare(some[0].rule, some[0].what, len(some), size, since[0], since[-1])

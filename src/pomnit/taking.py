"""Taking files in: an item and its place in the queue in one transaction; from then on no crash loses it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from pomnit import transcribe
from pomnit.errors import ItemError
from pomnit.privacy.keys import Keys
from pomnit.privacy.sensitive import Action
from pomnit.readers import HEAD, SUFFIXES, Reader, choose, files, names
from pomnit.records import Original
from pomnit.settings import Settings
from pomnit.store import Store
from pomnit.text.times import from_seconds

TAKEN_TOGETHER = 64  # files that are remembered in one transaction


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one path."""

    path: str
    outcome: str  # new | known | forgotten | failed | passed over
    item: int | None = None
    reason: str = ""


def take_in(
    store: Store,
    keys: Keys,
    settings: Settings,
    paths: Sequence[str | os.PathLike[str]],
    *,
    copy: bool,
    again: bool,
    sensitive: Action | None = None,
) -> Iterator[Taken]:
    """Remembers files, each durable before it is reported. Known ones are passed quickly by their stamp.

    ``sensitive`` says what becomes of the sensitive text of new ones, whatever the settings say when they are read.
    """
    number = store.queue.next_number()
    looked_at: list[_Looked] = []
    for found in files.walk(paths):
        outcome = _look(store, keys, settings, found, copy=copy, again=again)
        if isinstance(outcome, Taken):
            yield outcome
        else:
            looked_at.append(outcome)
        if len(looked_at) >= TAKEN_TOGETHER:
            yield from _remember(store, keys, looked_at, number, sensitive)
            looked_at = []
    yield from _remember(store, keys, looked_at, number, sensitive)


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
    kept = keys.name("kept " + original.digest) if copy else None
    if kept is not None:
        limit = getattr(settings, reader.limit)
        try:
            store.originals.put(kept, files.pieces_of(path, original.digest, limit) if data is None else data)
        except ItemError as error:
            return Taken(path, "failed", reason=str(error))
    return _Looked(path, stamp, modified, reader, original, kept)


def _examine(path: str, stamp: str, settings: Settings, *, copy: bool) -> tuple[Reader, Original, bytes | None]:
    """Gives the reader and the original of a file, and its bytes when they are to be kept and are not too many.

    Raises:
        ItemError.
    """
    if stamp.startswith("0:"):
        raise ItemError("the file is empty (0 bytes)")
    reader = choose(path, files.head_of(path, HEAD))
    if reader is None:
        raise ItemError(f"no reader for it; Pomnit reads {', '.join(sorted(s[1:] for s in SUFFIXES))}")
    small = copy and reader.stage != transcribe.STAGE
    data = files.read_whole(path, getattr(settings, reader.limit)) if small else None
    digest, size = (files.digest(data), len(data)) if data is not None else files.digest_file(path)
    return reader, Original(digest, size, reader.media_type), data


def _remember(
    store: Store, keys: Keys, looked_at: Sequence[_Looked], number: int, sensitive: Action | None
) -> list[Taken]:
    """Stores items, sources and tasks in one transaction."""
    taken = []
    with store.transaction() if looked_at else nullcontext():
        for file in looked_at:
            known = store.items.by_digest(file.original.digest)
            item = known if known is not None else _insert(store, file)
            store.items.add_source(item, "file", files.uri_of(file.path), file.stamp)
            if known is None:
                store.items.unforget(keys.name(file.original.digest))
                if sensitive is not None:
                    store.items.set_sensitive(item, sensitive)
            if known is None or store.items.is_unread(item):
                store.queue.put(file.reader.stage, item, number)
            if file.kept:
                store.items.set_file(item, "kept", file.kept)
            taken.append(Taken(file.path, "new" if known is None else "known", item))
    return taken


def _insert(store: Store, file: _Looked) -> int:
    time = names.time_in_name(os.path.basename(file.path)) or from_seconds(file.modified)
    return store.items.insert(file.original, kind=file.reader.kind, title=files.title_of(file.path), time=time)

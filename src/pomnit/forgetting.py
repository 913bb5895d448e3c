"""Forgetting: items go with all that was made of them, and leave a keyed digest behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pomnit.privacy.keys import Keys
from pomnit.records import Receipt
from pomnit.store import Store


def forget(store: Store, keys: Keys, items: Sequence[int]) -> Receipt:
    """Takes items away: rows, words, vectors and then files, and leaves keyed digests behind.

    The index of words is written anew, so that no stem is left in its segments, and freed pages are overwritten and
    given back to the disk.
    """
    before = store.size()
    passages = n_sources = 0
    names: list[str] = []
    with store.transaction():
        records = store.items.records(items)
        vectors = store.remove_vectors(records)
        for row, record in records.items():
            one = forget_one(store, keys, row)
            passages += one.passages
            n_sources += len(record.sources)
            names += one.names
        store.purge()
    for name in names:
        store.originals.remove(name)
    store.shrink()
    ids = tuple(record.id for record in records.values())
    return Receipt(ids, passages, vectors, len(names), n_sources, max(0, before - store.size()))


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What one item had."""

    passages: int
    vectors: int
    names: list[str]  # of files, which go once the transaction is done


def drop(store: Store, keys: Keys, item: int) -> list[str]:
    """Takes an item away that is not to be stored; gives its files, which go once the transaction is done."""
    one = forget_one(store, keys, item)
    if one.passages:
        store.purge()
    return one.names


def forget_one(store: Store, keys: Keys, item: int, *, digest: bool = True) -> Forgotten:
    """Takes one item away, leaving its keyed digest behind or not; its stems stay in the index until ``purge``."""
    passages, vectors = store.remove_text(item)
    names = [name for name in store.items.files(item) if name]
    if digest:
        store.items.forget_digest(keys.name(store.items.original(item).digest))
    store.items.remove(item)
    return Forgotten(passages, vectors, names)

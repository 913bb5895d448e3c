"""Where does everything lie, and what is durable? The one face that a second store would wear too."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from pomnit.store.database import Database
from pomnit.store.holdings import Holdings
from pomnit.store.items import Items
from pomnit.store.originals import Originals
from pomnit.store.queue import Queue
from pomnit.store.sources import Sources
from pomnit.store.spaces import Space, Spaces
from pomnit.store.terms import TermWeights
from pomnit.store.vectors import Vectors
from pomnit.store.words import Words


class Store:
    """One memory on disk: its identity tables, queue, indexes of words and vectors, and kept files."""

    def __init__(self, home: Path, database_key: bytes, files_key: bytes, *, busy_s: int = 10) -> None:
        """Opens the store in ``home``, made when it is not there.

        Raises:
            HomeError: and those below it in ``errors``.
        """
        self.database = Database(home / "memory.db", database_key, busy_s=busy_s)
        self.items = Items(self.database)
        self.queue = Queue(self.database)
        self.words = Words(self.database)
        self.spaces = Spaces(self.database)
        self.vectors = Vectors(self.database, self.spaces)
        self.terms = TermWeights(self.database)
        self.holdings = Holdings(self.database)
        self.sources = Sources(self.database)
        self.originals = Originals(home / "files", files_key)
        self.words.rebuild_if_stale()

    def transaction(self) -> AbstractContextManager[None]:
        """Everything written inside is durable when this ends, or nothing is."""
        return self.database.transaction()

    def snapshot(self) -> AbstractContextManager[None]:
        """All reads of this thread inside see one state of the memory."""
        return self.database.snapshot()

    def remove_text(self, item: int) -> tuple[int, int]:
        """Takes an item's passages with their words and vectors away; gives how many passages and vectors."""
        passages = self.items.passage_rows(item)
        vectors = self.vectors.remove(passages)
        self.terms.remove(passages)
        self.words.remove(passages)
        self.items.remove_passages(item)
        return len(passages), vectors

    def remove_vectors(self, items: Iterable[int]) -> int:
        """Takes the vectors of many items away at once, before their text: one by one each would write a block."""
        return self.vectors.remove([row for item in items for row in self.items.passage_rows(item)])

    def purge(self) -> None:
        """Writes the indexes of words and terms anew, so that nothing of what was removed is left in them."""
        self.words.purge()
        self.terms.purge()

    def drop_space(self, space: Space) -> int:
        """Takes a space away with all its vectors; gives how many."""
        vectors = self.vectors.drop(space.id)
        self.terms.drop(space.id)
        self.spaces.remove(space)
        return vectors

    def size(self) -> int:
        """Gives the bytes that the database, its log and the kept files take on disk."""
        path = self.database.path
        parts = (path, path.with_name(path.name + "-wal"))
        return sum(p.stat().st_size for p in parts if p.exists()) + self.originals.size()

    def shrink(self) -> None:
        """Gives what was freed back to the disk."""
        self.database.shrink()

    def close(self) -> None:
        self.database.close()

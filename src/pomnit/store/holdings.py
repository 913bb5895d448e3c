"""What is held for how long and at what cost, and giving it back to the disk in small steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pomnit.store.database import Database

PAGES = 500  # of the indexes that are written anew in one transaction; freed ones that are given back in one
_INDEXES = ("words", "term_index")

# An item is of kind screen when it was seen nowhere else.
_HELD = """
    SELECT item.id AS id,
        iif(EXISTS (SELECT 1 FROM source WHERE source.item = item.id)
            AND NOT EXISTS (SELECT 1 FROM source WHERE source.item = item.id AND source.kind <> 'screen'),
            'screen', item.kind) AS kind,
        max(item.added, coalesce((SELECT max(last_seen) FROM source
            WHERE source.item = item.id AND source.kind = 'screen'), '')) AS since,
        kept, preview,
        (SELECT count(*) FROM passage WHERE passage.item = item.id) AS passages,
        EXISTS (SELECT 1 FROM task WHERE task.item = item.id AND task.stage <> 'embed') AS unread
    FROM item JOIN original ON original.id = item.original"""


@dataclass(frozen=True, slots=True)
class Holding:
    """An item and what is kept of it."""

    row: int
    kind: str
    since: str  # when it was remembered, or last seen on the screen
    kept: str | None  # names of files
    preview: str | None
    passages: int
    unread: int  # not 0: it waits for something that needs its bytes, or failed


class Holdings:
    """What retention asks of a store, beside its items."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def before(self, cutoffs: Mapping[str, str], limit: int) -> list[Holding]:
        """Gives the items of each kind that count from before its time, the oldest first."""
        parts: list[str] = []
        values: dict[str, Any] = {}
        for number, (kind, cutoff) in enumerate(sorted(cutoffs.items())):
            parts.append(f"kind = :kind{number} AND since < :cutoff{number}")
            values |= {f"kind{number}": kind, f"cutoff{number}": cutoff}
        where = " OR ".join(parts) or "FALSE"
        return self._read(f"SELECT * FROM ({_HELD}) WHERE {where} ORDER BY since, id LIMIT :limit", values, limit)  # noqa: S608

    def heaviest(self, limit: int) -> list[Holding]:
        """Gives the oldest items, but those with kept bytes first, then those with a preview."""
        order = "kept IS NULL, preview IS NULL, since, id"
        return self._read(f"SELECT * FROM ({_HELD}) ORDER BY {order} LIMIT :limit", {}, limit)  # noqa: S608

    def _read(self, sql: str, values: dict[str, Any], limit: int) -> list[Holding]:
        rows = self._db.rows(sql, values | {"limit": limit})
        return [Holding(*row) for row in rows]

    def was_elsewhere(self, item: int) -> bool:
        """Tells whether an item came from anything but the screen."""
        return self._db.value("SELECT 1 FROM source WHERE item = ? AND kind <> 'screen'", (item,)) is not None

    def let_file_go(self, item: int, column: str) -> str | None:
        """Names the kept bytes ("kept") or the preview of an item no more; gives the file's name."""
        assert column in ("kept", "preview")
        which = "WHERE id = (SELECT original FROM item WHERE id = ?)"
        name: str | None = self._db.value(f"SELECT {column} FROM original {which}", (item,))  # noqa: S608
        self._db.write(f"UPDATE original SET {column} = NULL {which}", (item,))  # noqa: S608
        return name

    def passages(self) -> int:
        """Gives the number of all passages."""
        return int(self._db.value("SELECT count(*) FROM passage"))

    def live(self) -> int:
        """Gives the bytes of the database that are in use."""
        pages, free, size = (
            int(self._db.value(f"PRAGMA {name}")) for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    # Giving back

    def purge_some(self, *, begin: bool) -> bool:
        """Writes a part of the indexes anew without what was removed; says whether more is to be done.

        ``begin`` counts all that is there now to what is written anew. In a transaction of the caller.
        """
        more = False
        for table in _INDEXES:
            before = self._db.value("SELECT total_changes()")
            self._db.write(f"INSERT INTO {table} ({table}, rank) VALUES ('merge', ?)", (-PAGES if begin else PAGES,))  # noqa: S608
            # SQLite's documentation: fewer than two changes say that there was nothing to do.
            more = more or self._db.value("SELECT total_changes()") - before >= 2
        return more

    # Notes

    def note(self, key: str) -> str | None:
        """Gives what was noted under a name."""
        value: str | None = self._db.value("SELECT value FROM meta WHERE key = ?", (f"retention_{key}",))
        return value

    def set_note(self, key: str, value: str) -> None:
        """Notes something under a name."""
        self._db.write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"retention_{key}", value))

"""Originals, items, sources and passages: the identity of what is remembered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pomnit.errors import NotFound
from pomnit.records import Item, Lang, Origin, Original, Passage, Source, SourceKind
from pomnit.store import spans
from pomnit.store.database import Database, numbers
from pomnit.store.ids import new_id, parse_id, show_id
from pomnit.store.spans import Range
from pomnit.text.split import PlacedText, places
from pomnit.text.times import now

_BYTES = 50  # for each letter, at most: dots and lines that were read off a photo


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage with what recall needs of it and records do not show."""

    row: int
    item_row: int
    record: Passage  # without places
    packed: bytes  # see spans.py


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage as it is scored."""

    row: int
    item: int  # row
    text: str
    title: str  # of the item, with its first passage only
    lang: Lang


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is."""

    items: dict[str, dict[str, int]]  # kind -> state -> number
    passages: dict[str, int]  # language -> number


class Items:
    """The three tables of identity, and the passages."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # Originals and sources

    def by_digest(self, digest: str) -> int | None:
        """Gives the row of the item with these bytes."""
        row: int | None = self._db.value(
            "SELECT item.id FROM item JOIN original ON original.id = item.original WHERE digest = ?", (digest,)
        )
        return row

    def seen(self, uri: str, stamp: str) -> int | None:
        """Gives the row of the item that lay at ``uri`` when the file there had this stamp, if it still counts."""
        row: int | None = self._db.value(
            "SELECT item FROM source WHERE uri = ? AND stamp = ? AND NOT gone", (uri, stamp)
        )
        return row

    def insert(self, original: Original, *, kind: str, title: str, time: str) -> int:
        """Stores an original and its item, waiting; gives the item's row."""
        original_row = self._db.insert(
            "INSERT INTO original (digest, size, media_type) VALUES (?, ?, ?)",
            (original.digest, original.size, original.media_type),
        )
        return self._db.insert(
            "INSERT INTO item (uid, original, kind, title, time, added, state) VALUES (?, ?, ?, ?, ?, ?, 'waiting')",
            (new_id(), original_row, kind, title, time, now()),
        )

    def add_source(self, item: int, kind: SourceKind, uri: str, stamp: str | None) -> None:
        """Notes that the item was seen at ``uri``; what lay there before is gone, and superseded if nowhere else."""
        at = now()
        self._db.write(
            """INSERT INTO source (item, kind, uri, stamp, first_seen, last_seen)
               VALUES (:item, :kind, :uri, :stamp, :at, :at)
               ON CONFLICT (item, uri) DO UPDATE SET stamp = :stamp, last_seen = :at, gone = 0""",
            {"item": item, "kind": kind, "uri": uri, "stamp": stamp, "at": at},
        )
        for (old,) in self._db.rows("SELECT item FROM source WHERE uri = ? AND item <> ? AND NOT gone", (uri, item)):
            self._db.write("UPDATE source SET gone = 1, last_seen = ? WHERE uri = ? AND item = ?", (at, uri, old))
            if not self._db.value("SELECT 1 FROM source WHERE item = ? AND NOT gone", (old,)):
                self._supersede(old)
        self._db.write(
            """UPDATE item SET state = CASE WHEN reason IS NOT NULL THEN 'failed'
                   WHEN EXISTS (SELECT 1 FROM passage WHERE passage.item = item.id) THEN 'ready' ELSE 'waiting' END
               WHERE id = ? AND state = 'superseded'""",
            (item,),
        )

    def add_screen(self, item: int, uri: str, app: str | None, window: str | None, at: str) -> None:
        """Notes that the item was seen on a screen; what was there before is not gone by that."""
        self._db.write(
            """INSERT INTO source (item, kind, uri, app, window, first_seen, last_seen)
               VALUES (:item, 'screen', :uri, :app, :window, :at, :at)
               ON CONFLICT (item, uri) DO UPDATE SET last_seen = max(last_seen, :at), app = :app, window = :window""",
            {"item": item, "uri": uri, "app": app, "window": window, "at": at},
        )

    def still_seen(self, item: int, uri: str, at: str) -> bool:
        """Notes that the item is seen on a screen still; False when it is gone."""
        values = (at, item, uri)
        return self._db.write("UPDATE source SET last_seen = max(last_seen, ?) WHERE item = ? AND uri = ?", values) > 0

    def _supersede(self, item: int) -> None:
        """Marks an item replaced. What of it was not read and not kept is nowhere any more: nothing is left to do."""
        self._db.write("UPDATE item SET state = 'superseded' WHERE id = ?", (item,))
        if self.is_unread(item) and self.files(item)[0] is None:
            self._db.write("DELETE FROM task WHERE item = ?", (item,))

    def is_unread(self, item: int) -> bool:
        """Tells whether an item has no text yet; an item that was read has at least one passage."""
        return self._db.value("SELECT 1 FROM passage WHERE item = ?", (item,)) is None

    def file_uris(self, item: int) -> list[str]:
        """Gives the places where the item's bytes may still lie, the last seen first."""
        return [
            uri
            for (uri,) in self._db.rows(
                "SELECT uri FROM source WHERE item = ? AND kind = 'file' ORDER BY gone, last_seen DESC", (item,)
            )
        ]

    def original(self, item: int) -> Original:
        """Gives the original of an item's row."""
        return Original(
            *self._db.row(
                """SELECT digest, size, media_type FROM original JOIN item ON item.original = original.id
                   WHERE item.id = ?""",
                (item,),
            )
        )

    def files(self, item: int) -> tuple[str | None, str | None]:
        """Gives the names of the kept bytes and of the preview of an item."""
        kept, preview = self._db.row(
            "SELECT kept, preview FROM original JOIN item ON item.original = original.id WHERE item.id = ?", (item,)
        )
        return kept, preview

    def set_file(self, item: int, column: str, name: str | None) -> None:
        """Names the file that holds the kept bytes ("kept") or the preview ("preview") of an item; None: no file."""
        assert column in ("kept", "preview")
        self._db.write(
            f"UPDATE original SET {column} = ? WHERE id = (SELECT original FROM item WHERE id = ?)",  # noqa: S608
            (name, item),
        )

    def file_names(self) -> set[str]:
        """Gives the names of all files that some row names."""
        rows = self._db.rows("SELECT kept, preview FROM original WHERE kept IS NOT NULL OR preview IS NOT NULL")
        return {name for pair in rows for name in pair if name}

    # Items

    def update(self, item: int, *, title: str | None = None, time: str | None = None) -> None:
        """Sets what a reader found out about an item."""
        self._db.write(
            "UPDATE item SET title = coalesce(?, title), time = coalesce(?, time) WHERE id = ?", (title, time, item)
        )

    def set_state(self, items: Iterable[int], state: str, reason: str | None = None) -> None:
        """Sets the state of items, but a superseded one stays superseded."""
        for item in items:
            self._db.write(
                "UPDATE item SET state = iif(state = 'superseded', state, ?), reason = ? WHERE id = ?",
                (state, reason, item),
            )

    def try_again(self, items: Iterable[int]) -> None:
        """Lets failed items wait again; others keep their state: they were read, and only a later stage failed."""
        for item in items:
            self._db.write(
                "UPDATE item SET state = 'waiting', reason = NULL WHERE id = ? AND state = 'failed'", (item,)
            )

    def recover(self) -> None:
        """Lets what a dead owner was working on wait again."""
        self._db.write("UPDATE item SET state = 'waiting' WHERE state = 'working'")

    def counts(self) -> Counts:
        """Gives how many items there are by kind and state, and how many passages by language."""
        items: dict[str, dict[str, int]] = {}
        for kind, state, n in self._db.rows("SELECT kind, state, count(*) FROM item GROUP BY kind, state"):
            items.setdefault(kind, {})[state] = n
        return Counts(items, dict(self._db.rows("SELECT lang, count(*) FROM passage GROUP BY lang")))

    def rows_after(self, row: int, limit: int) -> list[int]:
        """Gives the rows of the first items behind ``row``, superseded ones too."""
        return [r for (r,) in self._db.rows("SELECT id FROM item WHERE id > ? ORDER BY id LIMIT ?", (row, limit))]

    def row_of(self, uid: str) -> int:
        """Gives the row of an item by its id or by the beginning of it that only one item has.

        Raises:
            NotFound: no item, or several.
        """
        if raw := parse_id(uid):
            row = self._db.value("SELECT id FROM item WHERE uid = ?", (raw,))
            if row is None:
                raise NotFound(f"there is no item {uid}; `pomnit search` shows the ids of what is there")
            return int(row)
        digits = uid.replace("-", "").lower()
        if not 4 <= len(digits) < 32 or not all(c in "0123456789abcdef" for c in digits):
            raise NotFound(f"{uid!r} is not an id; `pomnit search` shows the ids of what is there")
        low, high = bytes.fromhex(digits.ljust(32, "0")), bytes.fromhex(digits.ljust(32, "f"))
        rows = self._db.rows("SELECT id FROM item WHERE uid BETWEEN ? AND ? LIMIT 2", (low, high))
        if len(rows) != 1:
            raise NotFound(f"{'several items begin' if rows else 'no item begins'} with {uid}")
        return int(rows[0][0])

    def records(self, rows: Sequence[int]) -> dict[int, Item]:
        """Gives the records of items by row; a row that is gone is absent."""
        sources: dict[int, list[Source]] = {}
        for item, kind, uri, first, last, app, window, gone in self._db.rows(
            """SELECT item, kind, uri, first_seen, last_seen, app, window, gone FROM source
               WHERE item IN carray(?) ORDER BY gone, last_seen DESC, id""",
            (numbers(rows),),
        ):
            sources.setdefault(item, []).append(Source(kind, uri, first, last, app, window, bool(gone)))
        return {
            row: Item(
                id=show_id(uid),
                kind=kind,
                title=title,
                time=time,
                added=added,
                state=state,
                original=Original(digest, size, media_type),
                sources=tuple(sources.get(row, ())),
                reason=reason,
            )
            for row, uid, kind, title, time, added, state, reason, digest, size, media_type in self._db.rows(
                """SELECT item.id, uid, kind, title, time, added, state, reason, digest, size, media_type
                   FROM item JOIN original ON original.id = item.original
                   WHERE item.id IN carray(?)""",
                (numbers(rows),),
            )
        }

    def remove(self, item: int) -> None:
        """Takes an item, its sources, tasks and original away; its passages must be gone."""
        original = self._db.value("SELECT original FROM item WHERE id = ?", (item,))
        self._db.write("DELETE FROM item WHERE id = ?", (item,))
        self._db.write("DELETE FROM original WHERE id = ?", (original,))

    def forget_digest(self, name: str) -> None:
        """Leaves the keyed digest of forgotten bytes behind."""
        self._db.write("INSERT OR IGNORE INTO forgotten VALUES (?, ?)", (name, now()))

    def was_forgotten(self, name: str) -> bool:
        """Tells whether these bytes were forgotten."""
        return self._db.value("SELECT 1 FROM forgotten WHERE name = ?", (name,)) is not None

    def unforget(self, name: str) -> None:
        """Lets forgotten bytes come back."""
        self._db.write("DELETE FROM forgotten WHERE name = ?", (name,))

    def preview(self, item: int) -> tuple[str, str] | None:
        """Gives the name of an item's preview and the digest of its original; None when it has none, or is gone."""
        rows = self._db.rows(
            """SELECT preview, digest FROM original JOIN item ON item.original = original.id
               WHERE item.id = ? AND preview IS NOT NULL""",
            (item,),
        )
        return (rows[0][0], rows[0][1]) if rows else None

    def undescribed(self, letters: int, stage: str, *, item: int | None = None) -> list[int]:
        """Gives the pictures with a preview, fewer letters of text than these and no generated passage.

        The newest comes first; those on which the ``stage`` failed are left out. ``item``: only that one is looked at.
        """
        among = "kind = 'image'" if item is None else "item.id = :item AND kind = 'image'"
        rows = self._db.rows(
            f"""SELECT item.id, group_concat(text, '') FROM item
                JOIN original ON original.id = item.original JOIN passage ON passage.item = item.id
                WHERE {among} AND state = 'ready' AND preview IS NOT NULL
                    AND NOT EXISTS (SELECT 1 FROM task WHERE stage = :stage AND task.item = item.id AND failed NOT NULL)
                GROUP BY item.id HAVING sum(octet_length(text)) < :longest AND NOT max(origin = 'generated')
                ORDER BY item.time DESC, item.id DESC""",  # noqa: S608
            {"stage": stage, "longest": letters * _BYTES} | ({} if item is None else {"item": item}),
        )
        return [row for row, text in rows if sum(c.isalpha() for c in text or "") < letters]

    def is_described(self, item: int) -> bool:
        """Tells whether an item has a generated passage."""
        return self._db.value("SELECT 1 FROM passage WHERE item = ? AND origin = 'generated'", (item,)) is not None

    def sensitive(self, item: int) -> tuple[Any, bool]:
        """Gives what was said about sensitive text of an item (mask, keep, drop, None), and whether a screen had it."""
        row = self._db.row(
            """SELECT sensitive, EXISTS (SELECT 1 FROM source WHERE source.item = item.id AND source.kind = 'screen')
               FROM item WHERE id = ?""",
            (item,),
        )
        return (None, False) if row is None else (row[0], bool(row[1]))

    def rename_window(self, item: int, window: str, new: str) -> None:
        """Gives the window that an item was seen in another title."""
        self._db.write("UPDATE source SET window = ? WHERE item = ? AND window = ?", (new, item, window))

    def set_sensitive(self, item: int, action: str) -> None:
        """Says what becomes of an item's sensitive text, whatever the settings say."""
        self._db.write("UPDATE item SET sensitive = ? WHERE id = ?", (action, item))

    # Passages

    def update_passage(self, row: int, placed: PlacedText, lang: Lang) -> None:
        """Gives a passage another text; its words and vectors are to be made anew."""
        self._db.write(
            "UPDATE passage SET text = ?, lang = ?, spans = ? WHERE id = ?",
            (placed.text, lang, spans.pack(placed.spans), row),
        )

    def add_passage(self, item: int, ordinal: int, placed: PlacedText, lang: Lang, origin: Origin = "read") -> int:
        """Stores one passage; gives its row."""
        return self._db.insert(
            "INSERT INTO passage (uid, item, ordinal, text, lang, origin, spans) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (new_id(), item, ordinal, placed.text, lang, origin, spans.pack(placed.spans)),
        )

    def passage_rows(self, item: int) -> list[int]:
        """Gives the rows of an item's passages in order."""
        return [r for (r,) in self._db.rows("SELECT id FROM passage WHERE item = ? ORDER BY ordinal", (item,))]

    def passages_between(self, item: int, first: int, last: int) -> list[StoredPassage]:
        """Gives the passages of an item from one ordinal to another, both included, in order."""
        rows = self._db.rows(
            "SELECT id FROM passage WHERE item = ? AND ordinal BETWEEN ? AND ? ORDER BY ordinal", (item, first, last)
        )
        return self.passages([row for (row,) in rows])

    def openings(self, items: Iterable[int], most: int) -> list[tuple[int, int]]:
        """Gives item and passage of the first ``most`` passages of items, in order; an item without text is absent."""
        return self._db.rows(
            "SELECT item, id FROM passage WHERE item IN carray(?) AND ordinal < ? ORDER BY item, ordinal",
            (numbers(items), most),
        )

    def passages(self, rows: Sequence[int]) -> list[StoredPassage]:
        """Gives passages by row, in that order; a row that is gone is absent."""
        found = {
            row: StoredPassage(
                row,
                item,
                Passage(show_id(uid), show_id(item_uid), ordinal, text, lang, (), origin),
                packed,
            )
            for row, uid, item, item_uid, ordinal, text, lang, origin, packed in self._db.rows(
                """SELECT passage.id, passage.uid, item, item.uid, ordinal, text, lang, origin, spans
                   FROM passage JOIN item ON item.id = passage.item
                   WHERE passage.id IN carray(?)""",
                (numbers(rows),),
            )
        }
        return [found[row] for row in rows if row in found]

    def candidates(self, rows: Sequence[int]) -> list[Candidate]:
        """Gives what scoring needs of passages, in no order."""
        return [
            Candidate(*values)
            for values in self._db.rows(
                """SELECT passage.id, item, text, iif(ordinal = 0, title, ''), lang
                   FROM passage JOIN item ON item.id = passage.item
                   WHERE passage.id IN carray(?)""",
                (numbers(rows),),
            )
        ]

    def remove_passages(self, item: int) -> None:
        """Takes the passages of an item away; their words and vectors must be gone."""
        self._db.write("DELETE FROM passage WHERE item = ?", (item,))


def with_places(stored: StoredPassage, ranges: Sequence[Range] = ()) -> Passage:
    """Gives the passage's record with the places of the words in ``ranges`` of its text, else of all of it."""
    r = stored.record
    found = spans.unpack(stored.packed, ranges) if ranges else []
    return Passage(r.id, r.item, r.ordinal, r.text, r.lang, places(found or spans.unpack(stored.packed)), r.origin)

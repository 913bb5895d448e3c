"""Filters as conditions over items, the same for every way of searching."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pomnit.store.database import Database

SUPERSEDED = "SELECT passage.id FROM item JOIN passage ON passage.item = item.id WHERE item.state = 'superseded'"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in SQL on the table ``item``, with its values by name."""

    sql: str
    values: dict[str, Any]

    @property
    def passages(self) -> str:
        """The query that gives the passages of the items that meet it."""
        return f"SELECT passage.id FROM item JOIN passage ON passage.item = item.id WHERE {self.sql}"  # noqa: S608


def condition(
    *, kind: str | None, after: str | None, before: str | None, folder: str | None, app: str | None, superseded: bool
) -> Condition | None:
    """Gives what is demanded of an item, None when nothing is. Values never become SQL.

    ``after`` and ``before`` are times as records write them; ``superseded`` demands an item that was replaced.
    """
    parts: list[str] = []
    values: dict[str, Any] = {}
    for name, sql, value in (
        ("kind", "item.kind = :kind", kind),
        ("after", "item.time >= :after", after),
        ("before", "item.time < :before", before),
        ("app", f"EXISTS ({_SOURCE} AND source.app = :app COLLATE NOCASE)", app),
        ("state", "item.state = :state", "superseded" if superseded else None),
    ):
        if value is not None:
            parts.append(sql)
            values[name] = value
    if folder is not None:
        below, more = _below(folder)
        parts.append(f"EXISTS ({_SOURCE} AND {below})")
        values |= more
    return Condition(" AND ".join(parts), values) if parts else None


_SOURCE = "SELECT 1 FROM source WHERE source.item = item.id"


def newest(db: Database, wanted: Condition, limit: int) -> list[int]:
    """Gives the first passage of each of the newest items that meet a condition."""
    rows = db.rows(
        f"""SELECT passage.id FROM item JOIN passage ON passage.item = item.id AND ordinal = 0
            WHERE {wanted.sql} ORDER BY item.time DESC, item.id DESC LIMIT :limit_""",  # noqa: S608
        wanted.values | {"limit_": limit},
    )
    return [row for (row,) in rows]


def items(db: Database, wanted: Condition) -> list[int]:
    """Gives all items that meet a condition, those without any text too."""
    return [row for (row,) in db.rows(f"SELECT id FROM item WHERE {wanted.sql} ORDER BY id", wanted.values)]  # noqa: S608


def superseded_passages(db: Database) -> list[int]:
    """Gives the passages of items that were replaced."""
    return [row for (row,) in db.rows(SUPERSEDED)]


def passages(db: Database, wanted: Condition) -> list[int]:
    """Gives the passages of all items that meet a condition."""
    return [row for (row,) in db.rows(wanted.passages, wanted.values)]


def _below(folder: str) -> tuple[str, dict[str, str]]:
    """Gives the condition on a source that it is this path or lies below it, or has this name somewhere in its path."""
    if folder.startswith(("/", "~", ".")):
        path = os.path.realpath(os.path.expanduser(folder).replace("\0", ""))
        uri = "file://" + _quoted(path.rstrip("/"))
        # "0" is the character after "/", so this is a range of the index on uri.
        return "(source.uri = :path OR source.uri > :path || '/' AND source.uri < :path || '0')", {"path": uri}
    part = _quoted(folder.strip("/")).replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return "source.uri LIKE :part ESCAPE '!'", {"part": f"file://%/%{part}%"}


def _quoted(path: str) -> str:
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError:  # half of a surrogate pair, which no file name holds
        raw = path.encode("utf-8", "replace")
    return quote(raw, safe="/-._~")

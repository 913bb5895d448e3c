"""Filters as conditions over items, the same for every way of searching."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pomnit.store.database import Database, numbers

FEW = 12_000  # passages that a filter may leave to be listed; more are asked for one by one


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in SQL on the table ``item``, with its values by name."""

    sql: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scope:
    """Which passages a search may find: listed where they are few, else by the condition on their items."""

    condition: Condition
    few: list[int] | None

    def accept(self, db: Database, passages: Iterable[int]) -> list[int]:
        """Gives those of ``passages`` that are in the scope."""
        rows = db.rows(
            f"""SELECT passage.id FROM passage JOIN item ON item.id = passage.item
                WHERE passage.id IN carray(:among_) AND {self.condition.sql}""",  # noqa: S608
            self.condition.values | {"among_": numbers(passages)},
        )
        return [row for (row,) in rows]


def scope(db: Database, wanted: Condition | None, *, superseded: bool) -> Scope | None:
    """Gives the scope of a search, None when it is everything; ``superseded`` lets replaced items in."""
    parts = [wanted.sql] if wanted else []
    values = dict(wanted.values) if wanted else {}
    if not superseded and db.value("SELECT 1 FROM item WHERE state = 'superseded' LIMIT 1"):
        parts.append("item.state <> 'superseded'")
    if not parts:
        return None
    condition = Condition(" AND ".join(parts), values)
    if not wanted:
        return Scope(condition, None)
    rows = db.rows(
        f"SELECT passage.id FROM item JOIN passage ON passage.item = item.id WHERE {condition.sql} LIMIT :few_",  # noqa: S608
        values | {"few_": FEW + 1},
    )
    return Scope(condition, [row for (row,) in rows] if len(rows) <= FEW else None)


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
        ("app", f"item.id IN ({_SOURCE} source.app = :app COLLATE NOCASE)", app),
        ("state", "item.state = :state", "superseded" if superseded else None),
    ):
        if value is not None:
            parts.append(sql)
            values[name] = value
    if folder is not None:
        below, more = _below(folder)
        parts.append(f"item.id IN ({_SOURCE} {below})")
        values |= more
    return Condition(" AND ".join(parts), values) if parts else None


_SOURCE = "SELECT source.item FROM source WHERE"


def seen(*, after: str | None = None, before: str | None = None, added: bool = False) -> Condition:
    """Gives the condition that an item was seen at some time from ``after`` on and before ``before``.

    On a screen it was seen from its time until it was last seen there; all else at its time. ``added`` lets in, too,
    what was remembered in that span.
    """
    shown = f"item.id IN ({_SOURCE} source.kind = 'screen' AND source.last_seen >= :after)"
    parts, values = ["TRUE"], {}
    if after is not None:
        parts.append(f"(item.time >= :after OR {shown})")
        values["after"] = after
    if before is not None:
        parts.append("item.time < :before")
        values["before"] = before
    touches = " AND ".join(parts)
    if added and after is not None:
        touches = f"({touches} OR item.added >= :after{' AND item.added < :before' * (before is not None)})"
    return Condition(touches, values)


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


def all_items(db: Database, limits: Scope | None) -> list[int]:
    """Gives all items in a scope, those without any text too."""
    return items(db, limits.condition if limits else Condition("TRUE", {}))


def apart_from(db: Database, item: int) -> Scope | None:
    """Gives the scope of everything but one item and what was replaced."""
    return scope(db, Condition("item.id <> :apart_", {"apart_": item}), superseded=False)


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

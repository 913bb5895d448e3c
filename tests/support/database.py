"""A look into a memory's database from outside, with its key."""

from typing import Any

import apsw

from pomnit.privacy.keys import open_keys
from pomnit.settings import Settings

_PASSAGE_OF = "id & ((1 << 40) - 1)"  # the passage of a vector's row


def connect(settings: Settings) -> apsw.Connection:
    """Gives a connection of its own."""
    connection = apsw.Connection(str(settings.home / "memory.db"))
    connection.pragma("cipher", "chacha20")
    connection.pragma("key", "raw:" + open_keys(settings).database.hex())
    return connection


def rows(settings: Settings, sql: str, values: Any = ()) -> list[Any]:
    """Gives the rows of one query."""
    connection = connect(settings)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def dump(settings: Settings) -> bytes:
    """Gives every value of every table, then every page as it lies on disk, decrypted: freed pages and gaps too."""
    connection = connect(settings)
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        assert {"words_data", "vocabulary", "passage", "vector"} <= set(tables)
        parts: list[bytes] = []
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                parts += [v if isinstance(v, bytes) else str(v).encode() for v in row]
        return b"\n".join([*parts, connection.serialize("main")])
    finally:
        connection.close()


def what_disagrees(settings: Settings) -> list[str]:
    """Gives what is wrong in a database at rest: its pages, or tables that say different things."""
    connection = connect(settings)
    wrong = []

    def expect_none(what: str, sql: str) -> None:
        found = connection.execute(sql).fetchall()
        if found:
            wrong.append(f"{what}: {found[:5]}")

    try:
        state = connection.execute("PRAGMA integrity_check").fetchall()
        if state != [("ok",)]:
            wrong.append(f"integrity_check: {state[:3]}")
        connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        expect_none("foreign keys", "PRAGMA foreign_key_check")
        expect_none("passages not in the index", "SELECT id FROM passage EXCEPT SELECT rowid FROM words")
        expect_none("index without passage", "SELECT rowid FROM words EXCEPT SELECT id FROM passage")
        connection.execute("INSERT INTO term_index (term_index) VALUES ('integrity-check')")
        expect_none("terms without vector", "SELECT id FROM term EXCEPT SELECT id FROM vector")
        expect_none("terms not in their index", "SELECT id FROM term EXCEPT SELECT rowid FROM term_index")
        expect_none("index without terms", "SELECT rowid FROM term_index EXCEPT SELECT id FROM term")
        expect_none("vectors without passage", f"SELECT {_PASSAGE_OF} FROM vector EXCEPT SELECT id FROM passage")
        expect_none("vectors of no space", "SELECT id >> 40 FROM vector EXCEPT SELECT id FROM space")
        expect_none(
            "spaces that count their vectors wrongly",
            "SELECT id, vectors FROM space WHERE vectors <> (SELECT count(*) FROM vector WHERE id >> 40 = space.id)",
        )
        expect_none(
            "ready and not waiting for vectors, but without them",
            f"""SELECT passage.id FROM passage WHERE lang = 'en' AND item NOT IN (SELECT item FROM task)
                EXCEPT SELECT {_PASSAGE_OF} FROM vector""",
        )
        expect_none("ready without text", "SELECT id FROM item WHERE state = 'ready' EXCEPT SELECT item FROM passage")
        expect_none(
            "waiting for nothing",
            "SELECT id FROM item WHERE state IN ('waiting', 'working') EXCEPT SELECT item FROM task",
        )
        expect_none("items without source", "SELECT id FROM item EXCEPT SELECT item FROM source")
        expect_none("originals without item", "SELECT id FROM original EXCEPT SELECT original FROM item")
    finally:
        connection.close()
    return wrong

"""The schema, as named steps that each run once, in order, in one transaction with the note that it ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pomnit.errors import HomeTooNew

if TYPE_CHECKING:
    import apsw

MIGRATIONS: dict[str, str] = {
    "0001_corridor": """
        CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

        CREATE TABLE original (
            id INTEGER PRIMARY KEY,
            digest TEXT NOT NULL UNIQUE,      -- blake2b:…
            size INTEGER NOT NULL,
            media_type TEXT NOT NULL,
            kept TEXT,                        -- file names in files/, when bytes or a preview are kept
            preview TEXT);

        CREATE TABLE item (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            uid BLOB NOT NULL UNIQUE,         -- UUIDv7
            original INTEGER NOT NULL UNIQUE REFERENCES original (id),
            kind TEXT NOT NULL,
            title TEXT NOT NULL,
            time TEXT NOT NULL,
            added TEXT NOT NULL,
            state TEXT NOT NULL,
            reason TEXT);
        CREATE INDEX item_time ON item (time);
        CREATE INDEX item_kind ON item (kind, time);
        CREATE INDEX item_superseded ON item (state) WHERE state = 'superseded';

        CREATE TABLE source (
            id INTEGER PRIMARY KEY,
            item INTEGER NOT NULL REFERENCES item (id) ON DELETE CASCADE,
            kind TEXT NOT NULL,
            uri TEXT NOT NULL,
            app TEXT,
            window TEXT,
            first_seen TEXT NOT NULL,
            last_seen TEXT NOT NULL,
            gone INTEGER NOT NULL DEFAULT 0,
            stamp TEXT,                       -- size and mtime_ns of a file when it was last read whole
            UNIQUE (item, uri));
        CREATE INDEX source_uri ON source (uri);

        -- What is still to be done. A stage's row goes away in the transaction that stores its result.
        CREATE TABLE task (
            stage TEXT NOT NULL,
            item INTEGER NOT NULL REFERENCES item (id) ON DELETE CASCADE,
            handed_in INTEGER NOT NULL,       -- one number per add: the newest add is worked on first
            failed TEXT,                      -- the reason; NULL while it waits
            reached REAL,                     -- seconds of a recording that are done; NULL before it was listened to
            PRIMARY KEY (stage, item)) WITHOUT ROWID;
        CREATE INDEX task_next ON task (stage, handed_in DESC, item) WHERE failed IS NULL;
        CREATE INDEX task_item ON task (item);

        CREATE TABLE passage (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            uid BLOB NOT NULL,
            item INTEGER NOT NULL REFERENCES item (id),
            ordinal INTEGER NOT NULL,
            text TEXT NOT NULL,
            lang TEXT NOT NULL,
            origin TEXT NOT NULL,
            spans BLOB NOT NULL,              -- see items.py
            UNIQUE (item, ordinal));
        CREATE INDEX passage_lang ON passage (lang, (text <> ''));  -- which ones an encoder shall embed

        -- Over stems that we make, so the tokenizer only has to split at spaces. rowid is passage.id.
        CREATE VIRTUAL TABLE words USING fts5 (
            stems, title, content = '', contentless_delete = 1, tokenize = 'ascii');
        CREATE VIRTUAL TABLE vocabulary USING fts5vocab (words, 'row');

        -- meta 'current' is the id of the one that is searched; see spaces.py. No id is used twice.
        CREATE TABLE space (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            card TEXT NOT NULL,
            precision TEXT NOT NULL,          -- runtime and bits of a weight: onnx-8
            dimensions INTEGER NOT NULL,
            vectors INTEGER NOT NULL DEFAULT 0,   -- how many
            version INTEGER NOT NULL DEFAULT 0,   -- of its vectors: counts their changes
            UNIQUE (card, precision));
        -- id is space << 40 | passage.id; vector[i] is codes[i] * scale, int8.
        CREATE TABLE vector (id INTEGER PRIMARY KEY, scale REAL NOT NULL, codes BLOB NOT NULL);
        -- id is space << 40 | passage.id >> 12: the signs of up to 4096 vectors; rebuilt from them at will.
        -- version is that of the space when the block was written.
        CREATE TABLE sign_block (
            id INTEGER PRIMARY KEY, version INTEGER NOT NULL, passages BLOB NOT NULL, signs BLOB NOT NULL);

        -- What the tokens of a passage weigh, as a sparse encoder says; see terms.py. id as in vector, rowid too.
        CREATE TABLE term (id INTEGER PRIMARY KEY, scale REAL NOT NULL, codes BLOB NOT NULL);
        CREATE VIRTUAL TABLE term_index USING fts5 (
            tokens, content = '', contentless_delete = 1, detail = 'none', tokenize = 'ascii');

        -- Keyed digests of what must not come back by itself.
        CREATE TABLE forgotten (name TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID;
    """,
    # What becomes of its sensitive text, mask|keep|drop; NULL: as the settings say.
    "0002_sensitive": "ALTER TABLE item ADD COLUMN sensitive TEXT",
}


def migrate(connection: apsw.Connection) -> None:
    """Brings the schema up to date.

    Raises:
        HomeTooNew: the database has had a step that this Pomnit does not know.
    """
    if _applied(connection) == list(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID"
        )
        applied = _applied(connection)
        if unknown := [name for name in applied if name not in MIGRATIONS]:
            raise HomeTooNew(f"this memory was changed by a newer Pomnit ({', '.join(unknown)}): install that one")
        for name, sql in MIGRATIONS.items():
            if name not in applied:
                connection.execute(sql)
                connection.execute("INSERT INTO migration VALUES (?, strftime('%Y-%m-%dT%H:%M:%SZ'))", (name,))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _applied(connection: apsw.Connection) -> list[str]:
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'migration'").fetchone():
        return []
    return [name for (name,) in connection.execute("SELECT name FROM migration ORDER BY name")]

"""Is what was written durable, whole, encrypted and, when asked, gone?"""

from __future__ import annotations

import threading

import apsw
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.errors import DatabaseBusy, DatabaseDamaged, HomeError, HomeTooNew
from pomnit.models.cards import ALL_MINILM_L6_V2 as CARD
from pomnit.records import Original, Place
from pomnit.store import Store, migrations, words
from pomnit.store.spans import pack, unpack
from pomnit.store.vectors import quantise
from pomnit.text.split import PlacedText, Span

TABLES = ("original", "item", "source", "task", "passage", "words", "space", "vector", "forgotten")


def counts(store: Store) -> dict[str, int]:
    return {table: store.database.value(f"SELECT count(*) FROM {table}") for table in TABLES}


def fill(store: Store, text: str, *, title: str = "title", uri: str = "file:///a", digest: str = "blake2b:1") -> int:
    """Writes something into every table, inside a transaction of the caller."""
    item = store.items.insert(Original(digest, 1, "text/plain"), kind="note", title=title, time="2026-01-01")
    store.items.add_source(item, "file", uri, "1:1")
    store.queue.put("read", item, 1)
    passage = store.items.add_passage(item, 0, PlacedText(text, [Span(0, len(text), Place(line=1))]), "en")
    store.words.add(passage, text, title)
    space = store.spaces.make(CARD.name, "onnx-8", CARD.dimensions).id
    vector = np.linspace(-1, 1, CARD.dimensions, dtype=np.float32)[None, :]
    store.vectors.put(space, [passage], vector / np.linalg.norm(vector))
    store.items.forget_digest("name of " + digest)
    return item


# The schema


def test_migrations_run_once_each(open_store, monkeypatch):
    with (store := open_store()).transaction():
        fill(store, "first words")
    before = counts(store)
    store.close()
    monkeypatch.setitem(migrations.MIGRATIONS, "0002_test", "CREATE TABLE extra (x); INSERT INTO extra VALUES (1)")
    for _ in range(2):
        store = open_store()
        assert store.database.rows("SELECT name FROM migration ORDER BY name") == [(n,) for n in migrations.MIGRATIONS]
        assert store.database.value("SELECT count(*) FROM extra") == 1
        assert counts(store) == before
        store.close()


def test_a_migration_that_fails_leaves_the_old_schema(open_store, monkeypatch):
    open_store().close()
    with monkeypatch.context() as patch:
        patch.setitem(migrations.MIGRATIONS, "0002_test", "CREATE TABLE extra (x); INSERT INTO nowhere VALUES (1)")
        with pytest.raises(apsw.SQLError):
            open_store()
    store = open_store()
    assert not store.database.row("SELECT 1 FROM sqlite_schema WHERE name = 'extra'")
    assert len(store.database.rows("SELECT name FROM migration")) == len(migrations.MIGRATIONS)


def test_a_memory_of_a_newer_pomnit_is_refused_and_unchanged(open_store):
    store = open_store()
    with store.transaction():
        store.database.write("INSERT INTO migration VALUES ('9999_future', '2099')")
    with pytest.raises(HomeTooNew, match="9999_future"):
        open_store()
    assert store.database.value("SELECT count(*) FROM migration") == len(migrations.MIGRATIONS) + 1


# Transactions


def test_a_transaction_that_fails_leaves_nothing_of_it(store):
    with store.transaction():
        fill(store, "kept words", digest="blake2b:kept")
    before = counts(store)
    assert 0 not in before.values()
    seen: list[dict[str, int]] = []

    def fail_late() -> None:
        with store.transaction():
            fill(store, "lost words", digest="blake2b:lost")
            seen.append(counts(store))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_late()
    assert all(seen[0][table] >= before[table] for table in TABLES)  # the writer itself saw what it wrote
    assert seen[0] != before
    assert counts(store) == before
    assert store.words.frequencies(["lost", "kept"]) == {"kept": 1}
    with store.transaction():  # the store goes on
        fill(store, "later words", digest="blake2b:later")
    assert counts(store)["item"] == before["item"] + 1


def test_others_see_a_transaction_only_when_it_is_committed(store):
    seen: list[int] = []

    def look() -> None:
        seen.append(store.database.value("SELECT count(*) FROM item"))

    with store.transaction():
        fill(store, "some words")
        (thread := threading.Thread(target=look, daemon=True)).start()
        thread.join(timeout=2)  # a reader does not wait for the writer, not even at its first look
        seen_meanwhile = list(seen)
    thread.join()
    look()
    assert seen_meanwhile == [0]
    assert seen[-1] == 1


def test_a_snapshot_sees_one_state(store, remember):
    with store.snapshot():
        assert counts(store)["item"] == 0
        (thread := threading.Thread(target=remember, args=("new words",))).start()
        thread.join()
        assert counts(store)["item"] == 0
    assert counts(store)["item"] == 1


def test_transactions_do_not_nest_and_writes_need_one(store):
    with store.transaction(), pytest.raises(RuntimeError), store.transaction():
        pass
    with pytest.raises(AssertionError):
        store.database.write("DELETE FROM item")
    with pytest.raises(apsw.ReadOnlyError), store.snapshot():
        store.database.connection.execute("DELETE FROM item")


def test_a_second_writer_is_told_that_the_memory_is_busy(open_store):
    first, second = open_store(), open_store(busy_s=0)
    with first.transaction(), pytest.raises(DatabaseBusy), second.transaction():
        pass
    with second.transaction():  # and may write when the first is done
        fill(second, "words")


# Encryption and damage


def test_nothing_in_the_home_is_in_the_clear(store, tmp_path):
    canary = "zanzibarcanary"
    with store.transaction():
        item = fill(store, f"secret {canary}", title=f"title-{canary}", uri=f"file:///{canary}", digest=f"b:{canary}")
        store.queue.fail(store.queue.next(["read"], 1)[0], f"reason {canary}")
    store.originals.put("ab12", canary.encode() * 100)
    codes = quantise(store.vectors.fetch(1, store.items.passage_rows(item))[1])[0].tobytes()
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert {"memory.db", "memory.db-wal", "ab12"} <= {path.name for path in files}
    for checkpointed in (False, True):
        for path in files:
            data = path.read_bytes() if path.exists() else b""
            assert not data.startswith(b"SQLite format 3")
            for form in (canary.encode(), canary.encode("utf-16-le"), canary.upper().encode(), codes[:32], b"CREATE"):
                assert form not in data, (path, checkpointed)
        store.shrink()


def test_another_key_does_not_open_it(open_store):
    open_store().close()
    with pytest.raises(DatabaseDamaged, match=r"memory\.db"):
        open_store(key=bytes(32))


@pytest.mark.parametrize("content", [b"plain text, not a database\n" * 400, b"SQLite format 3\0" + bytes(8176)])
def test_a_file_that_is_no_memory_is_refused_and_left_alone(open_store, tmp_path, content):
    path = tmp_path / "home" / "memory.db"
    path.write_bytes(content)
    with pytest.raises(DatabaseDamaged, match="restore"):
        open_store()
    assert path.read_bytes() == content


def test_a_home_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(HomeError) as caught:
        Store(tmp_path / "nowhere", bytes(32), bytes(32))
    assert not isinstance(caught.value, DatabaseDamaged)


def read_all(store: Store) -> None:
    for table in (*TABLES, "words_data"):
        store.database.rows(f"SELECT * FROM {table}")


def read_everything(store: Store) -> None:
    """Reads every page that holds anything, those of indexes too."""
    read_all(store)
    store.database.rows("PRAGMA integrity_check")


def test_the_database_is_readable_by_its_user_alone(open_store, tmp_path):
    store = open_store()
    with store.transaction():
        fill(store, "words")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "home").glob("memory.db*")}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 3  # with the log and its index


@pytest.mark.parametrize("where", [0.0, 0.3, 0.6, 0.95])
def test_a_changed_byte_is_noticed(open_store, tmp_path, where):
    store = open_store()
    with store.transaction():
        for n in range(60):
            fill(store, f"words {n} " * 100, digest=f"blake2b:{n}")
    store.shrink()
    store.close()
    path = tmp_path / "home" / "memory.db"
    data = bytearray(path.read_bytes())
    page = int(len(data) // 4096 * where)
    data[page * 4096 + 2000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DatabaseDamaged):
        read_everything(open_store())


# Forgetting and rebuilding words


def segments(store: Store) -> bytes:
    return b"".join(block for (block,) in store.database.rows("SELECT block FROM words_data"))


@pytest.mark.parametrize("others", [0, 1, 40])
def test_after_a_purge_no_stem_of_what_was_removed_is_left(store, remember, others):
    for n in range(others):
        remember(f"ordinary words number{n}", "second passage")
    item = remember("zanzibar canaries", "qwertyuiop again", title="xylophone")
    for n in range(others):
        remember(f"later words other{n}")
    canaries = (b"zanzibar", b"qwertyuiop", b"xylophon")
    assert all(canary in segments(store) for canary in canaries)
    with store.transaction():
        assert store.remove_text(item) == (2, 0)
        store.words.purge()
    assert not any(canary in segments(store) for canary in canaries)
    assert store.words.frequencies(["zanzibar", "ordinari"]) == ({"ordinari": others} if others else {})
    assert store.words.gather('"zanzibar"', 9) == []
    assert len(store.words.gather('"ordinari"', 99)) == others


def test_a_text_that_two_items_share_stays_when_one_goes(store, remember):
    first, second = remember("shared zanzibar"), remember("shared zanzibar")
    with store.transaction():
        store.remove_text(first)
        store.words.purge()
    assert [row for row, _ in store.words.gather('"zanzibar"', 9)] == store.items.passage_rows(second)


def test_an_index_made_by_another_analyser_is_made_again(open_store, monkeypatch):
    store = open_store()
    with store.transaction():
        item = fill(store, "old words", title="heading")
        store.database.write("INSERT INTO words (words) VALUES ('delete-all')")
        store.words.add(store.items.passage_rows(item)[0], "stale", "")
    assert store.words.rebuild_if_stale() is False  # the same version: nothing to do
    store.close()
    monkeypatch.setattr(words, "ANALYSER", "another")
    store = open_store()
    assert store.database.value("SELECT value FROM meta WHERE key = 'analyser'") == "another"
    assert store.words.frequencies(["stale", "old", "head"]) == {"old": 1, "head": 1}
    assert b"stale" not in segments(store)


def test_a_rebuilt_index_gives_the_same_results(store, remember):
    for n in range(30):
        remember(*(f"word{n} word{n % 7} word{n % 3}" for _ in range(1 + n % 3)), title=f"title{n % 4}")
    queries = [f'"word{n}"' for n in range(30)] + [f'"title{n}"' for n in range(4)]
    before = [sorted(store.words.gather(q, 99)) for q in queries]
    with store.transaction():
        store.words.rebuild()
    after = [sorted(store.words.gather(q, 99)) for q in queries]
    assert [[row for row, _ in hits] for hits in after] == [[row for row, _ in hits] for hits in before]
    assert np.allclose([s for hits in after for _, s in hits], [s for hits in before for _, s in hits])


_PLACES = st.builds(
    Place,
    st.none() | st.integers(1, 999),
    st.none() | st.integers(1, 10**6),
    st.none() | st.tuples(*[st.integers(0, 20_000).map(lambda v: v / 20_000)] * 4),
    st.none() | st.floats(0, 1e5),
    st.none() | st.floats(0, 1e5),
)


@given(st.lists(st.builds(lambda a, n, p: Span(a, a + n, p), st.integers(0, 999), st.integers(0, 99), _PLACES)))
def test_packed_spans_come_back(spans):
    assert unpack(pack(spans)) == spans

"""Originals, items and sources; and the queue of what is still to be done."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pomnit.errors import NotFound
from pomnit.records import Original
from pomnit.store import Store
from pomnit.store.filters import scope
from pomnit.store.ids import new_id, parse_id, show_id
from pomnit.store.queue import Task

A, B = "file:///a", "file:///b"


@pytest.fixture
def see(store):
    """Notes that an item's bytes lie at a place now."""

    def see_(item: int, uri: str, stamp: str = "1:1") -> None:
        with store.transaction():
            store.items.add_source(item, "file", uri, stamp)

    return see_


def set_state(store: Store, item: int, state: str, reason: str | None = None) -> None:
    with store.transaction():
        store.items.set_state([item], state, reason)


def state(store: Store, item: int) -> str:
    return store.items.records([item])[item].state


def sources(store: Store, item: int) -> dict[str, bool]:
    return {s.uri: s.gone for s in store.items.records([item])[item].sources}


# Sources


def test_the_same_bytes_at_two_places_are_one_item_with_two_sources(store, remember, see):
    item = remember("text", digest="blake2b:same")
    see(item, A)
    see(item, B)
    assert store.items.by_digest("blake2b:same") == item
    assert sources(store, item) == {A: False, B: False}
    assert store.database.value("SELECT count(*) FROM original") == 1


def test_seeing_a_place_again_adds_no_source_but_a_new_stamp(store, remember, see):
    item = remember("text")
    see(item, A, "1:1")
    see(item, A, "1:2")
    assert sources(store, item) == {A: False}
    assert store.items.seen(A, "1:2") == item
    assert store.items.seen(A, "1:1") is None
    assert store.items.seen(B, "1:2") is None


def test_new_bytes_at_a_known_place_supersede_the_old_item(store, remember, see):
    old, new = remember("old"), remember("new")
    set_state(store, old, "ready")
    see(old, A)
    see(new, A, "1:2")
    assert (state(store, old), state(store, new)) == ("superseded", "waiting")
    assert (sources(store, old), sources(store, new)) == ({A: True}, {A: False})
    assert store.items.seen(A, "1:1") is None
    assert store.words.gather('"old"', 9, scope(store.database, None, superseded=False)) == []
    assert store.words.gather('"old"', 9, scope(store.database, None, superseded=True))


def test_an_item_that_still_lies_elsewhere_is_not_superseded(store, remember, see):
    old, new = remember("old"), remember("new")
    see(old, A)
    see(old, B)
    see(new, A)
    assert state(store, old) == "waiting"
    assert sources(store, old) == {A: True, B: False}
    see(new, B)
    assert state(store, old) == "superseded"


@pytest.mark.parametrize(
    ("texts", "stages", "reason", "revived"),
    [
        (["old"], [], None, "ready"),
        (["old"], ["embed"], None, "ready"),  # findable by its words already
        ([], ["recognise"], None, "waiting"),
        ([], [], "too large", "failed"),
    ],
)
def test_old_bytes_that_come_back_are_revived_in_the_state_they_had(
    store, remember, see, texts, stages, reason, revived
):
    old, new = remember(*texts), remember("new")
    set_state(store, old, "failed" if reason else "ready", reason)
    set_state(store, new, "ready")
    with store.transaction():
        store.queue.put("recognise", new, 1)  # another item's tasks say nothing of this one
        for stage in stages:
            store.queue.put(stage, old, 1)
    see(old, A)
    see(new, A)
    see(old, A)
    assert (state(store, old), state(store, new)) == (revived, "superseded")
    assert sources(store, old) == {A: False}


@pytest.mark.parametrize(
    ("texts", "kept", "left"),
    [([], False, {}), ([], True, {"read": None}), (["old"], False, {"read": None})],
)
def test_only_what_can_still_be_read_of_a_superseded_item_is_left_to_do(store, remember, see, texts, kept, left):
    old, new = remember(*texts), remember("new")
    with store.transaction():
        store.queue.put("read", old, 1)
        if kept:
            store.items.set_file(old, "kept", "ab12")
    see(old, A)
    see(new, A)
    assert store.queue.stages_of(old) == left


def test_a_superseded_item_stays_so_whatever_becomes_of_its_tasks(store, remember, see):
    old, new = remember("old"), remember("new")
    see(old, A)
    see(new, A)
    set_state(store, old, "ready")
    assert state(store, old) == "superseded"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([A, B])), max_size=12))
def test_each_place_holds_one_item_at_a_time(store, remember, see, moves):
    items = [remember(f"text{n}") for n in range(3)]
    lies: dict[str, int] = {}
    seen: set[int] = set()
    for n, uri in moves:
        see(items[n], uri)
        lies[uri] = items[n]
        seen.add(items[n])
    for item in items:
        assert {uri for uri, gone in sources(store, item).items() if not gone} == {
            u for u, i in lies.items() if i == item
        }
        assert (state(store, item) == "superseded") == (item in seen and item not in lies.values())
    for uri in (A, B):  # leave the places empty for the next example
        see(remember("last"), uri)


# Ids and records


def test_ids_sort_by_the_time_they_were_made():
    ids = [new_id() for _ in range(2000)]
    assert ids == sorted(set(ids))
    assert all(show_id(i)[14] == "7" and show_id(i)[19] in "89ab" for i in ids)
    assert all(parse_id(show_id(i)) == i for i in ids)


def test_an_item_is_found_by_the_beginning_of_its_id(store, remember):
    first, second = remember("one"), remember("two")
    uid = store.items.records([first])[first].id
    assert store.items.row_of(uid) == store.items.row_of(uid.upper()) == first
    assert store.items.row_of(uid[:-1]) == first
    with pytest.raises(NotFound, match="several"):
        store.items.row_of(uid[:6])
    assert second != first


@pytest.mark.parametrize("uid", ["", "abc", "zzzz", "ffff", "x' OR 1=1", "0" * 33, show_id(bytes(16))])
def test_what_is_no_id_of_an_item_is_not_found(store, remember, uid):
    remember("one")
    with pytest.raises(NotFound):
        store.items.row_of(uid)


def test_removing_an_item_takes_its_original_sources_and_tasks(store, remember, see):
    item, other = remember("text"), remember("other")
    see(item, A)
    with store.transaction():
        store.queue.put("embed", item, 1)
        store.remove_text(item)
        store.items.remove(item)
    for table in ("source", "task"):
        assert store.database.value(f"SELECT count(*) FROM {table}") == 0
    assert list(store.items.records([item, other])) == [other]
    assert store.database.value("SELECT count(*) FROM original") == 1


def test_forgotten_bytes_are_known_until_they_may_come_back(store):
    with store.transaction():
        store.items.forget_digest("name")
        store.items.forget_digest("name")
    assert store.items.was_forgotten("name")
    assert not store.items.was_forgotten("another")
    with store.transaction():
        store.items.unforget("name")
    assert not store.items.was_forgotten("name")


def test_what_a_dead_owner_worked_on_waits_again(store, remember):
    items = [remember(s) for s in ("working", "ready", "failed")]
    for item, was in zip(items, ("working", "ready", "failed"), strict=True):
        set_state(store, item, was, "why" if was == "failed" else None)
    with store.transaction():
        store.items.recover()
    assert [state(store, item) for item in items] == ["waiting", "ready", "failed"]


# The queue


@pytest.fixture
def put(store):
    """Puts tasks as one add does; gives the number of the add."""

    def put_(stage: str, *items: int) -> int:
        number = store.queue.next_number()
        with store.transaction():
            for item in items:
                store.queue.put(stage, item, number)
        return number

    return put_


def test_the_newest_add_comes_first_and_keeps_its_own_order(store, remember, put):
    items = [remember(f"text{n}") for n in range(6)]
    first = put("read", *items[:3])
    second = put("read", *items[3:])
    assert second > first
    assert [t.item for t in store.queue.next(["read"], 9)] == items[3:] + items[:3]
    assert [t.item for t in store.queue.next(["read"], 2)] == items[3:5]
    assert [t.item for t in store.queue.next(["read"], 2, but=items[3:5])] == [items[5], items[0]]


def test_the_first_stage_that_has_tasks_is_worked_on(store, remember, put):
    a, b = remember("a"), remember("b")
    number = put("embed", a)
    put("recognise", b)
    assert [t.stage for t in store.queue.next(["read", "recognise", "embed"], 9)] == ["recognise"]
    assert store.queue.next(["read", "embed"], 9) == [Task("embed", a, number)]
    assert store.queue.next(["read"], 9) == []
    assert store.queue.next([], 9) == []


def test_a_task_that_is_done_is_gone(store, remember, put):
    put("read", remember("a"))
    (task,) = store.queue.next(["read"], 9)
    with store.transaction():
        assert store.queue.done(task)
        assert not store.queue.done(task)
        assert not store.queue.fail(task, "late")
    assert store.queue.waiting() == {}


def test_a_failed_task_waits_for_a_retry_with_its_reason(store, remember, put):
    item, other = remember("a"), remember("b")
    put("read", item, other)
    with store.transaction():
        assert store.queue.fail(store.queue.next(["read"], 1)[0], "no permission")
    assert [t.item for t in store.queue.next(["read"], 9)] == [other]
    assert store.queue.failed() == [(item, "read", "no permission")]
    assert store.queue.stages_of(item) == {"read": "no permission"}
    assert (store.queue.n_failed(), store.queue.waiting()) == (1, {"read": 1})
    with store.transaction():
        assert store.queue.retry() == [item]
        assert store.queue.retry() == []
    assert {t.item for t in store.queue.next(["read"], 9)} == {item, other}
    assert store.queue.n_failed() == 0


def test_putting_a_failed_task_again_makes_it_wait_with_the_newest(store, remember, put):
    item, other = remember("a"), remember("b")
    put("read", item)
    with store.transaction():
        store.queue.fail(store.queue.next(["read"], 1)[0], "why")
    put("read", other)
    put("read", item)
    assert [t.item for t in store.queue.next(["read"], 9)] == [item, other]
    assert store.queue.stages_of(item) == {"read": None}


def test_counts_tell_kinds_states_and_languages(store, remember):
    remember("one", "two")
    set_state(store, remember("three"), "ready")
    counts = store.items.counts()
    assert counts.items == {"note": {"waiting": 1, "ready": 1}}
    assert counts.passages == {"en": 3}


def test_an_original_is_stored_as_it_was_given(store):
    original = Original("blake2b:" + "0" * 64, 12345, "image/png")
    with store.transaction():
        item = store.items.insert(original, kind="image", title="t", time="2026")
        store.items.set_file(item, "kept", "ab12")
        store.items.set_file(item, "preview", "cd34")
    assert store.items.original(item) == original
    assert store.items.files(item) == ("ab12", "cd34")
    assert store.items.file_names() == {"ab12", "cd34"}

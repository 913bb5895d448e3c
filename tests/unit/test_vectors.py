"""Vectors: quantised rows, blocks of signs that stay true, and the nearest of them."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pomnit.errors import ModelDamaged
from pomnit.models.cards import ALL_MINILM_L6_V2
from pomnit.search import vectors as leg
from pomnit.store import Store, vectors
from pomnit.store.filters import Condition, Scope
from pomnit.store.vectors import quantise, sign_bits

DIMENSIONS = 64
CARD = replace(ALL_MINILM_L6_V2, name="small", dimensions=DIMENSIONS)
OTHER = replace(CARD, name="other")


def unit(*seeds: int) -> np.ndarray:
    """Gives one unit vector for each seed, always the same."""
    rows = np.stack([np.random.default_rng(s).standard_normal(DIMENSIONS) for s in seeds]).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def space(store: Store) -> int:
    with store.transaction():
        store.spaces.make(OTHER.name, "onnx-8", OTHER.dimensions)  # so that the space in use is not the first
        return store.spaces.make(CARD.name, "onnx-8", CARD.dimensions).id


def put(store: Store, space: int, passages: list[int], seeds: list[int] | None = None) -> None:
    with store.transaction():
        store.vectors.put(space, passages, unit(*(seeds or passages)))


def listed(passages: list[int]) -> Scope:
    return Scope(Condition("1", {}), passages)


def signs_of_rows(store: Store, space: int) -> dict[int, bytes]:
    """Gives what signs() promises, from the rows alone."""
    low = space << 40
    rows = store.database.rows("SELECT id, codes FROM vector WHERE id >= ? AND id < ?", (low, low + (1 << 40)))
    return {i - low: sign_bits(np.frombuffer(codes, np.int8)[None, :])[0].tobytes() for i, codes in rows}


def signs(store: Store, space: int) -> dict[int, bytes]:
    passages, packed = leg.SignCodes(store).get(space)
    assert len(set(passages.tolist())) == len(passages) == len(packed)
    return {int(p): s.tobytes() for p, s in zip(passages, packed, strict=True)}


# Quantising


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(16)), elements=st.floats(-1, 1, width=32)))
def test_a_code_is_off_by_at_most_half_a_step(values):
    codes, scales = quantise(values)
    assert codes.dtype == np.int8
    assert scales.dtype == np.float32
    assert (np.abs(codes.astype(int)) <= 127).all()
    assert (np.abs(codes * scales[:, None] - values) <= scales[:, None] * 0.5001).all()


def test_quantising_keeps_the_direction(store, space):
    put(store, space, list(range(1, 50)))
    found, back = store.vectors.fetch(space, list(range(1, 50)))
    cosines = (back * unit(*found.tolist())).sum(axis=1) / np.linalg.norm(back, axis=1)
    assert cosines.min() > 0.9998
    assert np.abs(np.linalg.norm(back, axis=1) - 1).max() < 0.01


def test_a_vector_of_zeros_has_no_signs_and_no_nan():
    codes, scales = quantise(np.zeros((1, 8), np.float32))
    assert not codes.any()
    assert np.isfinite(scales).all()
    assert sign_bits(codes).tolist() == [[0]]


# Blocks


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(vectors, "BLOCK_BITS", 3)


# Sets of passages that are put (True) or taken away, over six blocks of eight.
_CHANGES = st.lists(
    st.tuples(st.booleans(), st.lists(st.integers(1, 47), min_size=1, max_size=9, unique=True)), max_size=12
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=_CHANGES)
def test_signs_are_those_of_all_rows_after_any_changes(small_blocks, store, space, changes):
    with store.transaction():
        store.vectors.remove(list(range(48)))
    held: set[int] = set()
    for number, (adding, passages) in enumerate(changes):
        with store.transaction():
            if adding:
                store.vectors.put(space, passages, unit(*(p * 100 + number for p in passages)))
                held |= set(passages)
            else:
                assert store.vectors.remove(passages) == len(held & set(passages))
                held -= set(passages)
        assert signs(store, space) == signs_of_rows(store, space)
        assert set(signs(store, space)) == held
    before = signs(store, space)
    with store.transaction():
        store.vectors.rebuild()
    assert signs(store, space) == before
    assert store.spaces.get(space).vectors == len(held)
    assert store.vectors.missing(space, list(range(48))) == [p for p in range(48) if p not in held]


def test_all_but_the_newest_block_are_stored(small_blocks, store, space):
    put(store, space, [1, 2])
    put(store, space, [3, 9, 17])
    put(store, space, [18])
    stored = [i - (space << 40) for (i,) in store.database.rows("SELECT id FROM sign_block ORDER BY id")]
    assert stored == [0, 1]


def test_spaces_do_not_mix(small_blocks, store, space):
    with store.transaction():
        other = store.spaces.make(OTHER.name, "onnx-8", OTHER.dimensions).id
        assert store.spaces.make(CARD.name, "onnx-8", CARD.dimensions).id == space
        wide = store.spaces.make(CARD.name, "onnx-32", CARD.dimensions).id
        store.vectors.put(other, [1, 20], unit(101, 120))
        store.vectors.put(space, [1, 2], unit(1, 2))
    assert len({other, space, wide}) == 3
    assert set(signs(store, other)) == {1, 20}
    assert set(signs(store, space)) == {1, 2}
    assert signs(store, other)[1] != signs(store, space)[1]
    assert signs(store, wide) == {}
    with store.transaction():
        assert store.vectors.remove([1]) == 2
    assert (set(signs(store, other)), set(signs(store, space))) == ({20}, {2})


def test_a_vector_put_again_replaces_the_old_one(store, space):
    put(store, space, [5], [1])
    put(store, space, [5], [2])
    found, back = store.vectors.fetch(space, [5, 6])
    assert found.tolist() == [5]
    assert np.allclose(back, unit(2), atol=0.01)


def test_vectors_of_another_width_are_refused_and_nothing_is_stored(store, space):
    wide = np.eye(1, 2 * DIMENSIONS, dtype=np.float32)
    refused = rf"small onnx-8: vectors of {2 * DIMENSIONS} .* of {DIMENSIONS}; type: "
    with pytest.raises(ModelDamaged, match=refused), store.transaction():
        store.vectors.put(space, [1], wide)
    with pytest.raises(ModelDamaged, match="pomnit models drop small"), store.transaction():
        store.spaces.make(CARD.name, "onnx-8", 2 * DIMENSIONS)
    assert store.spaces.get(space).vectors == 0


def test_what_a_space_lacks_are_texts_in_the_languages_asked_for_behind_a_row(store, space, remember):
    rows = store.items.passage_rows(remember("one", "", "three", "four"))
    with store.transaction():
        store.database.write("UPDATE passage SET lang = 'ru' WHERE id = ?", (rows[3],))
    put(store, space, rows[:1])
    assert store.vectors.next_missing(space, ("en",), 0, 10) == [rows[2]]
    assert store.vectors.next_missing(space, ("ru", "en"), 0, 10) == rows[2:]
    assert store.vectors.next_missing(space, ("ru", "en"), 0, 1) == [rows[2]]
    assert store.vectors.next_missing(space, ("ru", "en"), rows[2], 10) == [rows[3]]
    assert store.vectors.next_missing(None, ("en",), 0, 10) == [rows[0], rows[2]]
    assert store.vectors.to_embed(("en",)) == 2
    assert store.vectors.to_embed(("ru", "en", "other")) == 3


def test_a_dropped_space_takes_only_its_own_rows_along(small_blocks, store, space):
    with store.transaction():
        other = store.spaces.make(OTHER.name, "onnx-8", OTHER.dimensions)
        for one in (space, other.id):
            store.vectors.put(one, list(range(1, 40)), unit(*range(1, 40)))
    before = signs(store, space)
    with store.transaction():
        assert store.drop_space(other) == 39
    assert store.spaces.find(OTHER.name, "onnx-8") is None
    assert signs(store, space) == before
    assert store.database.rows("SELECT id FROM vector WHERE id >> 40 <> ?", (space,)) == []
    assert store.database.rows("SELECT id FROM sign_block WHERE id >> 40 <> ?", (space,)) == []
    with store.transaction():  # what a process still holds of the old one must not be taken for the new one
        assert store.spaces.make(OTHER.name, "onnx-8", OTHER.dimensions).id > max(other.id, space)


def test_nothing_to_fetch_is_no_error(store, space):
    found, _ = store.vectors.fetch(space, [1, 2])
    assert len(found) == 0
    assert [len(part) for part in leg.SignCodes(store).get(space)] == [0, 0]
    assert leg.nearest(store, leg.SignCodes(store), space, unit(1)[0]) == {}
    assert leg.nearest(store, leg.SignCodes(store), space, unit(1)[0], listed([1, 2])) == {}


# Nearest


@given(hnp.arrays(np.uint8, st.tuples(st.integers(0, 5), st.sampled_from([1, 3, 8, 48]))), st.randoms())
def test_hamming_counts_the_bits_that_differ(rows, chance):
    query = np.array([chance.randrange(256) for _ in range(rows.shape[1])], np.uint8)
    naive = [sum((int(a) ^ int(b)).bit_count() for a, b in zip(row, query, strict=True)) for row in rows]
    assert leg.hamming(rows, query).tolist() == naive


@pytest.mark.parametrize("scanned", [False, True])
def test_the_nearest_are_those_of_the_greatest_cosine(store, space, monkeypatch, scanned):
    passages = list(range(1, 301))
    put(store, space, passages)
    query = unit(7)[0] + 0.4 * unit(8)[0] + 0.2 * unit(9)[0]
    query /= np.linalg.norm(query)
    monkeypatch.setattr(leg, "RESCORED", 100 if scanned else 10_000)
    found = leg.nearest(store, leg.SignCodes(store), space, query, least=0.2)
    exact = dict(zip(passages, (unit(*passages) @ query).tolist(), strict=True))
    best = sorted(exact, key=exact.get, reverse=True)
    assert list(found)[:2] == best[:2] == [7, 8]
    assert all(abs(found[p] - exact[p]) < 0.02 for p in found)
    assert len(found) <= leg.NEAREST
    assert min(found.values()) >= 0.2
    assert list(found.values()) == sorted(found.values(), reverse=True)
    if not scanned:
        assert {p for p in passages if exact[p] > 0.22} <= set(found)


@pytest.mark.parametrize("exact", [0, 4000])
def test_a_filter_keeps_only_what_it_allows(store, space, monkeypatch, exact):
    put(store, space, list(range(1, 41)))
    monkeypatch.setattr(leg, "EXACT", exact)
    monkeypatch.setattr(leg, "RESCORED", 5)
    query = unit(7)[0] + unit(8)[0]
    query /= np.linalg.norm(query)
    allowed = [8, 9, 10, 11, 12, 13, 999]
    found = leg.nearest(store, leg.SignCodes(store), space, query, listed(allowed))
    assert next(iter(found)) == 8
    assert set(found) <= set(allowed)
    assert leg.nearest(store, leg.SignCodes(store), space, query, listed([])) == {}


def test_a_broad_filter_is_asked_of_the_nearest_only(store, space, remember, monkeypatch):
    rows = [row for text in "abcdefghijkl" for row in store.items.passage_rows(remember(text))]
    put(store, space, rows)
    monkeypatch.setattr(leg, "RESCORED", 2)
    with store.transaction():
        store.items.set_state([1], "failed")
    scope = Scope(Condition("item.state <> :state", {"state": "failed"}), None)
    found = leg.nearest(store, leg.SignCodes(store), space, unit(rows[0])[0], scope)
    assert rows[0] not in found
    assert set(found) <= set(rows)
    everything = leg.nearest(store, leg.SignCodes(store), space, unit(rows[0])[0])
    assert next(iter(everything)) == rows[0]


def test_what_is_added_or_removed_is_seen_by_the_next_search(store, space):
    codes = leg.SignCodes(store)
    put(store, space, [1, 2])
    assert set(codes.get(space)[0].tolist()) == {1, 2}
    put(store, space, [3])
    assert set(codes.get(space)[0].tolist()) == {1, 2, 3}
    with store.transaction():
        store.vectors.remove([1])
    assert set(codes.get(space)[0].tolist()) == {2, 3}


def test_what_is_added_is_seen_by_a_search_in_another_thread(store, space):
    codes = leg.SignCodes(store)
    put(store, space, [1])
    seen: list[set[int]] = [set(codes.get(space)[0].tolist())]

    def look() -> None:
        seen.append(set(codes.get(space)[0].tolist()))

    for passage in range(2, 8):
        put(store, space, [passage])
        (thread := threading.Thread(target=look)).start()
        thread.join()
    assert seen == [set(range(1, n)) for n in range(2, 9)]

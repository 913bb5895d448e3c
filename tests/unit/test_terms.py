"""The leg of terms: what a sparse encoder weighs is kept, found, scored, fused and forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from pomnit import Memory, Settings
from pomnit.engines.fake import FakeEncoder
from pomnit.errors import EngineError, EngineMissing
from pomnit.models.cards import ALL_MINILM_L6_V2
from pomnit.records import SearchResult
from pomnit.search.fuse import TERMS_WEIGHT, terms_share, vector_score
from pomnit.search.terms import TermsLeg
from pomnit.search.vectors import noise
from pomnit.store import Store
from pomnit.store import terms as stored
from pomnit.store.filters import Condition, Scope
from support import database
from support.pictures import engines, note, picture

CARD = replace(ALL_MINILM_L6_V2, name="sparse", sparse=True, languages=("en", "ru"), cosines=(0.3, 0.8))


SECRET = 9_876_543  # the number of a word; no other begins like it, so the index cannot hide it in a neighbour's


class Synonyms(FakeEncoder):
    """To its terms, an automobile is a car; its vectors know nothing of it."""

    def encode_terms(self, texts, *, query=False):
        _, terms = super().encode_terms([text.lower().replace("automobile", "car") for text in texts], query=query)
        for weights, text in zip(terms, texts, strict=True):
            weights.update({SECRET: 0.2} if "neighbour" in text else {})
        return self.encode(texts, query=query), terms


@pytest.fixture
def garage(settings: Settings, files: Path) -> Iterator[Memory]:
    """A memory that uses the sparse encoder, with a text and a picture of a car, and others."""
    note(files / "car.txt", "a red car, washed")
    picture(files / "shot.png", "the car of a neighbour")
    for i in range(5):
        note(files / f"other{i}.txt", f"pears and plums from garden {i}")
    given_ = {**engines(), "embed": [Synonyms(CARD), FakeEncoder(ALL_MINILM_L6_V2)]}
    with Memory.open(settings=settings, engines=given_) as memory:
        memory.add([files])
        yield memory


def legs(result: SearchResult) -> dict[str, str]:
    return {leg.name: leg.state for leg in result.legs}


# Finding


def test_terms_find_what_neither_words_nor_vectors_find(garage: Memory):
    result = garage.search("automobile")
    assert {hit.item.title for hit in result} == {"car", "shot"}
    assert legs(result) == {"words": "ran", "vectors": "ran", "terms": "ran"}
    assert result[0].legs["terms"] == 1.0
    assert result[0].legs["vectors"] == 0.0
    assert all(0 <= value <= 1 for hit in result for value in (hit.score, *hit.legs.values()))


def test_an_encoder_that_weighs_no_tokens_has_no_such_leg(memory: Memory, files: Path):
    memory.add([note(files / "a.txt", "a red car")])
    assert legs(memory.search("car")) == {"words": "ran", "vectors": "ran"}
    with pytest.raises(EngineError, match="all-MiniLM-L6-v2 weighs no tokens"):
        FakeEncoder(ALL_MINILM_L6_V2).encode_terms(["car"])


def test_filters_hold_for_what_terms_find(garage: Memory):
    assert [hit.item.title for hit in garage.search("automobile", type="image")] == ["shot"]
    assert [hit.item.title for hit in garage.search("automobile", within="car.txt")] == ["car"]
    assert len(garage.search("automobile", after="2090")) == 0


def test_an_encoder_that_is_missing_is_said_of_both_its_legs(garage: Memory, monkeypatch: pytest.MonkeyPatch):
    def missing(*_: object, **__: object) -> None:
        raise EngineMissing("not here")

    with monkeypatch.context() as patch:
        patch.setattr(Synonyms, "encode_terms", missing)
        assert legs(garage.search("automobile")) == {"words": "ran", "vectors": "skipped", "terms": "skipped"}
    assert len(garage.search("automobile")) == 2


def test_question_and_passages_are_each_read_once(settings: Settings, files: Path):
    read = []

    class Counting(FakeEncoder):
        def encode(self, texts, *, query=False):
            read.extend((text, query) for text in texts)
            return super().encode(texts, query=query)

    with Memory.open(settings=settings, engines={**engines(), "embed": Counting(CARD)}) as memory:
        memory.add([note(files / "a.txt", "a red car")])
        memory.search("car")
    assert read == [("a red car", False), ("car", True)]


# Forgetting


def test_forgetting_leaves_no_term_in_any_table_page_or_segment(garage: Memory, settings: Settings):
    [(row, codes)] = [
        (row, codes)
        for row, codes in database.rows(settings, "SELECT id, codes FROM term")
        if SECRET in np.frombuffer(codes, np.uint32) >> 8
    ]
    traces = {"index": str(SECRET)[1:].encode(), "weights": codes}
    held = database.dump(settings)
    assert [name for name, trace in traces.items() if trace in held] == ["index", "weights"]  # else this sees nothing
    garage.forget(garage.to_forget(query="neighbour"))
    held = database.dump(settings)
    assert [name for name, trace in traces.items() if trace in held] == []
    assert database.rows(settings, "SELECT count(*) FROM term WHERE id = ?", (row,)) == [(0,)]
    assert database.rows(settings, "SELECT rowid FROM term_index WHERE rowid = ?", (row,)) == []
    assert [hit.item.title for hit in garage.search("automobile")] == ["car"]
    assert database.what_disagrees(settings) == []


def test_terms_go_with_their_space(garage: Memory, settings: Settings):
    assert database.rows(settings, "SELECT count(*) FROM term") == [(7,)]
    garage.use("all-MiniLM-L6-v2")
    assert legs(garage.search("automobile")) == {"words": "ran", "vectors": "ran"}
    garage.drop("sparse")
    assert database.rows(settings, "SELECT count(*) FROM term") == [(0,)]
    assert database.rows(settings, "SELECT count(*) FROM term_index_docsize") == [(0,)]
    assert str(SECRET)[1:].encode() not in database.dump(settings)


def test_dropping_a_space_leaves_the_terms_of_another(store: Store, settings: Settings):
    with store.transaction():
        store.terms.put(1, [1, 2], [{5: 0.5}, {6: 0.5}])
        store.terms.put(2, [1, 2], [{5: 0.5}, {7: 0.5}])
        assert store.terms.drop(1) == 2
        assert store.terms.drop(1) == 0
    assert (store.terms.count(1), store.terms.count(2)) == (0, 2)
    assert store.terms.gather(1, {5: 1.0}, 10) == []
    assert store.terms.gather(2, {5: 1.0}, 10) == [1]


# Keeping, gathering, scoring

WEIGHTS = st.dictionaries(st.integers(0, (1 << 24) - 1), st.floats(0.001, 2), max_size=30)


@bounded(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(passages=st.lists(WEIGHTS, min_size=1, max_size=6), question=WEIGHTS, shared=st.integers(0, 20))
def test_a_score_is_the_product_of_the_weights(store: Store, passages, question, shared):
    """To the eight bits that a weight is kept with; and who shares a token is gathered."""
    for terms in passages:
        terms.update(dict(list(question.items())[:shared]))
    rows = list(range(1, len(passages) + 1))
    with store.transaction():
        store.terms.drop(3)
        store.terms.put(3, rows, passages)
    products = store.terms.score(3, [*rows, 99], question)
    assert set(products) == set(rows)
    for row, terms in zip(rows, passages, strict=True):
        step = max(terms.values(), default=0) / 255
        exact = sum(weight * terms.get(token, 0) for token, weight in question.items())
        assert products[row] == pytest.approx(exact, abs=step * sum(question.values()) + 1e-9)
    sharing = {row for row, terms in zip(rows, passages, strict=True) if terms.keys() & question.keys()}
    assert set(store.terms.gather(3, question, 10)) == sharing
    leg = TermsLeg(store, 3, question)
    assert all(0 <= score <= 1 for score in leg.scores(rows).values())
    assert set(leg.gather(None)) == sharing


def put(store: Store, *texts: dict[int, float]) -> None:
    with store.transaction():
        store.terms.put(1, list(range(1, len(texts) + 1)), texts)


def test_terms_are_replaced_by_newer_ones(store: Store):
    put(store, {7: 0.5, 8: 0.5})
    put(store, {8: 0.25, 9: 1.0})
    assert store.terms.gather(1, {7: 1.0}, 10) == []
    assert store.terms.score(1, [1], {8: 1.0, 9: 1.0})[1] == pytest.approx(1.25, abs=0.01)
    assert store.terms.count(1) == 1


def test_frequent_tokens_gather_only_when_nothing_rarer_does(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stored, "FREQUENT", 4)
    put(store, {1: 0.2, 2: 0.2}, *({1: 0.2} for _ in range(8)))
    assert store.terms.gather(1, {1: 0.9, 2: 0.1}, 10) == [1]
    assert store.terms.gather(1, {1: 0.9, 3: 0.9}, 10) == [9, 8, 7, 6]
    assert store.terms.score(1, [1, 2], {1: 1.0, 2: 1.0}) == {1: pytest.approx(0.4), 2: pytest.approx(0.2)}


def test_a_filter_keeps_what_it_allows(store: Store, remember):
    rows = [row for text in "abcdefgh" for row in store.items.passage_rows(remember(text))]
    with store.transaction():
        store.terms.put(1, rows, [{5: 0.1 * (i + 1)} for i in range(len(rows))])
        store.items.set_state([1], "failed")
    few = Scope(Condition("TRUE", {}), rows[2:4])
    assert sorted(store.terms.gather(1, {5: 1.0}, 1, few)) == rows[3:4]
    assert sorted(store.terms.gather(1, {5: 1.0}, 9, few)) == rows[2:4]
    broad = Scope(Condition("item.state <> :state", {"state": "failed"}), None)
    assert sorted(store.terms.gather(1, {5: 1.0}, 9, broad)) == rows[1:]
    assert len(store.terms.gather(1, {5: 1.0}, 3, broad)) == 3


def test_only_the_heaviest_tokens_of_a_text_are_kept(store: Store):
    put(store, {token: 1 + token / 1000 for token in range(stored.MOST + 50)})
    assert store.terms.score(1, [1], {0: 1.0, 49: 1.0})[1] == 0
    assert store.terms.score(1, [1], {50: 1.0})[1] == pytest.approx(1.05, abs=0.01)
    assert len(store.terms.gather(1, {stored.MOST: 1.0}, 10)) == 1


@pytest.mark.parametrize("terms", [{-1: 0.5}, {1 << 24: 0.5}, {3: float("nan")}, {3: float("inf")}])
def test_numbers_that_do_not_fit_are_refused(store: Store, terms: dict[int, float]):
    with pytest.raises(ValueError, match="24 bits"):
        put(store, terms)


def test_texts_without_telling_tokens_have_no_score(store: Store):
    put(store, {}, {5: 0.0, 6: -1.0})
    assert store.terms.score(1, [1, 2], {5: 1.0, 6: 1.0}) == {1: 0.0, 2: 0.0}
    assert TermsLeg(store, 1, {}).scores([1, 2]) == {}
    assert TermsLeg(store, 1, {5: 1.0}).gather(None) == []


# Fusing


@given(st.lists(st.tuples(st.floats(0.3, 0.8), st.floats(0, 0.2)), min_size=2, max_size=10))
def test_vectors_and_terms_together_rank_as_their_authors_do(raw):
    own, share = 0.2, terms_share(0.2, CARD.cosines)
    ours = [(1 - share) * vector_score(c, CARD.cosines) + share * product / own for c, product in raw]
    theirs = [cosine + TERMS_WEIGHT * product for cosine, product in raw]
    width = CARD.cosines[1] - CARD.cosines[0] + TERMS_WEIGHT * own
    for i in range(len(raw)):
        assert ours[i] == pytest.approx((theirs[i] - CARD.cosines[0]) / width)
    assert all(0 <= score <= 1 + 1e-9 for score in ours)


def test_a_card_says_which_cosines_count():
    assert [vector_score(c, (0.05, 0.85)) for c in (-1, 0.05, 0.45, 0.85, 1)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert [vector_score(c, (0.7, 0.9)) for c in (0.6, 0.8, 0.95)] == pytest.approx([0, 0.5, 1])
    assert noise(ALL_MINILM_L6_V2.cosines) == pytest.approx(0.2)
    assert noise((0.7, 0.9)) == pytest.approx(0.7375)

"""Results are kept until they could lie, known bytes are read once, and a search that is stopped stops."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pomnit import Memory
from pomnit.engines.fake import FakeEncoder, FakeRecogniser
from pomnit.errors import EngineMissing, Stopped
from pomnit.models.cards import ALL_MINILM_L6_V2
from pomnit.search.cache import MOST, ResultCache
from support.pictures import note, picture


@pytest.fixture
def shelf(memory: Memory, files: Path) -> Memory:
    memory.add([note(files / "a.txt", "the heron stands in the harbour"), note(files / "b.txt", "a train to Berlin")])
    return memory


def test_an_equal_query_gives_the_same_result_without_searching(shelf: Memory, monkeypatch: pytest.MonkeyPatch):
    first = shelf.search("heron")
    monkeypatch.setattr("pomnit.recall.search", lambda *_: pytest.fail("searched again"))
    assert shelf.search("heron") is first
    assert shelf.search("  heron ") is first


@pytest.mark.parametrize("other", [{"limit": 3}, {"type": "note"}, {"before": "2030"}, {"state": "all"}])
def test_another_limit_or_filter_is_another_query(shelf: Memory, other: dict[str, object]):
    first = shelf.search("heron")
    assert shelf.search("heron", **other) is not first


def test_what_is_added_is_found_at_once(shelf: Memory, files: Path):
    assert len(shelf.search("heron")) == 1
    shelf.add([note(files / "c.txt", "another heron")])
    assert len(shelf.search("heron")) == 2


def test_what_is_forgotten_is_not_shown_again(shelf: Memory):
    hit = shelf.search("heron")[0]
    shelf.forget([hit.item])
    assert len(shelf.search("heron")) == 0


def test_what_another_process_adds_is_found(shelf: Memory, files: Path):
    assert len(shelf.search("heron")) == 1
    with Memory.open(settings=shelf.settings, engines={"embed": FakeEncoder(ALL_MINILM_L6_V2)}) as other:
        other.add([note(files / "c.txt", "another heron")])
    assert len(shelf.search("heron")) == 2


def test_a_result_that_a_missing_model_left_poorer_is_not_kept(shelf: Memory, monkeypatch: pytest.MonkeyPatch):
    def missing(*_: object, **__: object) -> None:
        raise EngineMissing("not here")

    with monkeypatch.context() as patch:
        patch.setattr(FakeEncoder, "encode", missing)
        assert shelf.search("heron").legs[1].state == "skipped"
    assert shelf.search("heron").legs[1].state == "ran"


def test_only_so_many_results_are_kept():
    cache, result = ResultCache(), object()
    for i in range(MOST + 1):
        cache.put(i, 1, result)  # type: ignore[arg-type]
    assert cache.get(0, 1) is None
    assert cache.get(1, 1) is result
    assert cache.get(1, 2) is None


def test_the_same_bytes_are_recognised_once(memory: Memory, files: Path, monkeypatch: pytest.MonkeyPatch):
    seen = []
    real = FakeRecogniser.recognise
    monkeypatch.setattr(FakeRecogniser, "recognise", lambda *a, **k: (seen.append(1), real(*a, **k))[1])
    first = picture(files / "p.png", "harbour")
    memory.add([first])
    data = first.read_bytes()
    (files / "copy.png").write_bytes(data)
    first.write_bytes(picture(files / "other.png", "elsewhere").read_bytes())
    memory.add([files])
    first.write_bytes(data)  # and back
    memory.add([files])
    assert len(seen) == 2  # the two pictures that there ever were


def test_a_search_that_is_cancelled_stops(shelf: Memory):
    with pytest.raises(Stopped):
        shelf.search("heron train", cancelled=lambda: True)
    assert len(shelf.search("heron train")) == 2  # and the next one is whole


def test_a_search_without_time_stops(shelf: Memory):
    with pytest.raises(Stopped):
        shelf.search("heron train", timeout_s=0)
    assert dataclasses.replace(shelf.search("heron train", timeout_s=60), took_ms=0).hits


def test_a_long_search_inside_the_database_is_broken_off(shelf: Memory):
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    looks = iter(range(1000))
    with pytest.raises(Stopped), shelf._store.database.stoppable(lambda: next(looks) > 5):
        shelf._store.database.rows(endless)
    assert shelf._store.database.value("SELECT 1") == 1

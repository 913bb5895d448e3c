"""Reranking: what is read again, in which time, and what stays where it was."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from pomnit import Memory, Settings, recall
from pomnit.doors.cli import show
from pomnit.engines.fake import FakeReranker
from pomnit.errors import EngineError, NotFound, Stopped
from pomnit.governor import choose
from pomnit.models.cards import RerankerCard
from pomnit.records import Leg, SearchResult
from pomnit.search.cache import ResultCache
from pomnit.search.rerank import TOGETHER, scores
from support.pictures import engines, note

CARD = RerankerCard(
    name="judge",
    repository="",
    revision="",
    licence="",
    languages=("en",),
    parameters=1,
    files=(),
    architecture="bert",
    max_tokens=512,
    table_parameters=0,
    head="classifier",
)


class Judge:
    """A reranker that says what it is told to say, and how much later it is then on its clock."""

    def __init__(self, verdict: Callable[[str], float] = lambda _: 0.5, pair_s: float = 0.001) -> None:
        self.card, self.verdict, self.pair_s = CARD, verdict, pair_s
        self.now = 0.0
        self.read: list[str] = []
        self.steps: list[int] = []

    def score(self, query: str, texts: Sequence[str]) -> np.ndarray:
        self.now += self.pair_s * len(texts)
        self.read += texts
        self.steps.append(len(texts))
        return np.array([self.verdict(text) for text in texts], np.float32)

    def close(self) -> None:
        pass


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    judge = Judge()
    monkeypatch.setattr(recall, "scores", partial(scores, clock=lambda: judge.now))
    return judge


@pytest.fixture
def shelf(settings: Settings, files: Path, judge: Judge) -> Iterator[Memory]:
    """A memory of twelve notes that all fit "heron": the later ones say less often so. The judge is in use."""
    with Memory.open(settings=settings, engines={**engines(), "rerank": judge}) as memory:
        for i in range(12):
            note(files / f"n{i:02}.txt", f"{'heron ' * (12 - i)} number{i:02} in the harbour")
        memory.add([files])
        memory.use("judge")
        yield memory


def titles(result: SearchResult) -> list[str]:
    return [hit.item.title for hit in result]


def leg(result: SearchResult) -> Leg | None:
    return next((leg for leg in result.legs if leg.name == "rerank"), None)


def found(memory: Memory, query: str = "heron", **how) -> list[str]:
    return titles(memory.search(query, limit=20, **how))


def test_the_best_are_put_in_the_rerankers_order(shelf: Memory, judge: Judge):
    fused = shelf.search("heron", limit=20, rerank="none")
    assert leg(fused) is None
    judge.verdict = lambda text: 0.9 if "number07" in text else 0.8 if "number03" in text else 0.1
    result = shelf.search("heron", limit=20)
    rest = [title for title in titles(fused) if title not in ("n07", "n03")]
    assert titles(result) == ["n07", "n03", *rest]
    assert leg(result).state == "ran"
    assert "12 passages by judge in " in leg(result).reason
    assert result[0].legs["rerank"] == 0.9
    assert result[0].legs["fused"] == next(hit.score for hit in fused if hit.item.title == "n07")
    assert {"words", "vectors"} <= set(result[0].legs)


def test_scores_fall_and_stay_fractions(shelf: Memory, judge: Judge):
    judge.verdict = lambda text: int(text.partition("number")[2][:2]) / 12
    result, fused = shelf.search("heron", limit=20), shelf.search("heron", limit=20, rerank="none")
    assert titles(result) == titles(fused)[::-1]
    scores_ = [hit.score for hit in result]
    assert scores_ == sorted(scores_, reverse=True) == [hit.score for hit in fused]
    assert all(0 <= value <= 1 for hit in result for value in (hit.score, *hit.legs.values()))


def test_what_is_not_read_in_time_keeps_its_fused_rank_and_the_result_says_so(shelf: Memory, judge: Judge):
    fused = found(shelf, rerank="none")
    judge.verdict, judge.pair_s = (lambda text: 1 - text.count("heron") / 12), 0.1
    result = shelf.search("heron", limit=20)
    n = len(judge.read)
    assert 3 <= n <= 5
    assert judge.now <= 0.5
    assert leg(result).reason == f"{n} of 12 passages by judge within 400 ms; the others keep their rank"
    assert titles(result) == [*reversed(fused[:n]), *fused[n:]]
    assert ["rerank" in hit.legs for hit in result] == [True] * n + [False] * (12 - n)


@bounded(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(verdicts=st.lists(st.floats(0, 1, width=32), min_size=40, max_size=40), pair_s=st.sampled_from([0.001, 0.06, 9]))
def test_items_only_change_places_with_each_other(shelf: Memory, judge: Judge, files: Path, verdicts, pair_s):
    """Long items, items in another language, whatever the reranker says and however slow it is."""
    if not (files / "long.txt").exists():
        note(files / "long.txt", "\n\n".join(f"A heron stands in room {i}. " * 20 for i in range(6)))
        note(files / "ru.txt", "Здесь стоит цапля, по-английски heron, и смотрит на воду.")
        shelf.add([files])
    fused = found(shelf, rerank="none")
    judge.read, judge.pair_s = [], pair_s
    judge.verdict = lambda text: verdicts[len(text) % 40]
    shelf._results = ResultCache()
    result = shelf.search("heron", limit=20)
    assert sorted(titles(result)) == sorted(fused)
    kept = [hit.item.title for hit in result if "rerank" not in hit.legs]
    assert kept == [title for title in fused if title in kept]
    assert titles(result).index("ru") == fused.index("ru")
    values = [hit.score for hit in result]
    assert values == sorted(values, reverse=True)
    assert all(len({p.id for p in hit.passages}) == len(hit.passages) for hit in result)


def test_an_item_is_judged_by_its_two_best_passages(shelf: Memory, judge: Judge, files: Path):
    parts = [f"In room {i} stands a heron, and {'nobody knows why. ' * 40}" for i in range(5)]
    shelf.add([note(files / "long.txt", "\n\n".join(parts))])
    judge.verdict = lambda text: 0.9 if "room" in text else 0.1
    first = shelf.search("heron", limit=20)[0]
    assert first.item.title == "long"
    assert sum("room" in text for text in judge.read) == 2
    assert len(first.passages) == 3


def test_what_holds_the_question_word_for_word_stays_in_front(shelf: Memory, judge: Judge, files: Path):
    judge.verdict = lambda text: 0.0 if "number05 in the harbour" in text else 0.9
    assert found(shelf, "number05 in the harbour")[0] == "n05"
    assert found(shelf, "harbour number05 heron")[-1] == "n05"


def test_people_are_shown_what_the_reranker_did(shelf: Memory, judge: Judge, capsys: pytest.CaptureFixture[str]):
    judge.pair_s = 0.1
    show.search_result(shelf.search("heron"))
    out = capsys.readouterr().out
    assert "fused 0." in out
    assert "rerank 0.50" in out
    assert re.search(r"legs: words, vectors, rerank \(\d of 12 passages by judge within 400 ms", out)


# What takes no part


def test_without_a_reranker_in_use_nothing_is_said_of_it(memory: Memory, files: Path):
    memory.add([note(files / "a.txt", "a heron")])
    assert leg(memory.search("heron")) is None


def test_a_question_in_a_language_that_it_does_not_know_is_left_alone(shelf: Memory, judge: Judge, files: Path):
    shelf.add([note(files / "ru.txt", "Цапля стоит в гавани."), note(files / "ru2.txt", "Цапля улетела.")])
    result = shelf.search("где цапля")
    assert judge.read == []
    assert (leg(result).state, leg(result).reason) == (
        "skipped",
        "judge knows en; this question is in another language (ru)",
    )
    assert shelf.search("где цапля") is result  # asking again would give no more


def test_a_query_of_filters_only_is_left_in_the_order_of_time(shelf: Memory, judge: Judge):
    result = shelf.search("type:note")
    assert judge.read == []
    assert leg(result).state == "skipped"


def test_one_item_alone_is_not_read_again(shelf: Memory, judge: Judge):
    result = shelf.search("heron", within="n03.txt")
    assert (titles(result), judge.read) == (["n03"], [])
    assert leg(result).state == "ran"


def test_a_reranker_that_is_not_here_is_said_and_asked_again(
    memory: Memory, files: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(choose.RERANKERS, "judge", CARD)
    memory.add([note(files / "a.txt", "one heron"), note(files / "b.txt", "two herons, no heron")])
    with memory._store.transaction():
        memory._store.spaces.want_reranker("judge")
    result = memory.search("heron")
    assert len(result) == 2
    assert leg(result).state == "skipped"
    assert "judge" in leg(result).reason
    assert memory.search("heron") is not result


def test_a_reranker_that_fails_leaves_the_fused_order_and_its_reason(shelf: Memory, judge: Judge):
    fused = found(shelf, rerank="none")

    def fail(text: str) -> float:
        raise EngineError("it broke in the middle")

    judge.verdict = lambda text: fail(text) if len(judge.read) > 2 else 0.9
    result = shelf.search("heron", limit=20)
    assert titles(result) == fused
    assert (leg(result).state, leg(result).reason) == ("skipped", "it broke in the middle")


def test_a_search_can_be_stopped_while_it_reads(shelf: Memory, judge: Judge):
    with pytest.raises(Stopped):
        shelf.search("heron", cancelled=lambda: bool(judge.read))
    assert len(judge.read) == 1


# On demand


def test_a_reranker_can_be_asked_for_by_name_and_takes_its_time(settings: Settings, files: Path, judge: Judge):
    other = FakeReranker(replace(CARD, name="other", languages=("en", "ru")))
    with Memory.open(settings=settings, engines={**engines(), "rerank": [other, judge]}) as memory:
        for i in range(25):
            note(files / f"n{i:02}.txt", f"a heron, {i} times")
        memory.add([files])
        judge.pair_s = 3.0
        happened = []
        result = memory.search("heron", limit=30, rerank="judge", on_progress=happened.append)
        assert len(judge.read) == 20
        assert "20 passages by judge in " in leg(result).reason
        assert [(h.stage, h.done, h.total) for h in happened][-1] == ("rerank", 20, 20)
        assert judge.steps == [1] * 20  # so that it can be stopped
        assert "by other in" in leg(memory.search("heron", rerank="other")).reason
        assert leg(memory.search("heron")) is None


def test_a_name_that_no_reranker_has_is_an_error_that_names_it(shelf: Memory):
    with pytest.raises(NotFound, match="jugde"):
        shelf.search("heron", rerank="jugde")


def test_the_command_takes_a_rerankers_name_or_none(cli, files: Path):
    cli("add", str(note(files / "a.txt", "a heron")))
    assert cli("search", "heron", "--rerank", "none").code == 0
    wrong = cli("search", "heron", "--rerank", "jugde")
    assert wrong.code == NotFound.exit_code
    assert "jugde" in wrong.err


# The deadline


@given(
    lengths=st.lists(st.integers(0, 900), max_size=40),
    character_s=st.sampled_from([1e-7, 1e-5, 1e-4, 1e-3]),
    deadline_s=st.one_of(st.none(), st.floats(0.001, 2)),
    at_once=st.integers(1, 10),
)
def test_reading_ends_at_most_one_pair_after_the_deadline(lengths, character_s, deadline_s, at_once):
    """With a reranker that reads so many pairs beside each other, and each as slowly as the longest of them."""
    now, steps = 0.0, []

    class Reader:
        card = CARD

        def score(self, query: str, texts: Sequence[str]) -> np.ndarray:
            nonlocal now
            now += math.ceil(len(texts) / at_once) * max(1, *map(len, texts)) * character_s
            steps.append(len(texts))
            return np.array([len(text) / 1000 for text in texts], np.float32)

    texts = ["x" * length for length in lengths]
    read = scores(Reader(), "?", texts, deadline_s=deadline_s, at_once=at_once, clock=lambda: now)
    assert read == pytest.approx([length / 1000 for length in lengths[: len(read)]])
    assert sum(steps) == len(read)
    assert all(n <= max(TOGETHER, at_once) for n in steps)
    assert all(n >= at_once for n in steps[:-1])
    if deadline_s is None:
        assert len(read) == len(texts)
    elif texts:
        assert len(read) >= 1
        assert len(read) == len(texts) or now >= deadline_s
        assert now <= deadline_s + 900 * character_s


def test_reading_stops_when_it_is_told_to():
    asked = iter([False, False, True])
    judge = Judge(pair_s=1.0)
    with pytest.raises(Stopped):
        scores(judge, "?", list("abcdef"), deadline_s=None, stop=lambda: next(asked), clock=lambda: judge.now)
    assert judge.read == ["a", "b"]

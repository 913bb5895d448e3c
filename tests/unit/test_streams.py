"""Answers that come from a child piece by piece: each at once, none twice, and no longer than somebody wants them."""

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pomnit.engines.protocols import Asked, Offered, Picture, Turn
from pomnit.errors import EngineDied, EngineError, EngineMissing
from pomnit.governor import remote
from pomnit.governor.children import Child
from pomnit.governor.remote import RemoteAnswerer
from pomnit.models.cards import VISION
from support import processes

LONG_S = 60.0  # of what must not take so long
CARD = VISION["Qwen3-VL-4B"]


@pytest.fixture
def answerer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RemoteAnswerer]]:
    """Makes a remote answerer; each of ``loads`` is what one start does, the last one does for all that follow."""
    monkeypatch.setenv("PYTHONPATH", processes.environment()["PYTHONPATH"])
    made: list[RemoteAnswerer] = []

    def make(*loads: str) -> RemoteAnswerer:
        left = list(loads or [""])
        started: list[Child] = []

        def start() -> Child:
            load = left.pop(0) if len(left) > 1 else left[0]
            started.append(Child(CARD.name, {"load": load}, loading_s=LONG_S, module="support.fake_answerer"))
            return started[-1]

        made.append(RemoteAnswerer(CARD, start))
        made[-1].started = started  # type: ignore[attr-defined]
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def fifo(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        os.mkfifo(tmp_path / name)
        return tmp_path / name

    return make


def ask(*lines: object) -> Asked:
    return Asked("\n".join(map(str, lines)), "en", ())


def test_the_first_piece_is_here_before_the_second_is_made(answerer, fifo):
    go_on = fifo("go on")
    pieces = answerer().answer(ask("one", f"wait {go_on}", "two"))
    assert next(pieces) == "one"
    go_on.write_text("")
    assert list(pieces) == ["two"]


def test_the_child_is_asked_what_was_asked_and_gets_each_picture_once(answerer, tmp_path, monkeypatch):
    sent = []
    packed = remote._sent
    monkeypatch.setattr(remote, "_sent", lambda asked: sent.append(packed(asked)) or sent[-1])
    one, other = Picture(b"\x89PNG one", "blake2b:1"), Picture(b"", "blake2b:2")
    offered = (
        Offered(1, "Счёт", "2026-11-03T09:41:07Z", "page 3", "сколько вышло", one),
        Offered(2, "", "2026-11-03T09:41:08Z", "", "x", other),
        Offered(3, "", "", "", "y"),
        Offered(4, "", "", "", "z", one),
    )
    asked = Asked(f"tell {tmp_path / 'told'}\nyes", "ru", offered, one, (Turn("до?", "после"),))
    assert list(answerer().answer(asked)) == ["yes"]
    told = json.loads((tmp_path / "told").read_text("utf-8"))
    assert (told["lang"], told["earlier"]) == ("ru", [{"question": "до?", "answer": "после"}])
    assert told["picture"] == {"data": one.data.hex(), "digest": "blake2b:1"}
    assert [piece["picture"] and piece["picture"]["digest"] for piece in told["offered"]] == [
        "blake2b:1",
        "blake2b:2",
        None,
        "blake2b:1",
    ]
    assert told["offered"][0] | {"picture": None} == {
        "number": 1,
        "title": "Счёт",
        "time": "2026-11-03T09:41:07Z",
        "place": "page 3",
        "text": "сколько вышло",
        "picture": None,
    }
    assert [array.tobytes() for array in sent[0][1]] == [one.data, other.data]


def test_an_answer_may_be_empty(answerer):
    assert list(answerer().answer(ask())) == []


def test_closing_the_answer_stops_the_engine_and_the_next_question_is_answered(answerer, fifo):
    remote, stopped = answerer(), fifo("stopped")
    pieces = remote.answer(ask(f"until {stopped}", "never"))
    assert next(pieces) == "and"
    pieces.close()
    stopped.read_text()  # it was opened: the engine was told
    assert list(remote.answer(ask("next"))) == ["next"]
    assert len(remote.started) == 1


def test_who_says_stop_waits_for_no_more_even_when_nothing_comes(answerer, fifo):
    remote, never = answerer(), fifo("never")
    wanted = [True]
    pieces = remote.answer(ask("one", f"wait {never}", "two"), stopped=lambda: not wanted)
    assert next(pieces) == "one"
    wanted.clear()
    assert list(pieces) == []  # though the engine still waits
    never.write_text("")
    assert list(remote.answer(ask("next"))) == ["next"]


def test_what_is_stopped_before_its_turn_never_begins(answerer, fifo, tmp_path):
    remote, stopped = answerer(), fifo("stopped")
    first = remote.answer(ask(f"until {stopped}"))
    assert next(first) == "and"
    calls = iter([False, False, True])
    assert list(remote.answer(ask(f"tell {tmp_path / 'told'}"), stopped=lambda: next(calls, True))) == []
    first.close()  # the child hears of this after it heard of the other
    stopped.read_text()
    assert list(remote.answer(ask("last"))) == ["last"]
    assert not (tmp_path / "told").exists()


@pytest.mark.parametrize("kind", [EngineError, EngineMissing])
def test_an_error_in_the_middle_keeps_its_kind_and_the_child_lives_on(answerer, kind):
    remote = answerer()
    pieces = remote.answer(ask("one", f"fail {kind.__name__} type: this"))
    assert next(pieces) == "one"
    with pytest.raises(EngineError, match=r"^type: this$") as caught:
        next(pieces)
    assert type(caught.value) is kind
    assert list(remote.answer(ask("next"))) == ["next"]
    assert len(remote.started) == 1


def test_any_other_error_is_an_engine_error(answerer):
    with pytest.raises(EngineError, match="ValueError: odd") as caught:
        list(answerer().answer(ask("fail ValueError odd")))
    assert type(caught.value) is EngineError


def test_a_death_before_the_first_words_costs_one_retry(answerer, tmp_path):
    remote = answerer()
    assert list(remote.answer(ask(f"die-once {tmp_path / 'died'}", "one", "two"))) == ["one", "two"]
    assert len(remote.started) == 2


def test_a_death_after_the_first_words_is_told_and_nothing_is_said_twice(answerer, tmp_path):
    remote = answerer()
    pieces = remote.answer(ask("one", f"die-once {tmp_path / 'died'}", "two"))
    assert next(pieces) == "one"
    with pytest.raises(EngineDied, match="Qwen3-VL-4B: its process ended with code 7"):
        next(pieces)
    assert len(remote.started) == 1
    assert list(remote.answer(ask("next"))) == ["next"]


def test_what_kills_the_engine_twice_is_not_tried_again(answerer):
    remote = answerer()
    with pytest.raises(EngineDied, match="out of luck"):
        list(remote.answer(ask("die")))
    assert len(remote.started) == 2
    assert list(remote.answer(ask("next"))) == ["next"]


def test_a_question_that_kills_the_engine_takes_none_with_it_that_waits(answerer):
    remote = answerer()
    with ThreadPoolExecutor(4) as pool:
        asked = ["die", "one", "die", "two"]
        found = [pool.submit(lambda text=text: list(remote.answer(ask(text)))) for text in asked]
        for text, each in zip(asked, found, strict=True):
            if text == "die":
                assert isinstance(each.exception(LONG_S), EngineDied)
            else:
                assert each.result(LONG_S) == [text]


def test_an_engine_that_says_nothing_for_too_long_is_ended(answerer, fifo, monkeypatch):
    remote_, never = answerer(), fifo("never")
    monkeypatch.setattr(remote, "ANSWER_S", 0.3)
    pieces = remote_.answer(ask("one", f"wait {never}"))
    assert next(pieces) == "one"
    with pytest.raises(EngineDied, match=r"nothing came for 0\.3 s"):
        next(pieces)
    assert processes.ended(remote_.started[0].pid)


@pytest.mark.parametrize("way", ["close", "abandon"])
def test_an_engine_that_is_taken_away_in_the_middle_says_so(answerer, fifo, way):
    remote = answerer()
    pieces = remote.answer(ask("one", f"wait {fifo('never')}"))
    assert next(pieces) == "one"
    getattr(remote, way)()
    with pytest.raises(EngineDied):
        next(pieces)
    assert processes.ended(remote.started[0].pid)


def test_a_child_that_cannot_be_made_again_says_why(answerer):
    with pytest.raises(EngineMissing, match="pip install it"):
        list(answerer("", "fail EngineMissing type: pip install it").answer(ask("die")))


def test_answers_that_nobody_takes_leave_nothing_behind(answerer):
    remote = answerer()
    for number in range(20):
        pieces = remote.answer(ask(*range(number)))
        for _ in range(number // 2):
            next(pieces)
        pieces.close()
    assert list(remote.answer(ask("last"))) == ["last"]
    assert remote._child._open == {}

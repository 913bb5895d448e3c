"""What every answerer must do: the scripted one, and one behind a server on this machine."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from PIL import Image

from pomnit.engines.answerer_openai import OpenAIAnswerer
from pomnit.engines.fake import FakeAnswerer
from pomnit.engines.protocols import Answerer, Asked, Offered, Picture, Turn
from pomnit.errors import EngineError
from support.chat_server import chatting


def drawn() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(out, "PNG")
    return out.getvalue()


PICTURE = Picture(drawn(), "blake2b:" + "0" * 64)
PIECE = Offered(1, "Билет", "2026-11-03T09:41:07.000Z", "page 3", "Билет стоил 2 450 ₽", PICTURE)
ASKED = Asked("Сколько стоил билет?", "ru", (PIECE, replace(PIECE, number=2, picture=None)), PICTURE, (Turn("а", "б"),))
Make = Callable[[Sequence[str]], Answerer]


@pytest.fixture(params=["fake", "openai"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes an answerer whose model says what it is told to say."""
    if request.param == "fake":
        yield FakeAnswerer
        return
    with chatting() as server:

        def made(said: Sequence[str]) -> Answerer:
            server.say = said
            return OpenAIAnswerer(server.url)

        yield made


def test_it_says_who_it_is_and_whether_it_sees(make: Make):
    answerer = make(["a"])
    assert answerer.name.strip()
    assert isinstance(answerer.sees, bool)


def test_pieces_come_as_they_are_said(make: Make):
    said = ["Билет", " стоил", " 2 450 ₽ [1]", ".\n", "  🦩 ", "\u0000\u001b[31m"]
    pieces = list(make(said).answer(ASKED))
    assert "".join(pieces) == "".join(said)
    assert len(pieces) == len(said)


def test_the_same_question_is_answered_again(make: Make):
    answerer = make(["a", "b"])
    assert [list(answerer.answer(ASKED)) for _ in range(3)] == [["a", "b"]] * 3


@pytest.mark.parametrize(
    "said",
    [
        [],
        ["", " \n"],
        ["NOT_FOUND"],
        ["NOT", "_FOUND"],
        [" **not_found**."],
        ["NOT_FOUND: it does not say."],
        ["<think>let me", " see</think>", "\nNOT_FOUND"],
        ["<think>and", " so on"],
    ],
)
def test_what_the_evidence_does_not_answer_is_nothing(make: Make, said):
    assert list(make(said).answer(ASKED)) == []


@pytest.mark.parametrize("said", ["NOT", "NOT_FOUNDATION", "Not found in [1].", "<thin>", "“Not", "It is NOT_FOUND."])
def test_what_only_begins_like_nothing_is_said(make: Make, said):
    for pieces in ([said], list(said)):
        assert "".join(make(pieces).answer(ASKED)) == said


def test_a_thought_is_not_told(make: Make):
    assert "".join(make(["<thi", "nk>secret [9]</th", "ink>\n\nIt is [1]."]).answer(ASKED)) == "It is [1]."


def test_without_evidence_nothing_is_said(make: Make):
    answerer = make(["I know it all"])
    assert list(answerer.answer(Asked("why?", "en", ()))) == []
    answerer.sees = False
    assert list(answerer.answer(Asked("why?", "en", (), PICTURE))) == []


def test_a_picture_alone_is_something_to_answer_from(make: Make):
    assert list(make(["a heron"]).answer(Asked("what is it?", "en", (), PICTURE))) == ["a heron"]


def test_it_ends_when_it_is_stopped(make: Make):
    heard: list[str] = []
    for piece in make(["a"] * 100).answer(ASKED, stopped=lambda: len(heard) >= 3):
        heard.append(piece)  # noqa: PERF402 ``stopped`` looks at it meanwhile
    assert heard == ["a"] * 3


def test_stopped_before_it_begins_it_says_nothing(make: Make):
    assert list(make(["a"]).answer(ASKED, stopped=lambda: True)) == []


def test_closing_the_iterator_ends_it_and_it_answers_again(make: Make):
    answerer = make(["a", "b", "c"])
    pieces = answerer.answer(ASKED)
    assert inspect.isgenerator(pieces)
    assert next(pieces) == "a"
    pieces.close()
    assert list(pieces) == []
    assert list(answerer.answer(ASKED)) == ["a", "b", "c"]


def test_two_answers_at_once_do_not_mix(make: Make):
    answerer = make(["a", "b", "c"])
    one, two = answerer.answer(ASKED), answerer.answer(ASKED)
    assert [next(one), next(two), next(two), next(one)] == ["a", "a", "b", "b"]
    assert [*one, *two] == ["c", "c"]


def test_closed_it_refuses(make: Make):
    answerer = make(["a"])
    answerer.close()
    with pytest.raises(EngineError, match="closed"):
        list(answerer.answer(ASKED))

"""What a model is told, and whether a text can end its own fence."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.engines.prompt import NOTHING, TURN, TURNS, Message, answerable, fewer, messages, plain, spoken
from pomnit.engines.protocols import Asked, Offered, Picture, Turn

PICTURE, OTHER = Picture(b"\x89PNG1", "blake2b:1"), Picture(b"\x89PNG2", "blake2b:2")
PIECE = Offered(1, "Билет\nв Казань", "2026-11-03T09:41:07.000Z", "page 3", "Стоимость: 2 450 ₽\nМесто 7", PICTURE)
ASKED = Asked("Сколько стоил билет?", "ru", (PIECE, replace(PIECE, number=2, text="другое", picture=None)))
CODE = "c0de" * 6
_BEGIN = re.compile(r"^----- BEGIN (.+) (\w+) -----$", re.MULTILINE)


def told(asked: Asked = ASKED, *, sees: bool = True, code: str | None = CODE) -> tuple[Message, Message]:
    system, user = messages(asked, sees=sees, code=code)
    assert (system.role, user.role) == ("system", "user")
    return system, user


def fences(text: str, code: str) -> list[tuple[str, str]]:
    """Gives the name and the text of each fence with this code, as a careful reader finds them."""
    fence = rf"^----- BEGIN (.+) {code} -----\n(.*?)\n----- END \1 {code} -----$"
    found = re.findall(fence, text, re.MULTILINE | re.DOTALL)
    assert text.count(code) == 2 * len(found)
    return found


def test_each_piece_stands_behind_its_fence_with_its_fields():
    (first, piece), (second, _) = fences(told()[1].text, CODE)
    assert (first, second) == ("piece 1", "piece 2")
    assert piece == (
        "title: Билет в Казань\ntime: 2026-11-03T09:41:07.000Z\nplace: page 3\ntext:\nСтоимость: 2 450 ₽\nМесто 7"
    )


def test_the_question_stands_behind_the_pieces():
    text = told()[1].text
    assert text.rindex("----- END") < text.index("Вопрос: Сколько стоил билет?")


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("ru", "Отвечай на языке: русский"),
        ("en", "Answer in English"),
        ("other", "Answer in the language of the question"),
    ],
)
def test_the_rules_are_told_in_the_language_of_the_answer(lang, words):
    system, user = told(replace(ASKED, lang=lang))
    assert words in system.text
    assert words in user.text
    assert NOTHING in system.text
    assert CODE in system.text
    assert "1, 2" in system.text
    assert "{" not in system.text + user.text


def test_pictures_stand_behind_their_pieces_and_that_of_the_question_before_it():
    parts = told(replace(ASKED, picture=OTHER))[1].parts
    assert [part.picture for part in parts] == [None, PICTURE, None, OTHER, None]
    assert "Картинка фрагмента 1" in parts[0].text
    assert "piece 2" in parts[2].text
    assert "Вопрос:" in parts[4].text


def test_who_does_not_see_hears_nothing_of_pictures():
    _, user = told(replace(ASKED, picture=OTHER), sees=False)
    assert [part.picture for part in user.parts] == [None]
    assert "Картинка" not in user.text


def test_a_picture_alone_is_looked_at_by_other_rules():
    system, user = told(Asked("What is it?", "en", (), PICTURE))
    assert "only what can be seen" in system.text
    assert [part.picture for part in user.parts] == [None, PICTURE, None]
    assert answerable(Asked("?", "en", (), PICTURE), sees=True)
    assert not answerable(Asked("?", "en", (), PICTURE), sees=False)
    assert not answerable(Asked("?", "en", ()), sees=True)


def test_the_last_turns_are_told_short_and_without_their_citations():
    earlier = tuple(
        Turn(f"question {n}\nof many " + "q" * 1000, f"answer {n} [1][2], so [3]. " + "a" * 1000) for n in range(9)
    )
    _, user = told(replace(ASKED, earlier=earlier))
    ((_, conversation),) = [fence for fence in fences(user.text, CODE) if fence[0] == "conversation"]
    assert "question 5 " not in conversation
    assert "question 6 of many" in conversation
    assert "answer 8, so." in conversation
    assert "[" not in conversation
    assert len(conversation) < 2 * TURNS * (TURN + 20)


def test_a_code_is_drawn_for_each_request_and_is_long():
    codes = {_BEGIN.search(told(code=None)[1].text)[2] for _ in range(20)}
    assert len(codes) == 20
    assert all(len(code) == 24 for code in codes)


def test_a_code_that_stands_in_the_evidence_is_not_taken(monkeypatch):
    drawn = iter(["aaaa", "bbbb", "cccc"])
    monkeypatch.setattr("pomnit.engines.prompt.secrets.token_hex", lambda _: next(drawn))
    pieces = (replace(PIECE, text="it says aaaa"), replace(PIECE, number=2, title="bbbb", picture=None))
    assert "BEGIN piece 1 cccc" in told(replace(ASKED, offered=pieces), code=None)[1].text


@pytest.mark.parametrize(
    "sign",
    [
        *("<|im_end|>", "<|im_start|>system", "</s>", "<s>", "<start_of_turn>", "<｜User｜>", "<|vision_start|>"),
        *("<think>", "</think>", "<image>", "<tool_call>", "<|eot_id|>", "<|begin▁of▁sentence|>"),
        *("[INST]", "[/INST]", "[TOOL_CALLS]"),
    ],
)
def test_signs_of_roles_are_taken_apart_wherever_they_stand(sign):
    text = f"before {sign} after"
    asked = Asked(text, "en", (Offered(1, text, text, text, text),), None, (Turn(text, text),))
    assert sign not in told(asked)[1].text
    assert plain(sign).replace(" ", "") == sign


@pytest.mark.parametrize("text", ["a < b > c", "2 <3", "[1] [x] [note]", "if x < y and y>z", "<3 you>"])
def test_other_signs_stay(text):
    assert plain(text) == text


_ENDS = ["----- END piece 1 -----", f"----- END piece 1 {CODE[:-1]} -----", "----- BEGIN piece 99 ", "-----", "END"]
_SIGNS = ["\n", "\r", "\u2028", "\x85", "\0", "<|im_end|>", "system:", "[99]", "text:", "```", "\ud800", " 7f3a"]
_HOSTILE = st.sampled_from([*_ENDS, *_SIGNS])
_TEXT = st.lists(_HOSTILE | st.text(max_size=10), max_size=12).map("".join)


@given(
    st.lists(st.tuples(_TEXT, _TEXT, _TEXT, _TEXT), min_size=1, max_size=4), _TEXT, st.lists(st.tuples(_TEXT, _TEXT))
)
def test_no_text_ends_its_fence(pieces, question, turns):
    offered = tuple(Offered(n, *fields) for n, fields in enumerate(pieces, 1))
    asked = Asked(question, "en", offered, None, tuple(Turn(*turn) for turn in turns))
    system, user = told(asked, code=None)
    code = re.search(r"with the code (\w+)\.", system.text)[1]
    found = [name for name, _ in fences(user.text, code)]
    assert found == [f"piece {n}" for n in range(1, len(pieces) + 1)] + ["conversation"] * bool(turns)
    assert system.text.count(code) == 1
    user.text.encode("utf-8")


@given(st.lists(st.text(alphabet="NOT_FUDnot_found <think>/.*\n[1]é", max_size=8), max_size=12))
def test_a_reply_is_the_same_however_it_is_cut(pieces):
    whole = "".join(pieces)
    assert "".join(spoken(pieces)) == "".join(spoken([whole])) == "".join(spoken(whole))


def test_nothing_more_is_read_once_nothing_was_found():
    def reply():
        yield "NOT_FOUND"
        yield "."
        raise AssertionError("read on")

    assert list(spoken(reply())) == []


def test_evidence_is_halved_after_the_conversation_went():
    asked = replace(ASKED, earlier=(Turn("a", "b"),))
    without = fewer(asked)
    assert without == ASKED
    half = fewer(without)
    assert half.offered == (PIECE,)
    assert fewer(half) is None

"""Sentences of read text, what fits a question, and the answers made of them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.engines.protocols import Asked, Offered
from pomnit.search.extract import ExtractiveAnswerer, extract, said
from pomnit.search.fits import fits
from pomnit.search.question import wanted
from pomnit.search.sentences import LONGEST, as_shown, sentences


def split(text: str) -> list[str]:
    return [as_shown(text[a:b]) for a, b in sentences(text)]


def offered(*texts: str) -> tuple[Offered, ...]:
    return tuple(Offered(n, "", "2026-11-20T10:00:00.000Z", "", text) for n, text in enumerate(texts, 1))


def best(question: str, *texts: str) -> str:
    """Gives the best sentence for a question."""
    found = max(extract(wanted(question), offered(*texts)).chosen, key=lambda one: one.chance)
    return as_shown(texts[found.number - 1][found.start : found.end])


# Sentences


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("It rained. We left.", ["It rained.", "We left."]),
        ("It rained\nall day. We\nleft.", ["It rained all day.", "We left."]),
        (
            "Роман А. С. Пушкина вышел в 1833 г. в Москве. Его ждали.",
            ["Роман А. С. Пушкина вышел в 1833 г. в Москве.", "Его ждали."],
        ),
        ("В 1999 г. Иванов жил в г. Тверь. Потом уехал.", ["В 1999 г. Иванов жил в г. Тверь.", "Потом уехал."]),
        ("Цена 3.5 млн. руб. в год. Срок 2 года.", ["Цена 3.5 млн. руб. в год.", "Срок 2 года."]),
        ("Dr. J. R. Smith of the U.S. team came. He won.", ["Dr. J. R. Smith of the U.S. team came.", "He won."]),
        ("Really? Yes! Good… Then go.", ["Really?", "Yes!", "Good…", "Then go."]),
        ("He said “Go.” Then he left.", ["He said “Go.”", "Then he left."]),
        ("List:\n• first thing\n• second thing", ["List:", "• first thing", "• second thing"]),
        ("1. Open the door\n2. Close it", ["1. Open the door", "2. Close it"]),
        ("A well-\nknown fact.", ["A well-known fact."]),
        ("The end of a page\n\nwent on here. New.", ["The end of a page went on here.", "New."]),
        ("A heading\n\nThe text begins.", ["A heading", "The text begins."]),
        (
            "Inbox\nAnna Petrova\nThe meeting was moved to Thursday, because the room we had\nbooked is not free. Bye.",
            [
                "Inbox",
                "Anna Petrova",
                "The meeting was moved to Thursday, because the room we had booked is not free.",
                "Bye.",
            ],
        ),
        ("", []),
        (" \n\n ", []),
    ],
)
def test_sentences_run_over_lines_and_headings_stand_alone(text: str, parts: list[str]) -> None:
    assert split(text) == parts


@given(st.text(alphabet=st.sampled_from("аБв ab. \n-•!?1,;А"), max_size=400))
def test_sentences_hold_every_word_once_and_in_order(text: str) -> None:
    found = sentences(text)
    assert "".join("".join(text[a:b] for a, b in found).split()) == "".join(text.split())
    assert all(text[a:b] == text[a:b].strip() and b - a <= LONGEST for a, b in found)
    assert all(before[1] <= after[0] for before, after in pairwise(found))


def test_a_text_without_full_stops_is_cut() -> None:
    text = "слово, и ещё одно " * 200
    assert all(b - a <= LONGEST for a, b in sentences(text))


# What fits


@pytest.mark.parametrize(
    ("question", "sentence", "fit"),
    [
        ("When did it end?", "It ended in 1945.", True),
        ("When did it end?", "It ended on 9 May.", True),
        ("Когда это было?", "Это было в марте.", True),
        ("Когда это было?", "Это было в XIX веке.", True),
        ("When did it end?", "It ended badly.", False),
        ("What happened after 1945, and when?", "In 1945 it ended.", False),
        ("How much did it cost?", "It cost $15.", True),
        ("Сколько это стоило?", "Это стоило 2 450 рублей.", True),
        ("How many players are there?", "There are eleven players.", True),
        ("Сколько игроков?", "В команде пять игроков.", True),
        ("How many players are there?", "There are players.", False),
        ("Who came?", "Then came Anna Petrova.", True),
        ("Кто пришёл?", "Потом пришёл Иван.", True),
        ("Who came with Anna?", "Then Anna came.", False),
        ("Why was it late?", "It was late because of snow.", True),
        ("Почему опоздали?", "Опоздали из-за снега.", True),
    ],
)
def test_an_answer_of_the_wanted_kind_is_seen(question: str, sentence: str, fit: bool) -> None:
    assert bool([clear for _, clear in fits(wanted(question), sentence) if clear > 0.3]) is fit


def test_money_fits_a_price_better_than_a_count_does() -> None:
    asked = wanted("How much did the ticket cost?")
    money, count = (max(clear for _, clear in fits(asked, text)) for text in ("It was 40 dollars.", "It has 40 pages."))
    assert money > count


# Answers

TRIP = (
    "Поезд Москва — Казань. Отправление 14 марта в 08:15 с Казанского вокзала. Билет стоил 2 450 рублей. "
    "Проводника звали Олег Сергеев. В вагоне было 36 мест."
)
OXYGEN = (
    "Oxygen was discovered by Carl Wilhelm Scheele in Uppsala. Joseph Priestley published first, in 1774. "
    "The name oxygen was coined in 1777 by Antoine Lavoisier. It makes up 21 percent of the air."
)


@pytest.mark.parametrize(
    ("question", "part"),
    [
        ("Сколько стоил билет на поезд?", "2 450 рублей"),
        ("Когда отправление поезда?", "14 марта"),
        ("Как звали проводника поезда?", "Олег Сергеев"),
        ("Сколько мест было в вагоне?", "36 мест"),
        ("С какого вокзала отправлялся поезд?", "Казанского вокзала"),
        ("Who discovered oxygen?", "Scheele"),
        ("When was the name oxygen coined?", "1777"),
        ("Who coined the name oxygen?", "Lavoisier"),
        ("What percentage of the air is oxygen?", "21 percent"),
        ("When did Priestley publish?", "1774"),
    ],
)
def test_the_sentence_with_the_answer_comes_first(question: str, part: str) -> None:
    assert part in best(question, TRIP, OXYGEN)


def test_a_misread_and_an_inflected_word_are_found() -> None:
    assert "Scheele" in best(
        "Who discovered oxygen?", "It was cold. Oxygcn was discovered by Carl Scheele. It is a gas."
    )
    assert "замке" in best("Кто живёт в замках?", "На улице дождь. В старом замке живёт граф Орлов. Стало темно.")


def test_an_answer_is_said_with_its_citation() -> None:
    asked = Asked("Who coined the name oxygen?", "en", offered(TRIP, OXYGEN))
    text = "".join(ExtractiveAnswerer().answer(asked))
    assert "The name oxygen was coined in 1777 by Antoine Lavoisier. [2]" in text


@pytest.mark.parametrize(
    "question",
    ["Who won the football cup?", "Сколько весит слон?", "What is the capital of Australia?", "Где живут пингвины?"],
)
def test_nothing_is_said_when_the_evidence_does_not_answer(question: str) -> None:
    assert "".join(ExtractiveAnswerer().answer(Asked(question, "en", offered(TRIP, OXYGEN)))) == ""


def test_nothing_is_said_from_nothing() -> None:
    assert list(ExtractiveAnswerer().answer(Asked("Who won?", "en", ()))) == []


def test_it_stops_when_it_is_told_to() -> None:
    asked = Asked("Who coined the name oxygen?", "en", offered(OXYGEN))
    assert list(ExtractiveAnswerer().answer(asked, stopped=lambda: True)) == []


def test_a_note_in_the_text_does_not_look_like_a_citation() -> None:
    text = "The name oxygen was coined[7] by Lavoisier in 1777.[12]"
    found = extract(wanted("Who coined the name oxygen?"), offered(text))
    assert "[7]" not in "".join(said(found.chosen, offered(text)))
    assert "[12]" not in "".join(said(found.chosen, offered(text)))


def test_what_says_the_same_is_said_once() -> None:
    asked = Asked("Who coined the name oxygen?", "en", offered(OXYGEN, OXYGEN.lower(), OXYGEN.upper()))
    assert "".join(ExtractiveAnswerer().answer(asked)).lower().count("the name oxygen was coined") == 1


_TEXTS = st.lists(
    st.text(alphabet=st.sampled_from("оxyGen кисЛород 1777. \n[12]!?«»-Scheele "), min_size=1, max_size=200),
    min_size=1,
    max_size=4,
)


@given(_TEXTS, st.sampled_from(["Who named oxygen in 1777?", "Кто назвал кислород?", "oxygen"]))
def test_every_chosen_sentence_is_a_stretch_of_its_piece(texts: list[str], question: str) -> None:
    found = extract(wanted(question), offered(*texts))
    assert 0 <= found.chance <= 1
    for one in (*found.chosen, *found.beside):
        quote = texts[one.number - 1][one.start : one.end]
        assert quote
        assert quote == quote.strip()
    shown = {one.number for one in found.chosen}
    assert all(one.number not in shown for one in found.beside)

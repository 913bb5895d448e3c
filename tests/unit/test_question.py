"""Questions, understood: what kind of answer they want, what must be found, what only asks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.engines.protocols import Turn
from pomnit.errors import UsageError
from pomnit.search.question import understand_question, wanted
from pomnit.search.thread import resolved

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)  # a Friday


@pytest.mark.parametrize(
    ("question", "wants"),
    [
        ("When did the war end?", "when"),
        ("In what year was the bridge built?", "when"),
        ("Когда построили мост?", "when"),
        ("В каком году построили мост?", "when"),
        ("Since when is the shop open?", "when"),
        ("How many people live in Oslo?", "amount"),
        ("Сколько человек живёт в Осло?", "amount"),
        ("What percentage of the votes did she get?", "amount"),
        ("Какой процент голосов она получила?", "amount"),
        ("Who painted the ceiling?", "who"),
        ("Which artist painted the ceiling?", "who"),
        ("Кто расписал потолок?", "who"),
        ("Какой художник расписал потолок?", "who"),
        ("Whose letter was it?", "who"),
        ("Чьё это письмо?", "who"),
        ("Where is the station?", "where"),
        ("In which city is the station?", "where"),
        ("Где находится вокзал?", "where"),
        ("В каком городе находится вокзал?", "where"),
        ("Why was the flight late?", "why"),
        ("Почему рейс задержали?", "why"),
        ("How is glass made?", "how"),
        ("Как делают стекло?", "how"),
        ("What is a clade?", "definition"),
        ("Что такое клада?", "definition"),
        ("Is the shop open on Sunday?", "yes or no"),
        ("Открыт ли магазин?", "yes or no"),
        ("What colour is the door?", "what"),
        ("Какого цвета дверь?", "what"),
        ("the colour of the door", "what"),
    ],
)
def test_a_question_tells_what_kind_of_answer_it_wants(question: str, wants: str) -> None:
    assert wanted(question).wants == wants


@pytest.mark.parametrize(
    ("question", "measure"),
    [
        ("How much did the ticket cost?", "money"),
        ("Сколько стоил билет?", "money"),
        ("Какая цена у билета?", "money"),
        ("What percent is left?", "share"),
        ("How long does the film last?", "time"),
        ("Сколько лет Анне?", "time"),
        ("How many miles is it?", "length"),
        ("Сколько тонн угля сожгли?", "weight"),
        ("How many players scored?", "count"),
    ],
)
def test_an_amount_has_the_measure_that_the_question_names(question: str, measure: str) -> None:
    found = wanted(question)
    assert (found.wants, found.measure) == ("amount", measure)


@pytest.mark.parametrize(
    ("question", "stems"),
    [
        ("Please, could you tell me who wrote Hamlet?", ["wrote", "hamlet"]),
        ("Do you remember who wrote Hamlet? Thanks!", ["wrote", "hamlet"]),
        ("Скажи, пожалуйста, кто написал Гамлета?", ["написа", "гамлет"]),
        ("Не помнишь, кто написал Гамлета?", ["написа", "гамлет"]),
        ("Сколько стоил билет, который я смотрел?", ["сто", "билет"]),
    ],
)
def test_what_is_polite_or_tells_of_looking_is_not_looked_for(question: str, stems: list[str]) -> None:
    assert [word.stem for word in wanted(question).words] == stems


def test_names_numbers_and_quotes_are_told_apart() -> None:
    found = wanted('What did Marie Curie call "element 88" in 1898?')
    assert found.names == {"mari", "curi"}
    assert found.numbers == {"88", "1898"}
    assert found.quoted == ("element 88",)


def test_a_relative_date_is_a_filter_and_its_question_keeps_its_kind() -> None:
    meaning = understand_question("Сколько стоил билет, который я смотрел во вторник?", NOW)
    assert meaning.queries[0].filters == {"after": "2026-11-17", "before": "2026-11-18"}
    assert (meaning.wanted.wants, meaning.wanted.measure) == ("amount", "money")
    assert "вторник" not in [word.text for word in meaning.wanted.words]


@pytest.mark.parametrize("question", ["When was the meeting last week?", "Когда вчера был матч?", "When was it?"])
def test_asking_when_makes_no_filter(question: str) -> None:
    assert all(not query.filters for query in understand_question(question, NOW).queries)


def test_asking_when_something_was_looked_at_keeps_its_date_as_a_filter() -> None:
    meaning = understand_question("When did I read the report yesterday?", NOW)
    assert meaning.queries[0].filters["after"] == "2026-11-19"


def test_written_filters_count_and_are_no_words() -> None:
    meaning = understand_question("type:image who whistled?", NOW, after="2026-01-01")
    assert meaning.queries[0].filters == {"type": "image", "after": "2026-01-01"}
    assert [word.stem for word in meaning.wanted.words] == ["whistl"]


def test_a_quoted_part_is_looked_for_as_it_stands_beside_all_words() -> None:
    first, exact = understand_question('Who said "to be or not to be" in the play?', NOW).queries
    assert (first.phrases, exact.phrases) == ((), ("to be or not to be",))


def test_nothing_to_ask_for_is_refused() -> None:
    with pytest.raises(UsageError):
        understand_question("  ?! ", NOW)


@given(st.text(max_size=300))
def test_any_text_is_understood_or_refused_as_empty(text: str) -> None:
    try:
        meaning = understand_question(text, NOW)
    except UsageError:
        return
    assert meaning.queries
    stems = [word.stem for word in meaning.wanted.words]
    assert len(stems) == len(set(stems))
    assert meaning.wanted.names <= set(stems)


# Follow-ups


@pytest.mark.parametrize(
    ("question", "before", "answer", "whole"),
    [
        ("а в марте?", "Сколько стоил билет в Казань в феврале?", "", "а в марте? (Сколько стоил билет в Казань)"),
        ("а в Тверь?", "Сколько стоил билет в Казань?", "", "а в Тверь? (Сколько стоил билет)"),
        ("and the price?", "When does the train leave?", "", "and the price? (When does the train leave)"),
        ("what about 2015?", "Who won in 2010?", "", "what about 2015? (Who won)"),
        ("А кто?", "Когда открыли кислород?", "", "А кто? (Когда открыли кислород)"),
        (
            "When was he born?",
            "Who named oxygen?",
            "It was named by Antoine Lavoisier in 1777. [1]",
            "When was he born? (Antoine Lavoisier)",
        ),
        ("Где он жил?", "Кто открыл кислород?", "Кислород открыл Карл Шееле. [2]", "Где он жил? (Карл Шееле)"),
        ("What is made there?", "In which town is the mill?", "It is in Oxford. [1]", "What is made there? (Oxford)"),
    ],
)
def test_a_follow_up_takes_over_what_it_needs(question: str, before: str, answer: str, whole: str) -> None:
    assert resolved(question, [Turn(before, answer)]) == whole


@pytest.mark.parametrize(
    "question",
    [
        "Когда умер Пушкин?",
        "Who wrote Hamlet?",
        "How many people live in Oslo?",
        "Сколько стоит билет в Тверь из Москвы?",
    ],
)
def test_a_question_that_stands_alone_stays_as_it_is(question: str) -> None:
    assert resolved(question, [Turn("Кто открыл кислород в Швеции?", "Карл Шееле. [1]")]) == question


def test_what_a_follow_up_says_comes_before_what_the_thread_said() -> None:
    found = wanted("and the price? (When does the train to Tver leave)")
    assert (found.wants, found.measure) != ("when", "")
    assert "price" not in found.aside
    assert "tver" in found.aside


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_any_thread_gives_a_question_that_begins_as_it_was_typed(question: str, before: str, answer: str) -> None:
    assert resolved(question, [Turn(before, answer)]).strip().startswith(question.strip())

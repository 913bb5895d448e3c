"""Relative dates: which words are one, what they mean, and what a search does with them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit import Memory
from pomnit.search.dates import find_dates
from pomnit.search.query import moment, understand_dated
from support.pictures import note

NOW = datetime(2026, 11, 19, 15, 30)  # noqa: DTZ001 a Thursday, on the wall's clock


def wall(text: str) -> datetime:
    return datetime.fromisoformat(text)


def meant(text: str, now: datetime = NOW) -> str | None:
    """Gives the interval that is found, as "2026-11-18 2026-11-19"."""
    found = find_dates(text, now)
    if found is None:
        return None
    return " ".join(m.isoformat(timespec="minutes").removesuffix("T00:00") for m in (found.after, found.before))


# What is a date

DATES = """
сегодня | 2026-11-19 2026-11-20
Сегодня утром | 2026-11-19T05:00 2026-11-19T12:00
сегодня днём | 2026-11-19T12:00 2026-11-19T18:00
сегодня ночью | 2026-11-18T21:00 2026-11-19T06:00
вчера | 2026-11-18 2026-11-19
ВЧЕРА | 2026-11-18 2026-11-19
вчерашний | 2026-11-18 2026-11-19
со вчерашнего дня | 2026-11-18 2026-11-20
вчера утром | 2026-11-18T05:00 2026-11-18T12:00
вчера днем | 2026-11-18T12:00 2026-11-18T18:00
вчера вечером | 2026-11-18T17:00 2026-11-19
вечером вчера | 2026-11-18T17:00 2026-11-19
вчера ночью | 2026-11-18T21:00 2026-11-19T06:00
прошлой ночью | 2026-11-18T18:00 2026-11-19T06:00
позавчера | 2026-11-17 2026-11-18
позавчера вечером | 2026-11-17T17:00 2026-11-18
на этой неделе | 2026-11-16 2026-11-20
на прошлой неделе | 2026-11-09 2026-11-16
прошлой недели | 2026-11-09 2026-11-16
с прошлой недели | 2026-11-09 2026-11-20
на позапрошлой неделе | 2026-11-02 2026-11-09
в этом месяце | 2026-11-01 2026-11-20
в прошлом месяце | 2026-10-01 2026-11-01
прошлого месяца | 2026-10-01 2026-11-01
в позапрошлом месяце | 2026-09-01 2026-10-01
в этом году | 2026-01-01 2026-11-20
в прошлом году | 2025-01-01 2026-01-01
в позапрошлом году | 2024-01-01 2025-01-01
в прошлый понедельник | 2026-11-16 2026-11-17
в прошлый вторник | 2026-11-17 2026-11-18
в прошлую среду | 2026-11-18 2026-11-19
в прошлый четверг | 2026-11-12 2026-11-13
в прошлую пятницу вечером | 2026-11-13T17:00 2026-11-14
в прошлую субботу | 2026-11-14 2026-11-15
в прошлое воскресенье | 2026-11-15 2026-11-16
прошлого вторника | 2026-11-17 2026-11-18
в этот вторник | 2026-11-17 2026-11-18
во вторник на прошлой неделе | 2026-11-10 2026-11-11
на прошлой неделе в пятницу | 2026-11-13 2026-11-14
в прошлые выходные | 2026-11-14 2026-11-16
на прошлых выходных | 2026-11-14 2026-11-16
день назад | 2026-11-18 2026-11-19
2 дня назад | 2026-11-17 2026-11-18
два дня назад вечером | 2026-11-17T17:00 2026-11-18
пять дней тому назад | 2026-11-14 2026-11-15
пару дней назад | 2026-11-16 2026-11-19
несколько дней назад | 2026-11-12 2026-11-18
неделю назад | 2026-11-09 2026-11-16
3 недели назад | 2026-10-26 2026-11-02
месяц назад | 2026-10-04 2026-11-04
2 месяца назад | 2026-09-04 2026-10-05
полгода назад | 2026-05-04 2026-06-04
год назад | 2025-05-19 2026-05-19
5 лет назад | 2021-05-19 2022-05-19
за последние 3 дня | 2026-11-16 2026-11-20
за последние две недели | 2026-11-05 2026-11-20
за последнюю неделю | 2026-11-12 2026-11-20
за последний месяц | 2026-10-19 2026-11-20
прошлым летом | 2026-06-01 2026-09-01
прошлой весной | 2026-03-01 2026-06-01
прошлой зимой | 2025-12-01 2026-03-01
прошлой осенью | 2025-09-01 2025-12-01
этой осенью | 2026-09-01 2026-11-20
этим летом | 2026-06-01 2026-09-01
позапрошлым летом | 2025-06-01 2025-09-01
today | 2026-11-19 2026-11-20
this morning | 2026-11-19T05:00 2026-11-19T12:00
this afternoon | 2026-11-19T12:00 2026-11-19T18:00
yesterday | 2026-11-18 2026-11-19
Yesterday | 2026-11-18 2026-11-19
yesterday's | 2026-11-18 2026-11-19
since yesterday | 2026-11-18 2026-11-20
yesterday morning | 2026-11-18T05:00 2026-11-18T12:00
yesterday afternoon | 2026-11-18T12:00 2026-11-18T18:00
yesterday evening | 2026-11-18T17:00 2026-11-19
last night | 2026-11-18T18:00 2026-11-19T06:00
the day before yesterday | 2026-11-17 2026-11-18
this week | 2026-11-16 2026-11-20
last week | 2026-11-09 2026-11-16
last week's | 2026-11-09 2026-11-16
since last week | 2026-11-09 2026-11-20
the week before last | 2026-11-02 2026-11-09
this month | 2026-11-01 2026-11-20
last month | 2026-10-01 2026-11-01
this year | 2026-01-01 2026-11-20
last year | 2025-01-01 2026-01-01
last Tuesday | 2026-11-17 2026-11-18
last thursday | 2026-11-12 2026-11-13
last Friday evening | 2026-11-13T17:00 2026-11-14
this Monday | 2026-11-16 2026-11-17
Tuesday last week | 2026-11-10 2026-11-11
last weekend | 2026-11-14 2026-11-16
a day ago | 2026-11-18 2026-11-19
two days ago | 2026-11-17 2026-11-18
10 days ago | 2026-11-09 2026-11-10
a couple of days ago | 2026-11-16 2026-11-19
a few days ago | 2026-11-12 2026-11-18
a week ago | 2026-11-09 2026-11-16
3 weeks ago | 2026-10-26 2026-11-02
a month ago | 2026-10-04 2026-11-04
half a year ago | 2026-05-04 2026-06-04
a year ago | 2025-05-19 2026-05-19
in the last 3 days | 2026-11-16 2026-11-20
over the past two weeks | 2026-11-05 2026-11-20
in the last few days | 2026-11-12 2026-11-20
in the last week | 2026-11-12 2026-11-20
during the past month | 2026-10-19 2026-11-20
last spring | 2026-03-01 2026-06-01
last summer | 2026-06-01 2026-09-01
last winter | 2025-12-01 2026-03-01
last fall | 2025-09-01 2025-12-01
this autumn | 2026-09-01 2026-11-20
"""


@pytest.mark.parametrize(("text", "interval"), [line.split(" | ") for line in DATES.strip().splitlines()])
def test_a_relative_date_is_an_interval(text: str, interval: str):
    assert meant(text) == interval
    assert find_dates(text, NOW).words == text
    # Beside other words: before them, after them, and with a sentence's sign behind.
    begun = text[0].lower() + text[1:] if not text.isupper() else text.lower()
    for whole in (f"{begun} чек за такси", f"чек за такси {begun}", f"invoice from the plumber {begun}."):
        assert meant(whole) == interval, whole


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("что было во вторник", "2026-11-17 2026-11-18"),
        ("что я читал в четверг", "2026-11-12 2026-11-13"),  # today is one: the last before it
        ("скриншоты билетов в пятницу вечером", "2026-11-13T17:00 2026-11-14"),
        ("письмо из банка, на выходных", "2026-11-14 2026-11-16"),
        ("скриншоты с понедельника", "2026-11-16 2026-11-20"),
        ("скриншоты рецептов за прошлый месяц", "2026-10-01 2026-11-01"),
        ("photos of the receipt on Tuesday", "2026-11-17 2026-11-18"),
        ("what did we read at the weekend", "2026-11-14 2026-11-16"),
        ("screenshots since Monday", "2026-11-16 2026-11-20"),
        ("что я видел сегодня про налоги?", "2026-11-19 2026-11-20"),
        ("what did I buy last month?", "2026-10-01 2026-11-01"),
        ("где мой билет, который прислали в прошлом месяце", "2026-10-01 2026-11-01"),
        ("вчерашнее письмо о встрече в четверг", "2026-11-18 2026-11-19"),  # the clearer one
        ("кто звонил вчера?", "2026-11-18 2026-11-19"),
        ("Вчера Маша прислала адрес", "2026-11-18 2026-11-19"),
    ],
)
def test_a_form_that_may_be_of_the_story_counts_where_the_question_speaks_for_it(text: str, interval: str):
    assert meant(text) == interval


@pytest.mark.parametrize(
    ("now", "text", "interval"),
    [
        ("2026-11-16T00:00", "вчера", "2026-11-15 2026-11-16"),  # Monday
        ("2026-11-16T09:00", "на этой неделе", "2026-11-16 2026-11-17"),
        ("2026-11-16T09:00", "last week", "2026-11-09 2026-11-16"),
        ("2026-11-16T09:00", "на выходных", "2026-11-14 2026-11-16"),
        ("2026-11-16T09:00", "last Monday", "2026-11-09 2026-11-10"),
        ("2026-11-22T23:59", "this week", "2026-11-16 2026-11-23"),  # Sunday
        ("2026-11-22T23:59", "на прошлой неделе", "2026-11-09 2026-11-16"),
        ("2026-11-22T12:00", "на выходных", "2026-11-21 2026-11-23"),
        ("2026-11-22T12:00", "this weekend", "2026-11-21 2026-11-23"),
        ("2026-11-22T12:00", "в прошлые выходные", "2026-11-14 2026-11-16"),
        ("2026-11-22T12:00", "last Sunday", "2026-11-15 2026-11-16"),
        ("2026-03-31T12:00", "в прошлом месяце", "2026-02-01 2026-03-01"),
        ("2026-03-31T12:00", "за последний месяц", "2026-02-28 2026-04-01"),
        ("2024-03-31T12:00", "in the last month", "2024-02-29 2024-04-01"),
        ("2024-02-29T12:00", "год назад", "2022-08-28 2023-08-28"),
        ("2026-01-01T00:30", "вчера", "2025-12-31 2026-01-01"),
        ("2026-01-01T00:30", "last night", "2025-12-31T18:00 2026-01-01T06:00"),
        ("2026-01-01T00:30", "last month", "2025-12-01 2026-01-01"),
        ("2026-01-01T00:30", "в прошлом году", "2025-01-01 2026-01-01"),
        ("2026-01-01T00:30", "на этой неделе", "2025-12-29 2026-01-02"),
        ("2026-01-15T12:00", "last winter", "2024-12-01 2025-03-01"),
        ("2026-01-15T12:00", "этой зимой", "2025-12-01 2026-01-16"),
        ("2026-07-01T12:00", "прошлым летом", "2025-06-01 2025-09-01"),
        ("2026-11-19T19:00", "сегодня вечером", "2026-11-19T17:00 2026-11-20"),
        ("2026-11-19T22:00", "tonight", "2026-11-19T17:00 2026-11-20"),
        ("2026-11-19T22:00", "сегодня ночью", "2026-11-19T21:00 2026-11-20"),
        # What has not begun is no date of anything that was seen.
        ("2026-11-19T03:00", "сегодня утром", None),
        ("2026-11-19T12:00", "tonight", None),
        ("2026-11-19T12:00", "this weekend", None),
        ("2026-11-19T12:00", "в эту субботу", None),
        ("2026-03-31T12:00", "этим летом", None),
    ],
)
def test_the_borders_of_days_weeks_months_and_years_hold(now: str, text: str, interval: str | None):
    assert meant(text, wall(now)) == interval


# What is none

WORDS = """
что было в 1998 году
итоги 2025 года
отчёт за октябрь
встреча 5 мая
1 декабря 1974 года в воскресенье
катастрофа в воскресенье 1 декабря
Windows 11
5 дней отпуска
7 дней недели
неделя моды в Париже
20 лет спустя
две недели отпуска
через неделю
завтра к врачу
на следующей неделе
стоматолог в четверг
запись к врачу на вторник
магазины, которые работают в воскресенье
едят ли рыбу в среду и пятницу?
выброс в среду обитания
Когда вышла повесть «Понедельник начинается в субботу»?
«Вчера» Олега Стрижака
фильм "Вчера"
Вчера, сегодня, завтра с Софи Лорен
газета Сегодня
Какая улица сегодня носит имя Гоголя?
Есть ли сегодня магнитные бури?
население Мексики на сегодняшний день
задачи на сегодня
до вчерашнего дня
не вчера
65 миллионов лет назад
двести лет назад
двадцать два дня назад
2-3 дня назад
Какой фильм получил «Оскар» в прошлом году?
Сколько очков набрала команда за последние две недели?
за последние три минуты игры
телесные наказания в прошлом
Прошлый год в Мариенбаде
отчёт за прошлый год
прошлый раз
шаг назад
вперёд и назад
последняя неделя
утром натощак
ночь музеев
Варфоломеевская ночь
чистый четверг
чёрная пятница
в прошлую чёрную пятницу
вечерняя школа
yesterday.txt
what happened in 1998
May I come in
the march of the penguins
5 days of holiday
24 hours of Le Mans
Sunday Times crossword
Friday Night Lights
Mail on Sunday
Black Friday deals
Super Tuesday results
meeting on Tuesday
dentist appointment on Thursday at ten
shops open on Sunday
on Monday, 3 March
USA Today headlines
Russia Today
Yesterday Beatles chords
the song "Yesterday"
Today Show host
Last Week Tonight
last week tonight john oliver
Last Night in Soho
I Know What You Did Last Summer
Katy Perry Last Friday Night
The Last of Us
the last week of the war
in the last month of the year
his last week in office
the last day of summer
the last Friday of the month
until last week
before yesterday
more than last year
next week
tomorrow
the day after tomorrow
65 million years ago
three hundred years ago
twenty two days ago
500 days ago
2-3 weeks ago
Which street is named after him today?
Is there a storm today?
How many antibiotics were created in the last 7 years?
Who won the cup last year?
What does this week of the month mean
how long did it last
last name of the player
the past
A Link to the Past
past tense
this month of Ramadan
invoice for last month
weekend cottage
night shift
#yesterday
last-week
day
week 48
"""


@pytest.mark.parametrize("text", WORDS.strip().splitlines())
def test_what_only_looks_like_a_relative_date_is_words(text: str):
    assert find_dates(text, NOW) is None


SAID = [line.split(" | ")[0] for line in DATES.strip().splitlines()]
PIECES = [*SAID, *(" ".join(SAID).split()), "«", "»", '"', ",", "?", "-", " ", "99", "9" * 30, "٣", "of", "до", "the"]


@given(
    st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=8).map(" ".join)),
    st.datetimes(),
)
def test_any_text_at_any_time_gives_none_or_a_past_interval(text: str, now: datetime):
    found = find_dates(text, now)
    if found is None:
        return
    assert found.after < found.before <= now + timedelta(days=1)
    assert found.after <= now
    start, end = found.span
    assert found.words == " ".join(text[start:end].split())
    assert found.words


@pytest.mark.parametrize("piece", ["вчера ", "last ", " ", "в прошлый ", "1 ", "the day before ", "«", "'a "])
def test_a_long_text_takes_no_time(piece: str):
    find_dates("вчера", NOW)  # the forms are compiled
    started = time.process_time()
    find_dates(piece * 1000, NOW)
    assert time.process_time() - started < 1


# What a query makes of it


def test_the_words_of_a_date_are_not_searched():
    understood = understand_dated("какой счёт прислали мне вчера вечером, за свет type:image", NOW)
    assert understood.dates == "вчера вечером"
    assert understood.filters == {"type": "image", "after": "2026-11-18T17:00", "before": "2026-11-19"}
    assert understood.text == "какой счёт прислали мне , за свет"
    assert [w.text for w in understood.words] == ["счет", "прислали", "свет"]
    assert understood.record.dates == "вчера вечером"
    assert [w.text for w in understood.as_words.words] == ["счет", "прислали", "вчера", "вечером", "свет"]
    assert understood.as_words.filters == {"type": "image"}


@pytest.mark.parametrize(
    "text", ["вчера", "Что было вчера?", "what did I see yesterday", "скриншоты за последние 3 дня"]
)
def test_a_date_and_words_of_looking_leave_no_word_to_search_for(text: str):
    understood = understand_dated(text, NOW)
    assert understood.dates
    assert understood.words == ()


@pytest.mark.parametrize(
    ("text", "given_"), [("вчера after:2026", {}), ("вчера before:2026", {}), ("вчера", {"after": "2026"})]
)
def test_a_date_that_is_given_counts_before_a_relative_one(text: str, given_: dict[str, str]):
    understood = understand_dated(text, NOW, **given_)
    assert understood.dates is None
    assert set(understood.filters.values()) == {"2026"}
    assert [w.text for w in understood.words] == ["вчера"]


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch):
    """Central European time with its summer time, which needs no tables of zones."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("now", "text", "after", "before"),
    [
        ("2026-03-30T10:00", "вчера", "2026-03-28T23:00", "2026-03-29T22:00"),  # a day of 23 hours
        ("2026-10-26T10:00", "yesterday", "2026-10-24T22:00", "2026-10-25T23:00"),  # and of 25
        ("2026-10-25T12:00", "last night", "2026-10-24T16:00", "2026-10-25T05:00"),
        ("2026-11-02T12:00", "на прошлой неделе", "2026-10-25T23:00", "2026-11-01T23:00"),
        ("2026-11-05T12:00", "в прошлом месяце", "2026-09-30T22:00", "2026-10-31T23:00"),
        ("2025-12-31T23:30", "вчера", "2025-12-30T23:00", "2025-12-31T23:00"),  # there it is already the next year
    ],
)
@pytest.mark.usefixtures("berlin")
def test_days_are_those_of_the_local_clock(now: str, text: str, after: str, before: str):
    filters = understand_dated(text, wall(now).replace(tzinfo=UTC)).filters
    assert moment("after", filters["after"]) == f"{after}:00.000Z"
    assert moment("before", filters["before"]) == f"{before}:00.000Z"


# What a search does with it


@pytest.fixture
def shelf(memory: Memory, files: Path) -> Memory:
    """Three notes about bees: of now, of a day ago, and of many days ago."""
    for days, name, text in (
        (0, "now.txt", "The bees are in the hive."),
        (1, "gone.txt", "The bees were in the garden."),
        (90, "old.txt", "The bees slept. Не вчера."),
    ):
        seen = time.time() - days * 86400
        os.utime(note(files / name, text), (seen, seen))
    memory.add([files])
    return memory


def titles(result: object) -> list[str]:
    return [hit.item.title for hit in result]  # type: ignore[attr-defined]


def test_a_relative_date_filters_and_is_shown(shelf: Memory):
    result = shelf.search("bees yesterday")
    assert titles(result) == ["gone"]
    assert (result.query.dates, result.query.words) == ("yesterday", ("bees",))
    assert set(result.query.filters) == {"after", "before"}
    assert all(leg.reason is None or leg.name == "vectors" for leg in result.legs)


def test_a_relative_date_alone_lists_the_newest_of_its_time(shelf: Memory):
    assert titles(shelf.search("за последние 3 дня")) == ["now", "gone"]
    assert titles(shelf.search("what did I see yesterday?")) == ["gone"]


def test_as_words_searches_for_the_words_of_a_date(shelf: Memory):
    result = shelf.search("вчера", as_words=True)
    assert titles(result) == ["old"]
    assert (result.query.dates, result.query.filters) == (None, {})
    assert titles(shelf.search("вчера")) == ["gone"]  # no cached result of the other


@pytest.mark.parametrize("query", ["bees 20 days ago", '"the bees slept" 20 days ago'])
def test_a_date_that_leaves_nothing_is_let_go_and_the_result_says_so(shelf: Memory, query: str):
    result = shelf.search(query)
    assert "old" in titles(result)
    assert "20 days ago" in result.legs[0].reason
    assert (result.query.dates, result.query.filters) == (None, {})
    assert "exact phrase" not in result.legs[0].reason


def test_a_date_and_then_a_phrase_are_let_go(shelf: Memory):
    result = shelf.search('"slept the bees" 20 days ago')
    assert titles(result)[0] == "old"
    assert "20 days ago" in result.legs[0].reason
    assert "exact phrase" in result.legs[0].reason


def test_forgetting_takes_the_words_of_a_date_as_words(shelf: Memory):
    assert [item.title for item in shelf.to_forget(query="вчера")] == ["old"]


def test_the_command_shows_the_date_and_switches_it_off(cli: Callable, files: Path):
    seen = time.time() - 86400
    os.utime(note(files / "gone.txt", "The bees were in the garden."), (seen, seen))
    assert cli("add", files).code == 0
    day = datetime.fromtimestamp(seen).astimezone().date()
    out = cli("search", "bees", "вчера", "--type", "note").out
    assert f"with вчера = {day} (--as-words switches this off), type:note" in out
    week = cli("search", "bees", "за последнюю неделю").out
    assert f"за последнюю неделю = {day - timedelta(days=6)} … {day + timedelta(days=1)}" in week
    assert "as-words" not in cli("search", "bees вчера", "--as-words").out
    query = json.loads(cli("search", "bees вчера", "--json").out)["query"]
    assert query["dates"] == "вчера"
    assert query["filters"] == {"after": str(day), "before": str(day + timedelta(days=1))}

"""Forgetting by time and application: what was seen then, what waits, and nothing else."""

import io
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pomnit import Memory, Settings
from pomnit.errors import UsageError
from pomnit.governor.owner import OwnerLock
from pomnit.search import moments
from pomnit.text.times import utc
from support import database
from support.pictures import note, picture

NOW = datetime.now(UTC)


def dated(path: Path, text: str, moment: datetime) -> Path:
    """Writes a note whose file says that it was made then."""
    note(path, text)
    os.utime(path, (moment.timestamp(), moment.timestamp()))
    return path


def titles(items) -> list[str]:
    return sorted(item.title for item in items)


def shown_on_screen(memory: Memory, title: str, app: str, first: datetime, last: datetime) -> None:
    """Makes an item one that was seen on a screen in an application, from first to last."""
    row = memory._store.items.row_of(next(hit.item.id for hit in memory.search(f"{title}")))
    with memory._store.transaction():
        memory._store.items.update(row, time=utc(first))
        memory._store.items.add_screen(row, "screen:one", app, "a window", utc(first))
        memory._store.items.still_seen(row, "screen:one", utc(last))
        memory._store.database.write("UPDATE item SET added = ? WHERE id = ?", (utc(first), row))
        memory._store.database.write("DELETE FROM source WHERE item = ? AND kind = 'file'", (row,))


def made_long_ago(memory: Memory) -> None:
    """Lets everything have been remembered long ago, so that only its own time speaks."""
    with memory._store.transaction():
        memory._store.database.write("UPDATE item SET added = '2020-01-01T00:00:00.000Z'")


@pytest.fixture
def diary(memory: Memory, files: Path) -> Memory:
    for day in (1, 2, 3):
        dated(files / f"day{day}.txt", f"diary of day {day}", datetime(2026, 3, day, 12, tzinfo=UTC))
    memory.add([files])
    return memory


@pytest.mark.parametrize(
    ("chosen", "gone"),
    [
        ({"after": "2026-03-02"}, ["day2", "day3"]),
        ({"before": "2026-03-02"}, ["day1"]),
        ({"after": "2026-03-01", "before": "2026-03-02T12:00"}, ["day1"]),
        ({"after": "2026-03-01", "before": "2026-03-02T12:01"}, ["day1", "day2"]),
        ({"during": "2026-03-02"}, ["day2"]),
        ({"during": "2026-03"}, ["day1", "day2", "day3"]),
        ({"during": "2026"}, ["day1", "day2", "day3"]),
        ({"during": "2025"}, []),
        ({"during": "2026-03-02T12:00"}, ["day2"]),
        ({"during": "2026-03", "query": "day 3"}, ["day3"]),
        ({"during": "2026-04", "query": "day 3"}, []),
    ],
)
def test_a_span_takes_what_was_made_in_it(diary: Memory, chosen: dict[str, str], gone: list[str]):
    assert titles(diary.to_forget(**chosen)) == gone


def test_what_is_chosen_by_several_meets_them_all_and_ids_come_besides(diary: Memory, files: Path):
    other = diary.search("diary", after="2026-03-03")[0].item
    path = str(files / "day1.txt")
    assert titles(diary.to_forget(source=path, during="2026-03-02")) == []
    assert titles(diary.to_forget(source=path, query="diary")) == ["day1"]
    assert titles(diary.to_forget(source=path, query="nothing")) == []
    assert titles(diary.to_forget(ids=[other.id], source=path)) == ["day1", "day3"]


def test_forgetting_a_span_leaves_no_trace_of_it_and_keeps_the_rest(diary: Memory, settings: Settings, files: Path):
    dated(files / "secret.txt", "qzx7canary9 sings", datetime(2026, 3, 2, 13, tzinfo=UTC))
    diary.add([files])
    receipt = diary.forget(diary.to_forget(during="2026-03-02"))
    assert len(receipt.items) == 2
    assert b"qzx7canary" not in database.dump(settings)
    assert sorted(hit.item.title for hit in diary.search("diary")) == ["day1", "day3"]
    assert diary.add([files]).forgotten == 2


def test_what_was_on_the_screen_goes_when_its_span_of_time_touches(memory: Memory, files: Path):
    for name in ("early", "long", "late"):
        note(files / f"{name}.txt", f"{name} words")
    memory.add([files])
    day = datetime(2026, 5, 4, tzinfo=UTC)
    shown_on_screen(memory, "early", "Editor", day.replace(hour=9), day.replace(hour=10))
    shown_on_screen(memory, "long", "Editor", day.replace(hour=9), day.replace(hour=15))
    shown_on_screen(memory, "late", "Editor", day.replace(hour=14), day.replace(hour=15))

    def between(after: str, before: str) -> list[str]:
        return titles(memory.to_forget(after=f"2026-05-04T{after}", before=f"2026-05-04T{before}"))

    assert between("11:00", "12:00") == ["long"]
    assert between("10:00", "11:00") == ["early", "long"]
    assert between("08:00", "09:00") == []
    assert between("08:00", "09:01") == ["early", "long"]
    assert between("15:00", "16:00") == ["late", "long"]
    assert between("15:01", "16:00") == []


def test_an_application_takes_what_was_seen_in_it_at_that_time(memory: Memory, files: Path):
    for name in ("one", "two"):
        note(files / f"{name}.txt", f"{name} words")
    memory.add([files])
    shown_on_screen(memory, "one", "Telegram", NOW - timedelta(hours=3), NOW - timedelta(hours=3))
    shown_on_screen(memory, "two", "Telegram", NOW - timedelta(minutes=3), NOW - timedelta(minutes=2))
    assert titles(memory.to_forget(app="telegram")) == ["one", "two"]
    assert titles(memory.to_forget(app="Telegram", last_s=3600)) == ["two"]
    assert titles(memory.to_forget(app="Firefox")) == []


def test_the_last_minutes_take_what_was_seen_since_though_it_began_before(memory: Memory, files: Path):
    for name in ("begun", "over"):
        note(files / f"{name}.txt", f"{name} words")
    memory.add([files])
    shown_on_screen(memory, "begun", "Editor", NOW - timedelta(hours=2), NOW - timedelta(minutes=1))
    shown_on_screen(memory, "over", "Editor", NOW - timedelta(hours=2), NOW - timedelta(hours=1))
    assert titles(memory.to_forget(last_s=600)) == ["begun"]
    assert titles(memory.to_forget(last_s=2 * 3600)) == ["begun", "over"]


def test_the_last_minutes_take_what_waits_and_what_was_added_whatever_its_own_date(
    memory: Memory, settings: Settings, files: Path
):
    old = datetime(2019, 5, 5, tzinfo=UTC)
    dated(files / "known.txt", "known words", old)
    memory.add([files])
    made_long_ago(memory)
    other = OwnerLock(settings.home)
    assert other.take()
    picture(files / "waiting.png", "unread qzx7canary9", taken="2018:01:01 10:00:00")
    dated(files / "old.txt", "an old letter", old)
    memory.add([files])
    other.give_back()
    assert titles(memory.to_forget(last_s=600)) == ["old", "waiting"]
    memory.forget(memory.to_forget(last_s=600))
    memory.retry()
    assert memory.status().items == {"note": {"ready": 1}}
    assert len(memory.search("canary9")) == 0


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        ("вчера", "2026-11-18T00:00", "2026-11-19T00:00"),
        ("yesterday", "2026-11-18T00:00", "2026-11-19T00:00"),
        (" last  week ", "2026-11-09T00:00", "2026-11-16T00:00"),
        ("на прошлой неделе", "2026-11-09T00:00", "2026-11-16T00:00"),
        ("2026-11-07", "2026-11-07T00:00", "2026-11-08T00:00"),
        ("2026-12", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("2024", "2024-01-01T00:00", "2025-01-01T00:00"),
        ("2026-11-07T10:30", "2026-11-07T10:30", "2026-11-07T10:31"),
        ("2026-11-07 10:30:05", "2026-11-07T10:30:05", "2026-11-07T10:30:06"),
    ],
)
def test_dates_are_understood_as_search_understands_them(value: str, start: str, end: str):
    now = datetime(2026, 11, 19, 15, 30, tzinfo=UTC)
    span = (utc(datetime.fromisoformat(start)), utc(datetime.fromisoformat(end)))
    assert moments.span(None, None, value, now) == span
    assert moments.span(value, None, None, now) == (span[0], None)
    assert moments.span(None, value, None, now) == (None, span[0])


@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        ({"after": "soon"}, "after:soon"),
        ({"before": "2026-13"}, "before:2026-13"),
        ({"during": "the report of yesterday"}, "during:the report"),
        ({"during": ""}, "during"),
        ({"during": "2026", "after": "2025"}, "either"),
        ({"after": "2026-02", "before": "2026-01"}, "after:2026-02"),
        ({"last_s": 0}, "10m"),
        ({"last_s": -5}, "10m"),
        ({"last_s": float("nan")}, "10m"),
        ({"last_s": 1e20}, "10m"),
        ({}, "--last"),
    ],
)
def test_a_time_that_does_not_fit_forgets_nothing(diary: Memory, chosen: dict[str, object], named: str):
    with pytest.raises(UsageError, match=named):
        diary.to_forget(**chosen)


def test_the_command_line_forgets_by_time_and_shows_the_receipt(cli, files: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    note(files / "new.txt", "written just now")
    dated(files / "old.txt", "written long ago", datetime(2020, 2, 3, tzinfo=UTC))
    assert cli("add", files).code == 0
    refused = cli("forget", "--during", "2020-02")
    assert refused.code == 2
    assert "1 item" in refused.err
    done = cli("forget", "--during", "2020-02", "--yes", "--json")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["items"]) == 1
    assert len(json.loads(cli("forget", "--last", "10m", "--yes", "--json").out)["items"]) == 1
    assert cli("forget", "--last", "10 parsecs", "--yes").code == 2

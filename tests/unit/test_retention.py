"""Retention: what goes by age and by the quota, in what order, that the disk shrinks, and that nothing comes back."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pomnit import Memory, Settings, keeping
from pomnit.errors import UsageError
from pomnit.governor.owner import OwnerLock
from pomnit.privacy.retention import KINDS, Held, Rules, expired, over_quota
from pomnit.text.times import utc
from support import database
from support.pictures import engines, note, picture

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CANARY = "qzx7canary9"

rules = st.builds(Rules, st.dictionaries(st.sampled_from(KINDS), st.integers(1, 400)))
since = st.integers(0, 500).map(lambda days: utc(NOW - timedelta(days=days)))
sizes = st.integers(0, 1000)
held = st.lists(
    st.builds(Held, st.integers(1, 10**6), st.sampled_from(KINDS), since, sizes, sizes, sizes, st.booleans()),
    unique_by=lambda item: item.row,
    max_size=30,
)


# What goes


@given(held, rules)
def test_by_age_goes_what_is_older_than_its_rule_and_nothing_else(items: list[Held], rules: Rules):
    gone = {step.row for step in expired(items, rules, NOW)}
    for item in items:
        age = NOW - datetime.fromisoformat(item.since)
        assert (item.row in gone) == (item.kind in rules.days and age > timedelta(days=rules.days[item.kind]))


@given(held, rules)
def test_by_age_the_oldest_goes_first_and_whole(items: list[Held], rules: Rules):
    steps = expired(items, rules, NOW)
    assert [s.since for s in steps] == sorted(s.since for s in steps)
    sizes = {item.row: item.size for item in items}
    assert all((s.what, s.size) == ("item", sizes[s.row]) for s in steps)


@given(held)
def test_without_a_rule_nothing_goes(items: list[Held]):
    assert expired(items, Rules(), NOW) == []
    assert not Rules()


@given(held, sizes, st.integers(0, 60_000))
def test_the_quota_takes_as_much_as_is_needed_and_no_step_more(items: list[Held], rest: int, quota: int):
    total = sum(item.size for item in items) + rest
    steps = over_quota(items, total, quota)
    left = total - sum(step.size for step in steps)
    whole = {step.row for step in steps if step.what == "item"}
    assert left <= quota or whole == {item.row for item in items}
    if steps:
        assert left + steps[-1].size > quota
    assert left >= rest


@given(held, st.integers(0, 60_000))
def test_the_quota_takes_kept_bytes_then_previews_then_items_each_oldest_first(items: list[Held], quota: int):
    steps = over_quota(items, sum(item.size for item in items), quota)
    order = [(["kept", "preview", "item"].index(step.what), step.since, step.row) for step in steps]
    assert order == sorted(order)
    readable = {item.row: item for item in items if not item.unread}
    if any(step.what == "preview" for step in steps):
        assert {s.row for s in steps if s.what == "kept"} == {row for row, item in readable.items() if item.kept}
    if any(step.what == "item" for step in steps):
        assert {s.row for s in steps if s.what == "preview"} == {row for row, item in readable.items() if item.preview}


@given(held, st.integers(0, 60_000))
def test_bytes_that_are_still_to_be_read_go_only_with_their_item(items: list[Held], quota: int):
    unread = {item.row for item in items if item.unread}
    steps = over_quota(items, sum(item.size for item in items), quota)
    assert not any(step.row in unread for step in steps if step.what != "item")


@given(held, st.integers(0, 60_000))
def test_what_is_left_of_the_quota_stays_when_it_is_looked_at_again(items: list[Held], quota: int):
    total = sum(item.size for item in items)
    steps = over_quota(items, total, quota)
    gone = {(step.row, step.what) for step in steps}
    left = [
        replace(
            i, kept=0 if (i.row, "kept") in gone else i.kept, preview=0 if (i.row, "preview") in gone else i.preview
        )
        for i in items
        if (i.row, "item") not in gone
    ]
    assert sum(i.size for i in left) == total - sum(s.size for s in steps)
    assert over_quota(left, sum(i.size for i in left), quota) == []


@given(held, st.integers(0, 60_000))
def test_a_part_of_the_items_is_thinned_in_one_way_only(items: list[Held], quota: int):
    total = sum(item.size for item in items)
    whole, part = over_quota(items, total, quota), over_quota(items, total, quota, partial=True)
    assert part == whole[: len(part)]
    assert len({step.what for step in part}) <= 1
    assert bool(part) == bool(whole)


# Settings


@pytest.mark.parametrize(
    ("text", "days"),
    [("90d", 90), ("90", 90), ("12w", 84), ("6m", 183), ("2y", 730), (" 1 Y ", 365), ("never", None)],
)
def test_an_age_is_told_with_a_unit(tmp_path: Path, text: str, days: int | None):
    file = tmp_path / "settings.toml"
    file.write_text(f'retention.screen = "{text}"\n')
    assert Settings.load(environ={}, file=file).retention_screen == days
    file.write_text(f'[retention]\nscreen = "{text}"\nquota = "20GB"\n')
    found = Settings.load(environ={}, file=file)
    assert (found.retention_screen, found.retention_quota) == (days, 20_000_000_000)
    assert Settings.load(environ={"POMNIT_RETENTION_NOTE": text}, file=tmp_path / "none").retention_note == days


@pytest.mark.parametrize(
    ("toml", "named"),
    [
        ('retention.screen = "soon"', "retention.screen"),
        ('retention.screen = "0d"', "retention.screen"),
        ("retention.screen = true", "retention.screen"),
        ('retention.screen = "9999y"', "retention.screen"),
        ('retention.film = "3d"', "retention_film"),
        ('retention.quota = "lots"', "retention.quota"),
        ('retention.quota = "1kB"', "10MB"),
        ("retention = 5", "'retention'"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused_by_name(tmp_path: Path, toml: str, named: str):
    file = tmp_path / "settings.toml"
    file.write_text(toml)
    with pytest.raises(UsageError) as caught:
        Settings.load(environ={}, file=file)
    assert named in str(caught.value)


# Applied


def opened(settings: Settings, **rules: int | None) -> Memory:
    return Memory.open(settings=replace(settings, **{f"retention_{k}": v for k, v in rules.items()}), engines=engines())


def aged(memory: Memory, **days: int) -> None:
    """Lets items, by the beginning of their titles, have been remembered so many days ago."""
    with memory._store.transaction():
        for title, n in days.items():
            memory._store.database.write(
                "UPDATE item SET added = ? WHERE title LIKE ? || '%'",
                (utc(datetime.now(UTC) - timedelta(days=n)), title),
            )


def titles(memory: Memory, query: str = "before:3000") -> list[str]:
    return sorted(hit.item.title for hit in memory.search(query, limit=100))


def on_disk(settings: Settings) -> int:
    return sum(path.stat().st_size for path in settings.home.rglob("*") if path.is_file())


def test_nothing_is_removed_without_a_rule(settings: Settings, files: Path):
    note(files / "old.txt", "old words")
    with opened(settings) as memory:
        memory.add([files])
        aged(memory, old=5000)
        note(files / "new.txt", "new words")
        memory.add([files])
        assert titles(memory) == ["new", "old"]
        assert memory.retention().shares == ()
        with pytest.raises(UsageError, match=r"retention\.screen"):
            memory.retention(apply=True)


def test_what_is_over_its_age_goes_completely_and_does_not_come_back(settings: Settings, files: Path):
    note(files / "old.txt", f"old words {CANARY}")
    picture(files / "older.png", f"older words {CANARY}")
    note(files / "young.txt", "young words")
    with opened(settings, note=90, image=200) as memory:
        memory.add([files], copy=True)
        aged(memory, old=91, older=201, young=89)
        shown = memory.retention()
        assert [(s.rule, s.what, s.number) for s in shown.shares] == [("image", "item", 1), ("note", "item", 1)]
        assert titles(memory) == ["old", "older", "young"]  # only looked at
        report = memory.retention(apply=True)
        assert report.receipt is not None
        assert len(report.receipt.items) == 2
        assert (report.receipt.files, report.receipt.sources, report.receipt.passages) == (3, 2, 2)
        assert report.receipt.bytes_freed > 0
        assert titles(memory) == ["young"]
        assert memory.add([files]).forgotten == 2
        assert memory.retention().shares == ()
        assert memory.add([files / "old.txt"], again=True).new == 1
        assert memory.retention(apply=True).receipt.items == ()  # its age counts anew
    held = database.dump(settings)
    assert b"older" not in held
    assert len(list((settings.home / "files").glob("??/*"))) == 1


def test_nothing_of_what_went_is_left_in_any_table_page_or_file(settings: Settings, files: Path):
    for number in range(30):
        note(files / f"plain{number}.txt", f"plain words number {number}")
    note(files / "old.md", f"# {CANARY}\n\nold {CANARY} words")
    with opened(settings, note=90) as memory:
        memory.add([files])
        aged(memory, **{CANARY: 100})
        assert CANARY.encode() in database.dump(settings)
        assert len(memory.retention(apply=True).receipt.items) == 1
        assert CANARY[:6].encode() not in database.dump(settings).lower()
        assert len(titles(memory)) == 30
    assert database.what_disagrees(settings) == []


def test_the_screen_has_a_rule_of_its_own_that_counts_from_when_it_was_last_seen(settings: Settings, files: Path):
    for name in ("lately", "long_ago", "a_file_too", "a_file"):
        picture(files / f"{name}.png", f"{name} words")
    with opened(settings, screen=90) as memory:
        memory.add([files])
        now = datetime.now(UTC)
        with memory._store.transaction():
            db = memory._store.database
            db.write("UPDATE item SET added = ?", (utc(now - timedelta(days=300)),))
            for name, days in (("lately", 10), ("long_ago", 100), ("a_file_too", 100)):
                row = db.value("SELECT id FROM item WHERE title = ?", (name,))
                memory._store.items.add_screen(row, "screen:one", "app", None, utc(now - timedelta(days=days)))
                if name != "a_file_too":
                    db.write("DELETE FROM source WHERE item = ? AND kind = 'file'", (row,))
        assert len(memory.retention(apply=True).receipt.items) == 1
        assert titles(memory) == ["a_file", "a_file_too", "lately"]
        assert database.rows(settings, "SELECT * FROM forgotten") == []  # those bytes come from nowhere again


def test_the_disk_really_shrinks_to_the_quota_originals_first(settings: Settings, files: Path):
    for number in range(12):
        path = picture(files / f"p{number:02}.png", f"words {number}", size=(300, 300))
        with path.open("ab") as out:
            out.write(os.urandom(60_000))
    with opened(settings) as memory:
        memory.add([files], copy=True)
        aged(memory, **{f"p{number:02}": 100 - number for number in range(12)})
    before = on_disk(settings)
    assert before > 12 * 60_000
    quota = before - 200_000
    with opened(settings, quota=quota) as memory:
        report = memory.retention(apply=True)
        assert [(s.rule, s.what) for s in report.shares] == [("quota", "kept")]
        assert report.receipt.items == ()
        assert on_disk(settings) < quota + 40_000  # locks, signs, the log of this moment
        assert before - on_disk(settings) >= 200_000 - 40_000
        assert len(titles(memory)) == 12
        kept = [
            memory.show(hit.item.id).kept
            for hit in sorted(memory.search("before:3000", limit=12), key=lambda h: h.item.title)
        ]
        assert kept == sorted(kept)  # the oldest lost theirs
        assert 0 < sum(kept) < 12
        assert all(memory.show(hit.item.id).preview for hit in memory.search("before:3000", limit=12))


def test_text_goes_by_the_quota_only_when_no_bytes_are_left_and_the_database_shrinks(settings: Settings, files: Path):
    for number in range(40):
        note(files / f"n{number:02}.txt", "\n\n".join(f"words {number} {i} " + "ж" * 700 for i in range(20)))
    picture(files / "p.png", "words on a picture")
    with opened(settings) as memory:
        memory.add([files], copy=True)
        aged(memory, **{f"n{number:02}": 100 - number for number in range(40)})
        memory._store.shrink()
    database_size = (settings.home / "memory.db").stat().st_size
    with opened(settings, quota=database_size // 2) as memory:
        receipt = memory.retention(apply=True).receipt
        assert memory._store.originals.size() == 0
        left = titles(memory)
        assert 0 < len(left) < 40
        assert left[-1] == "p"
        assert left[:-1] == [f"n{number:02}" for number in range(40 - len(left[:-1]), 40)]
        assert len(receipt.items) == 41 - len(left)
        assert memory._store.size() <= database_size // 2 + 40_000
        assert (settings.home / "memory.db").stat().st_size <= database_size // 2
        assert memory.retention().shares == ()
    assert database.what_disagrees(settings) == []


def test_bytes_that_wait_to_be_read_are_not_thinned(settings: Settings, files: Path):
    other = OwnerLock(settings.home)
    with opened(settings, quota=1) as memory:
        assert other.take()
        picture(files / "p.png", "words")
        memory.add([files], copy=True)
        other.give_back()
        assert [step.what for step in keeping.plan(memory._store, Rules(quota=1), NOW).steps] == ["item"]


def test_it_runs_by_itself_after_work_and_once_a_day_at_most(settings: Settings, files: Path):
    note(files / "old.txt", "old words")
    with opened(settings, note=90) as memory:
        memory.add([files])
        assert memory.retention().last.items == 0  # it has run
        aged(memory, old=100)
        memory.add([note(files / "two.txt", "two words")])
        assert titles(memory) == ["old", "two"]  # not again today
        with memory._store.transaction():
            run = {"at": utc(datetime.now(UTC) - timedelta(hours=25)), "items": 0, "files": 0, "bytes_freed": 0}
            memory._store.holdings.set_note("last", json.dumps(run))
        memory.add([note(files / "three.txt", "three words")])
        assert titles(memory) == ["three", "two"]
        assert memory.retention().last.items == 1


def test_it_goes_on_where_it_was_stopped(settings: Settings, files: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keeping, "AT_ONCE", 3)
    for number in range(10):
        note(files / f"old{number}.txt", f"old words {number} {CANARY}{number}")
    with opened(settings) as memory:
        memory.add([files])
        aged(memory, old=100)
        rules = Rules({"note": 90})
        for most in range(40):
            asked = 0

            def stopped(most: int = most) -> bool:
                nonlocal asked
                asked += 1
                return asked > most

            before = len(titles(memory))
            receipt, _, whole = keeping.apply(memory._store, memory.keys, rules, stopped)
            assert len(titles(memory)) == before - len(receipt.items)
            assert len(receipt.items) <= 3 * most
            if whole:
                break
        assert whole
        assert titles(memory) == []
    assert CANARY[:6].encode() not in database.dump(settings)
    assert database.what_disagrees(settings) == []


def test_it_gives_way_when_a_person_waits(settings: Settings, files: Path, monkeypatch: pytest.MonkeyPatch):
    note(files / "old.txt", "old words")
    with opened(settings, note=90) as memory:
        memory.add([files])
        aged(memory, old=100)
        monkeypatch.setattr(type(memory._governor), "person_waits", property(lambda self: True))
        report = memory.retention(apply=True)
        assert report.unfinished is not None
        assert titles(memory) == ["old"]
        monkeypatch.undo()
        assert len(memory.retention(apply=True).receipt.items) == 1


def test_while_another_process_works_it_is_left_to_that_one(
    settings: Settings, files: Path, monkeypatch: pytest.MonkeyPatch
):
    note(files / "old.txt", "old words")
    with opened(settings, note=90) as memory:
        memory.add([files])
        aged(memory, old=100)
        monkeypatch.setattr(memory._owner, "begin", lambda: "theirs")
        report = memory.retention(apply=True)
        assert (report.applied, report.receipt) == (False, None)
        assert "another process" in report.unfinished
        assert titles(memory) == ["old"]


def test_a_memory_that_is_too_large_to_look_through_at_once_is_done_part_by_part(
    settings: Settings, files: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(keeping.plan, "__kwdefaults__", {"window": 3})
    for number in range(10):
        note(files / f"n{number}.txt", f"words {number}")
    with opened(settings) as memory:
        memory.add([files], copy=True)
        aged(memory, n=100, n0=300, n1=300, n2=300, n3=300)
        keeping.apply(memory._store, memory.keys, Rules({"note": 200}), lambda: False)
        assert titles(memory) == [f"n{number}" for number in range(4, 10)]
        keeping.apply(memory._store, memory.keys, Rules(quota=memory._store.holdings.live()), lambda: False)
        assert memory._store.originals.size() == 0
        assert titles(memory) == [f"n{number}" for number in range(4, 10)]


def test_the_command_line_shows_then_applies_and_prints_the_receipt(cli, files: Path, monkeypatch: pytest.MonkeyPatch):
    note(files / "a.txt", "some words")
    assert cli("add", files).code == 0
    assert "nothing ever goes" in cli("retention").out
    assert cli("retention", "--apply").code == 2
    monkeypatch.setenv("POMNIT_RETENTION_NOTE", "1d")
    assert "nothing is over its age" in cli("retention").out
    monkeypatch.setattr(keeping, "utc", lambda moment: utc(moment + timedelta(days=3)))
    monkeypatch.setattr("pomnit.privacy.retention.utc", lambda moment: utc(moment + timedelta(days=3)))
    shown = cli("retention", "--dry-run")
    assert "would go   1 item" in shown.out, shown
    assert cli("retention", "--dry-run", "--apply").code == 2
    done = cli("retention", "--apply", "--json")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["receipt"]["items"]) == 1
    assert json.loads(cli("retention", "--json").out)["last"]["items"] == 1

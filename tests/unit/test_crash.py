"""Whatever ends a process, at whatever moment: what was acknowledged is there, and the next run does the rest."""

import os
import random
import signal
from pathlib import Path

import pytest

from pomnit import Memory, Settings
from pomnit.engines.fake import FakeTranscriber
from support import database, processes
from support.pictures import engines, note, picture
from support.recordings import CARD, said_at, write_wav

pytestmark = pytest.mark.slow

KILLS = 50
FILES_OF_A_RUN = 8
MOST_LINES, MOST_STATEMENTS = 34, 420  # more than the files of one run need, so that old work is reached as well


def new_files(folder: Path, run: int) -> list[Path]:
    """Gives new files of every kind; two hold the same bytes."""
    made = [note(folder / f"{run:02}-{i}.txt", f"note {run} {i} about herons") for i in range(FILES_OF_A_RUN - 4)]
    made.append(note(folder / f"{run:02}-twin.txt", f"note {run} 0 about herons"))
    made += [picture(folder / f"{run:02}-{i}.png", f"picture{run}x{i} of herons") for i in range(2)]
    made.append(note(folder / f"{run:02}-long.md", f"# Long {run}\n\n" + "A paragraph about herons.\n\n" * 80))
    return made


def until_killed(adding: processes.Adding, paths: list[Path], moment: random.Random, run: int) -> tuple[set[str], bool]:
    """Adds ``paths`` in a child that is killed at some moment; gives what it said it remembers, and whether it died.

    Every second child is killed from outside after a number of lines, the others die between two statements of SQL,
    which is often in the middle of a transaction.
    """
    lines, statements = moment.randint(1, MOST_LINES), moment.randint(20, MOST_STATEMENTS)
    environ = {"COPY": "1"} if run % 5 == 0 else {}
    if run % 2:
        environ["DIE_AFTER_STATEMENTS"] = str(statements)
    said, ended = adding.run(paths, kill_after=None if run % 2 else lines, environ=environ)
    assert ended in (-signal.SIGKILL, 0)
    return {line.removeprefix("remembered ") for line in said if line.startswith("remembered ")}, ended != 0


def sources(settings: Settings) -> set[str]:
    from pomnit.readers.files import path_of

    return {path_of(uri) for (uri,) in database.rows(settings, "SELECT uri FROM source")}


def test_fifty_kills_lose_nothing_that_was_acknowledged(settings: Settings, files: Path):
    with Memory.open(settings=settings, engines=engines()):
        pass
    moment = random.Random(20261120)
    acknowledged: set[str] = set()
    paths: list[Path] = []
    killed = run = 0
    with processes.Adding() as adding:
        while killed < KILLS:
            mine = new_files(files, run)
            paths += mine
            told, died = until_killed(adding, mine, moment, run)
            acknowledged |= told
            killed += died
            run += 1
            assert database.what_disagrees(settings) == [], f"after run {run}"
            assert acknowledged <= sources(settings), f"after run {run}"
    assert KILLS < len(acknowledged) < len(paths)  # else the kills came too early or too late to mean something

    for left in (settings.home / "files").rglob("*"):
        os.utime(left, (0, 0))  # only old files that no row names are swept: a young one may get its row yet
    with Memory.open(settings=settings, engines=engines()) as memory:
        report = memory.add([files])
        assert (report.failed, report.waiting) == (0, 0)
        assert report.new + report.known == len(paths)
        status = memory.status()
        assert status.items == {"note": {"ready": run * 5}, "image": {"ready": run * 2}}
        assert (status.waiting, status.failures) == ({}, ())
        named = memory._store.items.file_names()
        assert {p.name for p in (settings.home / "files").glob("??/*")} == named
        for name in named:
            memory._store.originals.get(name)
    assert sources(settings) == {str(path) for path in paths}
    assert len(database.rows(settings, "SELECT 1 FROM source")) == len(paths)
    assert database.what_disagrees(settings) == []


def test_a_killed_migration_starts_again(settings: Settings, files: Path):
    """Dies before each of the first statements, which make the database."""
    path = note(files / "a.txt", "words")
    with processes.Adding() as adding:
        for statement in range(1, 24):
            _, ended = adding.run([path], environ={"DIE_AFTER_STATEMENTS": str(statement)})
            assert ended == -signal.SIGKILL
    with Memory.open(settings=settings, engines=engines()) as memory:
        memory.add([files])
        assert len(memory.search("words")) == 1
    assert database.what_disagrees(settings) == []


# The disk is full


def full_at(memory: Memory, more_pages: int) -> None:
    """Lets the database grow by so many pages only, as a full disk would; 0 lifts that."""
    writer = memory._store.database._writer
    writer.pragma("max_page_count", writer.pragma("page_count") + more_pages if more_pages else 1_000_000)


def test_a_full_disk_loses_nothing_and_work_goes_on_when_there_is_room(settings: Settings, files: Path):
    from pomnit.errors import DiskFull

    for i in range(30):
        note(files / f"{i:02}.txt", f"heron number{i} " + f"word{i}a word{i}b word{i}c " * 60)
    told: list[str] = []
    with Memory.open(settings=settings, engines=engines()) as memory:
        full_at(memory, 12)
        with pytest.raises(DiskFull, match="no room left") as full:
            memory.add([files], on_progress=lambda h: told.append(h.name) if h.stage == "remember" else None)
        assert full.value.exit_code == 15
        assert set(told) <= sources(settings)
        assert database.what_disagrees(settings) == []
        full_at(memory, 0)
        report = memory.add([files])
        assert (report.new + report.known, report.failed, report.waiting) == (30, 0, 0)
        assert len(memory.search("heron", limit=100)) == 30
    assert database.what_disagrees(settings) == []


def test_a_search_works_on_a_full_disk(settings: Settings, files: Path):
    with Memory.open(settings=settings, engines=engines()) as memory:
        memory.add([note(files / "a.txt", "a heron")])
        full_at(memory, 0)
        memory._store.database._writer.pragma("max_page_count", 1)
        assert len(memory.search("heron")) == 1


def test_a_file_that_cannot_be_written_whole_ends_with_a_clear_error(settings: Settings, files: Path):
    """A limit on the size of files stops the writing of a kept original in its middle."""
    big = picture(files / "big.png", "heron", size=(1200, 1200))
    big.write_bytes(big.read_bytes() + random.Random(1).randbytes(4 << 20))  # after its end, which readers ignore
    with Memory.open(settings=settings, engines=engines()) as memory:
        memory.add([note(files / "first.txt", "before")])

    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, resource.RLIM_INFINITY))

    done = processes.finished("-m", "support.child", "cli", "add", "--copy", str(big), before=limit)
    assert done.returncode in (10, 15), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("pomnit: ")
    assert [p for p in (settings.home / "files").rglob("*") if p.is_file()] == []
    with Memory.open(settings=settings, engines=engines()) as memory:
        assert len(memory.search("before")) == 1
        assert memory.add([big], copy=True).new == 1
    assert database.what_disagrees(settings) == []


# A database or key that is not as it should be


@pytest.fixture
def filled(cli, files: Path):
    assert cli("add", note(files / "a.txt", "a heron")).code == 0
    return cli


@pytest.mark.parametrize("command", [["search", "heron"], ["status"], ["add", "."], ["retry"], ["show", "0193a5c2"]])
def test_a_damaged_database_ends_with_12(filled, settings: Settings, command: list[str]):
    path = settings.home / "memory.db"
    data = bytearray(path.read_bytes())
    data[: 1 << 12] = random.Random(2).randbytes(1 << 12)
    path.write_bytes(data)
    done = filled(*command)
    assert done.code == 12
    assert str(path) in done.err


def test_a_page_damaged_in_the_middle_is_noticed(filled, settings: Settings):
    path = settings.home / "memory.db"
    data = bytearray(path.read_bytes())
    for at in range(1 << 12, len(data), 1 << 12):
        data[at + 100] ^= 0xFF
    path.write_bytes(data)
    assert filled("search", "heron").code == 12


def test_a_database_that_is_not_one_ends_with_12(filled, settings: Settings):
    (settings.home / "memory.db").write_text("this is not a database, whatever its name says\n" * 200)
    done = filled("status")
    assert done.code == 12
    assert filled("doctor").code == 1
    assert "problem  database" in filled("doctor").out


def test_a_missing_key_ends_with_13_and_another_one_with_14(filled, settings: Settings):
    (key,) = settings.key_dir.iterdir()
    right = key.read_text("ascii")
    key.write_text("00" * 32 + "\n", "ascii")
    done = filled("search", "heron")
    assert done.code == 14
    assert str(key) in done.err
    key.write_text("not a key", "ascii")
    assert filled("search", "heron").code == 14
    key.unlink()
    done = filled("search", "heron")
    assert done.code == 13
    assert str(key) in done.err
    assert right.strip() not in done.err
    key.write_text(right, "ascii")
    assert filled("search", "heron").code == 0


def test_a_lost_marker_never_makes_a_second_key(filled, settings: Settings):
    (settings.home / "home.json").unlink()
    assert filled("status").code == 10
    assert len(list(settings.key_dir.iterdir())) == 1


def test_a_memory_made_by_a_newer_version_ends_with_16(filled, settings: Settings):
    connection = database.connect(settings)
    connection.execute("INSERT INTO migration VALUES ('9999_future', '2040-01-01')")
    connection.close()
    assert filled("status").code == 16


def test_a_database_that_another_program_holds_ends_with_11(
    filled, settings: Settings, files: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("POMNIT_BUSY_S", "1")
    other = database.connect(settings)
    other.execute("BEGIN IMMEDIATE")
    done = filled("add", note(files / "b.txt", "a second heron"))
    assert done.code == 11
    assert "1 s" in done.err
    assert filled("search", "heron").code == 0  # reading needs no lock
    other.execute("ROLLBACK")
    other.close()
    assert filled("add", files).code == 0


# Ctrl-C


def test_ctrl_c_ends_with_130_and_the_next_command_does_the_rest(settings: Settings, files: Path):
    for i in range(12):
        picture(files / f"{i:02}.png", f"heron{i}", colour=f"#0000{i:02}")
    child = processes.started("gated", "add", str(files))
    assert child.stdout.readline() == "reading\n"
    os.kill(child.pid, signal.SIGINT)
    _, err = child.communicate()
    assert child.returncode == 130
    assert err.strip() == "stopped; what was remembered is kept, and `pomnit retry` goes on"
    with Memory.open(settings=settings, engines=engines()) as memory:
        items = memory.status().items["image"]
        assert sum(items.values()) == 12
        assert items["waiting"] >= 8
        assert "working" not in items
        assert memory.retry().waiting == 0
        assert memory.status().items == {"image": {"ready": 12}}
    assert database.what_disagrees(settings) == []


def test_a_recording_that_was_being_heard_goes_on_behind_what_was_stored(settings: Settings, files: Path, monkeypatch):
    monkeypatch.setenv("POMNIT_PROFILE", "8gb")
    talk = write_wav(files / "talk.wav", said_at(range(10, 400, 40), 410.0))  # ten windows, four at a time
    with processes.Adding() as adding:
        _, ended = adding.run([talk], environ={"DIE_IN_BATCH": "2"})
    assert ended == -signal.SIGKILL
    assert database.what_disagrees(settings) == []
    heard: list[int] = []

    class Noting(FakeTranscriber):
        def transcribe(self, windows, *, language=None):
            heard.append(len(windows))
            return super().transcribe(windows, language=language)

    again = Noting(CARD, lambda _: "семь три", "ru")
    with Memory.open(settings=settings, engines=engines() | {"transcribe": again}) as memory:
        assert memory.retry().waiting == 0
        (hit,) = memory.search("семь три")
        places = [place for passage in memory.show(hit.item.id).passages for place in passage.places]
    assert [round(place.start_s) for place in places] == list(range(10, 400, 40))
    assert sum(heard) == 6  # those of the first batch were not heard again

"""Planted words: in no file on disk, whatever happens; and once forgotten, nowhere in the decrypted memory either."""

from __future__ import annotations

import os
import random
import signal
import tempfile
from pathlib import Path

import pytest

from pomnit import Memory, Settings
from pomnit.engines.fake import FakeRecogniser
from support import canaries, database, processes
from support.canaries import ASKED, PLANTED
from support.pictures import note, written_on

WORDS = [*PLANTED.values(), ASKED]
KILLS = 16

_SEARCH = """
import sys
from support import canaries, child
from pomnit import Memory
child.die_after(int(sys.argv[1]))
with Memory.open(engines=canaries.all_engines()) as memory:
    memory.search(sys.argv[2])
    memory.ask(sys.argv[2])
"""

_FORGET = """
import sys
from support import canaries, child
from pomnit import Memory
child.die_after(int(sys.argv[1]))
with Memory.open(engines=canaries.all_engines()) as memory:
    memory.forget(memory.to_forget(source=sys.argv[2]))
"""


@pytest.fixture
def folders(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every folder that Pomnit may write to; temporary files are made in one of them."""
    (tmp_path / "tmp").mkdir()
    for name in ("TMPDIR", "SQLITE_TMPDIR", "TMP", "TEMP"):
        monkeypatch.setenv(name, str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path / "tmp")
    made = [settings.home, settings.cache, settings.key_dir, settings.models, tmp_path / "user", tmp_path / "tmp"]
    for folder in made:
        folder.mkdir(mode=0o700, exist_ok=True)
    return made


def remember(settings: Settings, files: Path) -> Memory:
    """Gives a memory that holds all that is planted."""
    memory = Memory.open(settings=settings, engines=canaries.all_engines())
    report = memory.add(canaries.plant(files), copy=True)
    assert (report.failed, report.waiting) == (0, 0), report
    canaries.seen_in_windows(memory)
    return memory


def test_every_form_of_a_planted_word_is_seen_by_the_scan(folders: list[Path]):
    """Else the tests below see nothing."""
    for number, form in enumerate(canaries.forms(PLANTED["Russian text"])):
        path = folders[-1] / str(number)
        path.write_bytes(b"\0\1" + form + b"\2")
        assert list(canaries.on_disk(folders, WORDS)) == [str(path)]
        path.unlink()
    named = note(folders[0] / f"{PLANTED['text']}.bin", "")
    assert list(canaries.on_disk(folders, WORDS)) == [str(named)]


def test_what_is_remembered_is_in_no_file_and_what_is_asked_is_not_even_kept(
    settings: Settings, files: Path, folders: list[Path]
):
    with remember(settings, files) as memory:
        assert canaries.on_disk(folders, WORDS) == {}
        for word in WORDS:
            memory.search(word)
            memory.search(f'"{word}" app:{word}')
        memory.search(ASKED)
        memory.ask(f"What does {ASKED} say about {PLANTED['text']}?")
        memory.more(memory.search(PLANTED["text"]).hits[0].item.id)
        memory.topics()
        memory.show(memory.search(PLANTED["picture"]).hits[0].item.id)
        memory.status()
        assert canaries.on_disk(folders, WORDS) == {}  # while it is open: the log of the database, too
    assert canaries.on_disk(folders, WORDS) == {}
    held = canaries.traces(canaries.decrypted(settings), canaries.needles(WORDS))
    assert held == set(PLANTED.values())  # with the key all of it is there, and no question ever was


def test_what_fails_is_told_in_no_file(settings: Settings, files: Path, folders: list[Path]):
    bad = files / f"{PLANTED['name of a file']}.pdf"
    bad.write_bytes(b"%PDF-1.7 " + PLANTED["page"].encode())

    def fail(image):
        raise ValueError(PLANTED["picture"])

    with Memory.open(settings=settings, engines=canaries.all_engines() | {"recognise": FakeRecogniser(fail)}) as memory:
        report = memory.add([bad, *canaries.plant(files)])
        assert report.failed == 2
        assert canaries.on_disk(folders, WORDS) == {}


@pytest.mark.slow
def test_a_process_killed_at_any_moment_leaves_no_trace(settings: Settings, files: Path, folders: list[Path]):
    moment = random.Random(20261120)
    with Memory.open(settings=settings, engines=canaries.all_engines()):
        pass
    died = 0
    with processes.Adding() as adding:
        for run in range(KILLS):
            paths = canaries.plant(files / str(run))
            for path in paths:  # else the later ones are known already
                if path.suffix in (".md", ".html", ".srt", ".eml"):
                    path.write_text(path.read_text("utf-8") + f"\n\n{PLANTED['text']} {run}", "utf-8")
            environ = {"COPY": "1", "DIE_AFTER_STATEMENTS": str(moment.randint(10, 400))}
            _, ended = adding.run(paths, environ=environ)
            died += ended == -signal.SIGKILL
            assert canaries.on_disk(folders, WORDS) == {}, f"run {run}"
    assert died > KILLS // 2
    held = canaries.traces(canaries.decrypted(settings), canaries.needles(WORDS))
    assert {PLANTED[name] for name in ("name of a file", "text", "Russian text", "document", "page")} <= held


@pytest.mark.slow
def test_a_process_killed_while_it_reads_or_searches_leaves_no_trace(
    settings: Settings, files: Path, folders: list[Path]
):
    paths = canaries.plant(files)
    child = processes.started("gated", "add", "--copy", *map(str, paths))
    assert child.stdout.readline() == "reading\n"
    child.kill()  # with a picture in its hands
    child.communicate()
    assert canaries.on_disk(folders, WORDS) == {}
    with Memory.open(settings=settings, engines=canaries.all_engines()) as memory:
        memory.retry()
    ends = set()
    for statements in (20, 40, 60, 1000):
        done = processes.finished("-c", _SEARCH, str(statements), f"{ASKED} {PLANTED['text']}")
        ends.add(done.returncode)
        assert canaries.on_disk(folders, WORDS) == {}
    assert ends == {0, -signal.SIGKILL}


@pytest.mark.slow
def test_an_engine_in_a_process_of_its_own_leaves_no_trace(settings: Settings, files: Path, folders: list[Path], built):
    """The recogniser and the encoder of this machine, in children, with a picture whose text they are to read."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (900, 200), "white")
    ImageDraw.Draw(image).text((20, 60), f"invoice {PLANTED['picture']}", "black", ImageFont.load_default(48))
    image.save(files / "real.png")
    done = processes.finished("-m", "pomnit", "add", str(files / "real.png"), str(canaries.plant(files)[0]))
    assert done.returncode == 0, done.stderr
    assert PLANTED["text"] in processes.finished("-m", "pomnit", "search", PLANTED["text"]).stdout
    built_ones = [Path(os.environ["POMNIT_CACHE"])]
    assert canaries.on_disk([*folders, *built_ones], WORDS) == {}
    # Nor does a library leave something of its own: ONNX Runtime would, for reports to its maker.
    assert [path for folder in folders[-2:] for path in folder.rglob("*") if path.is_file()] == []


# Forgotten


def test_what_is_forgotten_is_nowhere_in_the_decrypted_memory(settings: Settings, files: Path, folders: list[Path]):
    other = note(files / "other.txt", "quite another thing that stays")
    with remember(settings, files) as memory:
        memory.add([other], copy=True)
        receipt = memory.forget(memory.to_forget(source=str(files / PLANTED["name of a folder"])))
        assert len(receipt.items) == 10
        log = settings.home / "memory.db-wal"
        assert log.stat().st_size == 0  # what was there is not in old frames
        left = canaries.decrypted(settings)
        assert canaries.traces(left.lower(), canaries.needles(WORDS)) == set()
        assert b"quite another" in left
        assert [hit.item.title for hit in memory.search("another", state="all")] == ["other"]
        for word in WORDS:
            assert [hit for hit in memory.search(word, state="all").hits if hit.item.title != "other"] == []
    assert canaries.traces(canaries.decrypted(settings).lower(), canaries.needles(WORDS)) == set()
    assert database.what_disagrees(settings) == []


@pytest.mark.slow
def test_a_forgetting_that_was_killed_is_whole_or_not_begun_and_the_next_one_ends_it(
    settings: Settings, files: Path, folders: list[Path]
):
    folder = files / PLANTED["name of a folder"]
    note(files / "other.txt", "quite another thing that stays")
    began = ended = 0
    for statement in range(20, 2000, 37):
        with Memory.open(settings=settings, engines=canaries.all_engines()) as memory:
            memory.add([files / "other.txt", *canaries.plant(files)], copy=True, again=True)
        code = processes.finished("-c", _FORGET, str(statement), str(folder)).returncode
        assert code in (0, -signal.SIGKILL)
        assert canaries.on_disk(folders, WORDS) == {}
        with Memory.open(settings=settings, engines=canaries.all_engines()) as memory:
            items = memory.to_forget(source=str(folder))
            assert len(items) in (0, 10)
            began, ended = began + bool(items), ended + (not items)
            memory.forget(items)
            for left in (settings.home / "files").rglob("*"):
                os.utime(left, (0, 0))  # what no row names is swept once it is old
            memory.add([note(files / f"{statement}.txt", f"another {statement}")])
        assert canaries.traces(canaries.decrypted(settings).lower(), canaries.needles(WORDS)) == set(), statement
        if code == 0:
            break
    assert began > 2
    assert ended >= 1


def test_a_picture_whose_text_fails_to_be_stored_is_in_no_file(settings: Settings, files: Path, folders: list[Path]):
    """The reader dies with the picture in its hands, as a broken library would."""

    def die(image):
        lines = written_on(image)
        raise MemoryError(str(lines))

    with Memory.open(settings=settings, engines=canaries.all_engines() | {"recognise": FakeRecogniser(die)}) as memory:
        memory.add(canaries.plant(files))
        assert canaries.on_disk(folders, WORDS) == {}

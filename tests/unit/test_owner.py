"""One owner per memory: others hand in, nothing is left lying, and the lock of a dead owner is free."""

import json
from pathlib import Path

import pytest

from pomnit import Memory, Settings
from pomnit.governor.owner import OwnerLock
from support import database, processes
from support.pictures import engines, note, picture


def test_only_one_process_is_the_owner(memory: Memory, settings: Settings):
    holder = processes.started("hold")
    assert holder.stdout.readline() == "holds\n"
    assert not OwnerLock(settings.home).take()
    holder.communicate()
    lock = OwnerLock(settings.home)
    assert lock.take()
    assert not lock.take()
    assert not OwnerLock(settings.home).take()
    lock.give_back()
    assert OwnerLock(settings.home).take()


def test_adding_beside_an_owner_hands_in_and_says_so(cli, files: Path, memory: Memory):
    holder = processes.started("hold")
    assert holder.stdout.readline() == "holds\n"
    report = memory.add([note(files / "a.txt", "handed in")])
    assert (report.new, report.waiting) == (1, 1)
    assert report.owner.startswith("another process")
    shown = cli("add", files)
    assert shown.code == 0
    assert "left to another process" in shown.out
    holder.communicate()


def test_what_was_handed_in_is_done_once_the_holder_went(memory: Memory, files: Path):
    holder = processes.started("hold")
    assert holder.stdout.readline() == "holds\n"
    memory.add([note(files / "a.txt", "handed in")])
    assert len(memory.search("handed")) == 0
    holder.communicate()
    report = memory.add([note(files / "b.txt", "another one")])
    assert (report.waiting, report.owner) == (0, "this process")
    assert len(memory.search("handed")) == 1


def test_the_owner_does_what_another_process_hands_in_while_it_works(cli, memory: Memory, files: Path):
    owner = processes.started("gated", "add", str(picture(files / "slow.png", "slowly read")), "--json")
    assert owner.stdout.readline() == "reading\n"
    report = memory.add([note(files / "quick.txt", "quickly handed in")])
    assert (report.new, report.waiting) == (1, 2)
    assert report.owner.startswith("another process")
    out, err = owner.communicate("go on\n")
    assert owner.returncode == 0, err
    assert json.loads(out)["waiting"] == 0
    assert len(memory.search("quickly")) == 1
    assert len(memory.search("slowly")) == 1
    assert memory.status().waiting == {}


def test_the_lock_of_a_killed_owner_is_free_and_its_work_is_taken_over(memory: Memory, settings: Settings, files: Path):
    owner = processes.started("gated", "add", str(picture(files / "p.png", "harbour")))
    assert owner.stdout.readline() == "reading\n"
    assert memory.status().items == {"image": {"working": 1}}
    owner.kill()
    owner.communicate()
    assert memory.retry().waiting == 0
    assert memory.status().items == {"image": {"ready": 1}}
    assert len(memory.search("harbour")) == 1
    assert database.what_disagrees(settings) == []


def test_many_processes_may_make_the_same_memory_at_once(settings: Settings, files: Path):
    paths = [note(files / f"{i}.txt", f"words number {i}") for i in range(4)]
    children = [processes.started("cli", "add", str(path)) for path in paths]
    errors = [child.communicate()[1] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0, 0], errors
    with Memory.open(settings=settings, engines=engines()) as memory:
        assert memory.status().waiting == {}
        assert len(memory.search("words")) == 4
    assert database.what_disagrees(settings) == []


def test_closing_gives_the_lock_back_after_an_error(settings: Settings, files: Path):
    def fail(happening):
        if happening.stage == "read":
            raise RuntimeError("the caller's own")

    with Memory.open(settings=settings, engines=engines()) as memory, pytest.raises(RuntimeError, match="own"):
        memory.add([note(files / "a.txt", "words")], on_progress=fail)
    lock = OwnerLock(settings.home)
    assert lock.take()
    lock.give_back()

"""Whatever ends a change of the key, at whatever moment: the memory opens, and the key is left in no second place."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pomnit import Memory, Settings
from pomnit.errors import (
    DatabaseBusy,
    DatabaseDamaged,
    HomeError,
    KeyMissing,
    Locked,
    NotFound,
    PomnitError,
    UsageError,
    WrongKey,
)
from pomnit.privacy import changing, keys, recovery
from support import processes
from support.keychains import NEW, OLD, OnDisk
from support.pictures import engines, note

MOST_STEPS = 80


@dataclass
class House:
    """A memory with one note in it, whose key may be anywhere."""

    settings: Settings
    keychain: OnDisk
    kept: Path
    folders: tuple[Path, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.folders = (self.settings.home, self.settings.key_dir)

    def opens_with(self, *secrets: str | None) -> list[str | None]:
        """Gives which of the passphrases (None: no one) open it, looking for the note each time."""
        found = []
        for secret in secrets:
            try:
                with Memory.open(settings=self.settings, engines=engines(), passphrase=secret) as memory:
                    assert [hit.item.title for hit in memory.search("heron")] == ["a"]
                    found.append(secret)
            except (WrongKey, Locked, UsageError):  # another passphrase; none, and it has one; one, and it has none
                continue
        return found

    @property
    def place(self) -> str:
        return changing.view(self.settings).place

    def where_in_the_clear(self) -> set[str]:
        """Gives the places that have the key as it is, whatever the memory thinks."""
        files = [p for p in self.settings.key_dir.rglob("*") if p.is_file()] if self.settings.key_dir.exists() else []
        return {"file"} & {"file" for p in files if p.stat().st_size} | ({"keychain"} if self.keychain.held else set())

    def keep(self) -> None:
        """Remembers how everything is, to begin there again."""
        shutil.rmtree(self.kept, ignore_errors=True)
        for folder in self.folders:
            if folder.exists():
                shutil.copytree(folder, self.kept / folder.name)
        (self.kept / "keychain").write_text(json.dumps(self.keychain.held))

    def begin_again(self) -> None:
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)
            if (self.kept / folder.name).exists():
                shutil.copytree(self.kept / folder.name, folder)
        self.keychain._file.write_text((self.kept / "keychain").read_text())

    def move(self, to: str, **named: Any) -> None:
        if self.place != to:
            changing.change(self.settings, to, **named)


@pytest.fixture
def house(settings: Settings, keychain: OnDisk, files: Path, tmp_path: Path, cheap: None) -> House:
    with Memory.open(settings=settings, engines=engines()) as memory:
        memory.add([note(files / "a.txt", "a grey heron")])
    return House(settings, keychain, tmp_path / "kept")


class Child:
    """What dies while it changes the key. See key_child.py."""

    def __init__(self) -> None:
        self._process = processes.started(module="support.key_child")

    def run(self, **asked: Any) -> int:
        whole = {"what": "change", "secret": None, "new": None, "file": None} | asked
        self._process.stdin.write(json.dumps(whole) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline().removeprefix("ended "))

    def close(self) -> str:
        return self._process.communicate()[1]


@pytest.fixture
def child(house: House) -> Iterator[Child]:
    child = Child()
    yield child
    assert child.close() == ""


WAYS = [
    ("file", "passphrase"),
    ("passphrase", "passphrase"),
    ("passphrase", "file"),
    ("passphrase", "keychain"),
    ("keychain", "passphrase"),
    ("keychain", "file"),
    ("file", "keychain"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("before", "to"), WAYS)
def test_a_change_killed_at_every_step_leaves_a_memory_that_opens(house: House, child: Child, before: str, to: str):
    house.move(before, new=OLD)
    house.keep()
    asked = {"to": to, "secret": OLD if before == "passphrase" else None, "new": NEW if to == "passphrase" else None}
    ways = {"passphrase": {OLD, NEW}}.get(before, {None}) | ({NEW} if to == "passphrase" else {None})
    opened = set()
    for step in range(1, MOST_STEPS):
        house.begin_again()
        code = child.run(die_at=step, **asked)
        assert code in (0, -signal.SIGKILL)
        can = house.opens_with(*ways)
        assert len(can) >= 1, f"step {step}"
        assert len(can) == 1 or before != "passphrase" != to, f"step {step}"
        opened.add((house.place, can[0]))
        assert house.where_in_the_clear() <= {house.place}, f"step {step}: the key lies where it is not to be any more"
        assert not changing.view(house.settings).unfinished
        assert [p.name for p in house.settings.home.glob(".home.json*")] == [] or code != 0
        if code == 0:
            break
        if (house.place, can[0]) != (to, asked["new"]):  # and the same again goes through
            changing.change(house.settings, to, secret=can[0], new=asked["new"])
            assert house.opens_with(asked["new"]) == [asked["new"]]
            assert house.where_in_the_clear() == {to} - {"passphrase"}
    else:
        pytest.fail("it never came to its end")
    assert step > 10
    assert opened == {(before, asked["secret"]), (to, asked["new"])}  # both sides of the one moment were seen


@pytest.mark.slow
@pytest.mark.parametrize("to", ["keychain", "file", "passphrase"])
def test_an_import_killed_at_every_step_can_be_done_again(house: House, child: Child, tmp_path: Path, to: str):
    house.move("keychain")
    paper = tmp_path / "paper.txt"
    changing.export(house.settings, paper)
    house.keychain._file.write_text("{}")
    with pytest.raises(KeyMissing, match="key import"):
        Memory.open(settings=house.settings)
    house.keep()
    new = NEW if to == "passphrase" else None
    for step in range(1, MOST_STEPS):
        house.begin_again()
        code = child.run(what="import", to=to, file=str(paper), new=new, die_at=step)
        try:
            assert house.opens_with(new) == [new] or code != 0
        except KeyMissing:
            assert code != 0
        changing.restore(house.settings, paper, to, new)
        assert house.opens_with(new) == [new]
        assert house.where_in_the_clear() == {to} - {"passphrase"}
        if code == 0:
            break
    else:
        pytest.fail("it never came to its end")


def test_what_the_old_place_kept_is_taken_away_by_the_next_opening(house: House, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise HomeError("the keychain does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(keys, "remove", refuse)
        with pytest.raises(HomeError, match="does not answer"):
            changing.change(house.settings, "passphrase", new=NEW)
    assert changing.view(house.settings).unfinished
    assert house.where_in_the_clear() == {"file"}
    assert house.opens_with(NEW) == [NEW]
    assert house.where_in_the_clear() == set()


def test_a_new_place_that_does_not_keep_the_key_is_found_out_first(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(OnDisk, "set_password", lambda *_: None)  # says yes and keeps nothing
    with pytest.raises(KeyMissing):
        changing.change(house.settings, "keychain")
    assert house.opens_with(None) == [None]
    assert (house.place, house.where_in_the_clear()) == ("file", {"file"})


def test_a_new_place_that_keeps_another_key_is_found_out_first(house: House, monkeypatch: pytest.MonkeyPatch):
    put = OnDisk.set_password
    monkeypatch.setattr(OnDisk, "set_password", lambda self, s, u, _: put(self, s, u, "22" * 32))
    with pytest.raises(WrongKey):
        changing.change(house.settings, "keychain")
    assert house.opens_with(None) == [None]
    assert house.where_in_the_clear() == {"file"}


def test_a_key_that_does_not_open_the_database_is_never_switched_to(house: House):
    path = house.settings.home / "memory.db"
    whole = path.read_bytes()
    path.write_bytes(os.urandom(4096) + whole[4096:])
    with pytest.raises(DatabaseDamaged):
        changing.change(house.settings, "passphrase", new=NEW)
    path.write_bytes(whole)
    assert house.opens_with(None) == [None]
    assert house.place == "file"


def test_two_changes_at_once_are_refused(house: House):
    with keys.alone(house.settings.home):
        with pytest.raises(DatabaseBusy, match="changes the key"):
            changing.change(house.settings, "passphrase", new=NEW)
        assert house.opens_with(None) == [None]  # reading goes on
    changing.change(house.settings, "passphrase", new=NEW)
    assert house.opens_with(NEW, None) == [NEW]


def test_the_old_passphrase_opens_nothing_after_a_change(house: House):
    changing.change(house.settings, "passphrase", new=OLD)
    changing.change(house.settings, "passphrase", secret=OLD, new=NEW)
    assert house.opens_with(OLD, NEW) == [NEW]
    with pytest.raises(WrongKey, match="pomnit unlock"):
        Memory.open(settings=house.settings, passphrase=OLD)


@pytest.mark.parametrize("place", ["file", "keychain"])
def test_a_change_to_where_the_key_is_already_is_refused(house: House, place: str):
    house.move(place)
    with pytest.raises(UsageError, match="already"):
        changing.change(house.settings, place)
    assert house.opens_with(None) == [None]


def test_a_weak_passphrase_changes_nothing(house: House):
    for weak in ("", "short", "aaaaaaaaaaaa", "with\0a NUL inside", "x" * 10_000_000):
        with pytest.raises(UsageError) as caught:
            changing.change(house.settings, "passphrase", new=weak)
        assert len(str(caught.value)) < 300
        assert not weak or weak not in str(caught.value)
    assert house.opens_with(None) == [None]


def test_a_machine_without_a_keychain_refuses_to_move_there(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keys, "keychain_works", lambda: (False, "this machine has no keychain service"))
    with pytest.raises(HomeError, match="no keychain"):
        changing.change(house.settings, "keychain")
    assert house.opens_with(None) == [None]
    assert house.where_in_the_clear() == {"file"}


def test_a_memory_that_is_not_there_has_no_key_to_change(settings: Settings):
    for call in (changing.view, lambda s: changing.change(s, "passphrase", new=NEW)):
        with pytest.raises(NotFound, match="pomnit add"):
            call(settings)
    assert not settings.home.exists()


# On paper


def test_the_recovery_key_brings_back_a_lost_key(house: House, tmp_path: Path):
    changing.export(house.settings, paper := tmp_path / "paper.txt")
    assert paper.stat().st_mode & 0o777 == 0o600
    shutil.rmtree(house.settings.key_dir)
    with pytest.raises(KeyMissing, match="pomnit key import"):
        Memory.open(settings=house.settings)
    changing.restore(house.settings, paper)
    assert house.opens_with(None) == [None]
    shutil.rmtree(house.settings.key_dir)
    changing.restore(house.settings, paper, "passphrase", NEW)  # on another machine, say
    assert house.opens_with(NEW, None) == [NEW]


def test_the_recovery_key_opens_a_memory_whose_passphrase_is_forgotten(house: House, tmp_path: Path):
    changing.export(house.settings, paper := tmp_path / "paper.txt")
    changing.change(house.settings, "passphrase", new=OLD)
    changing.restore(house.settings, paper, None, NEW)
    assert house.opens_with(OLD, NEW) == [NEW]


def test_the_recovery_key_makes_a_lost_marker_anew(house: House, tmp_path: Path):
    changing.export(house.settings, paper := tmp_path / "paper.txt")
    (house.settings.home / "home.json").unlink()
    with pytest.raises(HomeError, match="pomnit key import"):
        Memory.open(settings=house.settings)
    changing.restore(house.settings, paper)
    assert house.opens_with(None) == [None]


def test_the_recovery_key_of_another_memory_changes_nothing(house: House, tmp_path: Path):
    other = tmp_path / "other.txt"
    other.write_text(recovery.written("ab" * 8, bytes(range(32))))
    before = (house.settings.home / "home.json").read_bytes()
    with pytest.raises(WrongKey, match="another memory"):
        changing.restore(house.settings, other)
    assert (house.settings.home / "home.json").read_bytes() == before
    (house.settings.home / "home.json").unlink()
    with pytest.raises(DatabaseDamaged):  # without the marker the database tells
        changing.restore(house.settings, other)
    assert not (house.settings.home / "home.json").exists()


def test_a_recovery_key_replaces_no_file_and_stays_out_of_the_memory(house: House, tmp_path: Path):
    there = note(tmp_path / "there.txt", "mine")
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "nowhere")
    for file in (there, link, house.settings.home / "key.txt", house.settings.home / "files" / "key.txt"):
        with pytest.raises(UsageError):
            changing.export(house.settings, file)
    assert there.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(UsageError, match="cannot be written"):
        changing.export(house.settings, tmp_path / "no folder" / "key.txt")


def test_no_error_shows_a_key_or_a_passphrase(house: House, tmp_path: Path):
    root = keys.open_keys(house.settings).root()
    changing.export(house.settings, paper := tmp_path / "paper.txt")
    signs = [line.split(None, 1)[1] for line in paper.read_text().splitlines() if line[:1].isdigit()]
    changing.change(house.settings, "passphrase", new=OLD)
    paper.write_text(paper.read_text().replace(signs[3], signs[3][::-1]))
    other = tmp_path / "other.txt"
    other.write_text(recovery.written("ab" * 8, bytes(range(32))))
    for call in (
        lambda: Memory.open(settings=house.settings, passphrase=NEW),
        lambda: Memory.open(settings=house.settings),
        lambda: changing.restore(house.settings, paper, None, NEW),
        lambda: changing.restore(house.settings, other, None, NEW),
        lambda: changing.unlock(house.settings, NEW),
    ):
        with pytest.raises(PomnitError) as caught:
            call()
        chain: BaseException | None = caught.value
        while chain is not None:
            for secret in (OLD, NEW, root.hex(), repr(root)[2:20], *signs):
                assert secret not in str(chain)
            chain = chain.__cause__ or chain.__context__

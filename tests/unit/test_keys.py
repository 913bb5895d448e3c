"""The key of a memory: private, apart from the memory, and checked before it is used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail, null

import pomnit
from pomnit.errors import HomeError, HomeTooNew, KeyMissing, WrongKey
from pomnit.privacy import keys
from pomnit.privacy.keys import open_keys
from pomnit.settings import Settings


@pytest.fixture
def given(tmp_path) -> Settings:
    return Settings(home=tmp_path / "memory", key="file", key_dir=tmp_path / "keys")


class InMemory(KeyringBackend):
    """A keychain for one test."""

    priority = 5

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password


@pytest.fixture
def keychain():
    before = keyring.get_keyring()
    keyring.set_keyring(backend := InMemory())
    yield backend
    keyring.set_keyring(before)


def secrets_of(opened: keys.Keys) -> set[bytes]:
    return {opened.database, opened.files}


def test_a_memory_is_opened_with_the_keys_it_was_made_with(given):
    first, second = open_keys(given), open_keys(given)
    assert (first.memory, secrets_of(first)) == (second.memory, secrets_of(second))
    assert first.name("digest") == second.name("digest")


def test_each_purpose_and_each_memory_has_keys_of_its_own(given, tmp_path):
    one, two = open_keys(given), open_keys(replace(given, home=tmp_path / "other"))
    root = bytes.fromhex((given.key_dir / f"{one.memory}.key").read_text())
    all_keys = [one.database, one.files, two.database, two.files, root]
    assert len(set(all_keys)) == 5
    assert all(len(key) == 32 for key in all_keys)
    assert one.name("digest") != two.name("digest")
    assert one.name("digest") != one.name("other digest")
    assert len(bytes.fromhex(one.name("digest"))) == 32


def test_the_key_is_private_and_outside_the_memory(given):
    before = os.umask(0)
    try:
        opened = open_keys(given)
    finally:
        os.umask(before)
    path = given.key_dir / f"{opened.memory}.key"
    assert opened.where == str(path)
    assert given.home not in path.parents
    assert path.stat().st_mode & 0o777 == 0o600
    assert (given.home / "home.json").stat().st_mode & 0o777 == 0o600
    assert given.home.stat().st_mode & 0o777 == given.key_dir.stat().st_mode & 0o777 == 0o700
    root = path.read_text().strip()
    for file in given.home.rglob("*"):
        assert root not in file.read_text()
        assert opened.database.hex() not in file.read_text()
    assert [p.name for p in given.home.iterdir()] == ["home.json"]  # nothing written aside is left


@pytest.mark.parametrize("system", ["macos.MacOS", "unix.Unix"])
def test_by_default_the_key_lies_outside_the_memory_on_every_system(monkeypatch, system):
    module, name = system.split(".")
    dirs = getattr(__import__(f"platformdirs.{module}", fromlist=[name]), name)("pomnit", False)
    for kind in ("data", "config", "cache"):
        monkeypatch.setattr(
            f"platformdirs.user_{kind}_dir", lambda *_, _kind=kind, **__: getattr(dirs, f"user_{_kind}_dir")
        )
    default = Settings.load(environ={})
    assert default.home not in (default.key_dir, *default.key_dir.parents)
    assert default.home not in default.cache.parents


def test_showing_keys_shows_no_key(given):
    opened = open_keys(given)
    root = (given.key_dir / f"{opened.memory}.key").read_text().strip()
    for shown in (repr(opened), str(opened), f"{opened}"):
        for secret in (root, opened.database.hex(), opened.files.hex()):
            assert secret not in shown
            assert repr(bytes.fromhex(secret))[2:20] not in shown


def test_a_missing_key_is_named_with_its_place(given):
    opened = open_keys(given)
    (given.key_dir / f"{opened.memory}.key").unlink()
    with pytest.raises(KeyMissing, match=opened.memory):
        open_keys(given)
    with pytest.raises(KeyMissing):  # and none is made in its place
        open_keys(given)


@pytest.mark.parametrize("text", ["00" * 32, "", "not a key", "ab" * 31, "ab" * 33, "zz" * 32])
def test_another_key_is_noticed_before_the_database_is_touched(given, text):
    opened = open_keys(given)
    (given.key_dir / f"{opened.memory}.key").write_text(text)
    with pytest.raises(WrongKey, match=r"\.key"):
        open_keys(given)


@pytest.mark.parametrize("bad", [b"", b"{", b"[]", b"{}", b'"text"', b"\xff\xfe", b'{"format": "x"}', b"null", b"1"])
def test_a_damaged_marker_is_reported_as_such(given, bad):
    open_keys(given)
    (given.home / "home.json").write_bytes(bad)
    with pytest.raises(HomeError, match=r"home\.json") as caught:
        open_keys(given)
    assert type(caught.value) is HomeError
    assert (given.home / "home.json").read_bytes() == bad


@pytest.mark.parametrize("newer", [{"format": 3}, {"format": 3, "key": None, "check": None}])
def test_a_memory_of_a_newer_format_is_refused(given, newer):
    open_keys(given)
    marker = given.home / "home.json"
    facts = json.loads(marker.read_text()) | newer
    marker.write_text(json.dumps({k: v for k, v in facts.items() if v is not None}))
    with pytest.raises(HomeTooNew, match="newer"):
        open_keys(given)


def test_no_new_key_is_made_for_an_old_database(given):
    given.home.mkdir()
    (given.home / "memory.db").write_bytes(b"data")
    with pytest.raises(HomeError, match=r"home\.json"):
        open_keys(given)
    assert not given.key_dir.exists()
    assert not (given.home / "home.json").exists()


def test_a_home_that_cannot_be_a_folder_is_a_home_error(given, tmp_path):
    (tmp_path / "memory").write_text("a file")
    with pytest.raises(HomeError, match="memory"):
        open_keys(given)


# The keychain


@pytest.mark.parametrize("place", ["auto", "keychain"])
def test_where_there_is_a_keychain_it_keeps_the_key(given, keychain, place):
    given = replace(given, key=place)
    opened = open_keys(given)
    assert opened.place == "keychain"
    assert list(keychain.held) == [("pomnit", opened.memory)]
    assert not given.key_dir.exists()
    assert secrets_of(open_keys(given)) == secrets_of(opened)
    assert secrets_of(open_keys(replace(given, key="file"))) == secrets_of(opened)  # the memory knows where its key is
    keychain.held["pomnit", opened.memory] = "11" * 32
    with pytest.raises(WrongKey, match="keychain"):
        open_keys(given)
    keychain.held.clear()
    with pytest.raises(KeyMissing, match="keychain"):
        open_keys(given)


@pytest.mark.parametrize("backend", [fail.Keyring, null.Keyring])
def test_a_machine_without_a_keychain_uses_a_file_or_says_so(given, keychain, backend):
    keyring.set_keyring(backend())
    assert open_keys(replace(given, key="auto")).place == "file"
    apart = replace(given, key="keychain", home=given.home.with_name("apart"))
    with pytest.raises(HomeError):  # never a memory whose key went nowhere
        open_keys(apart)
    assert not (apart.home / "home.json").exists()


# Two at once, and power cuts


def test_the_one_who_is_second_takes_the_key_of_the_first(given, monkeypatch):
    first: list[keys.Keys] = []
    save = keys.save

    def slowly(settings, marker, root):
        if not first:  # another process makes the memory while this one is making its key
            monkeypatch.setattr(keys, "save", save)
            first.append(open_keys(given))
        return save(settings, marker, root)

    monkeypatch.setattr(keys, "save", slowly)
    second = open_keys(given)
    assert (second.memory, secrets_of(second)) == (first[0].memory, secrets_of(first[0]))
    assert secrets_of(open_keys(given)) == secrets_of(second)


_RACER = """
import sys
from pathlib import Path
from pomnit.privacy.keys import open_keys
from pomnit.settings import Settings
print("ready", flush=True)
for line in sys.stdin:
    base = Path(line.strip())
    opened = open_keys(Settings(home=base / "home", key="file", key_dir=base / "keys"))
    print(opened.memory, opened.database.hex(), flush=True)
"""


def test_two_processes_that_make_a_memory_at_once_agree(tmp_path):
    path = os.pathsep.join([os.path.dirname(os.path.dirname(pomnit.__file__)), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", _RACER]
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    try:
        assert [r.stdout.readline() for r in racers] == ["ready\n"] * 2
        for number in range(20):
            for racer in racers:
                racer.stdin.write(f"{tmp_path / str(number)}\n")
                racer.stdin.flush()
            one, two = (racer.stdout.readline() for racer in racers)
            assert one == two != ""
    finally:
        for racer in racers:
            racer.communicate()
    assert [racer.returncode for racer in racers] == [0, 0]


def test_key_and_marker_survive_a_power_cut(given, monkeypatch):
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_ino), real(fd))[1])
    opened = open_keys(given)
    key, marker = given.key_dir / f"{opened.memory}.key", given.home / "home.json"
    assert synced.index(key.stat().st_ino) < synced.index(marker.stat().st_ino)
    assert given.key_dir.stat().st_ino in synced  # else the name of the file may be lost with the power
    assert given.home.stat().st_ino in synced

"""A memory with a passphrase: opened by it alone, unlocked for a session, locked again; and nothing shows a secret."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pomnit import Memory, Settings
from pomnit.errors import DatabaseDamaged, HomeError, Locked, NotFound, UsageError, WrongKey
from pomnit.privacy import changing, dumps, keys, passphrase, session, wrapped
from support import database, processes
from support.keychains import NEW, OLD
from support.pictures import engines, note, picture

pytestmark = pytest.mark.usefixtures("cheap")


@pytest.fixture
def given(settings: Settings) -> Settings:
    return replace(settings, key="passphrase")


@pytest.fixture
def filled(given: Settings, files: Path) -> Settings:
    """A memory with a passphrase, OLD, and a note."""
    with Memory.open(settings=given, engines=engines(), passphrase=OLD) as memory:
        memory.add([note(files / "a.txt", "a grey heron")])
    return given


def found(settings: Settings, **named: str) -> int:
    with Memory.open(settings=settings, engines=engines(), **named) as memory:
        return len(memory.search("heron"))


# Opening


def test_the_passphrase_opens_the_memory_and_nothing_else_does(filled: Settings):
    assert found(filled, passphrase=OLD) == 1
    with pytest.raises(WrongKey, match="not the passphrase") as wrong:
        found(filled, passphrase=NEW)
    with pytest.raises(Locked, match="type: pomnit unlock") as locked:
        found(filled)
    assert (wrong.value.exit_code, locked.value.exit_code) == (14, 17)
    assert found(filled, passphrase=OLD) == 1  # as often as one likes


def test_the_key_lies_nowhere_in_the_clear(filled: Settings, tmp_path: Path):
    root = keys.open_keys(filled, secret=OLD).root()
    assert not filled.key_dir.exists()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert root not in data
            assert root.hex().encode() not in data
            assert OLD.encode() not in data


def test_a_memory_that_is_to_have_a_passphrase_is_not_made_without_one(given: Settings):
    with pytest.raises(Locked, match="pomnit unlock"):
        Memory.open(settings=given)
    with pytest.raises(UsageError):
        Memory.open(settings=given, passphrase="short")
    assert not (given.home / "home.json").exists()


def test_a_passphrase_for_a_memory_that_has_none_is_refused(settings: Settings):
    with pytest.raises(UsageError, match="key = passphrase"):
        Memory.open(settings=settings, passphrase=OLD)
    assert not (settings.home / "home.json").exists()
    Memory.open(settings=settings).close()
    with pytest.raises(UsageError, match="--to passphrase"):
        Memory.open(settings=settings, passphrase=OLD)


@pytest.mark.parametrize(
    "composed", [("\u0439\u0451" * 8, "\u0438\u0306\u0435\u0308" * 8), ("é" * 7 + "abcd", "e\u0301" * 7 + "abcd")]
)
def test_the_same_letters_are_the_same_passphrase_on_every_keyboard(given: Settings, composed: tuple[str, str]):
    one, other = composed
    assert one != other
    one, other = one + " words", other + " words"
    Memory.open(settings=given, passphrase=one).close()
    Memory.open(settings=given, passphrase=other).close()


@pytest.mark.parametrize(
    "bad", ["", "a\0bcdefgh", "tab\tinside here", "line\nend of it", "\ud800 surrogate", "x" * 1025, "ж" * 1000]
)
def test_what_no_keyboard_types_is_refused_and_not_shown(filled: Settings, bad: str):
    for call in (passphrase.fit, lambda text: found(filled, passphrase=text)):
        with pytest.raises(UsageError) as caught:
            call(bad)
        assert not bad or bad not in str(caught.value)


def test_ten_megabytes_are_refused_without_being_stretched(
    filled: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(wrapped, "_stretched", lambda *_: pytest.fail("stretched"))
    huge = "long " * 2_000_000
    with pytest.raises(UsageError, match="1024"):
        found(filled, passphrase=huge)
    file = note(tmp_path / "pass", huge)
    file.chmod(0o600)
    with pytest.raises(UsageError, match="1024"):
        found(replace(filled, passphrase_file=file))


def test_a_short_passphrase_gets_a_hint():
    assert "guessed" in (passphrase.hint("nine nine") or "")
    assert passphrase.hint("four words of a dice") is None


# What is written down


@pytest.mark.parametrize("name", ["kdf", "memory_kib", "passes", "lanes", "salt", "sealed"])
def test_a_wrapped_key_that_was_changed_does_not_open(filled: Settings, name: str):
    marker = filled.home / "home.json"
    facts = json.loads(marker.read_text())
    value = facts["wrapped"][name]
    facts["wrapped"][name] = value + 1 if isinstance(value, int) else value[:-1] + ("0" if value[-1] != "0" else "1")
    marker.write_text(json.dumps(facts))
    with pytest.raises(HomeError) as caught:
        found(filled, passphrase=OLD)
    assert type(caught.value) is (HomeError if name == "kdf" else WrongKey)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        {},
        {"memory_kib": 1 << 40},
        {"passes": 10**9},
        {"lanes": 0},
        {"memory_kib": True},
        {"salt": "zz"},
        {"sealed": ""},
    ],
)
def test_a_marker_cannot_ask_for_more_than_a_machine_has(
    filled: Settings, wrong: dict | None, monkeypatch: pytest.MonkeyPatch
):
    marker = filled.home / "home.json"
    facts = json.loads(marker.read_text())
    facts["wrapped"] = wrong if not wrong else facts["wrapped"] | wrong
    marker.write_text(json.dumps(facts))
    monkeypatch.setattr(wrapped, "_stretched", lambda *_: pytest.fail("stretched"))
    with pytest.raises(HomeError, match=r"home\.json"):
        found(filled, passphrase=OLD)


@pytest.mark.parametrize("name", ["memory", "check"])
@pytest.mark.parametrize("value", ["../../../../x", "/etc/passwd", "x" * 16, "", 7, None])
def test_what_a_marker_says_never_becomes_a_path(filled: Settings, name: str, value: object):
    marker = filled.home / "home.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {name: value}))
    with pytest.raises(HomeError, match=r"home\.json"):
        found(filled, passphrase=OLD)


def test_a_wrapped_key_of_another_memory_does_not_open(given: Settings, tmp_path: Path):
    one, two = (replace(given, home=tmp_path / name) for name in ("one", "two"))
    for each in (one, two):
        Memory.open(settings=each, passphrase=OLD).close()
    facts = json.loads((two.home / "home.json").read_text())
    theirs = json.loads((one.home / "home.json").read_text())["wrapped"]
    (two.home / "home.json").write_text(json.dumps(facts | {"wrapped": theirs}))
    with pytest.raises(WrongKey):
        Memory.open(settings=two, passphrase=OLD)


def test_the_real_cost_is_above_the_second_choice_of_rfc_9106(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    assert wrapped.COST.memory_kib >= 64 << 10
    assert wrapped.COST.passes >= 3
    assert wrapped.COST.lanes == 4


# The file that the settings name


def test_a_file_with_the_passphrase_serves_what_asks_nobody(filled: Settings, tmp_path: Path):
    file = note(tmp_path / "pass", OLD + "\n")
    file.chmod(0o600)
    assert found(replace(filled, passphrase_file=file)) == 1
    file.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        found(replace(filled, passphrase_file=file))
    with pytest.raises(UsageError, match="POMNIT_PASSPHRASE_FILE"):
        found(replace(filled, passphrase_file=tmp_path / "none"))
    file.write_bytes(b"\xff\xfe" * 20)
    file.chmod(0o600)
    with pytest.raises(UsageError, match="UTF-8"):
        found(replace(filled, passphrase_file=file))


def test_a_pipe_with_the_passphrase_serves_too(filled: Settings):
    reading, writing = os.pipe()
    os.write(writing, OLD.encode() + b"\n")
    os.close(writing)
    try:
        assert found(replace(filled, passphrase_file=Path(f"/dev/fd/{reading}"))) == 1
    finally:
        os.close(reading)


# Unlock and lock


@pytest.mark.usefixtures("sessions")
def test_an_unlocked_memory_opens_until_it_is_locked(filled: Settings):
    view = changing.unlock(filled, OLD)
    assert (view.locked, view.until) == (False, None)
    assert found(filled) == 1
    with Memory.open(settings=filled, engines=engines()) as memory:
        assert "unlocked" in memory.status().key
        assert OLD not in memory.status().key
        session.drop(memory.keys.memory)
        for use in (lambda: memory.search("heron"), memory.status, lambda: memory.add([]), lambda: memory.forget([])):
            with pytest.raises(Locked, match="pomnit unlock"):
                use()
        changing.unlock(filled, OLD)
        with pytest.raises(Locked):  # what was opened before stays locked
            memory.search("heron")
    assert found(filled) == 1


@pytest.mark.usefixtures("sessions")
def test_a_memory_is_locked_again_after_the_time_it_was_unlocked_for(filled: Settings, monkeypatch: pytest.MonkeyPatch):
    view = changing.unlock(filled, OLD, 3600)
    assert view.until is not None
    assert datetime.now(UTC) < datetime.fromisoformat(view.until) <= datetime.now(UTC) + timedelta(hours=1)
    assert found(filled) == 1
    for wrong in (0, -1, session.LONGEST_S + 1):
        with pytest.raises(UsageError, match="30 days"):
            changing.unlock(filled, OLD, wrong)


@pytest.mark.usefixtures("sessions")
def test_unlocking_with_a_wrong_passphrase_leaves_it_as_it_was(filled: Settings):
    with pytest.raises(WrongKey):
        changing.unlock(filled, NEW)
    assert changing.view(filled).locked
    changing.unlock(filled, OLD)
    with pytest.raises(WrongKey):
        changing.unlock(filled, NEW)
    assert not changing.view(filled).locked


@pytest.mark.usefixtures("sessions")
def test_unlocking_twice_is_no_error_and_the_last_time_counts(filled: Settings):
    changing.unlock(filled, OLD, 3600)
    assert changing.unlock(filled, OLD).until is None
    assert changing.unlock(filled, OLD, 60).until is not None


def test_only_a_memory_with_a_passphrase_can_be_unlocked(settings: Settings):
    with pytest.raises(NotFound):
        changing.unlock(settings, OLD)
    Memory.open(settings=settings).close()
    with pytest.raises(UsageError, match="nothing to lock or unlock"):
        changing.unlock(settings, OLD)


@pytest.mark.usefixtures("sessions")
def test_a_kept_key_of_another_memory_is_not_used(filled: Settings):
    memory = changing.view(filled).memory
    session.keep(memory, bytes(32), 60)
    with pytest.raises(Locked):
        found(filled)


def test_where_nothing_keeps_a_key_unlock_says_what_to_do(filled: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session, "_places", lambda: iter(()))
    with pytest.raises(UsageError, match="POMNIT_PASSPHRASE_FILE"):
        changing.unlock(filled, OLD)


# The places of a session


@pytest.mark.skipif(sys.platform != "linux", reason="a place of Linux")
def test_a_file_in_memory_keeps_the_key_where_there_is_no_keyring(filled: Settings, runtime: Path):
    changing.unlock(filled, OLD)
    (kept,) = (runtime / "pomnit").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert found(filled) == 1
    kept.write_text("not JSON")
    with pytest.raises(Locked):
        found(filled)
    session.drop(changing.view(filled).memory)
    assert list((runtime / "pomnit").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="a place of Linux")
def test_a_file_in_memory_ends_when_its_time_is_over_whatever_the_clock_is_set_to(
    filled: Settings, runtime: Path, monkeypatch: pytest.MonkeyPatch
):
    changing.unlock(filled, OLD, 60)
    assert found(filled) == 1
    now = time.clock_gettime(session._CLOCK)
    monkeypatch.setattr(time, "time", lambda: 0.0)  # somebody sets it back
    monkeypatch.setattr(time, "clock_gettime", lambda _: now + 61)
    with pytest.raises(Locked):
        found(filled)
    assert list((runtime / "pomnit").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="a place of Linux")
def test_a_folder_of_others_or_on_a_disk_keeps_no_key(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert session._runtime_folder() == runtime
    runtime.chmod(0o755)
    assert session._runtime_folder() is None
    runtime.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert session._runtime_folder() is None
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    assert session._runtime_folder() is None
    monkeypatch.setattr(session, "_in_memory", lambda _: False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    assert session._runtime_folder() is None


def test_the_kernel_keeps_a_key_for_this_session():
    calls = session._CALLS.get(os.uname().machine)
    place = session.Kernel(*calls) if calls and sys.platform == "linux" else None
    memory = os.urandom(8).hex()
    if place is None or not place.keep(memory, bytes(range(32)), 60):
        pytest.skip("no kernel keyring here")
    try:
        kept = place.kept(memory)
        assert kept is not None
        assert kept.root == bytes(range(32))
        assert kept.until is not None
        assert "\\x01" not in repr(kept)
        again = f"from pomnit.privacy import session; print(session.Kernel{calls}.kept({memory!r}).root.hex())"
        assert processes.finished("-c", again).stdout.strip() == bytes(range(32)).hex()  # for other processes, too
        assert place.keep(memory, bytes(32), None)
        assert (place.kept(memory) or kept).until is None
    finally:
        assert place.drop(memory)
    assert place.kept(memory) is None
    assert not place.drop(memory)


def test_the_keychain_of_a_mac_keeps_a_key_until_the_machine_starts_anew(keychain, monkeypatch: pytest.MonkeyPatch):
    place = session.Keychain()
    monkeypatch.setattr(session, "start_of_machine", lambda: "")
    assert not place.keep("ab" * 8, bytes(range(32)), None)  # it would stay for ever
    monkeypatch.setattr(session, "start_of_machine", lambda: "one")
    assert place.keep("ab" * 8, bytes(range(32)), 60)
    kept = place.kept("ab" * 8)
    assert kept is not None
    assert kept.root == bytes(range(32))
    monkeypatch.setattr(session, "start_of_machine", lambda: "two")
    assert place.kept("ab" * 8) is None
    assert keychain.held == {}
    monkeypatch.setattr(session, "start_of_machine", lambda: "one")
    assert place.keep("ab" * 8, bytes(range(32)), 60)
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    assert place.kept("ab" * 8) is None
    assert not place.drop("ab" * 8)


# Locked while somebody works


def finish_reading(child: subprocess.Popen[str]) -> None:
    """Lets a recogniser that waits go on, as often as it asks."""
    child.stdin.write("\n" * 50)
    child.stdin.flush()


@pytest.mark.slow
@pytest.mark.usefixtures("sessions")
def test_a_memory_locked_while_its_owner_works_loses_nothing(
    filled: Settings, files: Path, monkeypatch: pytest.MonkeyPatch
):
    from pomnit.governor import locking

    for i in range(6):
        picture(files / f"{i}.png", f"heron{i}", colour=f"#00000{i}")
    changing.unlock(filled, OLD)
    child = processes.started("gated", "add", str(files))
    assert child.stdout.readline() == "reading\n"
    assert locking.lock(filled, ending_s=0.0).owner == "ending"  # it is told, and its recogniser is still at it
    finish_reading(child)
    _, err = child.communicate(timeout=processes.LONGEST_S)
    assert (child.returncode, err.count("\n")) == (17, 1), err
    assert "type: pomnit unlock" in err
    with pytest.raises(Locked):
        found(filled)
    done = locking.lock(filled)
    assert (done.was_unlocked, done.owner, done.process) == (False, "none", None)
    changing.unlock(filled, OLD)
    with Memory.open(settings=filled, engines=engines()) as memory:
        assert memory.retry().failed == 0
        assert memory.status().items == {"note": {"ready": 1}, "image": {"ready": 6}}
        assert (memory.status().waiting, memory.status().failures) == ({}, ())
    assert database.what_disagrees(filled) == []


@pytest.mark.slow
def test_an_owner_that_was_given_the_passphrase_itself_is_asked_to_end(filled: Settings, files: Path, tmp_path: Path):
    """No session tells it, so the message on its socket does; its next step is its last."""
    from pomnit.governor import locking

    file = note(tmp_path / "pass", OLD)
    file.chmod(0o600)
    for i in range(6):
        picture(files / f"{i}.png", f"heron{i}", colour=f"#00000{i}")
    child = processes.started("gated", "add", str(files), environ={"POMNIT_PASSPHRASE_FILE": str(file)})
    assert child.stdout.readline() == "reading\n"
    assert locking.lock(filled, ending_s=0.0).process == child.pid
    finish_reading(child)
    _, err = child.communicate(timeout=processes.LONGEST_S)
    assert child.returncode == 17, err
    with Memory.open(settings=filled, engines=engines(), passphrase=OLD) as memory:
        memory.retry()
        assert memory.status().items == {"note": {"ready": 1}, "image": {"ready": 6}}


@pytest.mark.usefixtures("sessions")
def test_lock_ends_an_owner_of_another_process_and_says_so(filled: Settings, cli: Callable):
    done = cli("lock")
    assert (done.code, done.out.count("it was not unlocked")) == (0, 1)
    changing.unlock(filled, OLD)
    done = cli("lock", "--json")
    assert json.loads(done.out) == {"home": str(filled.home), "was_unlocked": True, "owner": "none", "process": None}


@pytest.mark.usefixtures("sessions")
def test_a_memory_that_is_locked_before_it_holds_anything_is_made_all_the_same(given: Settings, files: Path):
    from pomnit.governor import locking

    changing.unlock(given, OLD)  # makes the key; there is no database yet
    assert locking.lock(given).owner == "none"
    changing.unlock(given, OLD)
    with Memory.open(settings=given, engines=engines()) as memory:
        assert memory.add([note(files / "a.txt", "a grey heron")]).new == 1


# The command line


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], None]:
    """Lets the command line read this from its standard input."""

    def pipe(text: str | bytes) -> None:
        data = text if isinstance(text, bytes) else text.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return pipe


@pytest.mark.usefixtures("sessions")
def test_a_memory_is_made_unlocked_changed_and_locked_from_the_command_line(
    cli, piped, files: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
):
    monkeypatch.setenv("POMNIT_KEY", "passphrase")
    path = note(files / "a.txt", "a grey heron")
    done = cli("add", path)
    assert (done.code, done.err.count("pomnit unlock")) == (17, 1)
    piped(OLD + "\n")
    assert cli("unlock", "--for", "8h").code == 0
    assert cli("add", path).code == 0
    assert json.loads(cli("key", "--json").out)["locked"] is False
    assert cli("lock").code == 0
    assert cli("search", "heron").code == 17
    assert "locked     yes" in cli("key").out
    piped(OLD + "\n" + NEW + "\r\n")  # the one until now, then the new one
    assert cli("key", "change").code == 0
    piped(OLD)
    assert cli("unlock").code == 14
    piped(NEW)
    assert cli("unlock").code == 0
    assert cli("search", "heron").code == 0
    assert cli("key", "change", "--to", "file").code == 0
    assert cli("lock").code == 2
    assert cli("search", "heron").code == 0


@pytest.mark.parametrize(
    "bad", [b"", b"\n", b"with\0NUL in it\n", b"\xff\xfe\xfa is no text\n", b"x" * 10_000_000, b"wrong but fine\n"]
)
def test_what_is_piped_in_and_no_passphrase_ends_with_one_line_that_does_not_show_it(
    filled: Settings, cli, piped, bad: bytes
):
    piped(bad)
    done = cli("unlock")
    assert done.code == (14 if bad.startswith(b"wrong") else 2)
    assert done.err.count("\n") == 1
    assert len(done.err) < 400
    assert len(bad) < 3 or bad.strip()[:12].decode("latin-1") not in done.err


def test_the_file_that_the_settings_name_unlocks_on_the_command_line(
    filled: Settings, cli, tmp_path: Path, monkeypatch
):
    file = note(tmp_path / "pass", OLD)
    file.chmod(0o600)
    monkeypatch.setenv("POMNIT_PASSPHRASE_FILE", str(file))
    assert cli("search", "heron").code == 0
    assert cli("key", "export", tmp_path / "paper.txt").code == 0
    assert cli("key", "export", tmp_path / "paper.txt").code == 2


@pytest.mark.parametrize("wrong", ["8", "h", "-1h", "8 hours", "1e9s", "99999999s", "٣h", ""])
def test_a_time_that_is_none_is_refused(filled: Settings, cli, piped, wrong: str):
    piped(OLD)
    done = cli("unlock", f"--for={wrong}")
    assert done.code == 2
    assert changing.view(filled).locked


def test_a_passphrase_is_no_argument_of_any_command():
    from pomnit.doors.cli.commands import pomnit

    names = {
        name
        for command in (pomnit, *pomnit.commands.values(), *pomnit.commands["key"].commands.values())
        for p in command.params
        for name in p.opts
    }
    assert not {name for name in names if "pass" in name or "secret" in name}


def test_the_models_can_be_looked_at_while_the_memory_is_locked(filled: Settings, cli):
    done = cli("models", "--json")
    assert (done.code, done.err.count("locked")) == (0, 1)
    assert json.loads(done.out)


def test_doctor_says_that_a_memory_is_locked(filled: Settings, cli):
    checks = {check["name"]: check for check in json.loads(cli("doctor", "--json").out)}
    assert checks["key"]["verdict"] == "ok"
    assert checks["key"]["text"].endswith("wrapped by a passphrase; locked")
    assert checks["key"]["next"] == "pomnit unlock"


def test_a_lost_keychain_entry_names_what_to_do(
    keychain, cli, files: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("POMNIT_KEY", "keychain")
    assert cli("add", note(files / "a.txt", "a grey heron")).code == 0
    assert cli("key", "export", tmp_path / "paper.txt").code == 0
    keychain._file.write_text("{}")
    done = cli("search", "heron")
    assert (done.code, "pomnit key import FILE" in done.err) == (13, True)
    checks = {check["name"]: check for check in json.loads(cli("doctor", "--json").out)}
    assert checks["key"]["next"].startswith("pomnit key import")
    assert cli("key", "import", tmp_path / "paper.txt").code == 0
    assert cli("search", "heron").code == 0


def at_a_terminal(*words: str, says: list[tuple[str, str]]) -> tuple[int, str]:
    """Runs a command at a terminal of its own, types an answer after each prompt; gives the code and all it showed."""
    pid, terminal = pty.fork()
    if not pid:
        environ = processes.environment()
        os.execve(sys.executable, [sys.executable, "-m", "pomnit", *words], environ)
    shown, left = "", list(says)
    try:
        while piece := os.read(terminal, 4096):
            shown += piece.decode("utf-8", "replace")
            if left and left[0][0] in shown:
                os.write(terminal, left.pop(0)[1].encode() + b"\n")
    except OSError:  # Linux: the other side is closed
        pass
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown


@pytest.mark.slow
def test_a_passphrase_typed_at_a_terminal_is_asked_twice_and_never_shown(settings: Settings, files: Path):
    with Memory.open(settings=settings, engines=engines()) as memory:
        memory.add([note(files / "a.txt", "a grey heron")])
    change = ("key", "change", "--to", "passphrase")
    code, shown = at_a_terminal(*change, says=[("New passphrase: ", NEW), ("The same again: ", NEW + "!")])
    assert (code, NEW in shown) == (2, False)
    assert changing.view(settings).place == "file"
    code, shown = at_a_terminal(*change, says=[("New passphrase: ", NEW), ("The same again: ", NEW)])
    assert (code, NEW in shown) == (0, False)
    assert found(settings, passphrase=NEW) == 1


# Modes


def loose(*folders: Path) -> list[str]:
    """Gives what others may read, write or enter."""
    paths = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    return [f"{path} {path.lstat().st_mode:o}" for path in paths if path.exists() and path.lstat().st_mode & 0o077]


def test_all_that_is_made_is_private_whatever_the_umask(settings: Settings, files: Path, tmp_path: Path):
    before = os.umask(0)
    try:
        with Memory.open(settings=settings, engines=engines()) as memory:
            memory.add([note(files / "a.txt", "a grey heron"), picture(files / "b.png", "heron")], copy=True)
            memory.search("heron")
            changing.change(settings, "passphrase", new=NEW)
            changing.export(settings, tmp_path / "paper.txt", secret=NEW)
            assert loose(settings.home, settings.key_dir, settings.cache, settings.models, tmp_path / "paper.txt") == []
    finally:
        os.umask(before)


def test_what_others_may_read_is_made_private_when_the_memory_is_opened(settings: Settings, files: Path):
    with Memory.open(settings=settings, engines=engines()) as memory:
        memory.add([picture(files / "b.png", "heron")], copy=True)
    for path in (settings.home, *settings.home.rglob("*"), settings.key_dir, *settings.key_dir.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    mine = note(settings.home / "mine.txt", "not of Pomnit")
    mine.chmod(0o644)
    assert len(loose(settings.home, settings.key_dir)) > 8
    Memory.open(settings=settings, engines=engines()).close()
    assert loose(settings.home, settings.key_dir) == [f"{mine} 100644"]  # in a closed folder, and not ours


def test_doctor_tells_of_what_others_may_read_and_changes_nothing(settings: Settings, cli, files: Path):
    assert cli("add", note(files / "a.txt", "a grey heron")).code == 0
    (settings.home / "memory.db").chmod(0o644)
    checks = {check["name"]: check for check in json.loads(cli("doctor", "--json").out)}
    assert checks["private"]["verdict"] == "problem"
    assert (settings.home / "memory.db").stat().st_mode & 0o777 == 0o644
    assert cli("status").code == 0
    assert (settings.home / "memory.db").stat().st_mode & 0o777 == 0o600


# Core dumps


_DIES = """
import os, resource, signal, ctypes
{setup}
print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize("pattern", [b"core\n", b"|/usr/lib/systemd-coredump %P\n"])
def test_processes_that_hold_keys_and_their_engines_dump_no_core(settings: Settings, tmp_path: Path, pattern: bytes):
    Memory.open(settings=settings).close()
    holds = "from pomnit import Memory; Memory.open().close()"
    assert processes.finished("-c", _DIES.format(setup=holds)).stdout.split() == ["0", "0"]
    file = tmp_path / "core_pattern"
    file.write_bytes(pattern)
    told = f"dumps._PATTERN = pathlib.Path({str(file)!r})"
    engine = f"import pathlib; from pomnit.privacy import dumps; {told}; dumps.forbid_measured()"
    limit, dumpable = processes.finished("-c", _DIES.format(setup=engine)).stdout.split()
    assert (limit, dumpable) in ({("1", "1"), ("0", "0")} if pattern.startswith(b"|") else {("0", "1")})


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_an_engine_child_dumps_no_core(settings: Settings):
    from pomnit.governor.children import Child

    dumps.forbid()
    child = Child("fake", {}, module="support.fake_child")
    try:
        limits = Path(f"/proc/{child.pid}/limits").read_text()
        line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert line.split()[4] in ("0", "1")
    finally:
        child.kill()
        child.close()


def test_a_half_copied_database_is_noticed_and_the_whole_one_still_opens(filled: Settings, tmp_path: Path):
    import shutil

    for part in (0.0, 0.1, 0.5, 0.9, 0.999):
        copy = tmp_path / f"copy-{part}"
        shutil.copytree(filled.home, copy)
        whole = (copy / "memory.db").read_bytes()
        (copy / "memory.db").write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(DatabaseDamaged, match="backup"):
            found(replace(filled, home=copy), passphrase=OLD)
    assert found(filled, passphrase=OLD) == 1

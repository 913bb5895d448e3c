"""What every test stands on: no network, nothing of this user, and a memory whose engines need no model."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pomnit.memory import Memory
from pomnit.settings import Settings
from support import network, processes
from support.pictures import engines

network.install()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as what a shell starts in the background: children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Fails a test that tried to reach another machine, even when the program swallowed the refusal."""
    network.attempts.clear()
    yield
    assert network.attempts == []


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the user who runs the tests is read or written; the clock's zone is fixed."""
    for name in os.environ:
        if name.startswith(("POMNIT_", "XDG_")):
            monkeypatch.delenv(name)
    for name, value in {
        "HOME": tmp_path / "user",
        "POMNIT_HOME": tmp_path / "home",
        "POMNIT_CACHE": tmp_path / "cache",
        "POMNIT_MODELS": tmp_path / "models",
        "POMNIT_KEY": "file",
        "POMNIT_KEY_DIR": tmp_path / "keys",
        "POMNIT_THREADS": "2",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "TZ": "UTC",
    }.items():
        monkeypatch.setenv(name, str(value))
    time.tzset()


@pytest.fixture
def settings(isolated: None) -> Settings:
    return Settings.load()


@pytest.fixture
def memory(settings: Settings) -> Iterator[Memory]:
    """An empty memory whose recogniser reads what ``support.pictures.picture`` wrote."""
    with Memory.open(settings=settings, engines=engines()) as memory:
        yield memory


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """An empty folder for things to remember."""
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs one command of the command line in this process, with the fake engines."""
    from pomnit.doors.cli.commands import run

    opened = Memory.open
    monkeypatch.setattr(Memory, "open", lambda *args, **named: opened(*args, **{"engines": engines(), **named}))

    def call(*words: object) -> Outcome:
        capsys.readouterr()
        code = run([str(word) for word in words])
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture
def pomnit_process(isolated: None) -> Callable[..., CompletedProcess[str]]:
    """Runs one command as its own process, with the engines of this machine."""
    return lambda *words, **named: processes.finished("-m", "pomnit", *map(str, words), **named)

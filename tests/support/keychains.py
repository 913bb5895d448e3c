"""Keychains for tests: one in this process, and one in a file, which children share and which a kill cannot tear.

And what a memory with a passphrase needs to be quick: a passphrase that is stretched only a little.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError

from pomnit.privacy import session, wrapped
from pomnit.store import disk

CHEAP = wrapped.Cost(memory_kib=64, passes=1, lanes=1)
OLD, NEW = "старый длинный пароль", "correct horse battery staple"


class OnDisk(KeyringBackend):
    """A keychain in the file that TEST_KEYCHAIN names; so for the children, too."""

    priority = 5

    @property
    def _file(self) -> Path:
        return Path(os.environ["TEST_KEYCHAIN"])

    @property
    def held(self) -> dict[str, str]:
        return json.loads(self._file.read_text("utf-8")) if self._file.exists() else {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        disk.write_over(self._file, json.dumps(self.held | {f"{service}/{username}": password}).encode())

    def delete_password(self, service: str, username: str) -> None:
        held = self.held
        if held.pop(f"{service}/{username}", None) is None:
            raise PasswordDeleteError("there is none")
        disk.write_over(self._file, json.dumps(held).encode())


@pytest.fixture
def keychain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OnDisk]:
    """A keychain of this test, for children, too."""
    before = keyring.get_keyring()
    monkeypatch.setenv("TEST_KEYCHAIN", str(tmp_path / "keychain.json"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "support.keychains.OnDisk")
    keyring.set_keyring(backend := OnDisk())
    yield backend
    keyring.set_keyring(before)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passphrases are stretched a little only."""
    monkeypatch.setattr(wrapped, "COST", CHEAP)


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A place that keeps keys for a while, whatever this machine has; what is kept is dropped in the end."""
    kept: set[str] = set()
    keep = session.keep
    monkeypatch.setattr(session, "keep", lambda memory, *rest: (kept.add(memory), keep(memory, *rest))[1])
    monkeypatch.setattr(session, "_LOOK_S", 0.0)
    if keep("0" * 16, bytes(32), 60) is None:
        pytest.skip("this machine keeps no key for a while: no kernel keyring and no XDG_RUNTIME_DIR in memory")
    session.drop("0" * 16)
    yield
    for memory in kept:
        session.drop(memory)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """XDG_RUNTIME_DIR in memory, and no kernel keyring."""
    shm = Path("/dev/shm")
    if sys.platform != "linux" or not session._in_memory(shm):
        pytest.skip("needs a folder in memory")
    folder = shm / f"pomnit-test-{os.getpid()}-{tmp_path.name}"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setattr(session, "_CALLS", {})
    yield folder
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()

"""The one owner of a memory: who holds ``owner.lock``. The system frees the lock when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from pomnit.errors import HomeError


class OwnerLock:
    """The lock of one memory's folder."""

    def __init__(self, home: Path) -> None:
        self._path = home / "owner.lock"
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Becomes the owner; False when another process, or another holder in this one, is."""
        if self._descriptor is not None:
            return False
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HomeError(f"{self._path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        _sign(descriptor, f"{os.getpid()}\n")
        return True

    def give_back(self) -> None:
        """Stops being the owner."""
        if self._descriptor is not None:
            _sign(self._descriptor, "")
            os.close(self._descriptor)
            self._descriptor = None


def owner_of(home: Path) -> int | None:
    """Gives the process that says it is the owner, None when none that lives does. For people: only the lock counts."""
    try:
        pid = int((home / "owner.lock").read_text("ascii")[:20])
        os.kill(pid, 0)  # sends nothing
    except (OSError, ValueError, OverflowError):  # nobody's, ended, or another user's now
        return None
    return pid


def _sign(descriptor: int, text: str) -> None:
    """Writes who holds the lock into its file; on a full disk nobody does."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode("ascii"), 0)

"""The one owner of a memory: who holds ``owner.lock``. The system frees the lock when its holder dies."""

from __future__ import annotations

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
        return True

    def give_back(self) -> None:
        """Stops being the owner."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

"""The signs that a memory's folder gives of capture: who records, and until when it is paused. And how it is stopped.

``capture.lock`` is locked by who records. ``capture.paused`` is there while capture is paused; it holds the second
since 1970 at which it goes on by itself, or nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import secrets
import select
import time
from collections.abc import Iterator
from pathlib import Path

from pomnit.errors import HomeError, UsageError
from pomnit.records import CaptureState
from pomnit.text.times import from_seconds

LOCK, PAUSED = "capture.lock", "capture.paused"
LONGEST_S = 366 * 24 * 3600
_TRIES, _BETWEEN_S = 5, 0.02


class Stop:
    """Asks capture to end, from a signal handler or another thread."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self.asked = False

    def ask(self) -> None:
        """Asks for it; may be called at any time, and often."""
        if not self.asked:
            self.asked = True
            os.write(self._write, b"x")

    def fileno(self) -> int:
        """Gives what is readable once it was asked."""
        return self._read

    def wait(self, seconds: float) -> bool:
        """Waits so long; True at once when it is asked to stop."""
        if seconds > 0 and not self.asked:
            select.select([self._read], [], [], seconds)
        return self.asked

    def close(self) -> None:
        """Gives its descriptors back."""
        for descriptor in (self._read, self._write):
            with contextlib.suppress(OSError):
                os.close(descriptor)


@contextlib.contextmanager
def recording(home: Path) -> Iterator[None]:
    """Makes this the process that records, for as long as the block runs.

    Raises:
        UsageError: another process records already.
        HomeError: the sign cannot be put up.
    """
    path = home / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HomeError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        if not _taken(descriptor):
            pid = recorder(home)
            who = f"process {pid}" if pid else "another process"
            raise UsageError(f"{who} records already; `pomnit pause` and `pomnit resume` speak to it")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    """Takes the lock; a few times, since who only looks whether somebody records holds it for a moment."""
    for _ in range(_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_BETWEEN_S)
    return False


def recorder(home: Path) -> int | None:
    """Gives the process that records, None when none does."""
    try:
        descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 20, 0).strip()
        return int(text) if text.isdigit() else None
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def pause(home: Path, seconds: float | None = None) -> float:
    """Pauses capture, for so long or until ``resume``; gives the second since 1970 at which it goes on, or infinity.

    Raises:
        UsageError: a time that does not fit.
        HomeError: the sign cannot be put up.
    """
    if seconds is not None and not 0 < seconds <= LONGEST_S:
        raise UsageError(f"{seconds:g} seconds is no time to pause for; give up to a year, such as 10m")
    until = math.inf if seconds is None else time.time() + seconds
    aside = home / f".{PAUSED}.{secrets.token_hex(4)}"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as out:
            out.write("" if seconds is None else f"{until:.3f}\n")
        os.replace(aside, home / PAUSED)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise HomeError(f"{home / PAUSED} cannot be written: {error.strerror}") from error
    return until


def resume(home: Path) -> bool:
    """Lets capture go on; False when it was not paused.

    Raises:
        HomeError: the sign cannot be taken down.
    """
    was = paused_until(home) is not None
    try:
        (home / PAUSED).unlink(missing_ok=True)
    except OSError as error:
        raise HomeError(f"{home / PAUSED} cannot be removed: {error.strerror}") from error
    return was


def state(home: Path) -> CaptureState:
    """Gives whether a memory records the screen."""
    until = paused_until(home)
    when = None if until is None or math.isinf(until) else from_seconds(until)
    return CaptureState(recorder(home), until is not None, when)


def paused_until(home: Path) -> float | None:
    """Gives until when capture is paused, in seconds since 1970, or infinity; None when it is not."""
    try:
        text = (home / PAUSED).read_text("ascii")[:40].strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):  # there is a sign, and nobody knows what it says
        return math.inf
    try:
        until = float(text) if text else math.inf
    except ValueError:
        return math.inf
    if math.isnan(until):
        return math.inf
    return until if until > time.time() else None

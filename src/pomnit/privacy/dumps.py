"""No core dumps: what is in the memory of our processes is never written to a disk by the system."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import resource
from pathlib import Path

_PR_SET_DUMPABLE = 4  # sys/prctl.h
_PATTERN = Path("/proc/sys/kernel/core_pattern")


def forbid() -> None:
    """Turns core dumps off for this process and those that it starts.

    On Linux no other program of this user may look into this process from now on, either.
    """
    _limit(0)
    if platform.system() == "Linux":
        _hide()


def forbid_measured() -> None:
    """Turns core dumps off for a process that holds no key, and leaves it to its parent to measure its memory.

    A process that is hidden does not tell its proportional memory (smaps_rollup asks for the right to trace), and the
    budget lives by that. A limit of 0 stops files; programs that the kernel hands dumps to stop only at 1, which the
    kernel itself uses against endless dumps (fs/coredump.c), and which is too small for a file as well.
    """
    if platform.system() != "Linux" or not _piped():
        _limit(0)
    elif not _limit(1):
        _hide()


def _piped() -> bool:
    try:
        return _PATTERN.read_bytes().startswith(b"|")
    except OSError:
        return True


def _limit(n_bytes: int) -> bool:
    """Sets the limit that counts, and leaves the one above it; False where it cannot be had."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (n_bytes, hard))
    return resource.getrlimit(resource.RLIMIT_CORE)[0] == n_bytes


def _hide() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)

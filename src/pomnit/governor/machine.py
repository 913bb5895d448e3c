"""How much memory this machine gives to programs, and how much of it this process takes: by the gauge's sources."""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pomnit.governor.gauge import here
from pomnit.governor.reading import Source

if TYPE_CHECKING:
    from pomnit.governor.gauge_macos import Calls


@dataclass(frozen=True, slots=True)
class Machine:
    """The memory of this machine, in bytes. What the system does not tell is None."""

    total: int  # what programs here may take: less than is installed inside a container with a limit
    available: int | None
    swap_total: int | None
    swap_used: int | None
    limited: bool  # whether a limit, not the machine, sets the total


@dataclass(frozen=True, slots=True)
class Taken:
    """The memory that a process takes, in bytes."""

    resident: int
    mapped: int  # of it: pages of files, which the system takes back when others need the room
    highest: int  # that it ever took


def machine(source: Source | None = None) -> Machine:
    """Gives the memory of this machine, or of the one that ``source`` tells about.

    Raises:
        OSError: the system does not even tell how much there is.
    """
    found = (source or here()).system()
    return Machine(found.total, found.available, found.swap_total, found.swap_used, found.limit is not None)


def taken() -> Taken:
    """Gives what this process takes at this moment.

    Raises:
        OSError: the system does not tell.
    """
    if platform.system() == "Darwin":
        raw = _calls().rusage(os.getpid())
        if raw is None:
            raise OSError("proc_pid_rusage tells nothing about this process")
        return footprint(raw)
    from pomnit.governor.gauge_linux import kilobytes

    own = Path("/proc/self")
    now, ever = kilobytes((own / "smaps_rollup").read_bytes()), kilobytes((own / "status").read_bytes())
    return Taken(now[b"Rss"], now[b"Rss"] - now.get(b"Anonymous", 0), max(ever[b"VmHWM"], now[b"Rss"]))


def footprint(raw: bytes) -> Taken:
    """Gives what a struct rusage_info_v4 says: the footprint leaves clean pages of files out."""
    from pomnit.governor.gauge_macos import highest_footprint, rusage

    found = rusage(raw)
    assert found is not None
    mapped = max(found.resident_size - found.phys_footprint, 0)
    return Taken(found.phys_footprint + mapped, mapped, max(highest_footprint(raw), found.phys_footprint))


@functools.cache
def _calls() -> Calls:
    from pomnit.governor.gauge_macos import Calls

    return Calls()

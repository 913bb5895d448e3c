"""What a gauge tells: the records, and how memory pressure is judged.

What a system does not tell is None, never 0. Sizes are in bytes, times in seconds.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

Pressure = Literal["normal", "warning", "critical"]

# Of the last ten seconds, in percent. At 10 % of waiting a screen stutters; systemd-oomd kills at 60 % of it.
STALL_WARNING = 10.0  # some program waited for memory
STALL_CRITICAL = 10.0  # all of them did at once
# What is left of the machine's memory. Below 5 % earlyoom kills programs, and at 10 % it would be its turn to warn.
MACHINE_WARNING, MACHINE_WARNING_MOST = 0.10, 1_000_000_000
MACHINE_CRITICAL, MACHINE_CRITICAL_MOST = 0.05, 500_000_000
# What is left below a container's limit. A budget takes 95 % of it, and keeping the budget is no pressure.
LIMIT_WARNING = 0.03
LIMIT_CRITICAL = 0.015

_LEVELS: Mapping[int, Pressure] = {1: "normal", 2: "warning", 4: "critical"}  # kern.memorystatus_vm_pressure_level
_WORST: Mapping[Pressure, int] = {"normal": 0, "warning": 1, "critical": 2}


@dataclass(frozen=True, slots=True)
class Process:
    """What one process takes."""

    pid: int
    born: int  # when it started, in the system's own unit: tells it from a later process of the same number
    resident: int
    proportional: int | None  # shared pages are divided among those that share them; macOS: the footprint
    swap: int | None
    major_faults: int  # pages that had to be read from a disk, with those of its children that ended
    cpu_s: float  # in user and system mode, with its children that ended
    ended: bool = False  # its parent was not told yet


@dataclass(frozen=True, slots=True)
class System:
    """What the machine tells about itself."""

    total: int  # what programs here may take: less than is installed inside a container with a limit
    available: int | None  # what they can still take before others are pushed out of memory
    swap_total: int | None
    swap_used: int | None
    cpu: tuple[float, float, float] | None  # user, system and idle time of all cores since the start, in any unit
    limit: int | None = None  # of the container, or of the control group around us; None where there is none
    limit_left: int | None = None
    stall_some: float | None = None  # percent of the last ten seconds in which some program waited for memory
    stall_full: float | None = None  # in which all of them did
    level: int | None = None  # macOS: 1 normal, 2 warning, 4 critical
    compressed: int | None = None
    compressed_from: int | None = None
    compressions: int | None = None  # pages, since the start of the machine


class Source(Protocol):
    """Where the figures come from: one file for each system."""

    def system(self) -> System:
        """Gives what the machine tells about itself."""

    def process(self, pid: int) -> Process | None:
        """Gives what one process takes; None when there is none of that number."""

    def children(self, pid: int) -> list[int]:
        """Gives the numbers of its living children."""

    def forget(self, living: Container[int]) -> None:
        """Drops what was kept about processes that are gone."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What our processes take at one moment, and how the machine is."""

    at: float  # on the gauge's clock
    processes: int  # living ones: the process that the gauge watches, and all that came from it
    resident: int  # of all of them; pages that several share count several times
    # Likewise, but each shared page counts once: what the budget is kept in. On macOS the footprint. A process that we
    # may not look into counts by its resident memory.
    proportional: int | None
    by_process: Mapping[int, int]  # number of a process -> its share of ``memory``
    swap_tree: int | None  # what of ours lies in the swap; macOS does not tell
    swap_used: int | None  # of the machine
    swap_total: int | None
    swap_growth: int | None  # of swap_used since the gauge began; below 0 when it shrank
    major_faults: int  # of ours since the gauge began: pages that had to be read from a disk
    total: int  # what programs here may take: less than is installed inside a container with a limit
    available: int | None  # of it: what they can still take before others are pushed out of memory
    pressure: Pressure | None  # None where the system tells nothing about it
    pressure_why: str  # the figures behind it, in words
    stall_some: float | None  # percent of the last ten seconds in which some program waited for memory (Linux)
    stall_full: float | None  # in which all of them did (Linux)
    compressed: int | None  # what the compressed pages of all programs take; Linux: of zswap and zram
    compressed_from: int | None  # what the same pages took before
    compressions: int | None  # pages compressed since the gauge began (macOS)
    cpu_user: float | None  # part of all cores' time since the last reading, 0 to 1; None when it was just now
    cpu_system: float | None
    cpu_idle: float | None
    cpu_s: float  # seconds of one core that ours worked since the gauge began, those that ended too

    @property
    def memory(self) -> int:
        """What our processes take together, by the best figure there is."""
        return self.resident if self.proportional is None else self.proportional


def worst(words: Iterable[Pressure | None]) -> Pressure | None:
    """Gives the worst of some words; None when nothing is known."""
    return max((word for word in words if word is not None), key=_WORST.__getitem__, default=None)


def judged(system: System) -> tuple[Pressure | None, str]:
    """Gives the pressure, and the figures behind it in words: those that ask for the worst of the words."""
    found = [one for one in (_level(system), _stall(system), _machine(system), _limit(system)) if one]
    if not found:
        return None, "the system tells nothing about it"
    highest = worst(word for word, _ in found)
    return highest, "; ".join(why for word, why in found if word == highest)


def _level(system: System) -> tuple[Pressure, str] | None:
    word = _LEVELS.get(system.level or 0)
    return (word, f"the system's own level is {system.level}") if word else None


def _stall(system: System) -> tuple[Pressure, str] | None:
    if system.stall_some is None:
        return None
    full = system.stall_full or 0.0
    word: Pressure = "normal"
    if system.stall_some >= STALL_WARNING:
        word = "warning"
    if full >= STALL_CRITICAL:
        word = "critical"
    who, part = ("all programs", full) if word == "critical" else ("some program", system.stall_some)
    return word, f"{who} waited for memory in {part:.0f} % of the last ten seconds"


def _machine(system: System) -> tuple[Pressure, str] | None:
    # macOS keeps little free by design, and judges itself; below a limit, the limit's own bounds count
    if system.available is None or system.level is not None or system.limit is not None:
        return None
    left, total = system.available, system.total
    warning = min(MACHINE_WARNING * total, MACHINE_WARNING_MOST)
    critical = min(MACHINE_CRITICAL * total, MACHINE_CRITICAL_MOST)
    return _scarce(left, warning, critical), f"{left / 1e9:.1f} GB of {total / 1e9:.1f} GB are available"


def _limit(system: System) -> tuple[Pressure, str] | None:
    if system.limit is None or system.limit_left is None:
        return None
    left, limit = system.limit_left, system.limit
    word = _scarce(left, LIMIT_WARNING * limit, LIMIT_CRITICAL * limit)
    return word, f"{left / 1e9:.2f} GB are left below the limit of {limit / 1e9:.2f} GB"


def _scarce(left: float, warning: float, critical: float) -> Pressure:
    if left < critical:
        return "critical"
    return "warning" if left < warning else "normal"

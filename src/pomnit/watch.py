"""What the process that works on a memory takes, moment by moment, beside the machine and what still waits."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pomnit.governor.budget import detect
from pomnit.governor.gauge import Gauge
from pomnit.governor.machine import machine
from pomnit.governor.owner import owner_of
from pomnit.governor.reading import Reading
from pomnit.memory import Memory
from pomnit.records import Moment, ProcessView

_NOBODY = -1  # the number of no process
_ENGINE = "pomnit.governor.child"


def moments(memory: Memory, *, every_s: float = 1.0) -> Iterator[Moment]:
    """Gives one moment after the other, for as long as they are asked for.

    Raises:
        UsageError: the settings ask for a budget that cannot be kept here.
    """
    settings = memory.settings
    budget = detect(machine(), settings.profile, settings.budget).bytes
    watched, gauge, before = _NOBODY, Gauge(_NOBODY), None
    first = gauge.read()
    peak, names = 0, _Names()
    due = time.monotonic()
    while True:
        owner = owner_of(settings.home)
        if (owner or _NOBODY) != watched:
            watched, before = owner or _NOBODY, None
            gauge = Gauge(watched)
        reading = gauge.read()
        peak = max(peak, reading.memory)
        processes = names.of(reading.by_process)
        yield _moment(reading, before, first, owner, processes, peak, budget, memory.waiting())
        before, due = reading, due + every_s
        time.sleep(max(0.0, due - time.monotonic()))


def _moment(
    now: Reading,
    before: Reading | None,
    first: Reading,
    owner: int | None,
    processes: tuple[ProcessView, ...],
    peak: int,
    budget: int,
    waiting: Mapping[str, int],
) -> Moment:
    gone = now.at - before.at if before else 0.0
    grown = None if now.swap_used is None or first.swap_used is None else now.swap_used - first.swap_used
    return Moment(
        time=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        owner=owner,
        processes=processes,
        memory=now.memory,
        memory_peak=peak,
        budget=budget,
        available=now.available,
        total=now.total,
        swap_used=now.swap_used,
        swap_total=now.swap_total,
        swap_growth=grown,
        pressure=now.pressure,
        pressure_why=now.pressure_why,
        cpu_cores=round((now.cpu_s - before.cpu_s) / gone, 3) if before and gone else 0.0,
        cpu_user=now.cpu_user if before else None,
        cpu_system=now.cpu_system if before else None,
        cpu_idle=now.cpu_idle if before else None,
        waiting=waiting,
    )


class _Names:
    """What processes are called, asked once for each."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def of(self, memory: Mapping[int, int]) -> tuple[ProcessView, ...]:
        """Gives the processes, the largest first."""
        self._known = {pid: self._known.get(pid) or short(command_of(pid)) for pid in memory}
        found = [ProcessView(pid, self._known[pid], memory[pid]) for pid in memory]
        return tuple(sorted(found, key=lambda process: (-process.memory, process.pid)))


def command_of(pid: int) -> list[str]:
    """Gives the words that a process was started with; none when it is gone, or not ours."""
    if platform.system() == "Linux":
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).rstrip("\0").split("\0")
        except OSError:
            return []
    done = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.split()


def short(words: list[str]) -> str:
    """Gives what a person would call a process: "pomnit add ~/notes", "engine BGE-M3 onnx-8"."""
    if _ENGINE in words:
        return " ".join(["engine", *words[words.index(_ENGINE) + 1 :]])
    if "-m" in words and words.index("-m") < len(words) - 1:
        return " ".join(words[words.index("-m") + 1 :])
    if len(words) > 1 and Path(words[0]).name.startswith("python") and not words[1].startswith("-"):
        words = words[1:]
    return " ".join([Path(words[0]).name, *words[1:]]) if words and words[0] else "?"

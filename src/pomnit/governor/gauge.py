"""What memory really does: our whole process tree, and the machine around it, at one moment or all the time.

One reading of a tree of five processes, one of which has 3 GB mapped, costs 1 ms of CPU; at one reading each second,
with what measuring proportional memory takes from time to time, that is 0.3 % of a core (Linux, a busy AMD EPYC).
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pomnit.governor.reading import Process, Reading, Source, System, judged

MOST_READINGS = 3600  # an hour at one each second; of a longer watch one of two stays, then one of four …


class Gauge:
    """Reads what a process and all that came from it take. May be used from several threads."""

    def __init__(
        self,
        pid: int | None = None,
        *,
        source: Source | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begins: growth, faults and CPU time count from here. ``pid`` is this process by default."""
        self._source, self._clock, self._lock = source or here(), clock, threading.Lock()
        root = self._source.process(os.getpid() if pid is None else pid)
        self._known = {} if root is None else {root.pid: root.born}
        self._first = self._before = self._source.system()
        self._first_faults, self._first_cpu = _worked(self._tree())
        self._faults, self._cpu = 0, 0.0

    def read(self) -> Reading:
        """Gives a reading. A process that ends meanwhile is no error."""
        with self._lock:
            return self._read()

    def _read(self) -> Reading:
        tree, now = self._tree(), self._source.system()
        faults, worked = _worked(tree)
        # what an ended process did is told by its parent, and lost when that is none of ours: never less than before
        self._faults = max(self._faults, faults - self._first_faults)
        self._cpu = max(self._cpu, worked - self._first_cpu)
        user, system, idle = _parts(self._before, now)
        self._before = now
        pressure, why = judged(now)
        living = [process for process in tree if not process.ended]
        shares = {process.pid: _memory(process) for process in living}
        return Reading(
            at=self._clock(),
            processes=len(living),
            resident=sum(process.resident for process in living),
            proportional=None if living and all(p.proportional is None for p in living) else sum(shares.values()),
            by_process=shares,
            swap_tree=None if any(p.swap is None for p in living) else sum(p.swap or 0 for p in living),
            swap_used=now.swap_used,
            swap_total=now.swap_total,
            swap_growth=_grown(now.swap_used, self._first.swap_used),
            major_faults=self._faults,
            total=now.total,
            available=now.available,
            pressure=pressure,
            pressure_why=why,
            stall_some=now.stall_some,
            stall_full=now.stall_full,
            compressed=now.compressed,
            compressed_from=now.compressed_from,
            compressions=_grown(now.compressions, self._first.compressions),
            cpu_user=user,
            cpu_system=system,
            cpu_idle=idle,
            cpu_s=self._cpu,
        )

    def _tree(self) -> list[Process]:
        """Gives the processes of the tree.

        Those that were found before count on as long as they live: their parent may have ended, and a kernel's list of
        children leaves some out when one ends while it is read.
        """
        found: dict[int, Process] = {}
        waiting: list[tuple[int, int | None]] = list(self._known.items())
        while waiting:
            pid, born = waiting.pop()
            if pid in found:
                continue
            process = self._source.process(pid)
            if process is None or born not in (None, process.born):  # ended; the number may be another's now
                continue
            found[pid] = process
            waiting += [(child, None) for child in self._source.children(pid)]
        self._known = {pid: process.born for pid, process in found.items()}
        self._source.forget(found)
        return list(found.values())


class Watch:
    """Reads a gauge all the time, in a thread of its own, until it is stopped; also a context manager."""

    def __init__(
        self,
        gauge: Gauge,
        *,
        every_s: float = 1.0,
        on_reading: Callable[[Reading], None] = lambda _: None,
        most: int = MOST_READINGS,
    ) -> None:
        """Takes what to read; ``on_reading`` is called with each reading, from its thread; it must not raise."""
        self._gauge, self._every_s, self._on_reading, self._most = gauge, every_s, on_reading, most
        self._kept: list[
            Reading
        ] = []  # of each ``_stride`` readings the one with the most memory; the last may lack some
        self._stride, self._in_last = 1, 0
        self._first: Reading | None = None
        self._last: Reading | None = None
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="gauge", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Takes the first reading and begins."""
        self.mark()
        self._thread.start()

    def stop(self) -> None:
        """Takes the last reading and ends, without waiting for the next one's time."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
            self.mark()

    def mark(self) -> Reading:
        """Gives a reading of just now, at the border of two stages: it is among those of both."""
        reading = self._gauge.read()
        with self._lock:
            self._keep(reading)
        self._on_reading(reading)
        return reading

    @property
    def peak(self) -> Reading:
        """The reading with the most memory of ours."""
        return max(self.readings or (self.mark(),), key=_size)

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The readings, the first one first: all of a short watch; of a long one the first, the last, and the peaks."""
        with self._lock:
            if self._first is None or self._last is None:
                return ()
            between = [one for one in self._kept if one is not self._first and one is not self._last]
            return (self._first, *between, *([self._last] if self._last is not self._first else []))

    def since(self, mark: Reading) -> tuple[Reading, ...]:
        """Gives the readings from a mark on, that one first."""
        return (mark, *(reading for reading in self.readings if reading.at >= mark.at and reading is not mark))

    def _keep(self, reading: Reading) -> None:
        self._first, self._last = self._first or reading, reading
        if self._kept and self._in_last < self._stride:
            self._kept[-1] = max(self._kept[-1], reading, key=_size)
            self._in_last += 1
            return
        self._kept.append(reading)
        self._in_last = 1
        if len(self._kept) > self._most:
            self._in_last += 0 if len(self._kept) % 2 else self._stride
            self._kept = [max(self._kept[i : i + 2], key=_size) for i in range(0, len(self._kept), 2)]
            self._stride *= 2

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            with contextlib.suppress(OSError):  # too many open files: the next one may do
                self.mark()


def here() -> Source:
    """Gives the source of figures for this system."""
    if platform.system() == "Darwin":
        from pomnit.governor.gauge_macos import MacOS

        return MacOS()
    from pomnit.governor.gauge_linux import Linux

    return Linux()


def _size(reading: Reading) -> int:
    return reading.memory


def _memory(process: Process) -> int:
    return process.resident if process.proportional is None else process.proportional


def _worked(tree: list[Process]) -> tuple[int, float]:
    return sum(process.major_faults for process in tree), sum(process.cpu_s for process in tree)


def _grown(now: int | None, first: int | None) -> int | None:
    return None if now is None or first is None else now - first


def _parts(before: System, now: System) -> tuple[float | None, float | None, float | None]:
    """Gives the parts of the time between two readings that all cores spent in user mode, system mode and idle."""
    if before.cpu is None or now.cpu is None:
        return None, None, None
    user, system, idle = (max(0.0, b - a) for a, b in zip(before.cpu, now.cpu, strict=True))
    total = user + system + idle
    return (user / total, system / total, idle / total) if total else (None, None, None)

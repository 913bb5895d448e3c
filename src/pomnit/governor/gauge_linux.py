"""What Linux tells: /proc (proc_pid_stat(5), proc_pid_status(5), proc_meminfo(5)), pressure stall information
(kernel.org, accounting/psi) and control groups of both versions (kernel.org, admin-guide/cgroup-v1 and -v2).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from pomnit.governor.reading import Process, System

# Proportional memory costs 16 ms for a GB of small pages: the kernel visits each. Measuring it may take this part of
# the time; in between it is reckoned from how a process shared its pages before, and what is new of its own counts.
PROPORTIONAL_SHARE = 0.003
_PARENTS_S = 0.1  # how long the list of all processes holds: as long as one walk of the tree
_TICKS = os.sysconf("SC_CLK_TCK")
_MOST = 1 << 16  # bytes of a file below /proc that are read


@dataclass(frozen=True, slots=True)
class _Shares:
    """How a process shared its pages when it was measured last."""

    born: int
    at: float
    cost: float  # seconds
    forked: int  # bytes of its own pages that count for others: copies of a fork that nobody wrote to yet
    files: float  # the part of its pages of files that counts for it


class Linux:
    """The source of figures on Linux."""

    def __init__(
        self,
        *,
        proc: Path = Path("/proc"),
        groups: Path = Path("/sys/fs/cgroup"),
        blocks: Path = Path("/sys/block"),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Takes the folders to read in; ``clock`` times what proportional memory costs."""
        self._proc, self._clock = str(proc), clock
        self._groups = [str(folder) for folder in memory_groups(proc, groups)]
        self._zrams = sorted(str(file) for file in blocks.glob("zram*/mm_stat"))
        self._shares: dict[int, _Shares] = {}
        self._lists_children = os.path.exists(f"{proc}/thread-self/children")
        self._parents: tuple[float, dict[int, list[int]]] | None = None

    # --- the machine

    def system(self) -> System:
        """Gives what the machine tells about itself.

        Raises:
            OSError: there is no /proc/meminfo.
        """
        facts = kilobytes(_read(f"{self._proc}/meminfo"))
        installed, available = facts[b"MemTotal"], facts.get(b"MemAvailable")
        limit, left, tightest, total = None, None, "", installed
        for folder in self._groups:
            found = _group(folder)
            if found and found[0] < installed:
                total = min(total, found[0])
                if left is None or found[1] < left:
                    (limit, left), tightest = found, folder
        swap = facts.get(b"SwapTotal")
        some, full = self._stalls(tightest)
        took, held = self._compressed(facts)
        return System(
            total=total,
            available=min((n for n in (available, left) if n is not None), default=None),
            swap_total=swap,
            swap_used=None if swap is None else swap - facts.get(b"SwapFree", 0),
            cpu=_cpu(_read(f"{self._proc}/stat", 512)),
            limit=limit,
            limit_left=left,
            stall_some=some,
            stall_full=full,
            compressed=took,
            compressed_from=held,
        )

    def _stalls(self, group: str) -> tuple[float | None, float | None]:
        """Gives the percentages of waiting: of the group when its limit is what binds, else of the whole machine.

        Without a limit the other programs of the machine matter as much as we: their group is not ours.
        """
        for file in (f"{group}/memory.pressure" if group else "", f"{self._proc}/pressure/memory"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                lines = [line.split() for line in _read(file).splitlines()] if file else []
                found = {line[0]: float(line[1].removeprefix(b"avg10=")) for line in lines}
                if found:
                    return found.get(b"some"), found.get(b"full")
        return None, None

    def _compressed(self, facts: dict[bytes, int]) -> tuple[int | None, int | None]:
        """Gives what compressed pages take, and what they took before; None where nothing is compressed."""
        parts = [(facts[b"Zswap"], facts.get(b"Zswapped", 0))] if b"Zswap" in facts else []
        for file in self._zrams:  # orig_data_size compr_data_size mem_used_total …
            with contextlib.suppress(OSError, ValueError):
                held, _, took = map(int, _read(file).split()[:3])
                parts.append((took, held))
        return (sum(took for took, _ in parts), sum(held for _, held in parts)) if parts else (None, None)

    # --- processes

    def process(self, pid: int) -> Process | None:
        """Gives what one process takes; None when there is none of that number."""
        try:
            stat, status = _read(f"{self._proc}/{pid}/stat"), _read(f"{self._proc}/{pid}/status")
        except OSError:
            return None
        words = stat.rpartition(b")")[2].split()  # from the third field on: a name may hold spaces and brackets
        facts = kilobytes(status)
        born, resident = int(words[19]), facts.get(b"VmRSS", 0)
        return Process(
            pid=pid,
            born=born,
            resident=resident,
            proportional=self._proportional(pid, born, resident, facts.get(b"RssAnon", 0)),
            swap=facts.get(b"VmSwap", 0),
            major_faults=int(words[9]) + int(words[10]),
            cpu_s=sum(map(int, words[11:15])) / _TICKS,
            ended=words[0] in (b"Z", b"X"),
        )

    def children(self, pid: int) -> list[int]:
        """Gives the numbers of its living children."""
        if not self._lists_children:
            return self._by_parent().get(pid, [])
        found: list[int] = []
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"{self._proc}/{pid}/task"):
                with contextlib.suppress(OSError):
                    found += map(int, _read(f"{self._proc}/{pid}/task/{thread}/children").split())
        return found

    def _by_parent(self) -> dict[int, list[int]]:
        """Gives the children of every process, for kernels that list none; looked up once for each walk of a tree."""
        now = self._clock()
        if self._parents is None or now - self._parents[0] >= _PARENTS_S:
            found: dict[int, list[int]] = {}
            for name in filter(str.isdecimal, os.listdir(self._proc)):
                with contextlib.suppress(OSError):
                    parent = int(_read(f"{self._proc}/{name}/stat").rpartition(b")")[2].split()[1])
                    found.setdefault(parent, []).append(int(name))
            self._parents = (now, found)
        return self._parents[1]

    def _proportional(self, pid: int, born: int, resident: int, own: int) -> int | None:
        """Gives the proportional memory: measured when it is time to, else reckoned; None when we may not know it."""
        known = self._shares.get(pid)
        now = self._clock()
        pause = sum(shares.cost for shares in self._shares.values()) / PROPORTIONAL_SHARE
        if known is None or known.born != born or now - known.at >= pause:
            try:
                facts = kilobytes(_read(f"{self._proc}/{pid}/smaps_rollup"))
            except OSError:  # another user's, ended, or a kernel before 4.14
                return None
            if b"Pss" not in facts:  # it is ending
                return None
            self._shares[pid] = known = _shares(facts, born, now, self._clock() - now)
        return max(0, own - known.forked) + round((resident - own) * known.files)

    def forget(self, living: Container[int]) -> None:
        """Drops what was kept about processes that are gone."""
        self._shares = {pid: shares for pid, shares in self._shares.items() if pid in living}


def _shares(facts: dict[bytes, int], born: int, at: float, cost: float) -> _Shares:
    own, counted = facts.get(b"Anonymous", 0), facts.get(b"Pss_Anon")
    files = facts[b"Rss"] - own
    if counted is None:  # before Linux 5.5 only the sum is told
        counted = own
    part = (facts[b"Pss"] - counted) / files if files > 0 else 1.0
    return _Shares(born, at, cost, own - counted, min(max(part, 0.0), 1.0))


def memory_groups(proc: Path, groups: Path) -> Iterator[Path]:
    """Gives the folders of the control groups for memory that this process is in, and of those around them."""
    try:
        lines = (proc / "self" / "cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            top = groups / "memory"
        elif number == "0":
            top = groups
        else:
            continue
        inside = [part for part in path.split("/") if part not in ("", "..")]
        # a container may see its own group at the top, under whatever path it has outside
        for depth in range(len(inside) + 1):
            folder = top.joinpath(*inside[:depth])
            if folder.is_dir():
                yield folder


def _group(folder: str) -> tuple[int, int] | None:
    """Gives a control group's limit, and what is left below it; None without a limit.

    Pages of files are not counted as used, as the kernel does not in MemAvailable: they go first, and when they are
    missed the pressure stall information shows it. Models that are mapped from a disk are such pages.
    """
    for limit, used, prefix in (
        ("memory.max", "memory.current", b""),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", b"total_"),  # version 1: with the groups inside
    ):
        with contextlib.suppress(OSError, ValueError):
            most = int(_read(f"{folder}/{limit}"))  # "max" is none, and no number
            lines = (line.split() for line in _read(f"{folder}/memory.stat").splitlines())
            stat = {line[0]: int(line[1]) for line in lines if len(line) == 2}
            files = stat.get(prefix + b"inactive_file", 0) + stat.get(prefix + b"active_file", 0)
            return most, min(max(0, most - int(_read(f"{folder}/{used}")) + files), most)
    return None


def _cpu(stat: bytes) -> tuple[float, float, float] | None:
    """Gives user, system and idle time of all cores; time that a host took away from us is nobody's."""
    words = stat.partition(b"\n")[0].split()
    if len(words) < 8 or words[0] != b"cpu":
        return None
    user, nice, system, idle, waiting, hard, soft = map(int, words[1:8])
    return user + nice, system + hard + soft, idle + waiting


def kilobytes(text: bytes) -> dict[bytes, int]:
    """Gives the lines "Name:   123 kB" in bytes."""
    facts = {}
    for line in text.splitlines():
        if line.endswith(b" kB"):
            name, _, value = line.partition(b":")
            facts[name] = int(value[:-3]) * 1024
    return facts


def _read(file: str, most: int = _MOST) -> bytes:
    """Gives the beginning of a file below /proc: there one call gives all that is asked for."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, most)
    finally:
        os.close(descriptor)

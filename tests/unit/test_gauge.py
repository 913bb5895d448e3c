"""What do our processes really take, and how is the machine?"""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pomnit.governor.gauge import Gauge, Watch, here
from pomnit.governor.gauge_linux import PROPORTIONAL_SHARE, Linux
from pomnit.governor.gauge_macos import HOST_VM_INFO64, MacOS
from pomnit.governor.reading import Process, System, judged

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads the real /proc")

CHILD = """
import subprocess, sys, time
for line in sys.stdin:  # each is done, then answered
    exec(line)
    print("done", flush=True)
"""


class Child:
    """A real child process that does what it is told."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child()
    child.do("pass")
    yield child
    child.process.kill()
    with contextlib.suppress(BrokenPipeError):
        child.end()


# --- this machine


@linux
def test_what_a_child_takes_counts_until_it_ends(child):
    gauge = Gauge()
    before = gauge.read()
    child.do("ballast = bytearray(80 << 20); ballast[::4096] = b'x' * len(ballast[::4096])")
    full = gauge.read()
    assert 78 * MIB < full.resident - before.resident < 84 * MIB
    assert 78 * MIB < full.proportional - before.proportional < 84 * MIB
    assert 78 * MIB < full.by_process[child.process.pid] - before.by_process[child.process.pid] < 84 * MIB
    child.end()
    after = gauge.read()
    assert after.processes == before.processes - 1
    assert after.resident < before.resident
    assert child.process.pid not in after.by_process


@linux
def test_a_child_that_nobody_was_told_of_yet_takes_nothing(child):
    gauge = Gauge()
    before = gauge.read().processes
    child.do("grandchild = subprocess.Popen(['true'])")
    child.do("import os; os.waitid(os.P_PID, grandchild.pid, os.WEXITED | os.WNOWAIT)")  # ended, not told
    reading = gauge.read()
    assert len(reading.by_process) == reading.processes == before


@linux
def test_those_whose_parent_ended_count_on(child):
    gauge = Gauge()
    before = gauge.read()
    child.do("subprocess.Popen(['sleep', '60'], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)")
    both = gauge.read()
    (orphan,) = both.by_process.keys() - before.by_process.keys()
    child.end()
    assert orphan in gauge.read().by_process
    os.kill(orphan, 9)


@linux
def test_pages_that_several_share_count_once(child):
    reading = Gauge().read()
    assert 0 < reading.proportional < reading.resident
    assert sum(reading.by_process.values()) == reading.proportional == reading.memory


@linux
def test_the_work_of_children_that_ended_counts_on(child):
    gauge = Gauge()
    child.do("any(time.process_time() > 0.3 for _ in iter(int, 1))")
    busy = gauge.read()
    assert busy.cpu_s > 0.15
    assert busy.cpu_user + busy.cpu_system + busy.cpu_idle == pytest.approx(1)
    child.end()
    assert gauge.read().cpu_s >= busy.cpu_s


@linux
def test_another_process_can_be_watched_and_may_end(child):
    gauge = Gauge(child.process.pid)
    assert gauge.read().processes == 1
    child.end()
    gone = gauge.read()
    assert (gone.processes, gone.resident, gone.memory) == (0, 0, 0)
    assert Gauge(child.process.pid).read().processes == 0


@linux
def test_this_machine_is_told():
    reading = Gauge().read()
    assert 0 < reading.resident < reading.total
    assert 0 < reading.available <= reading.total
    assert reading.pressure in ("normal", "warning", "critical")
    assert reading.pressure_why
    assert isinstance(here(), Linux)


# --- Linux, from folders that look like its own


class Files:
    """Folders like /proc, /sys/fs/cgroup and /sys/block."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.memory()
        self.write("proc/thread-self/children", "")
        self.write("proc/stat", "cpu  100 10 50 800 40 5 5 9 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\nintr 1\n")

    def write(self, name: str, text: object) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(text))

    def memory(self, *, available: int = 4 * GIB, swap_free: int = 2 * GIB, more: str = "") -> None:
        sizes = {"MemTotal": 8 * GIB, "MemAvailable": available, "SwapTotal": 2 * GIB, "SwapFree": swap_free}
        text = "".join(f"{name}:  {n // KIB} kB\n" for name, n in sizes.items())
        self.write("proc/meminfo", text + more + "HugePages_Total: 0\n")

    def process(self, pid: int, *, children: str = "", faults: tuple[int, int] = (0, 0), **more: int) -> None:
        n = {"resident": 100, "own": 60, "pss": 80, "pss_own": 60, "swap": 0, "born": 7, "parent": 1} | more
        work = f"0 0 0 0 0 1 1 {faults[0]} {faults[1]} 100 20 30 50 20 0 1 0 {n['born']} 1 1"
        self.write(f"proc/{pid}/stat", f"{pid} (a b) c) S {n['parent']} {work}\n")
        memory = f"VmRSS:\t{n['resident']} kB\nRssAnon:\t{n['own']} kB\nVmSwap:\t{n['swap']} kB\n"
        self.write(f"proc/{pid}/status", f"Name:\ta\n{memory}")
        rollup = f"Rss: {n['resident']} kB\nPss: {n['pss']} kB\nPss_Anon: {n['pss_own']} kB\n"
        self.write(f"proc/{pid}/smaps_rollup", f"1-2 ---p 0 [rollup]\n{rollup}Anonymous: {n['own']} kB\n")
        self.write(f"proc/{pid}/task/{pid}/children", children)

    def source(self, **more) -> Linux:
        root = self.root
        return Linux(proc=root / "proc", groups=root / "cgroup", blocks=root / "block", **more)

    def gauge(self) -> Gauge:
        return Gauge(100, source=self.source())


@pytest.fixture
def files(tmp_path) -> Files:
    files = Files(tmp_path)
    files.process(100)
    return files


def test_swap_and_faults_count_from_the_beginning(files):
    files.process(100, faults=(40, 2), swap=5)
    files.memory(swap_free=2 * GIB - 300 * MIB)
    gauge = files.gauge()
    files.process(100, faults=(41, 9), swap=6, children="101 ")
    files.process(101, faults=(3, 0), swap=10)
    files.memory(swap_free=2 * GIB - 500 * MIB)
    reading = gauge.read()
    assert reading.major_faults == 1 + 7 + 3
    assert reading.swap_tree == 16 * KIB
    assert (reading.swap_total, reading.swap_used, reading.swap_growth) == (2 * GIB, 500 * MIB, 200 * MIB)
    files.process(100, faults=(41, 9))  # 101 ended, and its parent was not told of its faults
    (files.root / "proc/101/stat").unlink()
    assert gauge.read().major_faults == 11


def test_a_later_process_of_the_same_number_is_not_ours(files):
    files.process(100, children="101 ")
    files.process(101, resident=1000, born=50)
    gauge = files.gauge()
    assert gauge.read().processes == 2
    files.process(100)
    assert gauge.read().processes == 2  # not in its parent's list, but alive
    files.process(101, resident=1000, born=60)
    assert gauge.read().resident == 100 * KIB
    files.process(100, born=8)
    assert gauge.read().processes == 0


def test_without_lists_of_children_the_parents_are_asked(files):
    (files.root / "proc/thread-self/children").unlink()
    for pid, parent in ((101, 100), (102, 101), (103, 1)):
        files.process(pid, parent=parent)
    (files.root / "proc/104").mkdir()
    assert files.gauge().read().by_process.keys() == {100, 101, 102}


def test_proportional_memory_is_reckoned_while_measuring_it_is_too_dear(files):
    now = [0.0, 0.003]  # the first look takes 3 ms
    source = files.source(clock=lambda: now.pop(0) if len(now) > 1 else now[0])
    assert source.process(100).proportional == 80 * KIB
    files.process(100, resident=240, own=160, pss=180, pss_own=160)
    assert source.process(100).proportional == (160 + 40) * KIB  # its own in full, of files the part of before
    now[0] = 0.003 / PROPORTIONAL_SHARE
    assert source.process(100).proportional == 180 * KIB


def test_pages_of_a_fork_count_by_their_share(files):
    files.process(100, resident=1000, own=900, pss=500, pss_own=450)
    assert files.source().process(100).proportional == 500 * KIB


@pytest.mark.parametrize("ending", [False, True])
def test_memory_that_cannot_be_looked_at_is_not_told(files, ending):
    (files.root / "proc/100/smaps_rollup").unlink()
    if ending:
        files.write("proc/100/smaps_rollup", "")
    reading = files.gauge().read()
    assert (reading.proportional, reading.memory, reading.by_process) == (None, 100 * KIB, {100: 100 * KIB})


def test_cpu_is_that_since_the_last_reading(files):
    gauge = files.gauge()
    assert gauge.read().cpu_idle is None
    files.write("proc/stat", "cpu  150 20 60 810 50 10 10 99 0 0\n")
    reading = gauge.read()
    assert (reading.cpu_user, reading.cpu_system, reading.cpu_idle) == (0.6, 0.2, 0.2)


def test_compressed_memory_of_zswap_and_zram_is_told(files):
    assert files.gauge().read().compressed is None
    files.memory(more=f"Zswap: {30 * KIB} kB\nZswapped: {90 * KIB} kB\n")
    files.write("block/zram0/mm_stat", f"{60 * MIB} {19 * MIB} {20 * MIB} 0 0 0 0 0 0\n")
    files.write("block/sda/mm_stat", "no such thing\n")
    reading = files.gauge().read()
    assert (reading.compressed, reading.compressed_from) == (50 * MIB, 150 * MIB)


def group(files: Files, path: str, limit: object, used: int, *, stall: str = "") -> None:
    """Makes a control group of version 2 with 100 MiB of files."""
    files.write(f"cgroup/{path}/memory.max", limit)
    files.write(f"cgroup/{path}/memory.current", used)
    files.write(f"cgroup/{path}/memory.stat", f"anon 1\ninactive_file {60 * MIB}\nactive_file {40 * MIB}\n")
    if stall:
        files.write(f"cgroup/{path}/memory.pressure", stall)


def stall(some: float, full: float) -> str:
    return f"some avg10={some:.2f} avg60=0.00 avg300=0.00 total=0\nfull avg10={full:.2f} avg60=0 avg300=0 total=0\n"


def test_the_tightest_group_around_us_counts_without_its_files(files):
    files.write("proc/self/cgroup", "0::/box/inner\n")
    files.write("proc/pressure/memory", stall(50, 40))
    group(files, "box", GIB, 700 * MIB, stall=stall(3, 1))
    group(files, "box/inner", "max", 600 * MIB, stall=stall(4, 2))
    reading = files.gauge().read()
    assert (reading.total, reading.available) == (GIB, GIB - 600 * MIB)
    assert (reading.stall_some, reading.stall_full) == (3, 1)  # of the group whose limit binds, not of its host
    assert reading.pressure == "normal"
    group(files, "box", GIB, GIB + 90 * MIB)
    reading = files.gauge().read()
    assert (reading.available, reading.pressure) == (10 * MIB, "critical")
    assert reading.pressure_why == "0.01 GB are left below the limit of 1.07 GB"


def test_a_container_that_sees_its_group_at_the_top_is_measured_by_its_limit(files):
    files.write("proc/self/cgroup", "0::/../outside/of/it\n")
    group(files, ".", 2 * GIB, GIB)
    assert files.gauge().read().available == GIB + 100 * MIB


def test_groups_of_version_1_count_with_those_inside_them(files):
    files.write("proc/self/cgroup", "5:cpu:/x\n4:memory:/box\n0::/\n")
    for name, used in (("", 2**63 - 4096), ("box/", 3 * GIB)):
        files.write(f"cgroup/memory/{name}memory.limit_in_bytes", used)
        files.write(f"cgroup/memory/{name}memory.usage_in_bytes", 2 * GIB)
        own = f"inactive_file 1\ntotal_inactive_file {300 * MIB}\ntotal_active_file {200 * MIB}\n"
        files.write(f"cgroup/memory/{name}memory.stat", own)
    files.write("proc/pressure/memory", stall(12, 1))
    reading = files.gauge().read()
    assert (reading.total, reading.available) == (3 * GIB, GIB + 500 * MIB)
    assert (reading.stall_some, reading.pressure) == (12, "warning")  # version 1 has no pressure of its own
    assert reading.pressure_why == "some program waited for memory in 12 % of the last ten seconds"


def test_without_a_limit_the_machine_counts(files):
    files.write("proc/self/cgroup", "0::/user\n")
    group(files, "user", "max", 7 * GIB, stall=stall(0, 0))
    files.write("proc/pressure/memory", stall(20, 11))
    reading = files.gauge().read()
    assert (reading.total, reading.available) == (8 * GIB, 4 * GIB)
    assert (reading.pressure, reading.stall_full) == ("critical", 11)
    assert reading.pressure_why == "all programs waited for memory in 11 % of the last ten seconds"


@pytest.mark.parametrize(
    ("system", "word"),
    [
        (System(8 * GIB, 2 * GIB, 0, 0, None), "normal"),
        (System(8 * GIB, 800 * MIB, 0, 0, None), "warning"),
        (System(8 * GIB, 400 * MIB, 0, 0, None), "critical"),
        (System(64 * GIB, 2 * GIB, 0, 0, None), "normal"),  # 3 %, but nobody needs more
        (System(4 * GIB, 190 * MIB, 0, 0, None, limit=4 * GIB, limit_left=190 * MIB), "normal"),  # a full budget
        (System(4 * GIB, 100 * MIB, 0, 0, None, limit=4 * GIB, limit_left=100 * MIB), "warning"),
        (System(8 * GIB, 100 * MIB, 0, 0, None, level=1), "normal"),
        (System(8 * GIB, GIB, 0, 0, None, level=2), "warning"),
        (System(8 * GIB, GIB, 0, 0, None, level=4), "critical"),
        (System(8 * GIB, None, 0, 0, None), None),
        (System(8 * GIB, 800 * MIB, 0, 0, None, stall_some=90, stall_full=80), "critical"),  # the worst counts
    ],
)
def test_pressure_is_one_word_with_its_reason(system, word):
    found, why = judged(system)
    assert found == word
    assert why


# --- macOS, from the bytes of its structs


class MacCalls:
    """Answers as <sys/resource.h>, <mach/vm_statistics.h>, <mach/host_info.h> and <sys/sysctl.h> lay them out."""

    page = 16 * KIB
    timebase = (125, 3)  # Apple silicon: 41.7 ns

    def __init__(self) -> None:
        self.values: dict[bytes, bytes | None] = {
            b"hw.memsize": struct.pack("<Q", 8 * GIB),
            b"vm.swapusage": struct.pack("<3QI?3x", 3 * GIB, 2 * GIB, GIB, 16 * KIB, True),
            b"kern.memorystatus_vm_pressure_level": struct.pack("<i", 2),
        }
        self.tree: dict[int, list[int]] = {1000: [1001], 1001: []}
        self.ticks, self.compressions = (70, 20, 100, 10), 5000

    def rusage(self, pid: int) -> bytes | None:
        if pid not in self.tree:
            return None
        fields = [0] * 35  # of 64 bits, behind the UUID
        fields[0:2] = 24_000_000, 12_000_000  # user and system time
        fields[4] = 30  # page-ins
        fields[6:8] = 300 * MIB, 200 * MIB  # resident, footprint
        fields[8] = 4711  # started
        fields[10:12] = 6_000_000, 6_000_000  # times of children that ended
        fields[14] = 12  # their page-ins
        return (bytes(range(16)) + struct.pack("<35Q", *fields)).ljust(1024, b"\0")

    def children(self, pid: int, most: int) -> bytes:
        numbers = self.tree.get(pid, [])[:most]
        return struct.pack(f"<{len(numbers)}i", *numbers).ljust(4 * most, b"\0")

    def sysctl(self, name: bytes, size: int) -> bytes | None:
        return self.values[name]

    def statistics(self, flavor: int, count: int) -> bytes | None:
        if flavor != HOST_VM_INFO64:
            return struct.pack("<4I", *self.ticks)
        raw = bytearray(4 * count)
        struct.pack_into("<4I", raw, 0, 1000, 2, 3, 4)  # free, active, inactive, wired
        struct.pack_into("<2I", raw, 88, 300, 400)  # purgeable, speculative
        struct.pack_into("<4Q", raw, 96, 1, self.compressions, 2, 3)  # decompressions, compressions, swap-ins and -outs
        struct.pack_into("<4I", raw, 128, 2000, 0, 5000, 6000)  # compressor, throttled, external, internal
        struct.pack_into("<Q", raw, 144, 7000)  # held by the compressor
        return bytes(raw)


def test_a_mac_tells_footprints_and_its_own_level():
    calls = MacCalls()
    gauge = Gauge(1000, source=MacOS(calls))
    calls.compressions, calls.ticks = 5600, (100, 30, 150, 20)
    reading = gauge.read()
    assert (reading.processes, reading.resident, reading.proportional) == (2, 600 * MIB, 400 * MIB)
    assert reading.by_process == {1000: 200 * MIB, 1001: 200 * MIB}
    assert (reading.total, reading.swap_total, reading.swap_used, reading.swap_tree) == (8 * GIB, 3 * GIB, GIB, None)
    assert reading.available == (1000 - 400 + 5000 + 300) * 16 * KIB
    assert (reading.compressed, reading.compressed_from) == (2000 * 16 * KIB, 7000 * 16 * KIB)
    assert reading.compressions == 600
    assert (reading.pressure, reading.pressure_why) == ("warning", "the system's own level is 2")
    assert (reading.cpu_user, reading.cpu_system, reading.cpu_idle) == (0.4, 0.1, 0.5)
    assert (reading.stall_some, reading.stall_full) == (None, None)


def test_a_macs_process_is_told_in_seconds_with_its_children_that_ended():
    found = MacOS(MacCalls()).process(1000)
    assert found == Process(1000, 4711, 300 * MIB, 200 * MIB, None, 42, 2.0)


def test_a_mac_lists_all_children_however_many():
    calls = MacCalls()
    calls.tree = {1000: list(range(2000, 2100))} | {pid: [] for pid in range(2000, 2100)}
    assert Gauge(1000, source=MacOS(calls)).read().processes == 101


def test_what_a_mac_does_not_tell_is_none():
    calls = MacCalls()
    calls.values |= {b"vm.swapusage": None, b"kern.memorystatus_vm_pressure_level": None}
    calls.statistics = lambda flavor, count: None
    reading = Gauge(1000, source=MacOS(calls)).read()
    assert (reading.swap_total, reading.swap_used, reading.swap_growth) == (None, None, None)
    assert (reading.pressure, reading.available, reading.compressed, reading.compressions) == (None, None, None, None)
    assert (reading.cpu_user, reading.cpu_system, reading.cpu_idle) == (None, None, None)
    calls.values[b"hw.memsize"] = None
    with pytest.raises(OSError, match=r"hw\.memsize"):
        Gauge(1000, source=MacOS(calls))


# --- all the time


class Scripted:
    """A source whose one process takes what the script says."""

    def __init__(self, *sizes: int) -> None:
        self.sizes, self.used = sizes, -1  # the first look is the gauge's beginning

    def system(self) -> System:
        return System(8 * GIB, 4 * GIB, 0, 0, None)

    def process(self, pid: int) -> Process:
        size = self.sizes[min(max(self.used - 1, 0), len(self.sizes) - 1)]
        self.used += 1
        return Process(pid, 1, size, None, 0, 0, 0.0)

    def children(self, pid: int) -> list[int]:
        return []

    def forget(self, living: object) -> None:
        pass


def test_a_watch_calls_with_each_reading_until_it_is_stopped():
    seen, enough = [], threading.Event()

    def on_reading(reading):
        seen.append(reading)
        if len(seen) == 5:
            enough.set()

    with Watch(Gauge(), every_s=0.001, on_reading=on_reading) as watch:
        assert enough.wait(30)
    assert list(watch.readings) == seen
    assert [reading.at for reading in seen] == sorted(reading.at for reading in seen)
    assert "gauge" not in [thread.name for thread in threading.enumerate()]


def test_a_watch_stops_at_once_and_has_a_reading_at_both_ends():
    began = time.monotonic()
    with Watch(Gauge(), every_s=3600) as watch:
        pass
    assert time.monotonic() - began < 60
    assert len(watch.readings) == 2
    watch.stop()
    assert len(watch.readings) == 2


@pytest.mark.parametrize("most", [20, 21])
def test_peaks_stay_when_a_long_watch_is_thinned_out(most):
    sizes = [100] * 500
    sizes[123], sizes[400] = 900, 700
    watch = Watch(Gauge(1, source=Scripted(*sizes)), most=most)
    marks = [watch.mark() for _ in sizes]
    assert most // 2 <= len(watch.readings) <= most + 2
    assert (watch.readings[0], watch.readings[-1]) == (marks[0], marks[-1])
    assert {900, 700} <= {reading.memory for reading in watch.readings}
    assert watch.peak is marks[123]
    times = [marks.index(reading) for reading in watch.readings]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) <= 2 * 64  # evenly thinned


def test_the_readings_since_a_mark_begin_with_it():
    watch = Watch(Gauge(1, source=Scripted(1, 2, 3, 4)))
    marks = [watch.mark() for _ in range(4)]
    assert watch.since(marks[2]) == (marks[2], marks[3])
    assert [reading.memory for reading in watch.since(marks[0])] == [1, 2, 3, 4]


def test_a_watch_survives_a_moment_without_free_file_descriptors():
    class Failing(Scripted):
        def system(self) -> System:
            if self.used in (4, 5):
                raise OSError(24, "Too many open files")
            return super().system()

    enough = threading.Event()
    with Watch(
        Gauge(1, source=Failing(1, 2, 3, 4, 5)),
        every_s=0.001,
        on_reading=lambda reading: enough.set() if reading.memory == 5 else None,
    ) as watch:
        assert enough.wait(30)
    assert 5 in [reading.memory for reading in watch.readings]

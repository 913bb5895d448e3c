"""What macOS tells, by its documented calls: <libproc.h>, <sys/resource.h>, <sys/sysctl.h>, <mach/host_info.h>,
<mach/vm_statistics.h>, <mach/mach_time.h>, <mach/vm_page_size.h>. ``Calls`` makes them, ``MacOS`` reads the structs.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Container
from typing import NamedTuple, Protocol

from pomnit.governor.reading import Process, System

HOST_CPU_LOAD_INFO, HOST_CPU_LOAD_INFO_COUNT = 3, 4
HOST_VM_INFO64, HOST_VM_INFO64_REV1_COUNT = 4, 38  # in ints; revision 1 tells of the compressor, 10.9 and later
RUSAGE_INFO_V4 = 4
_RUSAGE_BYTES = 1024  # struct rusage_info_v4 has 296; a newer system may write more
_MOST_CHILDREN = 1 << 16

_RUSAGE = struct.Struct("=16x 16Q")  # a UUID, then the fields of struct rusage_info_v1, with which all later ones begin
_HIGHEST = struct.Struct("=16x 224x Q")  # ri_lifetime_max_phys_footprint, of version 4
_VM = struct.Struct("=4I 9Q 2I 4Q 4I Q")  # struct vm_statistics64 of revision 1
_SWAP = struct.Struct("=3Q")  # struct xsw_usage begins: total, avail, used


class Rusage(NamedTuple):
    """What struct rusage_info_v1 and later begin with. Times in units of mach_absolute_time, sizes in bytes."""

    user_time: int
    system_time: int
    pkg_idle_wkups: int
    interrupt_wkups: int
    pageins: int
    wired_size: int
    resident_size: int
    phys_footprint: int
    proc_start_abstime: int
    proc_exit_abstime: int
    child_user_time: int
    child_system_time: int
    child_pkg_idle_wkups: int
    child_interrupt_wkups: int
    child_pageins: int
    child_elapsed_abstime: int


class Statistics(NamedTuple):
    """struct vm_statistics64 of revision 1, in pages and events."""

    free: int
    active: int
    inactive: int
    wire: int
    zero_fill: int
    reactivations: int
    pageins: int
    pageouts: int
    faults: int
    cow_faults: int
    lookups: int
    hits: int
    purges: int
    purgeable: int
    speculative: int  # these are in ``free``, too
    decompressions: int
    compressions: int
    swapins: int
    swapouts: int
    compressor: int
    throttled: int
    external: int  # of files
    internal: int  # anonymous
    uncompressed: int  # what the compressor holds


class CallsLike(Protocol):
    """The calls, as bytes in and out: tests hand in what a Mac answered."""

    page: int  # bytes of a page in the statistics
    timebase: tuple[int, int]  # nanoseconds in a unit of mach_absolute_time, as numerator and denominator

    def rusage(self, pid: int) -> bytes | None:
        """Gives struct rusage_info_v4."""

    def children(self, pid: int, most: int) -> bytes:
        """Gives the numbers of the children as ints, padded with 0 to ``most`` of them."""

    def sysctl(self, name: bytes, size: int) -> bytes | None:
        """Gives a value of the system."""

    def statistics(self, flavor: int, count: int) -> bytes | None:
        """Gives ``count`` ints of host_statistics64, or of host_statistics for the load of the cores."""


class MacOS:
    """The source of figures on macOS."""

    def __init__(self, calls: CallsLike | None = None) -> None:
        """Takes the calls; those of this machine by default."""
        self._calls = Calls() if calls is None else calls

    def system(self) -> System:
        """Gives what the machine tells about itself.

        Raises:
            OSError: it does not even tell how much memory it has.
        """
        calls = self._calls
        installed = calls.sysctl(b"hw.memsize", 8)
        if not installed:
            raise OSError("sysctl hw.memsize gives nothing")
        swap = swap_usage(calls.sysctl(b"vm.swapusage", 32))
        pages = statistics(calls.statistics(HOST_VM_INFO64, HOST_VM_INFO64_REV1_COUNT))
        level = calls.sysctl(b"kern.memorystatus_vm_pressure_level", 4)
        return System(
            total=struct.unpack("=Q", installed)[0],
            # what the Activity Monitor does not count as used: free, and cached files
            available=pages and (pages.free - pages.speculative + pages.external + pages.purgeable) * calls.page,
            swap_total=swap and swap[0],
            swap_used=swap and swap[1],
            cpu=cpu_ticks(calls.statistics(HOST_CPU_LOAD_INFO, HOST_CPU_LOAD_INFO_COUNT)),
            level=struct.unpack("=i", level)[0] if level else None,
            compressed=pages and pages.compressor * calls.page,
            compressed_from=pages and pages.uncompressed * calls.page,
            compressions=pages and pages.compressions,
        )

    def process(self, pid: int) -> Process | None:
        """Gives what one process takes; None when there is none of that number, or it ended."""
        found = rusage(self._calls.rusage(pid))
        if found is None:
            return None
        numerator, denominator = self._calls.timebase
        units = found.user_time + found.system_time + found.child_user_time + found.child_system_time
        return Process(
            pid=pid,
            born=found.proc_start_abstime,
            resident=found.resident_size,
            proportional=found.phys_footprint,
            swap=None,  # it is in the footprint, and not told apart
            major_faults=found.pageins + found.child_pageins,
            cpu_s=units * numerator / denominator / 1e9,
            ended=found.proc_exit_abstime != 0,
        )

    def children(self, pid: int) -> list[int]:
        """Gives the numbers of its living children."""
        most = 64
        while True:
            found = child_numbers(self._calls.children(pid, most))
            if len(found) < most or most >= _MOST_CHILDREN:
                return found
            most *= 4  # a full list may have been cut short

    def forget(self, living: Container[int]) -> None:
        """Drops what was kept about processes that are gone: nothing."""


def rusage(raw: bytes | None) -> Rusage | None:
    """Gives the beginning of a struct rusage_info_v1 or later."""
    return Rusage(*_RUSAGE.unpack_from(raw)) if raw else None


def highest_footprint(raw: bytes) -> int:
    """Gives the most that the footprint ever was, of a struct rusage_info_v4."""
    (highest,) = _HIGHEST.unpack_from(raw)
    return int(highest)


def statistics(raw: bytes | None) -> Statistics | None:
    """Gives a struct vm_statistics64."""
    return Statistics(*_VM.unpack_from(raw)) if raw else None


def swap_usage(raw: bytes | None) -> tuple[int, int] | None:
    """Gives total and used bytes of a struct xsw_usage."""
    if not raw:
        return None
    total, _, used = _SWAP.unpack_from(raw)
    return total, used


def cpu_ticks(raw: bytes | None) -> tuple[float, float, float] | None:
    """Gives user, system and idle ticks of a struct host_cpu_load_info, which has nice ones, too."""
    if not raw:
        return None
    user, system, idle, nice = struct.unpack_from("=4I", raw)
    return user + nice, system, idle


def child_numbers(raw: bytes) -> list[int]:
    """Gives the numbers in a buffer of ints that was all 0 before."""
    return [number for (number,) in struct.iter_unpack("=i", raw) if number > 0]


class Calls:
    """The calls of this machine."""

    def __init__(self) -> None:
        """Opens the libraries and asks once for what never changes."""
        self._system = ctypes.CDLL("/usr/lib/libSystem.B.dylib")  # libproc and Mach are in it
        self._system.mach_host_self.restype = ctypes.c_uint
        self._host = ctypes.c_uint(self._system.mach_host_self())  # once: each call gives one more right to give back
        self.page = ctypes.c_size_t.in_dll(self._system, "vm_kernel_page_size").value
        timebase = (ctypes.c_uint32 * 2)()
        self._system.mach_timebase_info(timebase)
        self.timebase = (timebase[0], timebase[1])

    def rusage(self, pid: int) -> bytes | None:
        """Gives struct rusage_info_v4 by proc_pid_rusage."""
        buffer = ctypes.create_string_buffer(_RUSAGE_BYTES)
        return None if self._system.proc_pid_rusage(pid, RUSAGE_INFO_V4, buffer) else buffer.raw

    def children(self, pid: int, most: int) -> bytes:
        """Gives the children by proc_listchildpids; its result is not needed, as the buffer was all 0 before."""
        buffer = ctypes.create_string_buffer(4 * most)
        self._system.proc_listchildpids(pid, buffer, len(buffer))
        return buffer.raw

    def sysctl(self, name: bytes, size: int) -> bytes | None:
        """Gives a value by sysctlbyname."""
        buffer, length = ctypes.create_string_buffer(size), ctypes.c_size_t(size)
        failed = self._system.sysctlbyname(name, buffer, ctypes.byref(length), None, ctypes.c_size_t(0))
        return None if failed else buffer.raw

    def statistics(self, flavor: int, count: int) -> bytes | None:
        """Gives ``count`` ints by host_statistics64 or host_statistics."""
        call = self._system.host_statistics64 if flavor == HOST_VM_INFO64 else self._system.host_statistics
        buffer, found = ctypes.create_string_buffer(4 * count), ctypes.c_uint(count)
        return None if call(self._host, flavor, buffer, ctypes.byref(found)) else buffer.raw

"""What is in order on this machine, and what to type where it is not. Changes nothing and loads no model."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from pomnit.errors import HomeError, PomnitError
from pomnit.governor.leases import Governor, on_apple_silicon
from pomnit.privacy.keys import keychain_works, open_keys
from pomnit.records import Check
from pomnit.settings import Settings

_LOW_DISK = 2 << 30
_SMALL_MEMORY = 6 << 30


def examine(settings: Settings) -> Iterator[Check]:
    """Gives one check after the other, each with a verdict and, where something is wrong, the next command."""
    yield _python()
    yield Check(
        "system", "ok", f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores"
    )
    yield from _memory_and_swap()
    yield _mlx()
    yield from _engines(settings)
    yield from _home(settings)
    yield _disk(settings.home)


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} in {sys.prefix}")


def _memory_and_swap() -> Iterator[Check]:
    total, available, swap_total, swap_used = _memory_linux() if platform.system() == "Linux" else _memory_macos()
    text = f"{_gib(total)} in all" + (f", {_gib(available)} available" if available else "")
    yield Check("memory", "warning" if total < _SMALL_MEMORY else "ok", text)
    if not swap_total:
        yield Check("swap", "ok", "none")
    elif swap_used > 64 << 20:
        yield Check(
            "swap", "warning", f"{_gib(swap_used)} of {_gib(swap_total)} already in use before Pomnit starts",
            "close programs you do not need, or restart the machine",
        )  # fmt: skip
    else:
        yield Check("swap", "ok", f"{_gib(swap_total)}, unused")


def _memory_linux() -> tuple[int, int, int, int]:
    facts: dict[str, int] = {}
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        name, _, value = line.partition(":")
        facts[name] = int(value.split()[0]) * 1024
    swap = facts.get("SwapTotal", 0)
    return facts["MemTotal"], facts.get("MemAvailable", 0), swap, swap - facts.get("SwapFree", 0)


def _memory_macos() -> tuple[int, int, int, int]:
    """Total from hw.memsize; swap from vm.swapusage (struct xsw_usage: total, avail, used as 64 bits; sys/sysctl.h)."""
    import ctypes
    import struct

    libc = ctypes.CDLL(None)

    def sysctl(name: bytes, size: int) -> bytes:
        buffer, length = ctypes.create_string_buffer(size), ctypes.c_size_t(size)
        if libc.sysctlbyname(name, buffer, ctypes.byref(length), None, ctypes.c_size_t(0)):
            return bytes(size)
        return buffer.raw

    total = struct.unpack("Q", sysctl(b"hw.memsize", 8))[0]
    swap_total, _, swap_used = struct.unpack("3Q", sysctl(b"vm.swapusage", 32)[:24])
    return total, 0, swap_total, swap_used


def _mlx() -> Check:
    if not on_apple_silicon():
        return Check("mlx", "ok", "not used on this machine: it needs Apple silicon; ONNX Runtime does the work")
    if importlib.util.find_spec("mlx") is None:
        return Check("mlx", "warning", "not installed; ONNX Runtime does the work, slower", "pip install mlx")
    return Check("mlx", "ok", "MLX is installed")


def _engines(settings: Settings) -> Iterator[Check]:
    names = {"recognise": "ocr", "embed": "encoder"}
    for choice in Governor(settings).choices():
        name = names[choice.job]
        if choice.works:
            yield Check(name, "ok", f"{choice.model} on {choice.runtime}: {choice.reason}")
        else:
            what, _, command = choice.reason.partition("; type: ")
            yield Check(name, "problem" if choice.job == "recognise" else "warning", what, command or None)


def _home(settings: Settings) -> Iterator[Check]:
    if not (settings.home / "home.json").exists():
        yield Check("database", "ok", f"no memory in {settings.home} yet; `pomnit add PATH` makes one")
        works, why = (False, "the settings say file") if settings.key == "file" else keychain_works()
        where = why if works else f"a file in {settings.key_dir} ({why})"
        yield Check("key", "ok", f"a new memory's key would be kept in: {where}")
        return
    try:
        keys = open_keys(settings)
    except HomeError as error:
        yield Check("key", "problem", str(error), "restore the key from your backup")
        return
    yield from _key(settings, keys.place, keys.where)
    try:
        from pomnit.store.database import Database

        Database(settings.home / "memory.db", keys.database, busy_s=1).close()
        size = (settings.home / "memory.db").stat().st_size
        yield Check("database", "ok", f"{settings.home / 'memory.db'}, {size / 1e6:.1f} MB, encrypted")
    except PomnitError as error:
        yield Check("database", "problem", str(error), "restore it from a backup")


def _key(settings: Settings, place: str, where: str) -> Iterator[Check]:
    if place == "keychain":
        yield Check("key", "ok", "in the keychain")
    elif Path(where).stat().st_mode & 0o077:
        yield Check("key", "problem", f"{where} can be read by others", f"chmod 600 '{where}'")
    else:
        text = f"in {where}, readable by you alone: whoever reads your files reads this memory. Keep a copy elsewhere"
        yield Check("key", "ok" if settings.key == "file" else "warning", text)


def _disk(home: Path) -> Check:
    where = home
    while not where.exists():
        where = where.parent
    free = shutil.disk_usage(where).free
    text = f"{_gib(free)} free on the disk of {home}"
    return Check("disk", "warning", text, "free some room") if free < _LOW_DISK else Check("disk", "ok", text)


def _gib(n: int) -> str:
    return f"{n / (1 << 30):.1f} GiB"

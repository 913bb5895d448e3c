"""A cage for a program that is measured: a memory cgroup with a limit, and swap beside it, both gone afterwards.

It needs root on Linux, with control groups of version 1 or 2. Everything a run leaves when it was killed itself is put
away by the next one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GROUPS = Path("/sys/fs/cgroup")
NAME = "pomnit-bench"
ENDING_S = 10.0  # that the kernel may take to let go of what ended
# Starts a program inside a group: the pages of a process that moves into one later count elsewhere.
_INTO = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); os.execv(sys.argv[2], sys.argv[2:])"


class NoCage(Exception):
    """Why there can be none here."""


@dataclass(frozen=True)
class Group:
    """A control group for memory."""

    folder: Path
    version: int
    limit: int

    def anonymous(self) -> int:
        """Gives the bytes of memory that could only be swapped, by the kernel's own account."""
        return self._stat("anon" if self.version == 2 else "total_rss")

    def swap(self) -> int:
        """Gives the bytes that lie in the swap."""
        if self.version == 2:
            return int((self.folder / "memory.swap.current").read_text("ascii"))
        return self._stat("total_swap")

    def killed(self) -> int:
        """Gives how many processes the kernel killed because there was no more memory."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        return self._stat("oom_kill", name)

    def _stat(self, key: str, name: str = "memory.stat") -> int:
        lines = (line.split() for line in (self.folder / name).read_text("ascii").splitlines())
        return int(next((line[1] for line in lines if line[0] == key), 0))

    def remove(self) -> None:
        """Ends all that is still in it, and takes it away."""
        end = time.monotonic() + ENDING_S
        while self.folder.is_dir():
            for pid in (self.folder / "cgroup.procs").read_text("ascii").split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            try:
                self.folder.rmdir()
            except OSError:  # busy until its processes are reaped
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)


def started(group: Group | None, command: list[str], **how: Any) -> subprocess.Popen[str]:
    """Starts a program, inside the group if there is one; Ctrl-C does not reach it."""
    if group is not None:
        command = [sys.executable, "-c", _INTO, str(group.folder / "cgroup.procs"), *command]
    return subprocess.Popen(command, text=True, start_new_session=True, **how)


@contextlib.contextmanager
def group_of(limit: int) -> Iterator[Group]:
    """Gives a new group with a limit, in bytes.

    Raises:
        NoCage: with the reason.
    """
    if not sys.platform.startswith("linux"):
        raise NoCage(f"control groups are Linux's, and this is {sys.platform}")
    if os.geteuid() != 0:
        raise NoCage("making a control group needs root")
    group = _made(limit)
    try:
        yield group
    finally:
        group.remove()


def _made(limit: int) -> Group:
    old = GROUPS / "memory"
    version = 1 if (old / "memory.limit_in_bytes").is_file() else 2
    folder = (old if version == 1 else GROUPS) / NAME
    group = Group(folder, version, limit)
    try:
        group.remove()  # of a run that was killed
        if version == 2 and "memory" not in (GROUPS / "cgroup.subtree_control").read_text("ascii").split():
            (GROUPS / "cgroup.subtree_control").write_text("+memory", "ascii")
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if version == 1 else "memory.max")).write_text(str(limit), "ascii")
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise NoCage(f"no memory control group can be made: {error}") from error
    return group


@contextlib.contextmanager
def swap_file(path: Path, size: int) -> Iterator[None]:
    """Makes a swap file and switches it on.

    Raises:
        NoCage: with the reason.
    """
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise NoCage("switching swap on needs root on Linux")
    _switch_off(path)  # of a run that was killed
    try:
        if shutil.disk_usage(path.parent).free < 2 * size:
            raise NoCage(f"a swap file of {size / 1e9:.1f} GB leaves too little room in {path.parent}")
        try:
            with path.open("wb") as file:
                path.chmod(0o600)
                os.posix_fallocate(file.fileno(), 0, size)
            _run("mkswap", str(path))
            _run("swapon", str(path))
        except OSError as error:
            raise NoCage(f"no swap can be switched on: {error}") from error
        yield
    finally:
        _switch_off(path)


def _switch_off(path: Path) -> None:
    """Switches a swap file off, if it is on, and removes it."""
    swaps = Path("/proc/swaps").read_text("utf-8").splitlines()[1:]
    if any(line.split()[0] == str(path) for line in swaps):
        _run("swapoff", str(path))
    path.unlink(missing_ok=True)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
    except FileNotFoundError as error:
        raise OSError(f"{command[0]} is not installed") from error
    if done.returncode:
        raise OSError(f"{command[0]}: {done.stderr.strip()}")


def forget_pages(*folders: Path) -> None:
    """Lets the system drop the pages of all files below, so that who reads them next is who they count for."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

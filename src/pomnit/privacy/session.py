"""The key of an unlocked memory, kept for as long as this login lasts and no longer.

On Linux in the kernel's keyring of the session, which is never swapped and goes with the logout; where that is not
allowed (containers) in a file of mode 0600 in ``XDG_RUNTIME_DIR``, which lies in memory. On macOS in the keychain, as
long as the machine runs. Where there is none of these nothing is kept.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import secrets
import stat
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

KEY = 32  # bytes
LONGEST_S = 30 * 86_400
SERVICE = "pomnit unlocked"
_LOOK_S = 1.0  # between two looks of a long-lived process at whether the memory is still unlocked
_MOST = 4096  # bytes of what may be kept

# Numbers of the calls of Linux: asm/unistd_64.h, asm-generic/unistd.h; linux/keyctl.h.
_CALLS = {"x86_64": (248, 250), "aarch64": (217, 219), "riscv64": (217, 219)}
_SESSION, _SHARED = -3, -5
_GET_ID, _UNLINK, _SEARCH, _READ, _SET_TIMEOUT = 0, 9, 10, 11, 15


@dataclass(frozen=True, slots=True)
class Kept:
    """A key that is kept, and until when. Showing it shows no key."""

    where: str
    until: float | None  # Unix seconds
    root: bytes = field(repr=False)


class Place(Protocol):
    """One place that can keep a key for a while. None and False: it cannot, or there is none."""

    where: str

    def keep(self, memory: str, root: bytes, for_s: int | None) -> bool: ...
    def kept(self, memory: str) -> Kept | None: ...
    def drop(self, memory: str) -> bool: ...


def keep(memory: str, root: bytes, for_s: int | None = None) -> str | None:
    """Keeps the key of a memory for ``for_s`` seconds, else as long as it can be; gives where, None when nowhere."""
    drop(memory)
    return next((place.where for place in _places() if place.keep(memory, root, for_s)), None)


def kept(memory: str) -> Kept | None:
    """Gives the key of a memory that is unlocked; None when it is locked."""
    return next((found for place in _places() if (found := place.kept(memory)) is not None), None)


def drop(memory: str) -> bool:
    """Forgets the key of a memory; says whether there was one."""
    dropped = [place.drop(memory) for place in _places()]  # in all of them
    return any(dropped)


class Watch:
    """Says whether a memory is still unlocked, with one look a second however often it is asked."""

    def __init__(self, memory: str) -> None:
        self._memory, self._next, self._open = memory, 0.0, True

    def __call__(self) -> bool:
        now = time.monotonic()
        if self._open and now >= self._next:
            self._open, self._next = kept(self._memory) is not None, now + _LOOK_S
        return self._open


def _places() -> Iterator[Place]:
    if platform.system() == "Darwin":
        yield Keychain()
        return
    if (calls := _CALLS.get(platform.machine())) is not None and sys.maxsize > 1 << 32:
        yield Kernel(*calls)
    if (folder := _runtime_folder()) is not None:
        yield Runtime(folder)


class Kernel:
    """The keyring of this session in the kernel."""

    where = "the kernel's keyring"

    def __init__(self, add_key: int, keyctl: int) -> None:
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        self._add_key, self._keyctl = ctypes.c_long(add_key), ctypes.c_long(keyctl)
        # A login without a keyring of its own (no pam_keyinit) shares that of this user's sessions. It must be named:
        # who adds to "the session's" then gets a new one, which ends with the process.
        mine, shared = (self._control(_GET_ID, ctypes.c_long(ring), ctypes.c_long(0)) for ring in (_SESSION, _SHARED))
        self._ring = ctypes.c_long(_SHARED if mine == shared else _SESSION)

    def keep(self, memory: str, root: bytes, for_s: int | None) -> bool:
        """Adds a key; it is taken away again when it cannot be given an end."""
        data = struct.pack("<d", time.time() + for_s if for_s else 0.0) + root
        number = self._call(self._add_key, b"user", _name(memory), data, ctypes.c_size_t(len(data)), self._ring)
        if number < 0:
            return False
        if for_s and self._control(_SET_TIMEOUT, number, for_s) < 0:
            self.drop(memory)
            return False
        return True

    def kept(self, memory: str) -> Kept | None:
        number = self._find(memory)
        room = ctypes.create_string_buffer(8 + KEY)
        if number < 0 or self._control(_READ, number, room, ctypes.c_size_t(len(room))) != len(room):
            return None
        (until,) = struct.unpack("<d", room.raw[:8])
        return Kept(self.where, until or None, room.raw[8:])

    def drop(self, memory: str) -> bool:
        number = self._find(memory)
        return number >= 0 and self._control(_UNLINK, number, self._ring) == 0

    def _find(self, memory: str) -> int:
        return self._control(_SEARCH, self._ring, b"user", _name(memory), ctypes.c_long(0))

    def _control(self, what: int, *values: Any) -> int:
        whole = [ctypes.c_long(value) if isinstance(value, int) else value for value in values]
        return int(self._call(self._keyctl, ctypes.c_long(what), *whole))


def _name(memory: str) -> bytes:
    return f"pomnit:{memory}".encode()


class Runtime:
    """A file in a folder that lies in memory and is this user's alone."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.where = folder / "pomnit", str(folder / "pomnit")

    def keep(self, memory: str, root: bytes, for_s: int | None) -> bool:
        end = time.clock_gettime(_CLOCK) + for_s if for_s else None
        until = time.time() + for_s if for_s else None
        data = json.dumps({"key": root.hex(), "end": end, "until": until}).encode()
        aside = self._folder / f".{secrets.token_hex(4)}"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if not _private(self._folder):
                return False
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(data)
            os.replace(aside, self._folder / memory)
        except OSError:
            aside.unlink(missing_ok=True)
            return False
        return True

    def kept(self, memory: str) -> Kept | None:
        try:
            with (self._folder / memory).open("rb") as file:
                found = json.loads(file.read(_MOST))
            root, end, until = bytes.fromhex(found["key"]), found["end"], found["until"]
            if end is not None and time.clock_gettime(_CLOCK) >= float(end):
                self.drop(memory)
                return None
            return Kept(self.where, until, root) if len(root) == KEY else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def drop(self, memory: str) -> bool:
        with contextlib.suppress(OSError):
            (self._folder / memory).unlink()
            return True
        return False


# Goes on while the machine sleeps, and cannot be set back by who sets the time.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _runtime_folder() -> Path | None:
    """Gives ``XDG_RUNTIME_DIR`` where it is what it should be: this user's alone, and in memory."""
    told = os.environ.get("XDG_RUNTIME_DIR", "")
    if not os.path.isabs(told):
        return None
    folder = Path(told)
    return folder if _private(folder) and _in_memory(folder) else None


def _private(folder: Path) -> bool:
    try:
        facts = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o077


def _in_memory(folder: Path) -> bool:
    """Says whether a folder lies on a file system that is gone with the power: tmpfs or ramfs."""
    try:
        device = folder.stat().st_dev
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:  # 36 35 98:0 /root /where options … - type source options
        mount, _, of = line.partition(" - ")
        if mount.split(" ")[2:3] == [wanted]:
            return of.split(" ")[0] in ("tmpfs", "ramfs")
    return False


class Keychain:
    """The keychain of macOS; what it keeps counts only until the machine is started anew."""

    where = "the keychain, until this machine is started anew"

    def keep(self, memory: str, root: bytes, for_s: int | None) -> bool:
        import keyring
        from keyring.errors import KeyringError

        until, start = time.time() + for_s if for_s else None, start_of_machine()
        if not start:  # it would be kept for ever
            return False
        said = json.dumps({"key": root.hex(), "until": until, "start": start})
        try:
            keyring.set_password(SERVICE, memory, said)
        except KeyringError:
            return False
        return True

    def kept(self, memory: str) -> Kept | None:
        import keyring
        from keyring.errors import KeyringError

        try:
            said = keyring.get_password(SERVICE, memory)
            found = json.loads(said) if said is not None else {}
            root, until = bytes.fromhex(found["key"]), found["until"]
            if found["start"] != start_of_machine() or (until is not None and time.time() >= float(until)):
                self.drop(memory)
                return None
            return Kept(self.where, until, root) if len(root) == KEY else None
        except (KeyringError, ValueError, KeyError, TypeError):
            return None

    def drop(self, memory: str) -> bool:
        import keyring
        from keyring.errors import KeyringError

        with contextlib.suppress(KeyringError):
            keyring.delete_password(SERVICE, memory)
            return True
        return False


def start_of_machine() -> str:
    """Gives a word that another start of the machine changes (kern.bootsessionuuid); empty where there is none."""
    room, size, none = ctypes.create_string_buffer(64), ctypes.c_size_t(64), ctypes.c_size_t(0)
    try:
        failed = ctypes.CDLL(None).sysctlbyname(b"kern.bootsessionuuid", room, ctypes.byref(size), None, none)
    except (OSError, AttributeError):
        return ""
    return "" if failed else room.value.decode("ascii", "replace")

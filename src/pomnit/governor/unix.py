"""The Unix socket of a memory's owner: where it lies, and whether the other end is of the same user."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

NAME = "owner.sock"
LONGEST = 103  # bytes of a path that a socket of macOS can have; Linux takes 107
WAITING = 16  # connections that nobody accepted yet
_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1  # macOS: sys/un.h; Python names only the second
_XUCRED = 76  # bytes of struct xucred, sys/ucred.h: version, uid, groups
_DARWIN_USER_TEMP_DIR = 65537  # unistd.h; Python has no name for it


def places(home: Path) -> Iterator[Path]:
    """Gives where the socket of a home may lie, the best place first.

    Where its path is too long, or the file system has no sockets, it lies in the folder that the system has for what
    lives as long as a process, named by the home's digest.
    """
    near = home / NAME
    if len(os.fsencode(near)) <= LONGEST:
        yield near
    digest = hashlib.blake2b(os.fsencode(os.path.realpath(home)), digest_size=12).hexdigest()
    yield runtime_folder() / f"{digest}.sock"


def runtime_folder() -> Path:
    """Gives this user's own folder for sockets, which need not be there.

    It does not depend on the environment: a program started by the system finds the same one as a terminal.
    """
    if platform.system() == "Darwin":
        return Path(os.confstr(_DARWIN_USER_TEMP_DIR) or "/tmp") / f"pomnit-{os.getuid()}"
    run = Path("/run/user") / str(os.getuid())
    return (run if run.is_dir() else Path("/tmp")) / f"pomnit-{os.getuid()}"


def listen(home: Path) -> tuple[socket.socket, Path]:
    """Gives a socket that is listened on, for this user alone, and where it lies. Only the owner may call this.

    What a dead owner left there is replaced.

    Raises:
        OSError: there is no place for one.
    """
    failed: OSError | None = None
    for place in places(home):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if place.parent != home:
                _make_private(place.parent)
            place.unlink(missing_ok=True)
            listener.bind(os.fsencode(place))
            place.chmod(0o600)  # before anybody can connect
            listener.listen(WAITING)
        except OSError as error:
            listener.close()
            failed = error
        else:
            return listener, place
    assert failed is not None
    raise failed


def connect(home: Path, timeout_s: float) -> socket.socket:
    """Gives a connection to the owner.

    Raises:
        OSError: nobody of this user listens; TimeoutError: somebody does, and does not accept.
    """
    for place in places(home):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout_s)
        try:
            connection.connect(os.fsencode(place))
            if is_ours(connection):
                return connection
        except TimeoutError:
            connection.close()
            raise
        except OSError:
            pass
        connection.close()
    raise ConnectionRefusedError(f"nobody listens for {home}")


def is_ours(connection: socket.socket) -> bool:
    """Says whether the process at the other end is of this user; the system says so, not the process."""
    with contextlib.suppress(OSError):
        if platform.system() == "Darwin":
            said = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED)
            return struct.unpack("=II", said[:8]) == (0, os.geteuid())
        said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return bool(struct.unpack("=iii", said)[1] == os.geteuid())
    return False


def _make_private(folder: Path) -> None:
    """Makes a folder for this user alone; where everybody may make folders it must not be another's.

    Raises:
        OSError.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder of this user alone")

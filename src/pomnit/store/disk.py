"""Folders and files that are private, and names that a power cut does not lose."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from pomnit.errors import DatabaseBusy

OTHERS = 0o077  # what no file or folder of ours grants
_NAMES = ("home.json*", ".home.json.*", "memory.db*", "owner.*", "capture.*")  # of ours in a memory's folder


def make_private(folder: Path) -> None:
    """Makes a folder of mode 0700 and those above it, each durable; one that is there stays as it is."""
    if folder.is_dir():
        return
    make_private(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync(folder.parent)


def make_private_file(path: Path) -> None:
    """Makes an empty file of mode 0600; one that is there stays as it is.

    Raises:
        OSError.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def write_new(path: Path, data: bytes) -> bool:
    """Writes a file of mode 0600 that is complete or not there; an existing one stays, and False is given.

    Raises:
        OSError.
    """
    with _aside(path, data) as aside:
        try:
            os.link(aside, path)
        except FileExistsError:  # another process was first; its file counts
            return False
        except OSError:  # a file system without hard links
            os.rename(aside, path)
    return True


def write_over(path: Path, data: bytes, *, alone: bool = False) -> None:
    """Writes a file of mode 0600 in the place of another: whenever it is looked at, one of the two is there, whole.

    Who knows that nobody else writes it (``alone``) takes away what others left that were killed while they did.

    Raises:
        OSError.
    """
    with _aside(path, data) as aside:
        os.replace(aside, path)
    if alone:
        _remove_asides(path)


def remove(path: Path) -> None:
    """Takes a file away, and what was left by who was killed while writing it. It need not be there.

    Raises:
        OSError.
    """
    if path.parent.is_dir():
        _remove_asides(path)
        path.unlink(missing_ok=True)
        sync(path.parent)


def _remove_asides(path: Path) -> None:
    for aside in path.parent.glob(f".{path.name}.*"):
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def _aside(path: Path, data: bytes) -> Iterator[Path]:
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        yield aside
    finally:
        aside.unlink(missing_ok=True)
        sync(path.parent)


def sync(folder: Path) -> None:
    """Makes the names in ``folder`` durable, such as a file that was renamed into it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def held(folder: Path, why_not: str) -> Iterator[None]:
    """Holds a folder's lock, which the system frees when its holder dies.

    Raises:
        DatabaseBusy: another process holds it; says ``why_not``.
        OSError.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatabaseBusy(why_not) from None
        yield
    finally:
        os.close(descriptor)


# Modes


def repair(home: Path) -> None:
    """Takes from others what they may do with a memory's folder and with what lies in it.

    Nobody passes a folder of mode 0700, so only one that was open is looked through to the bottom.
    """
    if make_private_again(home.resolve()):
        make_private_again(*_below(home / "files"))
    make_private_again(home / "files", *_at_the_top(home))


def open_to_others(home: Path) -> Path | None:
    """Gives something of a memory that others may read, write or enter; None when there is nothing."""
    for path in (home.resolve(), home / "files", *_at_the_top(home)):
        with contextlib.suppress(OSError):
            if path.lstat().st_mode & OTHERS and not path.is_symlink():
                return path
    return None


def _at_the_top(home: Path) -> list[Path]:
    """Gives the files that lie in a memory's folder itself. It may be one that holds other things, too."""
    return [path for name in _NAMES for path in home.glob(name)]


def _below(folder: Path) -> Iterator[Path]:
    for inside, _, names in os.walk(folder):
        yield Path(inside)
        yield from (Path(inside, name) for name in names)


def make_private_again(*paths: Path) -> bool:
    """Takes from others what they may do with files and folders of ours; says whether there was anything.

    Where it cannot be done (another user's, a disk that knows no modes) it is not: `pomnit doctor` tells.
    """
    found = False
    for path in paths:
        with contextlib.suppress(OSError):
            mode = path.lstat().st_mode
            if mode & OTHERS and not path.is_symlink():
                found = True
                path.chmod(mode & 0o7777 & ~OTHERS)
    return found

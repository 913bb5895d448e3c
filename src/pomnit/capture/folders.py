"""Folders that are followed: which files in them changed or went, told once nothing has happened to them for a moment.

What the system tells is taken as a hint where to look; what is there is looked at here. Hidden files, and those that
programs write aside until they are done, are passed over; links are not followed. A folder that is not there any more
was perhaps on a disk that was taken out: it is told as such, and nothing in it as gone.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pomnit.capture.sign import Stop
from pomnit.errors import EngineError, UsageError

QUIET_S = 1.0  # without a change, until a file is looked at
LOOK_S = 3600.0  # until all is looked at again, for what the system did not tell
AWAY_S = 2.0  # between two looks whether the folders are there
MOST = 100_000  # paths that wait to be quiet; with more, all is looked at
_ASIDE = (".part", ".partial", ".crdownload", ".download", ".opdownload", ".tmp", ".temp", ".swp", ".swx", ".filepart")
_ADDED = 1  # as watchfiles counts


class Up(Protocol):
    """Who hears of it."""

    def look(self, folder: str, *, same: bool) -> None:
        """All of a folder is to be looked at: at the beginning, and when something may have been missed.

        ``same``: it is on the disk on which it was first; on another one nothing that is missing is known to be gone.
        """

    def changed(self, present: Sequence[str], absent: Sequence[str]) -> None:
        """These files are new or changed, and at these paths (of a file, or a folder with all in it) nothing is."""

    def away(self, folder: str) -> None:
        """A folder is not there any more. It is looked for, and ``look`` called when it is back."""


def is_passed_over(name: str) -> bool:
    """Tells whether a file or folder of this name is hidden, or written by a program that is not done with it."""
    return name.startswith((".", "~$", "#")) or name.endswith("~") or name.lower().endswith(_ASIDE)


def walk(folder: str, avoid: Sequence[str] = ()) -> Iterator[str]:
    """Gives every file in a folder, in the order of names; no links, and not what is passed over or in ``avoid``."""
    ahead = [folder]
    while ahead:
        path = ahead.pop()
        folders: list[str] = []
        with contextlib.suppress(OSError), os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if is_passed_over(entry.name) or entry.path in avoid:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield entry.path
        ahead += reversed(folders)


def is_gone(path: str, folder: str) -> bool:
    """Tells whether a file that was in a folder is there no more.

    Where an empty folder is all that is left of its path, nobody knows: it may be one into which a disk is put.
    """
    if not _is_absent(path):
        return False
    above = os.path.dirname(path)
    while len(above) > len(folder) and _is_absent(above):
        above = os.path.dirname(above)
    try:
        with os.scandir(above) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def _is_absent(path: str) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # it may be there
        return False
    return False


Stamp = tuple[int, int, int] | None


class Quiet:
    """Paths to which something happened, until nothing has for a while. Times are in seconds of any clock."""

    def __init__(self, quiet_s: float, most: int = MOST) -> None:
        self.overflowed = False  # something was left out, since too many wait
        self._quiet_s, self._most = quiet_s, most
        self._waiting: dict[str, tuple[float, Stamp]] = {}

    def hint(self, path: str, stamp: Stamp, now: float) -> None:
        """Notes that something happened to a path, and what its file looks like now."""
        if path not in self._waiting and len(self._waiting) >= self._most:
            self.overflowed = True
            return
        self._waiting[path] = now, stamp

    def due(self, now: float, look: Callable[[str], Stamp]) -> list[tuple[str, Stamp]]:
        """Gives the paths to which nothing happened for long enough, in their order. One that grew waits again."""
        ready = [path for path, (since, _) in self._waiting.items() if now - since >= self._quiet_s]
        done = []
        for path in sorted(ready):
            before, seen = self._waiting.pop(path)[1], look(path)
            if seen == before:
                done.append((path, seen))
            else:
                self._waiting[path] = now, seen
        return done

    def forget(self) -> None:
        """Begins anew."""
        self._waiting.clear()
        self.overflowed = False


def stamp_of(path: str) -> Stamp:
    """Gives what changes when a file does; None when nothing is there. The type of what is there is part of it."""
    try:
        facts = os.lstat(path)
    except OSError:
        return None
    if stat.S_ISDIR(facts.st_mode):  # what is in it has stamps of its own
        return stat.S_IFDIR, 0, 0
    return stat.S_IFMT(facts.st_mode), facts.st_size, facts.st_mtime_ns


@dataclass(frozen=True, slots=True)
class _Event:
    """A stop as watchfiles asks for it."""

    stop: Stop

    def is_set(self) -> bool:
        return self.stop.asked


class Folders:
    """Some folders, followed until it is stopped."""

    def __init__(self, folders: Iterable[str | os.PathLike[str]], *, avoid: Sequence[str] = (), quiet_s: float) -> None:
        """``avoid`` are folders in which nothing is looked at, such as the memory's own.

        Raises:
            UsageError: no folder, one that is not there, or one that is to be avoided.
        """
        if not 0 < quiet_s <= LOOK_S:
            raise UsageError(f"quiet = {quiet_s:g} seconds is not above 0 and below an hour")
        self._avoid = [os.path.realpath(path) for path in avoid]
        self.folders = tuple(_apart(self._checked(folder) for folder in folders))
        self._quiet, self._quiet_s = Quiet(quiet_s), quiet_s
        self._known: dict[str, tuple[int, int]] = {}  # folders that were there, and which ones they were
        self._disks = {folder: os.stat(folder).st_dev for folder in self.folders}

    def _checked(self, folder: str | os.PathLike[str]) -> str:
        path = os.path.realpath(os.path.expanduser(os.fspath(folder)))
        if not os.path.isdir(path):
            raise UsageError(f"{os.fspath(folder)!r:.200} is not a folder that is there")
        if any(_is_in(path, own) for own in self._avoid):
            raise UsageError(f"{os.fspath(folder)!r:.200} belongs to the memory itself")
        return path

    def walk(self, folder: str) -> Iterator[str]:
        """Gives every file to look at in one of the folders."""
        return walk(folder, self._avoid)

    def run(self, up: Up, stop: Stop) -> None:
        """Tells what happens until it is stopped.

        Raises:
            EngineError: this system cannot tell what happens in folders.
        """
        while not stop.asked:
            there = self._there(up)
            if not there:
                stop.wait(AWAY_S)
                continue
            with contextlib.closing(self._hints(there, stop)) as hints, contextlib.suppress(FileNotFoundError):
                self._follow(hints, there, up, stop)  # not found: gone just now

    def _there(self, up: Up) -> dict[str, tuple[int, int]]:
        """Gives the folders that are there, and tells of those that are not any more."""
        there = {folder: identity for folder in self.folders if (identity := _identity(folder)) is not None}
        for folder in self.folders:
            if folder not in there and self._known.pop(folder, None) is not None:
                up.away(folder)
        return there

    def _hints(self, there: Iterable[str], stop: Stop) -> Generator[set[tuple[Any, str]], None, None]:
        """Gives what the system tells, and nothing now and then."""
        from watchfiles import watch

        tick = max(20, min(500, int(self._quiet_s * 500)))
        try:
            yield from watch(
                *there,
                watch_filter=None,
                debounce=2 * tick,
                step=max(10, tick // 5),
                stop_event=_Event(stop),
                rust_timeout=tick,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            )
        except FileNotFoundError:
            raise
        except (OSError, RuntimeError) as error:
            raise EngineError(
                f"this system cannot follow {len(list(there))} folders with all that is in them: {error}; on Linux "
                "sysctl fs.inotify.max_user_watches says how many; name smaller folders, or raise it"
            ) from error

    def _follow(
        self,
        hints: Generator[set[tuple[Any, str]], None, None],
        there: dict[str, tuple[int, int]],
        up: Up,
        stop: Stop,
    ) -> None:
        """Follows the folders that are there, until one more or one less is, or it is stopped."""
        self._hear(next(hints, set()))  # from now on nothing is missed
        for folder, identity in there.items():
            if self._known.get(folder) != identity and not stop.asked:
                self._known[folder] = identity
                up.look(folder, same=identity[0] == self._disks[folder])
        looked = time.monotonic()
        for batch in hints:
            now = time.monotonic()
            self._hear(batch)
            if self._changed_places(there):
                self._quiet.forget()  # what was told may be of a disk that was taken out
                return
            self._tell(up, now)
            if self._quiet.overflowed or now - looked >= LOOK_S:
                self._quiet.forget()
                looked = now
                for folder, identity in there.items():
                    up.look(folder, same=identity[0] == self._disks[folder])

    def _changed_places(self, there: dict[str, tuple[int, int]]) -> bool:
        """Tells whether a folder came, went, or is another one now."""
        return any(_identity(folder) != there.get(folder) for folder in self.folders)

    def _hear(self, batch: Iterable[tuple[Any, str]]) -> None:
        now = time.monotonic()
        for change, path in batch:
            if self._is_followed(path):
                self._hint(path, now, inside=int(change) == _ADDED)

    def _hint(self, path: str, now: float, *, inside: bool) -> None:
        """Lets a path wait to be quiet; with ``inside`` all that is in a folder, too."""
        seen = stamp_of(path)
        is_folder = seen is not None and seen[0] == stat.S_IFDIR
        if not is_folder or inside:
            self._quiet.hint(path, seen, now)
        if is_folder and inside:
            self._hint_all_in(path, now)

    def _hint_all_in(self, folder: str, now: float) -> None:
        for path in walk(folder, self._avoid):
            self._quiet.hint(path, stamp_of(path), now)
            if self._quiet.overflowed:
                return

    def _is_followed(self, path: str) -> bool:
        above = next((folder for folder in self.folders if _is_in(path, folder) and path != folder), None)
        if above is None or any(_is_in(path, own) for own in self._avoid):
            return False
        if any(is_passed_over(name) for name in path[len(above) :].strip("/").split("/")):
            return False
        return os.path.realpath(os.path.dirname(path)) == os.path.dirname(path)  # the system follows links

    def _tell(self, up: Up, now: float) -> None:
        present, absent = [], []
        for path, seen in self._quiet.due(now, stamp_of):
            if seen is None:
                absent.append(path)
            elif seen[0] == stat.S_IFREG:
                present.append(path)
            elif seen[0] == stat.S_IFDIR:  # once more: files may have come before the system watched it
                self._hint_all_in(path, now)
        if present or absent:
            up.changed(present, absent)


def _apart(folders: Iterable[str]) -> list[str]:
    """Gives folders without those that lie in others of them.

    Raises:
        UsageError: there is none.
    """
    given = sorted(set(folders))
    if not given:
        raise UsageError("no folder to watch")
    return [folder for folder in given if not any(_is_in(folder, other) for other in given if other != folder)]


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        facts = os.stat(folder)
    except OSError:
        return None
    return (facts.st_dev, facts.st_ino) if stat.S_ISDIR(facts.st_mode) else None

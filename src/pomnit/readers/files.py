"""Files and folders as sources: walking them, naming them, reading them whole and unchanged."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote_to_bytes, urlsplit

from pomnit.errors import ItemError

CHANGED = "the file has changed since it was added; add it again"
_STEP = 1 << 20
_ADDRESS = re.compile(r"(?:https?|ftps?|sftp|smb)://", re.IGNORECASE)
_NO_NETWORK = (
    "an address, and Pomnit does not go to the network; save the page (Ctrl-S or Cmd-S in a browser) or download the "
    "file, then add what was saved"
)


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that was named or lies in a named folder. ``path`` is real: absolute and without links."""

    path: str
    named: bool  # the user named it, so it is not passed over in silence


@dataclass(frozen=True, slots=True)
class NotFoundHere:
    """A path that could not be looked at, and why."""

    path: str
    reason: str


def walk(paths: Sequence[str | os.PathLike[str]]) -> Iterator[FoundFile | NotFoundHere]:
    """Gives every file at or below ``paths`` once, in the order of names; hidden ones only when named.

    Links are followed; a folder that was visited is not visited again, so loops end.
    """
    visited: set[tuple[int, int]] = set()
    for named in paths:
        if _ADDRESS.match(os.fspath(named)):
            yield NotFoundHere(os.fspath(named), _NO_NETWORK)
            continue
        ahead = [os.path.realpath(os.path.abspath(os.path.expanduser(os.fspath(named))))]
        first = True
        while ahead:
            path = ahead.pop()
            found, below = _look(path, visited, named=first)
            first = False
            if found is not None:
                yield found
            ahead += [os.path.realpath(os.path.join(path, name)) for name in reversed(below)]


def _look(
    path: str, visited: set[tuple[int, int]], *, named: bool
) -> tuple[FoundFile | NotFoundHere | None, list[str]]:
    """Gives what is to be said of a path, and the names in it when it is a folder not visited before."""
    try:
        facts = os.stat(path)
        is_folder = stat.S_ISDIR(facts.st_mode)
        if not (is_folder or stat.S_ISREG(facts.st_mode)):
            return NotFoundHere(path, "neither a file nor a folder") if named else None, []
        if (facts.st_dev, facts.st_ino) in visited:
            return None, []
        visited.add((facts.st_dev, facts.st_ino))
        if not is_folder:
            return FoundFile(path, named), []
        return None, sorted(name for name in os.listdir(path) if not name.startswith("."))
    except FileNotFoundError:  # unless named, a dangling link, or gone between listing and looking
        return NotFoundHere(path, "there is no such file or folder") if named else None, []
    except OSError as error:
        return NotFoundHere(path, _why(error)), []


def uri_of(path: str) -> str:
    """Gives the URI of a real path; every byte that is not plain is percent-encoded, so any name survives."""
    return "file://" + quote(os.fsencode(path), safe="/-._~")


def path_of(uri: str) -> str:
    """Gives the path of a file URI."""
    return os.fsdecode(unquote_to_bytes(urlsplit(uri).path))


def display(path: str) -> str:
    """Gives a path as it may be printed: what is not text, and control characters, as escapes; any space as a space."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(map(_printable, text))


def _printable(c: str) -> str:
    if unicodedata.category(c) == "Zs":  # macOS puts a narrow no-break space before PM
        return " "
    return c if c.isprintable() else c.encode("unicode_escape").decode()


def stamp_of(path: str) -> tuple[str, float]:
    """Gives size and modification time of a file as one word, and the time in seconds.

    Raises:
        ItemError.
    """
    try:
        facts = os.stat(path)
    except OSError as error:
        raise ItemError(_why(error)) from error
    return f"{facts.st_size}:{facts.st_mtime_ns}", facts.st_mtime


def head_of(path: str, size: int) -> bytes:
    """Gives the first ``size`` bytes of a file.

    Raises:
        ItemError.
    """
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError as error:
        raise ItemError(_why(error)) from error


def digest_file(path: str) -> tuple[str, int]:
    """Gives digest and size of a file, in little memory.

    Raises:
        ItemError.
    """
    state, size = _blake2b(), 0
    try:
        with open(path, "rb") as file:
            while part := file.read(_STEP):
                state.update(part)
                size += len(part)
    except OSError as error:
        raise ItemError(_why(error)) from error
    return _digest(state), size


def digest(data: bytes) -> str:
    """Gives the digest of bytes, the algorithm beside the value."""
    state = _blake2b()
    state.update(data)
    return _digest(state)


def open_same(path: str, digest: str, limit: int) -> BinaryIO:
    """Gives a file opened at its beginning, whose bytes were just found to be those of ``digest``.

    Raises:
        ItemError: gone, not readable, too large, or changed.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 who called closes it
        try:
            if os.fstat(file.fileno()).st_size > limit:
                raise ItemError(_larger(limit))
            state = _blake2b()
            while part := file.read(_STEP):
                state.update(part)
            if _digest(state) != digest:
                raise ItemError(CHANGED)
            file.seek(0)
        except BaseException:
            file.close()
            raise
    except OSError as error:
        raise ItemError(_why(error)) from error
    return file


def pieces_of(path: str, digest: str, limit: int) -> Iterator[bytes]:
    """Gives the bytes of a file in pieces of 1 MiB, the last one shorter.

    Raises:
        ItemError: gone, not readable or too large; at the end, when they were not those of ``digest``.
    """
    state, left = _blake2b(), limit
    try:
        with open(path, "rb") as file:
            while part := file.read(_STEP):
                left -= len(part)
                if left < 0:
                    raise ItemError(_larger(limit))
                state.update(part)
                yield part
    except OSError as error:
        raise ItemError(_why(error)) from error
    if _digest(state) != digest:
        raise ItemError(CHANGED)


def read_whole(path: str, limit: int) -> bytes:
    """Gives the bytes of a file that is not larger than ``limit`` bytes.

    Raises:
        ItemError: gone, not readable, or too large.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ItemError(_why(error)) from error
    if len(data) > limit:
        raise ItemError(_larger(limit))
    return data


def _larger(limit: int) -> str:
    return f"larger than the {limit >> 20} MiB that are allowed for its kind"


def _blake2b() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=32)


def _digest(state: hashlib.blake2b) -> str:
    return f"blake2b:{state.hexdigest()}"


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file is no longer there"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return (error.strerror or str(error)).lower()


def title_of(path: str) -> str:
    """Gives the title a file has until its reader knows a better one: its name without the suffix."""
    return display(Path(path).stem) or display(path)

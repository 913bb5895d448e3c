"""Where a memory's key is kept: looked at, changed, unlocked, written on paper and brought back.

A change never leaves a memory without a key. The new place gets the key first and must give it back, and that key
must open the database; only then one rename of ``home.json`` lets it count; only then the old place gives it up, which
the next opening goes on with when it was cut short.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pomnit.errors import HomeError, NotFound, PomnitError, UsageError, WrongKey
from pomnit.privacy import dumps, keys, passphrase, recovery, session, wrapped
from pomnit.privacy.keys import Marker, Place
from pomnit.settings import Settings
from pomnit.store import database, disk

_TEXT = """Recovery key of a memory of Pomnit, made on {day}. Memory: {memory}

Whoever has these lines and a copy of the memory can read all of it. Keep them on paper, or where the memory is not.
To bring the key back, put the lines into a file and type: pomnit key import FILE

{lines}"""


@dataclass(frozen=True, slots=True)
class KeyView:
    """Where the key of a memory is kept, and whether it can be used now."""

    home: str
    memory: str
    place: Place
    where: str
    locked: bool
    until: str | None  # when an unlocked memory is locked again by itself, ISO 8601; None: with the end of this session
    unfinished: bool  # the key was changed, and its old place still has it


def view(settings: Settings) -> KeyView:
    """Gives where the key is kept. Neither the key nor the database is opened.

    Raises:
        NotFound: there is no memory. HomeError.
    """
    marker = _marker(settings)
    kept = session.kept(marker.memory) if marker.key == "passphrase" else None
    until = datetime.fromtimestamp(kept.until, UTC).isoformat(timespec="seconds") if kept and kept.until else None
    where = {
        "file": str(keys.key_file(settings, marker.memory)),
        "keychain": "the keychain",
        "passphrase": f"{settings.home / 'home.json'}, wrapped by a passphrase"
        + (f"; unlocked in {kept.where}" if kept else ""),
    }[marker.key]
    locked = marker.key == "passphrase" and kept is None
    return KeyView(str(settings.home), marker.memory, marker.key, where, locked, until, marker.leaving is not None)


def _marker(settings: Settings) -> Marker:
    try:
        found = keys.read_marker(settings.home)
    except OSError as error:
        raise _unusable(settings.home, error) from error
    if found is None:
        raise NotFound(f"there is no memory in {settings.home} yet; `pomnit add PATH` makes one")
    return found


def _unusable(home: Path, error: OSError) -> HomeError:
    return HomeError(f"the memory's folder {home} cannot be used: {error.strerror or error}")


# Unlock and lock


def unlock(settings: Settings, secret: str, for_s: int | None = None) -> KeyView:
    """Keeps the key for this login session, or for ``for_s`` seconds of it, and gives where.

    Raises:
        UsageError: the memory has no passphrase, or this machine has no place to keep a key for a while.
        WrongKey: this is not its passphrase. HomeError.
    """
    dumps.forbid()
    if for_s is not None and not 1 <= for_s <= session.LONGEST_S:
        raise UsageError(f"a memory is unlocked for 1 second to {session.LONGEST_S // 86_400} days")
    if is_new(settings) and settings.key == "passphrase":
        keys.open_keys(settings, secret=secret)
    marker = with_passphrase(settings)
    root = keys.opened_by(settings.home, marker, secret)
    if session.keep(marker.memory, root, for_s) is None:
        raise UsageError(
            "the passphrase is right, but no place here keeps a key for this session alone (the kernel's keyring, or "
            "XDG_RUNTIME_DIR in memory); put it into a file of yours alone, and name that in POMNIT_PASSPHRASE_FILE"
        )
    return view(settings)


def is_new(settings: Settings) -> bool:
    """Says whether there is no memory yet."""
    return not (settings.home / "home.json").exists() and not (settings.home / "memory.db").exists()


def with_passphrase(settings: Settings) -> Marker:
    """Gives the marker of a memory that can be locked and unlocked.

    Raises:
        UsageError: its key lies elsewhere. NotFound, HomeError.
    """
    marker = _marker(settings)
    if marker.key != "passphrase":
        raise UsageError(
            f"the key of {settings.home} is in {'a file' if marker.key == 'file' else 'the keychain'}, so there is "
            "nothing to lock or unlock; to give it a passphrase type: pomnit key change --to passphrase"
        )
    return marker


# Change


def change(settings: Settings, to: Place, *, secret: str | None = None, new: str | None = None) -> KeyView:
    """Moves the key to another place, or gives it another passphrase, ``new``. ``secret`` is the one until now, which a
    memory that is unlocked does not need. Whatever ends this, the memory opens with the old way or the new one.

    Raises:
        UsageError: it is there already, or the passphrase does not fit.
        DatabaseBusy: another process changes it. KeyMissing, WrongKey, Locked, HomeError.
    """
    dumps.forbid()
    before = _marker(settings)
    if to == before.key != "passphrase":
        raise UsageError(f"the key of {settings.home} is in {'a file' if to == 'file' else 'the keychain'} already")
    with _alone(settings.home):
        opened = keys.open_keys(settings, secret=secret)
        keys.leave(settings, _marker(settings))
        _switch(settings, _marker(settings), opened.root(), to, new)
    return view(settings)


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    try:
        with keys.alone(home):
            yield
    except OSError as error:
        raise _unusable(home, error) from error


def _switch(settings: Settings, before: Marker, root: bytes, to: Place, new: str | None) -> None:
    """Lets the key be kept in ``to`` from now on, and no longer where it was.

    The marker says all along which place is to give up what it has: the new one, until the key counts there.
    """
    sealed = wrapped.wrap(root, passphrase.fit_new(new or ""), before.memory) if to == "passphrase" else None
    moved = to != before.key
    after = Marker(before.memory, to, before.check, sealed, before.key if moved else None)
    if moved and sealed is None:
        disk.write_over(settings.home / "home.json", replace(before, leaving=to).json())
    try:
        keys.save(settings, after, root)
        _prove(settings, after, new)
    except PomnitError:
        with contextlib.suppress(PomnitError, OSError):  # the next opening does it
            keys.leave(settings, _marker(settings))
        raise
    disk.write_over(settings.home / "home.json", after.json())
    keys.leave(settings, after)


def _prove(settings: Settings, after: Marker, new: str | None) -> None:
    """Raises unless the new place gives back the key, and the key opens the database."""
    if after.key == "passphrase":
        again = keys.opened_by(settings.home, after, new or "")
    else:
        again, _ = keys.load(settings, after)
    _prove_root(settings, again)


def _prove_root(settings: Settings, root: bytes) -> None:
    if (settings.home / "memory.db").exists():
        database.opens(settings.home / "memory.db", keys.derived(root, "database"), busy_s=settings.busy_s)


# On paper


def export(settings: Settings, file: Path, *, secret: str | None = None) -> KeyView:
    """Writes the recovery key into a new file of mode 0600.

    Raises:
        UsageError: the file is there already, lies in the memory's folder, or cannot be written.
        KeyMissing, WrongKey, Locked, NotFound, HomeError.
    """
    _marker(settings)
    target = Path(file).absolute()
    if settings.home.resolve() in target.resolve().parents:
        raise UsageError(f"{target} lies in the memory's folder; a recovery key is kept where the memory is not")
    opened = keys.open_keys(settings, secret=secret)
    text = _TEXT.format(
        day=f"{datetime.now(UTC):%Y-%m-%d}", memory=opened.memory, lines=recovery.written(opened.memory, opened.root())
    )
    try:
        written = not os.path.lexists(target) and disk.write_new(target, text.encode())
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from error
    if not written:
        raise UsageError(f"{target} is there already, and a recovery key replaces nothing; name a new file")
    return view(settings)


def restore(settings: Settings, file: Path, to: Place | None = None, new: str | None = None) -> KeyView:
    """Brings the key back from a recovery key, into the place that had it or into ``to``.

    ``new`` is the passphrase that the memory has from then on, when it is to have one.

    Raises:
        UsageError: the file holds no recovery key, or one that was misread.
        WrongKey: it is that of another memory. DatabaseDamaged, HomeError.
    """
    dumps.forbid()
    memory, root = recovery.read(_text_of(file))
    with _alone(settings.home):
        marker = _marker_or_new(settings, memory, root)
        if marker.memory != memory or marker.check != keys.check_of(root):
            raise WrongKey(
                f"this is the recovery key of another memory ({memory}); that of {settings.home} is {marker.memory}"
            )
        _prove_root(settings, root)
        place = to or marker.key
        _switch(settings, replace(marker, leaving=None), root, place, new)
        if marker.leaving not in (None, place):
            keys.leave(settings, replace(_marker(settings), leaving=marker.leaving))
    session.drop(memory)
    return view(settings)


def place_to_restore(settings: Settings) -> Place:
    """Gives the place that a key comes back to when nobody says another."""
    marker = keys.read_marker(settings.home) if settings.home.is_dir() else None
    return marker.key if marker is not None else keys.place_of_new(settings)


def _marker_or_new(settings: Settings, memory: str, root: bytes) -> Marker:
    """Gives the marker; one that is lost is made anew from the recovery key, which the database must fit."""
    found = keys.read_marker(settings.home)
    if found is not None:
        return found
    if not (settings.home / "memory.db").exists():
        raise NotFound(f"there is no memory in {settings.home}; name its folder with --home")
    return Marker(memory, keys.place_of_new(settings), keys.check_of(root))


def _text_of(file: Path) -> str:
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(recovery.LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    if len(data) > recovery.LARGEST:
        raise UsageError(f"{file} is larger than {recovery.LARGEST} bytes, so it is no recovery key")
    return data.decode("utf-8", "replace")

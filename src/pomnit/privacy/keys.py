"""The key of a memory: made once, never in logs, arguments or messages, and kept in one of three places.

In the system's keychain; where there is none (headless machines) in a file of mode 0600 in the user's configuration
folder; or in the memory's own folder, wrapped by a passphrase. ``home.json`` in the memory's folder says which, and
holds a check value that tells a wrong key from a damaged database. From the one key of 32 bytes HKDF makes one for
each purpose. ``changing`` moves it from place to place.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast, get_args

from pomnit.errors import HomeError, HomeTooNew, KeyMissing, Locked, UsageError, WrongKey
from pomnit.privacy import dumps, passphrase, session, wrapped
from pomnit.settings import Settings
from pomnit.store import disk

FORMAT = 2  # 1: the key lies outside; 2: it may be wrapped by a passphrase, inside
SERVICE = "pomnit"

_HEXADECIMAL = re.compile(r"[0-9a-f]{16}")

Place = Literal["keychain", "file", "passphrase"]


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one memory, and where the key they come from is kept. Showing it shows no key."""

    memory: str  # the memory's id
    place: Place
    where: str
    _root: bytes
    unlocked: bool = False  # these keys may be used only as long as the memory is unlocked

    def __repr__(self) -> str:
        return f"Keys(memory={self.memory!r}, place={self.place!r}, where={self.where!r})"

    @property
    def database(self) -> bytes:
        """32 bytes, the raw key of the database."""
        return self._derive("database")

    @property
    def files(self) -> bytes:
        """32 bytes, for the content of kept originals and previews."""
        return self._derive("files")

    def name(self, value: str) -> str:
        """Gives 64 hexadecimal digits that stand for ``value`` and tell nothing of it without the key."""
        return hmac.new(self._derive("names"), value.encode(), hashlib.sha256).hexdigest()

    def root(self) -> bytes:
        """Gives the key that all come from, 32 bytes, for who keeps it in another place or writes it on paper."""
        return self._root

    def _derive(self, purpose: str) -> bytes:
        return derived(self._root, purpose)


@dataclass(frozen=True, slots=True)
class Marker:
    """What ``home.json`` says of a memory."""

    memory: str
    key: Place
    check: str
    wrapped: Mapping[str, Any] | None = None  # with a passphrase: the key, see ``wrapped``
    leaving: Place | None = None  # where the key was before, and is to be taken away

    def json(self) -> bytes:
        """Gives what is written. A memory without a passphrase stays one that older versions read."""
        facts = {name: value for name, value in asdict(self).items() if value is not None}
        form = FORMAT if self.wrapped is not None or self.leaving is not None else 1
        return (json.dumps({"format": form, **facts}) + "\n").encode()


def derived(root: bytes, purpose: str) -> bytes:
    """Gives HKDF-Expand of RFC 5869 with SHA-256 and one block; the root key is already uniformly random."""
    return hmac.new(root, f"pomnit {purpose}".encode() + b"\x01", hashlib.sha256).digest()


def check_of(root: bytes) -> str:
    """Gives the check value of a key: 16 hexadecimal digits."""
    return derived(root, "check").hex()[:16]


def open_keys(settings: Settings, *, secret: str | None = None, repair: bool = True) -> Keys:
    """Gives the keys of the memory in ``settings.home``; makes the folder and a new key when there is no memory yet.

    ``secret`` is the passphrase of a memory that has one; else it must be unlocked, or the settings name a file with
    it. Files of ours that others may read are made private; with ``repair=False`` nothing that is there is changed.
    From here on this process dumps no core.

    Raises:
        KeyMissing, WrongKey, Locked, HomeTooNew, HomeError.
        UsageError: the file that the settings name has no passphrase, or ``secret`` is for a memory that has none.
    """
    dumps.forbid()
    home = settings.home
    try:
        disk.make_private(home)
        marker = read_marker(home)
        if repair:
            disk.repair(home)
        if marker is None:
            return _create(settings, secret)
    except OSError as error:
        raise HomeError(f"the memory's folder {home} cannot be used: {error.strerror or error}") from error
    if marker.key == "passphrase":
        opened = _unlocked(settings, marker, secret)
    elif secret is not None:
        raise UsageError(f"the memory in {home} has no passphrase; give it one by: pomnit key change --to passphrase")
    else:
        root, where = load(settings, marker, repair=repair)
        opened = Keys(marker.memory, marker.key, where, root)
    if repair and marker.leaving is not None:
        with contextlib.suppress(HomeError, OSError), alone(home):  # the next one does it
            leave(settings, read_marker(home))
    return opened


def read_marker(home: Path) -> Marker | None:
    """Gives what ``home.json`` says; None when there is none.

    Raises:
        HomeError: it is damaged; HomeTooNew.
        OSError.
    """
    path = home / "home.json"
    try:
        facts = json.loads(path.read_text("utf-8"))
        form = int(facts["format"])
        if form > FORMAT:
            raise HomeTooNew(f"{home} was made by a newer Pomnit (format {form}, this one knows {FORMAT})")
        marker = Marker(
            facts["memory"], facts["key"], facts["check"], wrapped=facts.get("wrapped"), leaving=facts.get("leaving")
        )
        if marker.key == "passphrase":
            wrapped.parsed(cast(Mapping[str, Any], marker.wrapped))
        if not _is_one(marker):
            raise ValueError(marker.key)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise HomeError(
            f"{path} is not readable as the marker of a memory; restore it from a backup, "
            "or move it away and type: pomnit key import FILE with its recovery key"
        ) from error
    return marker


def _is_one(marker: Marker) -> bool:
    """Says whether a marker fits together. Its id becomes the name of a file, and may be nothing else."""
    words: tuple[Any, ...] = (marker.memory, marker.check)
    if not all(isinstance(word, str) and _HEXADECIMAL.fullmatch(word) for word in words):
        return False
    places = get_args(Place)
    return marker.key in places and marker.leaving in (None, *places)


# Making a memory


def _create(settings: Settings, secret: str | None) -> Keys:
    home = settings.home
    if (home / "memory.db").exists():
        if read_marker(home) is not None:  # another process has made it just now, the marker first
            return open_keys(settings, secret=secret)
        raise HomeError(
            f"{home / 'home.json'} is gone, so the key of {home} is not known; restore it from a backup, "
            "or type: pomnit key import FILE with its recovery key"
        )
    memory, root = secrets.token_hex(8), secrets.token_bytes(32)
    place = place_of_new(settings)
    marker = Marker(memory, place, check_of(root))
    if place != "passphrase" and secret is not None:
        raise UsageError(
            "a passphrase was given, and the settings put a new memory's key elsewhere; set key = passphrase"
        )
    if place == "passphrase":
        if secret is None and settings.passphrase_file is None:
            raise Locked(f"a new memory in {home} is to have a passphrase; type: pomnit unlock, which asks for one")
        secret = secret if secret is not None else passphrase.read(cast(Path, settings.passphrase_file))
        marker = Marker(memory, place, marker.check, wrapped.wrap(root, passphrase.fit_new(secret), memory))
    where = save(settings, marker, root)
    disk.write_new(home / "home.json", marker.json())
    found = read_marker(home)
    if found is not None and found.memory == memory:
        return Keys(memory, place, where, root)
    if place != "passphrase":  # another process was first: its key counts
        remove(settings, marker, place)
    return open_keys(settings, secret=secret)


def place_of_new(settings: Settings) -> Place:
    """Gives where a new memory's key is put.

    Raises:
        HomeError: the settings ask for a keychain, and there is none.
    """
    if settings.key in ("file", "passphrase"):
        return cast(Place, settings.key)
    works, why = keychain_works()
    if not works and settings.key == "keychain":
        raise HomeError(f"{why}, so it cannot keep the key; set POMNIT_KEY=file to keep it in a file")
    return "keychain" if works else "file"


# The passphrase


def _unlocked(settings: Settings, marker: Marker, secret: str | None) -> Keys:
    """Gives the keys of a memory with a passphrase: by the passphrase itself, else as long as it is unlocked.

    Raises:
        Locked, WrongKey, HomeError, UsageError.
    """
    where = f"{settings.home / 'home.json'}, wrapped by a passphrase"
    if secret is None and (kept := session.kept(marker.memory)) is not None and check_of(kept.root) == marker.check:
        end = f" until {datetime.fromtimestamp(kept.until, UTC).astimezone():%Y-%m-%d %H:%M}" if kept.until else ""
        return Keys(marker.memory, marker.key, f"{where}; unlocked{end} in {kept.where}", kept.root, unlocked=True)
    if secret is None and settings.passphrase_file is None:
        raise locked(settings.home)
    if secret is None:
        secret = passphrase.read(cast(Path, settings.passphrase_file))
    return Keys(marker.memory, marker.key, where, opened_by(settings.home, marker, secret))


def opened_by(home: Path, marker: Marker, secret: str) -> bytes:
    """Gives the key that a passphrase opens.

    Raises:
        WrongKey: it is another passphrase. UsageError: it is none. HomeError: what was wrapped is damaged.
    """
    root = wrapped.unwrap(marker.wrapped or {}, passphrase.fit(secret), marker.memory)
    if root is None:
        raise WrongKey(f"this is not the passphrase of {home}; type: pomnit unlock and try again")
    if check_of(root) != marker.check:
        raise HomeError(f"{home / 'home.json'} was changed: its key is another memory's; restore it from a backup")
    return root


def locked(home: Path) -> Locked:
    """Gives the error of a memory that is locked."""
    return Locked(f"the memory in {home} is locked; type: pomnit unlock, which asks for its passphrase")


# Keychain and files


def save(settings: Settings, marker: Marker, root: bytes) -> str:
    """Puts a key into the place that the marker says, and gives where; a wrapped one lies in the marker itself.

    Raises:
        HomeError: the keychain refuses it. OSError.
    """
    if marker.key == "file":
        path = key_file(settings, marker.memory)
        disk.make_private(path.parent)
        disk.write_over(path, (root.hex() + "\n").encode())
        return str(path)
    if marker.key == "keychain":
        _save_keychain(marker.memory, root)
        return "the keychain"
    return f"{settings.home / 'home.json'}, wrapped by a passphrase"


def key_file(settings: Settings, memory: str) -> Path:
    """Gives where the key of a memory lies when it lies in a file."""
    return settings.key_dir / f"{memory}.key"


def _save_keychain(memory: str, root: bytes) -> None:
    import keyring
    from keyring.errors import KeyringError

    works, why = keychain_works()
    if not works:
        raise HomeError(f"{why}, so it cannot keep the key")
    try:
        keyring.set_password(SERVICE, memory, root.hex())
    except KeyringError as error:
        raise HomeError(
            f"the keychain refused the key: {error}; set POMNIT_KEY=file to keep a new memory's key in a file"
        ) from error


def load(settings: Settings, marker: Marker, *, repair: bool = True) -> tuple[bytes, str]:
    """Gives the key that lies in the keychain or in a file, and where.

    Raises:
        KeyMissing, WrongKey.
    """
    if marker.key == "file":
        path = key_file(settings, marker.memory)
        where = str(path)
        try:
            if repair:
                disk.make_private_again(path.parent, path)
            text: str | None = path.read_text("ascii")
        except FileNotFoundError:
            text = None
        except (OSError, UnicodeDecodeError) as error:
            raise KeyMissing(f"the key file {path} cannot be read: {error}") from error
    else:
        where, text = "the keychain", _from_keychain(marker.memory)
    if text is None:
        raise KeyMissing(
            f"the key of {settings.home} is not in {where}; without it nothing in this memory can be read; "
            "type: pomnit key import FILE with its recovery key"
        )
    try:
        root = bytes.fromhex(text.strip())
    except ValueError:
        root = b""
    if len(root) != 32:
        raise WrongKey(f"what lies in {where} is not a key of Pomnit (64 hexadecimal digits); {_IMPORT}")
    if check_of(root) != marker.check:
        raise WrongKey(f"the key in {where} is not the one that {settings.home} was made with; {_IMPORT}")
    return root, where


_IMPORT = "restore it from a backup, or type: pomnit key import FILE with its recovery key"


def _from_keychain(memory: str) -> str | None:
    import keyring
    from keyring.errors import KeyringError

    try:
        return keyring.get_password(SERVICE, memory)
    except KeyringError as error:
        raise KeyMissing(f"the keychain does not answer: {error}; unlock it and try again") from error


def keychain_works() -> tuple[bool, str]:
    """Tells whether this machine has a keychain that can keep a key, and the reason."""
    import keyring
    from keyring.backends import fail, null

    backend = keyring.get_keyring()
    if isinstance(backend, (fail.Keyring, null.Keyring)) or backend.priority <= 0:
        return False, "this machine has no keychain service"
    return True, f"{type(backend).__module__.removeprefix('keyring.backends.')} keychain"


# Leaving a place


@contextlib.contextmanager
def alone(home: Path) -> Any:
    """Nobody else changes where the key of this memory is kept, as long as this goes on.

    Raises:
        DatabaseBusy: somebody does. OSError.
    """
    with disk.held(home, f"another process changes the key of {home}; try again when it is done"):
        yield


def leave(settings: Settings, marker: Marker | None) -> None:
    """Takes the key away from where it was before, once it is proven to be where it is now.

    Raises:
        HomeError: the keychain does not answer. OSError.
    """
    if marker is None or marker.leaving is None:
        return
    if marker.leaving != marker.key:
        remove(settings, marker, marker.leaving)
    if marker.leaving == "passphrase":
        session.drop(marker.memory)
    still = Marker(marker.memory, marker.key, marker.check, marker.wrapped)
    disk.write_over(settings.home / "home.json", still.json(), alone=True)


def remove(settings: Settings, marker: Marker, place: Place) -> None:
    """Takes a key out of the keychain, or its file away; one that is not there is gone already.

    Raises:
        HomeError: the keychain does not answer. OSError.
    """
    if place == "file":
        disk.remove(key_file(settings, marker.memory))
    if place == "keychain":
        import keyring
        from keyring.errors import KeyringError, PasswordDeleteError

        try:
            keyring.delete_password(SERVICE, marker.memory)
        except PasswordDeleteError:
            return
        except KeyringError as error:
            raise HomeError(f"the keychain does not give up the old key: {error}") from error

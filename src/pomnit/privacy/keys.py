"""The key of a memory: made once, kept outside the memory's folder, never in logs, arguments or messages.

It lies in the system's keychain, or where there is none (headless machines) in a file of mode 0600 in the user's
configuration folder. ``home.json`` in the memory's folder says which, and holds a check value that tells a wrong
key from a damaged database. From the one key of 32 bytes HKDF makes one for each purpose.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pomnit.errors import HomeError, HomeTooNew, KeyMissing, WrongKey
from pomnit.settings import Settings
from pomnit.store import disk

FORMAT = 1
SERVICE = "pomnit"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one memory, and where the key they come from is kept. Showing it shows no key."""

    memory: str  # the memory's id
    place: Literal["keychain", "file"]
    where: str
    _root: bytes

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

    def _derive(self, purpose: str) -> bytes:
        return _derive(self._root, purpose)


def _derive(root: bytes, purpose: str) -> bytes:
    """HKDF-Expand of RFC 5869 with SHA-256 and one block; the root key is already uniformly random."""
    return hmac.new(root, f"pomnit {purpose}".encode() + b"\x01", hashlib.sha256).digest()


def _check(root: bytes) -> str:
    return _derive(root, "check").hex()[:16]


def open_keys(settings: Settings) -> Keys:
    """Gives the keys of the memory in ``settings.home``; makes the folder and a new key when there is no memory yet.

    Raises:
        KeyMissing, WrongKey, HomeTooNew, HomeError.
    """
    marker = settings.home / "home.json"
    try:
        disk.make_private(settings.home)
        if not marker.exists():
            return _create(settings, marker)
        facts = json.loads(marker.read_text("utf-8"))
        form = int(facts["format"])
        if form > FORMAT:
            raise HomeTooNew(f"{settings.home} was made by a newer Pomnit (format {form}, this one knows {FORMAT})")
        memory, place, check = facts["memory"], facts["key"], facts["check"]
    except OSError as error:
        raise HomeError(f"the memory's folder {settings.home} cannot be used: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise HomeError(f"{marker} is not readable as the marker of a memory; restore it from a backup") from error
    root, where = _load(settings, memory, place)
    if _check(root) != check:
        raise WrongKey(f"the key in {where} is not the one that {settings.home} was made with")
    return Keys(memory, place, where, root)


def _create(settings: Settings, marker: Path) -> Keys:
    if (settings.home / "memory.db").exists():
        raise HomeError(f"{marker} is gone, so the key of {settings.home} is not known; restore it from a backup")
    memory, root = secrets.token_hex(8), secrets.token_bytes(32)
    works, why = (False, "") if settings.key == "file" else keychain_works()
    if settings.key == "keychain" and not works:
        raise HomeError(f"{why}, so it cannot keep the key; set POMNIT_KEY=file to keep it in a file")
    if not works:
        place: Literal["keychain", "file"] = "file"
        where = str(_save_file(settings.key_dir / f"{memory}.key", root))
    else:
        place, where = "keychain", "the keychain"
        _save_keychain(memory, root)
    facts = {"format": FORMAT, "memory": memory, "key": place, "check": _check(root)}
    _write_private(marker, (json.dumps(facts) + "\n").encode())
    if json.loads(marker.read_text("utf-8"))["memory"] == memory:
        return Keys(memory, place, where, root)
    if place == "file":  # another process was first: its key counts
        Path(where).unlink()
    return open_keys(settings)


def _write_private(path: Path, data: bytes) -> None:
    """Writes a file of mode 0600 that is complete or not there; an existing one stays."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            return  # another process was first; its file counts
        except OSError:  # a file system without hard links
            os.rename(aside, path)
    finally:
        aside.unlink(missing_ok=True)
        disk.sync(path.parent)


def _save_file(path: Path, root: bytes) -> Path:
    disk.make_private(path.parent)
    _write_private(path, (root.hex() + "\n").encode())
    return path


def _save_keychain(memory: str, root: bytes) -> None:
    import keyring
    from keyring.errors import KeyringError

    try:
        keyring.set_password(SERVICE, memory, root.hex())
    except KeyringError as error:
        raise HomeError(
            f"the keychain refused the new key: {error}; set POMNIT_KEY=file to keep it in a file"
        ) from error


def _load(settings: Settings, memory: str, place: str) -> tuple[bytes, str]:
    if place == "file":
        path = settings.key_dir / f"{memory}.key"
        where = str(path)
        try:
            text: str | None = path.read_text("ascii")
        except FileNotFoundError:
            text = None
        except (OSError, UnicodeDecodeError) as error:
            raise KeyMissing(f"the key file {path} cannot be read: {error}") from error
    else:
        import keyring
        from keyring.errors import KeyringError

        where = "the keychain"
        try:
            text = keyring.get_password(SERVICE, memory)
        except KeyringError as error:
            raise KeyMissing(f"the keychain does not answer: {error}; unlock it and try again") from error
    if text is None:
        raise KeyMissing(f"the key of {settings.home} is not in {where}; without it nothing in this memory can be read")
    try:
        root = bytes.fromhex(text.strip())
    except ValueError:
        root = b""
    if len(root) != 32:
        raise WrongKey(f"what lies in {where} is not a key of Pomnit (64 hexadecimal digits)")
    return root, where


def keychain_works() -> tuple[bool, str]:
    """Tells whether this machine has a keychain that can keep a key, and the reason."""
    import keyring
    from keyring.backends import fail, null

    backend = keyring.get_keyring()
    if isinstance(backend, (fail.Keyring, null.Keyring)) or backend.priority <= 0:
        return False, "this machine has no keychain service"
    return True, f"{type(backend).__module__.removeprefix('keyring.backends.')} keychain"

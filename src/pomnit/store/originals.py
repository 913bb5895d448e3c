"""Kept originals and previews: files of their own, encrypted in chunks, named by keyed digest.

A file is written aside, synced and renamed before the row that names it is committed, and swept when no row names it.
Layout: magic, 8 random bytes, then chunks of 1 MiB, each sealed with ChaCha20-Poly1305 under a nonce of the random
bytes and the chunk's number; the file's name and whether it is the last chunk are authenticated with it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pomnit.errors import DatabaseDamaged, DiskFull, HomeError
from pomnit.store import disk

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

MAGIC = b"POMNIT1\n"
CHUNK = 1 << 20
_TAG = 16


class Originals:
    """The folder of encrypted files of one memory."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder, self._key = folder, key

    def put(self, name: str, data: bytes | Iterator[bytes]) -> int:
        """Keeps ``data`` durably under ``name`` (hexadecimal digits); gives the file's size. An existing one stays.

        What is too large for the memory comes in pieces of ``CHUNK`` bytes, the last one shorter; what their iterator
        raises is raised here, and nothing is kept.

        Raises:
            DiskFull, HomeError.
        """
        path = self.path(name)
        try:
            if path.exists():
                os.utime(path)  # as new, for a sweep that may be going on
                return path.stat().st_size
            disk.make_private(path.parent)
            aside = path.with_name(f".{secrets.token_hex(8)}")
            try:
                with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                    out.writelines(self._seal(name, _pieces(data) if isinstance(data, bytes) else data))
                    out.flush()
                    os.fsync(out.fileno())
                os.rename(aside, path)
            finally:
                aside.unlink(missing_ok=True)
            disk.sync(path.parent)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(
                    f"no room left on the disk of {self._folder}; free some and run the command again"
                ) from error
            raise HomeError(f"{path} cannot be written: {error.strerror}") from error
        return path.stat().st_size

    def get(self, name: str) -> bytes:
        """Gives the bytes kept under ``name``.

        Raises:
            DatabaseDamaged: the file is gone or was changed.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return b"".join(self._unseal(name, self.path(name).read_bytes()))
        except (OSError, InvalidTag, ValueError) as error:
            raise _changed(name) from error

    def open(self, name: str) -> BinaryIO:
        """Gives the file kept under ``name``, to be read and sought in; one chunk of it is in memory at a time.

        Raises:
            DatabaseDamaged: the file is gone; reading raises it where the file was changed.
        """
        try:
            return io.BufferedReader(_Opened(self.path(name), self._key, name), CHUNK)
        except (OSError, ValueError) as error:
            raise _changed(name) from error

    def remove(self, name: str) -> int:
        """Takes a file away; gives the bytes freed."""
        path = self.path(name)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        return size

    def sweep(self, named: Iterable[str], *, younger_s: float = 3600) -> int:
        """Takes away what a crash left: every file that is not in ``named``; gives how many.

        Files younger than ``younger_s`` seconds stay: another process may be about to commit the row that names them.
        """
        keep, swept, newest = set(named), 0, time.time() - younger_s
        for path, facts in self._files():
            if path.name not in keep and facts.st_mtime <= newest:
                path.unlink(missing_ok=True)
                swept += 1
        return swept

    def size(self) -> int:
        """Gives the bytes that all files take."""
        return sum(facts.st_size for _, facts in self._files())

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self._folder.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):  # renamed or removed by another process meanwhile
                yield path, path.stat()

    def path(self, name: str) -> Path:
        """Gives where the file ``name`` lies."""
        if not name or any(c not in "0123456789abcdef" for c in name):
            raise ValueError("names of kept files are hexadecimal digits")
        return self._folder / name[:2] / name

    def _seal(self, name: str, pieces: Iterator[bytes]) -> Iterable[bytes]:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        cipher, salt = ChaCha20Poly1305(self._key), secrets.token_bytes(8)
        yield MAGIC + salt
        number, piece = 0, next(pieces, b"")
        for following in pieces:
            yield cipher.encrypt(_nonce(salt, number), piece, _about(name, last=False))
            number, piece = number + 1, following
        yield cipher.encrypt(_nonce(salt, number), piece, _about(name, last=True))

    def _unseal(self, name: str, sealed: bytes) -> Iterable[bytes]:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        if sealed[: len(MAGIC)] != MAGIC:
            raise ValueError("not one of our files")
        cipher, salt = ChaCha20Poly1305(self._key), sealed[len(MAGIC) : len(MAGIC) + 8]
        body, step = memoryview(sealed)[len(MAGIC) + 8 :], CHUNK + _TAG
        n_chunks = max(1, -(-len(body) // step))
        for i in range(n_chunks):
            piece = bytes(body[i * step : (i + 1) * step])
            yield cipher.decrypt(_nonce(salt, i), piece, _about(name, last=i == n_chunks - 1))


class _Opened(io.RawIOBase):
    """A kept file, unsealed where it is read."""

    def __init__(self, path: Path, key: bytes, name: str) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        self._file, self._name, self._at = path.open("rb"), name, 0
        head = self._file.read(len(MAGIC) + 8)
        if head[: len(MAGIC)] != MAGIC or len(head) < len(MAGIC) + 8:
            self._file.close()
            raise ValueError("not one of our files")
        self._cipher, self._salt, self._head = ChaCha20Poly1305(key), head[len(MAGIC) :], len(head)
        body = path.stat().st_size - len(head)
        self._chunks = max(1, -(-body // (CHUNK + _TAG)))
        self._size = body - self._chunks * _TAG
        self._number, self._chunk = -1, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, into: Buffer) -> int:
        view = memoryview(into).cast("B")
        if self._at >= self._size:
            return 0
        chunk = self._unsealed(self._at // CHUNK)
        piece = chunk[self._at % CHUNK :][: len(view)]
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _unsealed(self, number: int) -> bytes:
        from cryptography.exceptions import InvalidTag

        if number != self._number:
            self._file.seek(self._head + number * (CHUNK + _TAG))
            about = _about(self._name, last=number == self._chunks - 1)
            try:
                sealed = self._file.read(CHUNK + _TAG)
                self._number, self._chunk = number, self._cipher.decrypt(_nonce(self._salt, number), sealed, about)
            except (OSError, InvalidTag, ValueError) as error:
                raise _changed(self._name) from error
        return self._chunk

    def close(self) -> None:
        self._file.close()
        super().close()


def _pieces(data: bytes) -> Iterator[bytes]:
    return (data[start : start + CHUNK] for start in range(0, len(data), CHUNK))


def _changed(name: str) -> DatabaseDamaged:
    return DatabaseDamaged(f"the kept file {name[:12]}… of this memory is gone or was changed")


def _nonce(salt: bytes, chunk: int) -> bytes:
    return salt + chunk.to_bytes(4, "big")


def _about(name: str, *, last: bool) -> bytes:
    """Gives what is authenticated with a chunk: files that change places, or lose their end, are noticed."""
    return name.encode() + (b" last" if last else b" more")

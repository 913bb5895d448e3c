"""The one encrypted database: how it is opened, how it is written, and what its errors mean.

Invariants: WAL with ``synchronous=FULL``; one writing connection per process behind a lock, a reading one per thread;
temporary tables in memory; deleted content overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import threading
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from pomnit.errors import DatabaseBusy, DatabaseDamaged, DiskFull, HomeError, PomnitError, Stopped
from pomnit.store.disk import make_private_file
from pomnit.store.migrations import migrate

CACHE_KIB = 32_768
_STEPS = 2000  # of SQLite's machine between two looks at whether to stop: about 0.1 ms
_NEXT_GENERATION = "INSERT INTO meta VALUES ('generation', 1) ON CONFLICT DO UPDATE SET value = value + 1"


class Database:
    """Connections to one database file. May be used from several threads."""

    def __init__(self, path: Path, key: bytes, *, busy_s: int = 10) -> None:
        """Opens ``path``, made and migrated when needed.

        Raises:
            DatabaseBusy, DatabaseDamaged, DiskFull, HomeError, HomeTooNew.
        """
        self.path, self._key, self._busy_ms = path, key, busy_s * 1000
        self._lock = threading.RLock()
        self._local = threading.local()
        self._opened: weakref.WeakSet[apsw.Connection] = weakref.WeakSet()  # those of ended threads close by themselves
        self._writing: int | None = None  # the thread inside a transaction
        self.refusal: Callable[[], PomnitError | None] = lambda: None  # asked before each use; what it gives is raised
        with self.errors():
            make_private_file(path)
            self._writer = self._open()
            if not self._writer.pragma("page_count"):  # new; an old one must open while another program writes it
                self._writer.pragma("auto_vacuum", 2)  # incremental
                self._writer.pragma("journal_mode", "wal")
            self._writer.pragma("synchronous", "FULL")
            migrate(self._writer)

    def _open(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path))
        try:
            connection.set_busy_timeout(self._busy_ms)
            unlock(connection, self._key)
            connection.pragma("temp_store", "MEMORY")
            connection.pragma("secure_delete", 1)
            connection.pragma("foreign_keys", 1)
            connection.pragma("cache_size", -CACHE_KIB)
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # reads a page: is it ours at all?
        except BaseException:
            connection.close()
            raise
        self._opened.add(connection)  # without the lock, which a transaction holds: readers never wait for it
        return connection

    @property
    def connection(self) -> apsw.Connection:
        """The connection of this thread: the writing one inside its transaction, else its own reading one."""
        if self._writing == threading.get_ident():
            return self._writer
        self._check_use()
        if not hasattr(self._local, "connection"):
            with self.errors():
                self._local.connection = self._open()
                self._local.connection.pragma("query_only", 1)
        own: apsw.Connection = self._local.connection
        return own

    def _check_use(self) -> None:
        if (error := self.refusal()) is not None:
            raise error

    def rows(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        """Gives all rows of a statement."""
        with self.errors():
            return self.connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> Any:
        """Gives the first row as a tuple, None when there is none."""
        with self.errors():
            return self.connection.execute(sql, values).fetchone()

    def value(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> Any:
        """Gives the first value of the first row, None when there is none."""
        row = self.row(sql, values)
        return None if row is None else row[0]

    def write(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> int:
        """Runs a changing statement inside a transaction of this thread; gives the number of changed rows."""
        assert self._writing == threading.get_ident(), "a write outside a transaction"
        with self.errors():
            self._writer.execute(sql, values).fetchall()
            return self._writer.changes()

    def insert(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> int:
        """Runs an INSERT inside a transaction of this thread; gives the new row's id."""
        self.write(sql, values)
        return self._writer.last_insert_rowid()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written inside is durable when this ends, or nothing is. Not nested."""
        self._check_use()
        with self._lock:
            if self._writing is not None:
                raise RuntimeError("a transaction inside a transaction")
            with self.errors():
                self._writer.execute("BEGIN IMMEDIATE")
            self._writing = threading.get_ident()
            changes = self._writer.total_changes()
            try:
                yield
                with self.errors():
                    if self._writer.total_changes() != changes:
                        self._writer.execute(_NEXT_GENERATION)
                    self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            finally:
                self._writing = None

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads of this thread inside see the database as it was at the first of them."""
        connection = self.connection
        if connection is self._writer or connection.in_transaction:
            yield
            return
        with self.errors():
            connection.execute("BEGIN")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def stoppable(self, stop: Callable[[], bool]) -> Iterator[None]:
        """Reads of this thread inside end with ``Stopped`` soon after ``stop`` says True."""
        connection = self.connection
        connection.set_progress_handler(stop, _STEPS)
        try:
            yield
        finally:
            connection.set_progress_handler(None)

    def generation(self) -> int:
        """Gives a number that every change of the memory, in whatever process, makes greater."""
        return int(self.value("SELECT value FROM meta WHERE key = 'generation'") or 0)

    def vacuum(self, pages: int) -> bool:
        """Cuts up to so many freed pages off the file; says whether there are more. It shrinks with the log's end."""
        with self._lock, self.errors():
            self._writer.execute(f"PRAGMA incremental_vacuum({pages:d})").fetchall()
        return bool(self.value("PRAGMA freelist_count"))

    def shrink(self) -> None:
        """Gives freed pages back to the disk and empties the write-ahead log."""
        with self._lock, self.errors():
            self._writer.execute("PRAGMA incremental_vacuum").fetchall()
            with contextlib.suppress(apsw.BusyError):  # a reader still needs the log; the next one will do it
                self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def close(self) -> None:
        with self._lock:
            for connection in list(self._opened):
                connection.close()

    def errors(self) -> contextlib.AbstractContextManager[None]:
        """Turns SQLite's errors into ours, each with what to do next."""
        return _errors(self.path, self._busy_ms)


@contextlib.contextmanager
def _errors(path: Path, busy_ms: int) -> Iterator[None]:
    try:
        yield
    except apsw.InterruptError as error:
        raise Stopped("the search was stopped before it was done") from error
    except (apsw.BusyError, apsw.LockedError) as error:
        seconds = busy_ms // 1000
        raise DatabaseBusy(
            f"{path} has been in use by another program for more than {seconds} s; try again when it is done"
        ) from error
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise DatabaseDamaged(
            f"{path} does not read as a memory ({error}); restore it from a backup, "
            "or move it away and add your files again"
        ) from error
    except apsw.FullError as error:
        raise DiskFull(f"no room left on the disk of {path.parent}; free some and run the command again") from error
    except (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError, OSError) as error:
        raise _input_output(path, error) from error


def unlock(connection: apsw.Connection, key: bytes) -> None:
    """Lets a connection that was just opened read and write with a raw key of 32 bytes."""
    connection.pragma("cipher", "chacha20")
    connection.pragma("key", "raw:" + key.hex())


def opens(path: Path, key: bytes, *, busy_s: int = 10) -> None:
    """Raises unless a key opens the database that is there. Nothing in it is changed.

    Raises:
        DatabaseBusy, DatabaseDamaged, HomeError.
    """
    with _errors(path, busy_s * 1000):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(busy_s * 1000)
            unlock(connection, key)
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        finally:
            connection.close()


def numbers(values: Iterable[int]) -> Any:
    """Gives whole numbers, for ``IN carray(?)``: sorted, so that rows are read in the order they lie in."""
    return apsw.carray(array("q", sorted(values)) or array("q", [-1]))  # an empty one is not allowed; no row is -1


def _input_output(path: Path, error: apsw.Error | OSError) -> PomnitError:
    if getattr(error, "oserror", getattr(error, "errno", 0)) in (errno.ENOSPC, errno.EDQUOT) or _is_full(path):
        return DiskFull(f"no room left on the disk of {path.parent}; free some and run the command again")
    return HomeError(f"{path} cannot be used: {error}; check that you may read and write in {path.parent}")


def _is_full(path: Path) -> bool:
    import shutil

    try:
        return shutil.disk_usage(path.parent).free < 64 * 1024
    except OSError:
        return False

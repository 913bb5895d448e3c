"""Every error that a caller of Pomnit may want to catch, and the exit code of each.

::

    PomnitError                    1   something failed that has no code of its own
    ├── UsageError                 2   the words of a command or query do not fit together
    ├── NotFound                   3   no such item, path or model
    ├── Stopped                    5   a search was cancelled, or ran out of the time it was given
    ├── HomeError                 10   the memory's folder cannot be used
    │   ├── DatabaseBusy          11   another program holds the database for too long
    │   ├── DatabaseDamaged       12   the database does not read as one
    │   ├── KeyMissing            13   the key of this memory is not where it should be
    │   ├── WrongKey              14   there is a key, but this memory was made with another
    │   ├── DiskFull              15   no room left for what must be written
    │   ├── HomeTooNew            16   made by a newer Pomnit
    │   └── Locked                17   its key is wrapped by a passphrase, and it was not unlocked
    ├── EngineError               20   a model or a recogniser cannot do its job
    │   ├── EngineMissing         21   not installed, or its files are not here
    │   ├── ModelDamaged          22   the files are here but are not what their card says
    │   ├── TooLarge              23   it needs more memory than the budget ever leaves
    │   └── EngineDied            24   the process of an engine ended, or hung, twice
    └── ItemError                 30   one item cannot be read; recorded with it, everything else goes on

Other fixed codes: 4 when a command did its work but some items failed, 130 after Ctrl-C.
A message says what failed, the value seen, and the next command to type.
"""

from __future__ import annotations

SOME_FAILED = 4
INTERRUPTED = 130


class PomnitError(Exception):
    """The root of all errors of Pomnit."""

    exit_code = 1


class UsageError(PomnitError):
    """The words of a command or a query do not fit together."""

    exit_code = 2


class NotFound(PomnitError):
    """No such item, path or model."""

    exit_code = 3


class Stopped(PomnitError):
    """A search was cancelled, or ran out of the time it was given."""

    exit_code = 5


class HomeError(PomnitError):
    """The memory's folder cannot be used."""

    exit_code = 10


class DatabaseBusy(HomeError):
    """Another program holds the database for too long."""

    exit_code = 11


class DatabaseDamaged(HomeError):
    """The database does not read as one."""

    exit_code = 12


class KeyMissing(HomeError):
    """The key of this memory is not where it should be."""

    exit_code = 13


class WrongKey(HomeError):
    """There is a key, but this memory was made with another."""

    exit_code = 14


class DiskFull(HomeError):
    """No room is left for what must be written."""

    exit_code = 15


class HomeTooNew(HomeError):
    """The memory was made by a newer Pomnit."""

    exit_code = 16


class Locked(HomeError):
    """The key of the memory is wrapped by a passphrase, and the memory was not unlocked, or locked again."""

    exit_code = 17


class EngineError(PomnitError):
    """A model or a recogniser cannot do its job."""

    exit_code = 20


class EngineMissing(EngineError):
    """A model or a recogniser is not installed, or its files are not here."""

    exit_code = 21


class ModelDamaged(EngineError):
    """Model files are here but are not what their card says."""

    exit_code = 22


class TooLarge(EngineError):
    """A model needs more memory than the budget ever leaves."""

    exit_code = 23


class EngineDied(EngineError):
    """The process of an engine ended, or gave no answer in time."""

    exit_code = 24


class ItemError(PomnitError):
    """One item cannot be read. It is recorded with the item, and everything else goes on."""

    exit_code = 30

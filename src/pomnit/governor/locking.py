"""Locks a memory: its key is forgotten, and the process that owns it hears that it may use its keys no more."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Literal

from pomnit.errors import EngineError
from pomnit.governor.guest import ALIVE_S, Talk
from pomnit.governor.owner import OwnerLock, owner_of
from pomnit.privacy import session
from pomnit.privacy.changing import with_passphrase
from pomnit.settings import Settings

ENDING_S = 10.0  # seconds that an owner has to end what it does
_LOOK_S, _LOOK_MOST_S = 0.02, 0.5  # seconds between two looks at whether it is gone


@dataclass(frozen=True, slots=True)
class Locking:
    """What locking a memory did."""

    home: str
    was_unlocked: bool
    owner: Literal["none", "ended", "ending"]  # the process that owned the memory: what became of it
    process: int | None  # the one that has not ended yet


def lock(settings: Settings, *, ending_s: float = ENDING_S) -> Locking:
    """Forgets the key of an unlocked memory, and asks the owner to end its work; waits for that for ``ending_s``.

    Other processes that use the memory notice within a second that it is locked. One that was given the passphrase
    itself, by a file or a program, keeps it: only as the owner it can be asked.

    Raises:
        UsageError: the memory has no passphrase. NotFound, HomeError.
    """
    was_unlocked = session.drop(with_passphrase(settings).memory)
    if _is_free(settings):
        return Locking(str(settings.home), was_unlocked, "none", None)
    with contextlib.suppress(EngineError), contextlib.closing(Talk(settings.home)) as talk:
        talk.ask("POST", "/v1/lock", {}, timeout_s=ALIVE_S)
    until, pause = time.monotonic() + ending_s, _LOOK_S
    while not (ended := _is_free(settings)) and time.monotonic() < until:
        time.sleep(pause)
        pause = min(_LOOK_MOST_S, 2 * pause)
    process = None if ended else owner_of(settings.home)
    return Locking(str(settings.home), was_unlocked, "ended" if ended else "ending", process)


def _is_free(settings: Settings) -> bool:
    if not (settings.home / "owner.lock").exists():  # which stands for a database that there was
        return True
    owner = OwnerLock(settings.home)
    try:
        return owner.take()
    finally:
        owner.give_back()

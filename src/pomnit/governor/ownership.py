"""Whether this process is the owner of its memory, and for how long.

It is the owner as long as it works on the queue, holds an engine that is too large for a guest, or another process is
connected to ask something of it. Whoever only searches lets go for one that has work: that one asks for it, see
``hand_in``. So what was handed in is either taken by an owner that works, or done by the process that brought it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pomnit.errors import EngineDied, EngineError, HomeError
from pomnit.governor.leases import Governor
from pomnit.governor.owner import OwnerLock
from pomnit.governor.plans import Plan

if TYPE_CHECKING:
    from pomnit.governor.service import Service

GAP_S = 5.0  # seconds that the lock of an owner that comes or goes may be there without a socket
LOOK_S = 0.02  # seconds between two looks at the lock at first, later more:
LOOK_MOST_S = 0.5
ENDING_S = 10.0  # seconds that who is connected has to hear its answer before this process ends

Turn = Literal["ours", "theirs", "nobody's"]


class Ownership:
    """One process's part in the ownership of a home. May be used from several threads."""

    def __init__(self, home: Path, governor: Governor) -> None:
        """The governor asks here before it loads what is too large for a guest."""
        self.governor = governor
        self._home, self._lock = home, OwnerLock(home)
        self._changed = threading.Condition()
        self._owns = self._working = self._wanted = False
        self._holders = 0
        self._service: Service | None = None
        self.on_lock: Callable[[], None] = lambda: None  # called when somebody locks the memory, from another thread
        self.on_work: Callable[[], None] = lambda: None  # called when something was handed in, from another thread
        governor.ownership = self

    @property
    def working(self) -> bool:
        """Whether this process works on the queue; it looks at it again before it stops."""
        return self._working

    # Being the owner

    def hold(self) -> bool:
        """Becomes the owner, or stays it, until ``let_go``; False when another one is.

        Raises:
            HomeError: the lock cannot be opened.
        """
        with self._changed:
            if not self._owns:
                if not self._lock.take():
                    return False
                self._owns = True
                self._serve()
            self._holders += 1
            return True

    def stay(self) -> bool:
        """Stays the owner until ``let_go``; False when this process is not."""
        with self._changed:
            self._holders += self._owns
            return self._owns

    def let_go(self) -> None:
        """Ends one ``hold`` or ``stay``."""
        with self._changed:
            self._holders -= 1
            self._changed.notify_all()
        self.settle()

    def settle(self) -> None:
        """Gives the lock back when there is nothing to hold it for."""
        with self._changed:
            if not self._owns or self._holders:
                return
            if self._wanted:
                self.governor.unload()
            if not self.governor.holds_large:
                self._give_back()

    def _serve(self) -> None:
        from pomnit.governor.service import Service

        # Without a place for a socket others do without our engines.
        with contextlib.suppress(OSError, RuntimeError):
            self._service = Service(self._home, self)

    def _give_back(self) -> None:
        if self._service is not None:
            self._service.close()
            self._service = None
        self._lock.give_back()
        self._owns = self._wanted = False

    def close(self) -> None:
        """Takes no more questions, lets who is connected hear the answer, unloads the engines, gives the lock back."""
        with self._changed:
            self.governor.unload()  # first, since it takes a while: as long as the socket is there, others wait for it
            if self._service is not None:
                self._service.close()
                self._service = None
            if not self._changed.wait_for(lambda: not self._holders, ENDING_S):
                self.governor.abandon()
            self.governor.unload()
            if self._owns:
                self._give_back()

    # Working on the queue

    def begin(self) -> Turn:
        """Says whose turn it is to work on the queue: ours until ``end``; that of another owner, which looks at it
        again; or nobody's, when the owner does not answer. Waits for an owner that only searches.

        Raises:
            HomeError: the lock cannot be opened.
        """
        waits = _Waits()
        while True:
            with self._changed:
                if self._working:
                    return "theirs"
                if self.hold():
                    self._working = True
                    return "ours"
            taken = self._ask_owner()
            if taken:
                return "theirs"
            if not waits.again(alive=taken is not None):
                return "nobody's"

    def end(self) -> None:
        """Ends the work on the queue, which is to be looked at once more."""
        self._working = False
        self.let_go()

    def hand_in(self) -> bool:
        """Says whether this process works on the queue; if not, it lets go as soon as it can."""
        with self._changed:
            self._wanted = self._wanted or not self._working
            if self._working:
                self.on_work()
            return self._working

    def lock(self) -> None:
        """Hears that the memory is locked: what is being worked on is given up, and the keys are used no more."""
        self.on_lock()
        self.governor.abandon()

    def _ask_owner(self) -> bool | None:
        """Gives whether the owner works on the queue; None when nobody answers."""
        from pomnit.governor.guest import ALIVE_S, Talk

        try:
            with contextlib.closing(Talk(self._home)) as talk:
                return talk.ask("POST", "/v1/work", {}, timeout_s=ALIVE_S).get("taken") is True
        except EngineError:
            return None

    # Engines that are too large for a guest

    @contextlib.contextmanager
    def large(self, plan: Plan) -> Iterator[Any]:
        """Gives the owner's engine; None when this process is the owner, for as long as the block runs.

        Raises:
            EngineError: the owner cannot make it; EngineDied: it does not answer.
        """
        with contextlib.ExitStack() as stack:
            yield self._owners(plan, stack)

    def _owners(self, plan: Plan, stack: contextlib.ExitStack) -> Any:
        from pomnit.governor.guest import NoOwner, Talk

        waits = _Waits()
        while True:
            try:
                if self.hold():
                    stack.callback(self.let_go)
                    return None
                talk = stack.enter_context(contextlib.closing(Talk(self._home)))
                return _guest(plan, talk)
            except HomeError as error:
                raise EngineError(str(error)) from error
            except NoOwner as error:
                if not waits.again():
                    raise EngineDied(str(error)) from None


class _Waits:
    """Waits between two looks at the lock, a while longer each time."""

    def __init__(self) -> None:
        self._until, self._next = time.monotonic() + GAP_S, LOOK_S

    def again(self, *, alive: bool = False) -> bool:
        """Waits; False when the owner gave no sign of life for too long."""
        now = time.monotonic()
        if alive:
            self._until = now + GAP_S
        if now > self._until:
            return False
        time.sleep(self._next)
        self._next = min(LOOK_MOST_S, 2 * self._next)
        return True


def _guest(plan: Plan, talk: Any) -> Any:
    from pomnit.governor.guest import GuestEncoder, GuestReranker, GuestTranscriber
    from pomnit.models.cards import EncoderCard, RerankerCard, SpeechCard

    if isinstance(plan.card, SpeechCard):
        return GuestTranscriber(plan.card, talk)
    if isinstance(plan.card, EncoderCard):
        return GuestEncoder(plan.card, f"{plan.kind}-{plan.bits}", talk)
    if isinstance(plan.card, RerankerCard):
        return GuestReranker(plan.card, plan.bits, talk)
    raise EngineError(f"{plan.name}: only the process that owns this memory may use it, and another one does")

"""The accounts of the budget: who may hold which engine, and who has to go. No threads, no clock and no engines here.

``ask`` puts a ticket in the queue. ``plan`` says what can be done next: take idle engines away, or grant a ticket.
What is taken away counts until ``gone`` is told, and what is granted counts before it is loaded, so the sum of what
is held never exceeds the room, at no moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pomnit.errors import TooLarge

STAYING = 150_000_000  # bytes beside the largest engine: a small encoder and a small reranker stay together
PATIENCE = 20.0  # seconds after which background work waits no longer behind people


@dataclass(slots=True)
class _Held:
    bytes: int
    users: int = 0
    last_used: float = 0.0
    leaving: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """A wish for several engines at once: all or none."""

    wants: Mapping[str, int]  # engine -> bytes
    person: bool  # somebody waits for it
    since: float


@dataclass(frozen=True, slots=True)
class Evict:
    """These are to be unloaded now, the least recently used first; then ``gone`` is told."""

    engines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """The engines of a ticket may be used; ``load`` are not there yet."""

    ticket: Ticket
    load: tuple[str, ...]


@dataclass(slots=True)
class Ledger:
    """What is held, and who waits.

    ``room`` is in bytes. Without ``keeping``, nothing is loaded beside what is idle: engines come and go in turn, and
    what is taken stays far below the room. Only a person's next search finds its small engines still there.
    """

    room: int
    keeping: bool = True
    _held: dict[str, _Held] = field(default_factory=dict)
    _waiting: list[Ticket] = field(default_factory=list)
    _using: dict[Ticket, list[_Held]] = field(default_factory=dict)

    def ask(self, wants: Mapping[str, int], now: float, *, person: bool = False) -> Ticket:
        """Puts a wish in the queue.

        Raises:
            TooLarge: it can never fit.
        """
        needed = sum(wants.values())
        if needed > self.room:
            raise TooLarge(f"{needed} bytes are more than the room of {self.room}")
        ticket = Ticket(dict(wants), person, now)
        self._waiting.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Takes a wish that was not granted out of the queue."""
        if ticket in self._waiting:
            self._waiting.remove(ticket)

    def plan(self, now: float) -> Evict | Grant | None:
        """Gives what can be done next, already booked; None when everybody has to wait.

        A ticket overtakes those before it only with engines that they want too, so it delays none of them.
        """
        if crowded := self._evict(self.held() - self.room, set()):
            return crowded
        ahead: dict[str, int] = {}
        for ticket in sorted(self._waiting, key=lambda t: (not t.person and now - t.since < PATIENCE, t.since)):
            if (not ahead or ticket.wants.keys() <= ahead.keys()) and self._fits(ticket.wants):
                step = self._step(ticket, ahead, now)
                if step is not None:
                    return step
            ahead |= ticket.wants
        return None

    def _fits(self, wants: Mapping[str, int]) -> bool:
        """Says whether there is room for these beside all that is in use."""
        used = {name: held.bytes for name, held in self._held.items() if held.users}
        return sum((dict(wants) | used).values()) <= self.room

    def _step(self, ticket: Ticket, ahead: Mapping[str, int], now: float) -> Evict | Grant | None:
        if any(name in self._held and self._held[name].leaving for name in ticket.wants):
            return None  # it comes back once it is gone
        load = tuple(name for name in ticket.wants if name not in self._held)
        if load and not self.keeping:
            if idle := self._evict(self._beside(ticket, load), set(ticket.wants) | set(ahead)):
                return idle
            if any(held.leaving for held in self._held.values()):
                return None
        over = self.held() + sum(ticket.wants[name] for name in load) - self.room
        if over > 0:
            return self._evict(over, set(ticket.wants) | set(ahead))
        for name in load:
            self._held[name] = _Held(ticket.wants[name])
        self._using[ticket] = [self._held[name] for name in ticket.wants]
        for held in self._using[ticket]:
            held.users += 1
            held.last_used = now
        self._waiting.remove(ticket)
        return Grant(ticket, load)

    def _beside(self, ticket: Ticket, load: tuple[str, ...]) -> int:
        """Gives by how much what would be held is more than its largest engine, and for a person what may stay."""
        sizes = [held.bytes for held in self._held.values()] + [ticket.wants[name] for name in load]
        return sum(sizes) - max(sizes) - (STAYING if ticket.person else 0)

    def _evict(self, over: int, kept: set[str]) -> Evict | None:
        """Gives the idle engines that must go for ``over`` bytes beside those that are leaving already."""
        over -= sum(held.bytes for held in self._held.values() if held.leaving)
        chosen = []
        for name in sorted(self._idle() - kept, key=lambda name: (self._held[name].last_used, name)):
            if over <= 0:
                break
            over -= self._held[name].bytes
            chosen.append(name)
        return self._leave(chosen)

    def _idle(self) -> set[str]:
        return {name for name, held in self._held.items() if not held.users and not held.leaving}

    def _leave(self, names: list[str]) -> Evict | None:
        for name in names:
            self._held[name].leaving = True
        return Evict(tuple(names)) if names else None

    def person_waits(self) -> bool:
        """Says whether somebody waits."""
        return any(ticket.person for ticket in self._waiting)

    def give_back(self, ticket: Ticket, now: float) -> None:
        """Ends the use of a granted ticket's engines; they stay, idle."""
        for held in self._using.pop(ticket, ()):  # not by name: one may have died, and another of its name be held
            held.users -= 1
            held.last_used = now

    def idle_since(self, moment: float) -> Evict | None:
        """Takes away what nobody used since ``moment``."""
        return self._leave([name for name in sorted(self._idle()) if self._held[name].last_used <= moment])

    def gone(self, name: str) -> None:
        """Strikes out an engine that was unloaded, or that died."""
        self._held.pop(name, None)

    def correct(self, name: str, n_bytes: int) -> None:
        """Books what an engine really takes."""
        if name in self._held:
            self._held[name].bytes = n_bytes

    def held(self) -> int:
        """Gives the bytes of all that is held: in use, idle, being loaded and being unloaded."""
        return sum(held.bytes for held in self._held.values())

    def free(self) -> int:
        """Gives the room that is left, never below 0."""
        return max(0, self.room - self.held())

    def engines(self) -> Mapping[str, int]:
        """Gives the bytes of each engine that is held."""
        return {name: held.bytes for name, held in self._held.items()}

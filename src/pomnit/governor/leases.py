"""Leases: the right to use engines while the budget allows it. Only here are engines loaded and taken away.

What fits is decided by the ``ledger``; here are the threads that wait, the engines themselves, and the clock. A small
engine lives in this process; a large one, and any that reads pictures or hears, in a child, whose end gives back all it
took.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pomnit.engines.protocols import Answerer, Encoder, Recogniser, Reranker, Transcriber
from pomnit.errors import EngineError, TooLarge
from pomnit.governor import allocator, answering, measured
from pomnit.governor.budget import SMALL, Budget, detect, gb
from pomnit.governor.children import Child
from pomnit.governor.choose import Chooser
from pomnit.governor.estimate import looking, resident
from pomnit.governor.gauge import Gauge
from pomnit.governor.ledger import Evict, Ledger, Ticket
from pomnit.governor.machine import machine
from pomnit.governor.plans import Job, Plan
from pomnit.governor.reading import Reading
from pomnit.governor.remote import REMOTE, Remote
from pomnit.models.cards import RerankerCard, SpeechCard, TextCard, Variant, VisionCard
from pomnit.settings import Settings

if TYPE_CHECKING:
    from pomnit.engines.answerer_openai import OpenAIAnswerer
    from pomnit.governor.ownership import Ownership

RECOGNISER = 170_000_000  # bytes of each instance of Tesseract with two languages, at work on a full screen
# Bytes of a large model for each text at work, of up to 512 tokens: measured with BGE-M3 and Qwen3-Embedding-0.6B.
AT_WORK = {"xlm-roberta": 50_000_000, "qwen3": 180_000_000}
PROGRAM = 60_000_000  # bytes of a process that holds one, before the first
EVERY = 1.0  # seconds between two looks at what is idle and at the gauge
BETWEEN = 1.0  # seconds that an engine is idle between two batches; what is idle for longer goes under pressure
LEAST_BATCH = 1 / 16  # of what fits, under long pressure
HALVED = 10.0  # seconds before a batch is halved again, or doubled: what was halved must show its effect first
GROWN = 1.05  # times what it was booked with: more is worth correcting


class Governor(Chooser):
    """Lends engines, loads them and takes them away again, within the budget. May be used from several threads."""

    def __init__(
        self,
        settings: Settings,
        *,
        engines: Mapping[Job, Any] | None = None,
        budget: Budget | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``engines`` are ready engines to use instead of loading; they are not counted. The budget is that of this
        machine and the settings unless it is given.
        """
        super().__init__(settings, engines)
        allocator.be_frugal()
        self.budget = budget or detect(machine(), settings.profile, settings.budget)
        self._clock, self._mine, lock = clock, threading.local(), threading.Lock()
        self._changed, self._emptied = threading.Condition(lock), threading.Condition(lock)
        self._ledger = Ledger(self.budget.room, keeping=self.budget.profile.keeping)
        self._loaded: dict[str, Future[Any]] = {}  # by the name of the plan
        self._plans: dict[str, Plan] = {}
        self._grants: dict[Ticket, _Granted] = {}
        self._pressure = _Pressure()
        self._keeper: threading.Thread | None = None
        self._server: OpenAIAnswerer | None = None  # that of the settings, once it was asked
        self.ownership: Ownership | None = None  # of the memory that it serves: then only its owner loads what is large

    # Leases

    @contextlib.contextmanager
    def recogniser(self) -> Iterator[Recogniser]:
        """Gives the recogniser for as long as the block runs.

        Raises:
            EngineMissing: it is not installed, with the command that installs it.
            TooLarge: it does not fit into the budget.
        """
        if self._recogniser is not None:
            yield self._recogniser
        else:
            with self.lease(self.recogniser_plan()) as (engine,):
                yield engine

    @contextlib.contextmanager
    def transcriber(self, *, person: bool = False) -> Iterator[Transcriber]:
        """Gives the transcriber for as long as the block runs; ``person`` says that somebody waits for it.

        Raises:
            EngineMissing, ModelDamaged: the packages for it or the model are not here, with what to type.
            TooLarge: it does not fit into the budget.
        """
        if self._transcriber is not None:
            yield self._transcriber
        else:
            with self._here_or_there(self.transcriber_plan(), person) as engine:
                yield engine

    @contextlib.contextmanager
    def encoder(self, variant: Variant, *, person: bool = False) -> Iterator[Encoder]:
        """Gives an encoder for as long as the block runs; ``person`` says that somebody waits for it.

        Raises:
            EngineMissing, ModelDamaged.
            TooLarge: it does not fit into the budget.
        """
        if variant.runtime == "given":
            self.check(variant)
            yield self._encoders[variant.card.name]
        else:
            with self._here_or_there(self.plan(variant), person) as engine:
                yield engine

    @contextlib.contextmanager
    def reranker(self, card: RerankerCard, bits: int | None = None) -> Iterator[Reranker]:
        """Gives a reranker for as long as the block runs; somebody always waits for one.

        Raises:
            EngineMissing, ModelDamaged.
            TooLarge: it does not fit into the budget.
        """
        if card.name in self._rerankers:
            yield self._rerankers[card.name]
        else:
            with self._here_or_there(self.plan(self.variant(card, bits)), person=True) as engine:
                yield engine

    @contextlib.contextmanager
    def answerer(self, name: str | None = None, *, person: bool = True) -> Iterator[tuple[Answerer, str]]:
        """Gives a generating answerer for as long as the block runs, and why it is this one.

        ``name``: that of the settings when None; "server", or a model's; ``person`` says that somebody waits for it.

        Raises:
            EngineMissing: there is none, with what could be done; then the extractive answerer is left.
            ModelDamaged, TooLarge: it cannot be loaded.
        """
        chosen = self.answering(name)
        if chosen.plan is not None:
            with self._here_or_there(chosen.plan, person) as engine:
                yield engine, chosen.reason
        elif chosen.kind == "given":
            assert self._answerer is not None
            yield self._answerer, chosen.reason
        else:
            yield self._server_answerer(), chosen.reason

    def _server_answerer(self) -> OpenAIAnswerer:
        """Gives the one that speaks to the server: what it has found out of that is kept."""
        with self._changed:
            self._server = self._server or answering.server(self._settings)
            return self._server

    @contextlib.contextmanager
    def _here_or_there(self, plan: Plan, person: bool) -> Iterator[Any]:
        """Gives an engine of this process, or that of the process that owns the memory."""
        there: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if self.ownership is not None and not self._suits_a_guest(plan):
            there = self.ownership.large(plan)
        with there as theirs:
            if theirs is not None:
                yield theirs
                return
            with self.lease(plan, person=person) as (engine,):
                yield engine

    def _suits_a_guest(self, plan: Plan) -> bool:
        """Says whether a process that is not the owner may load this: all that it holds is small together."""
        held = {plan.name: self._bytes(plan)} | dict(self.engines())
        return _sits_here(plan, sum(held.values()))

    @contextlib.contextmanager
    def lease(self, *plans: Plan, person: bool = False) -> Iterator[tuple[Any, ...]]:
        """Gives all these engines at once for as long as the block runs. Waits until they fit; leases do not nest.

        Raises:
            EngineError: and those below it: an engine cannot be made; TooLarge: together they can never fit.
        """
        if getattr(self._mine, "leases", False):
            raise RuntimeError("leases do not nest: one that waits inside another could wait for ever")
        ticket = self._ask(plans, person)
        self._mine.leases = True
        try:
            yield self._take(ticket, plans)
        finally:
            self._mine.leases = False
            self._give_back(ticket)

    def _ask(self, plans: Sequence[Plan], person: bool) -> Ticket:
        wants = {plan.name: self._bytes(plan) for plan in plans}
        with self._changed:
            self._plans |= {plan.name: plan for plan in plans}
            try:
                return self._ledger.ask(wants, self._clock(), person=person)
            except TooLarge:
                raise TooLarge(
                    f"{' and '.join(wants)} need {gb(sum(wants.values()))}, and the budget of {gb(self.budget.bytes)}"
                    f" leaves {gb(self.budget.room)} for models ({self.budget.reason}); `pomnit models` shows smaller"
                    " ones, and the setting budget allows more"
                ) from None

    def _bytes(self, plan: Plan) -> int:
        return measured.read(self._settings).get(plan.key) or _thought(plan)

    def _take(self, ticket: Ticket, plans: Sequence[Plan]) -> tuple[Any, ...]:
        with self._changed:
            while ticket not in self._grants:
                if not self._step():
                    self._changed.wait(EVERY)  # and look again: who waited long enough goes first
            granted = self._grants[ticket]
        for plan in plans:
            if plan.name in granted.load:
                self._load(plan, granted.engines[plan.name])
        return tuple(granted.engines[plan.name].result() for plan in plans)

    def _step(self) -> bool:
        """Does the next thing that the ledger says; False when everybody has to wait. The lock is held."""
        step = self._ledger.plan(self._clock())
        if isinstance(step, Evict):
            self._evict(step)
        elif step is not None:
            self._loaded |= {name: Future() for name in step.load}
            engines = {name: self._loaded[name] for name in step.ticket.wants}
            self._grants[step.ticket] = _Granted(step.load, engines)
            self._changed.notify_all()
        return step is not None

    def _evict(self, step: Evict | None) -> None:
        """Closes engines, the lock not held meanwhile; they count until they are gone."""
        with contextlib.ExitStack() as all_of_them:  # also when closing one of them fails or is interrupted
            for name in reversed(step.engines if step else ()):
                all_of_them.callback(self._close, name)

    def _close(self, name: str) -> None:
        engine = self._loaded.pop(name)
        self._changed.release()
        try:
            _close(engine.result())
        finally:
            self._changed.acquire()
            self._gone(name)

    def _gone(self, name: str) -> None:
        self._ledger.gone(name)
        self._changed.notify_all()
        if not self._ledger.engines():
            self._emptied.notify_all()

    def _load(self, plan: Plan, future: Future[Any]) -> None:
        """Makes an engine; who else was granted it waits for the same."""
        try:
            engine = self._make(plan)
        except BaseException as error:
            self._failed(plan.name, future, error)
            raise
        future.set_result(engine)
        with self._changed:
            if self._keeper is None:
                self._keeper = threading.Thread(target=self._keep, name="governor", daemon=True)
                self._keeper.start()

    def _failed(self, name: str, future: Future[Any], error: BaseException) -> None:
        with self._changed:
            self._forget(name, future)
        future.set_exception(error if isinstance(error, EngineError) else EngineError(f"{name}: {error!r}"))

    def _forget(self, name: str, future: Future[Any]) -> None:
        """Strikes out an engine that was never loaded. The lock is held."""
        if self._loaded.get(name) is future:
            del self._loaded[name]
            self._gone(name)

    def _make(self, plan: Plan) -> Any:
        if _sits_here(plan, self._bytes(plan)):
            return plan.make()
        return REMOTE[plan.job](plan.card, lambda: Child(plan.name, plan.to_json()))

    def _give_back(self, ticket: Ticket) -> None:
        with self._changed:
            granted = self._grants.pop(ticket, _Granted((), {}))
            left = {name: granted.engines[name] for name in granted.load if not granted.engines[name].done()}
            for name, future in left.items():  # interrupted before they were loaded
                self._forget(name, future)
            self._ledger.leave(ticket)
            self._ledger.give_back(ticket, self._clock())
            self._changed.notify_all()
        for name, future in left.items():
            future.set_exception(EngineError(f"{name}: loading it was interrupted"))

    def batch(self, most: int, bytes_each: int) -> int:
        """Gives how many things of a size to work on together: as many as there is room for, fewer under pressure."""
        with self._changed:
            fits = min(most, self._ledger.free() // bytes_each)
        return max(1, int(fits * self._pressure.share))

    @property
    def person_waits(self) -> bool:
        """Whether somebody waits for an engine: background work gives way at the next border."""
        with self._changed:
            return self._ledger.person_waits()

    def engines(self) -> Mapping[str, int]:
        """Gives the bytes of each engine that is held, by name."""
        with self._changed:
            return self._ledger.engines()

    @property
    def holds_large(self) -> bool:
        """Whether more is held than a guest may hold."""
        held = self.engines()
        return any(not _sits_here(self._plans[name], sum(held.values())) for name in held)

    # Taking away

    def unload(self) -> None:
        """Takes all engines away that nobody uses."""
        with self._changed:
            self._evict(self._ledger.idle_since(self._clock()))

    def abandon(self) -> None:
        """Ends all children at once, whatever they are doing; what was asked of them fails."""
        with self._changed:
            loaded = [future.result() for future in self._loaded.values() if future.done()]
        for engine in loaded:
            if isinstance(engine, Remote):
                engine.abandon()

    def _keep(self) -> None:
        """Unloads what was idle for long, under pressure all that is idle, as long as anything is held."""
        gauge: Gauge | None = None
        while True:
            with contextlib.suppress(OSError):  # too many open files: the next time may do
                gauge = gauge or Gauge()
                self._look(gauge.read())
            with self._changed:
                idle_s = BETWEEN if self._pressure.lasts else self.budget.profile.idle_s
                with contextlib.suppress(EngineError, OSError):
                    self._evict(self._ledger.idle_since(self._clock() - idle_s))
                if not self._ledger.engines():
                    self._keeper = None
                    break
                self._emptied.wait(EVERY)
            self._settle()
        self._settle()

    def _settle(self) -> None:
        if self.ownership is not None:
            self.ownership.settle()

    def _look(self, reading: Reading) -> None:
        """Feels the pressure, and books what a child takes when that is more than was thought, now and later."""
        self._pressure.feel(reading)
        with self._changed:
            loaded = {name: future.result() for name, future in self._loaded.items() if future.done()}
            booked = self._ledger.engines()
            takes = {n: reading.by_process.get(e.pid, 0) for n, e in loaded.items() if isinstance(e, Remote)}
            more = {name: n_bytes for name, n_bytes in takes.items() if n_bytes > GROWN * booked[name]}
            for name, n_bytes in more.items():
                self._ledger.correct(name, n_bytes)
        for name, n_bytes in more.items():
            measured.keep(self._settings, self._plans[name].key, n_bytes)


@dataclass(frozen=True, slots=True)
class _Granted:
    """What a ticket may use, and what of that it has to load."""

    load: tuple[str, ...]
    engines: Mapping[str, Future[Any]]


class _Pressure:
    """Whether there is pressure, and how much of a batch is left: halved while it lasts, doubled when it is over."""

    def __init__(self) -> None:
        self.share, self.lasts = 1.0, False
        self._since = -HALVED

    def feel(self, reading: Reading) -> None:
        """Takes a reading in."""
        self.lasts = pressed = reading.pressure != "normal"
        if reading.at - self._since >= HALVED and (pressed or self.share < 1):
            self.share = max(LEAST_BATCH, self.share / 2) if pressed else min(1.0, self.share * 2)
            self._since = reading.at


def _thought(plan: Plan) -> int:
    """Gives about how many bytes an engine takes that was not measured yet."""
    if plan.card is None:
        return PROGRAM + plan.threads * RECOGNISER
    if isinstance(plan.card, SpeechCard):
        return PROGRAM + plan.card.held_bytes + plan.card.window_bytes
    if isinstance(plan.card, VisionCard):
        return PROGRAM + looking(plan.card, plan.tokens, plan.pixels)
    assert isinstance(plan.card, TextCard)
    n_bytes = resident(Variant(plan.card, "mlx" if plan.kind == "mlx" else "onnx", plan.bits))
    n_bytes += plan.threads * AT_WORK.get(plan.card.architecture, 0) if n_bytes > SMALL else 0
    return n_bytes if n_bytes <= SMALL else n_bytes + PROGRAM


def _sits_here(plan: Plan, n_bytes: int) -> bool:
    """Says whether an engine of that size lives in the process that uses it."""
    return plan.job not in ("recognise", "transcribe", "answer") and n_bytes <= SMALL


def _close(engine: Any) -> None:
    """Closes an engine and gives what it took in this process back to the system."""
    engine.close()
    if not isinstance(engine, Remote):
        del engine
        gc.collect()
        allocator.give_back()

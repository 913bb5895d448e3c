"""The right to use engines: who waits, who goes, and what stays in the books when something fails."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pomnit.errors import EngineDied, EngineError, EngineMissing, TooLarge
from pomnit.governor import leases, measured
from pomnit.governor.budget import OWN, PROFILES, Budget
from pomnit.governor.gauge import Gauge
from pomnit.governor.leases import BETWEEN, HALVED, LEAST_BATCH, Governor, _Pressure
from pomnit.governor.plans import Plan
from pomnit.governor.reading import Reading
from pomnit.governor.remote import RemoteEncoder
from pomnit.models.cards import ALL_MINILM_L6_V2 as MINILM
from pomnit.settings import Settings
from support import processes

LONG_S = 60.0  # of what must not take so long
MB = 1_000_000
SIZES = {"tiny": 50 * MB, "small": 100 * MB, "middle": 150 * MB, "large": 240 * MB}  # all live in this process
ROOM = 300 * MB


def until(what: Callable[[], Any]) -> None:
    """Waits until another thread has come so far."""
    for _ in range(round(LONG_S / 0.005)):
        if what():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it never came so far")


class Engine:
    """Something that takes so much memory as long as it is not closed."""

    def __init__(self, name: str, world: "World") -> None:
        self.name, self._world = name, world
        with world.lock:
            assert name not in world.loaded
            world.loaded.add(name)
            world.made.append(name)
            world.most = max(world.most, sum(SIZES[name] for name in world.loaded))

    def close(self) -> None:
        with self._world.lock:
            self._world.loaded.remove(self.name)
            self._world.closed.append(self.name)


@dataclass
class World:
    """What is loaded at the moment, and what was."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    loaded: set[str] = field(default_factory=set)
    made: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    most: int = 0
    felt: Reading = field(default_factory=lambda: replace(Gauge().read(), pressure="normal"))
    now: float = 0.0
    on_make: Callable[[str], None] = lambda _: None
    on_clock: Callable[[], None] = lambda: None

    def clock(self) -> float:
        self.on_clock()
        return self.now


@dataclass(frozen=True)
class FakePlan(Plan):
    world: Any = None

    def make(self) -> Engine:
        self.world.on_make(self.name)
        return Engine(self.name, self.world)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def governor(settings: Settings, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Governor]:
    monkeypatch.setattr(leases, "EVERY", 0.01)
    monkeypatch.setattr(leases, "Gauge", type("FakeGauge", (), {"read": lambda _: world.felt}))
    for name, size in SIZES.items():
        measured.keep(settings, plan(world, name).key, size)
    budget = Budget(ROOM + OWN, PROFILES["16gb"], "a test says so")
    governor = Governor(settings, budget=budget, clock=world.clock)
    yield governor
    governor.unload()
    assert world.loaded == set()
    assert governor.engines() == {}
    until(lambda: governor._keeper is None)


def plan(world: World, name: str) -> Plan:
    return FakePlan("embed", name, "onnx", 1, None, MINILM, 8, "digest", world=world)


@pytest.fixture
def lease(governor: Governor, world: World) -> Callable[..., contextlib.AbstractContextManager[tuple[Any, ...]]]:
    return lambda *names, **named: governor.lease(*(plan(world, name) for name in names), **named)


# Waiting and going


def test_an_engine_is_made_once_and_stays_for_the_next_lease(lease, world):
    with lease("small") as (first,):
        assert first.name == "small"
    with lease("small", "tiny") as (again, tiny):
        assert again is first
        assert tiny.name == "tiny"
    assert world.made == ["small", "tiny"]


def test_two_at_once_share_one_engine(lease, world):
    both = threading.Barrier(2, timeout=LONG_S)

    def use() -> Any:
        with lease("small") as (engine,):
            both.wait()
            return engine

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.submit(use), pool.submit(use)
        assert one.result() is other.result()
    assert world.made == ["small"]


def test_what_does_not_fit_waits_until_there_is_room(lease, world, governor):
    with ThreadPoolExecutor(1) as pool:
        with lease("middle"):
            waiting = pool.submit(use, lease, "large")
            until(lambda: governor._ledger._waiting)
            assert world.loaded == {"middle"}
        assert waiting.result(LONG_S) == "large"
    assert world.closed == ["middle"]
    assert world.most <= ROOM


def use(lease: Any, *names: str, **named: Any) -> str:
    with lease(*names, **named) as engines:
        return " ".join(engine.name for engine in engines)


def test_the_least_recently_used_goes_first(lease, world):
    for name in ("small", "middle", "small"):
        use(lease, name)
        world.now += 1
    use(lease, "tiny")  # 100 + 150 + 50 is all there is
    assert world.closed == []
    use(lease, "large")
    assert world.closed == ["middle", "small"]


def test_what_can_never_fit_is_refused_with_the_numbers(lease):
    with pytest.raises(TooLarge, match=r"large and middle need 0\.4 GB.* 0\.8 GB leaves 0\.3 GB .*a test says so"):
        use(lease, "large", "middle")
    assert use(lease, "large") == "large"


def test_leases_do_not_nest(lease, world):
    with lease("tiny"), pytest.raises(RuntimeError, match="nest"), lease("small"):
        pass
    assert use(lease, "small") == "small"


def test_a_person_goes_first_and_background_work_is_told(lease, governor):
    order = []

    def work(name: str, person: bool) -> None:
        with lease(name, person=person):
            order.append(name)

    with ThreadPoolExecutor(2) as pool:
        with lease("small"):
            pool.submit(work, "large", False)
            until(lambda: len(governor._ledger._waiting) == 1)
            assert not governor.person_waits
            pool.submit(work, "middle", True).add_done_callback(lambda done: done.result())
            until(lambda: order or governor.person_waits)
        pool.shutdown()
    assert sorted(order) == ["large", "middle"]
    assert order[0] == "middle"
    assert not governor.person_waits


WISHES = (("tiny",), ("small",), ("middle",), ("large",), ("small", "middle"), ("tiny", "large"))


@pytest.mark.parametrize("seed", range(2))
def test_many_threads_with_all_kinds_of_wishes_keep_within_the_room_and_all_are_served(lease, world, seed):
    import random

    def wishes(number: int) -> int:
        chance = random.Random(f"{seed} {number}")
        for _ in range(20):
            wanted = chance.choice(WISHES)
            with lease(*wanted, person=chance.random() < 0.3) as engines:
                assert [engine.name for engine in engines] == list(wanted)
                assert set(wanted) <= world.loaded
        return 20

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(wishes, range(8))) == 160
    assert world.most <= ROOM


# Failures


def test_a_load_that_fails_fails_for_all_who_wait_for_it_and_is_tried_again(lease, world, governor):
    loading, go_on = threading.Event(), threading.Event()

    def fails(_: str) -> None:
        loading.set()
        assert go_on.wait(LONG_S)
        raise EngineMissing("type: pomnit models pull small")

    world.on_make = fails
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(use, lease, "small")
        assert loading.wait(LONG_S)
        second = pool.submit(use, lease, "small")
        until(lambda: len(governor._grants) == 2)
        go_on.set()
        for each in (first, second):
            with pytest.raises(EngineMissing, match="pull small"):
                each.result(LONG_S)
    assert governor.engines() == {}
    world.on_make = lambda _: None
    assert use(lease, "small") == "small"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError, ValueError])
def test_an_interrupted_load_leaves_nothing_behind(lease, world, governor, kind):
    def interrupted(name: str) -> None:
        if name == "tiny":
            raise kind("in the middle")

    world.on_make = interrupted
    with pytest.raises(kind):
        use(lease, "small", "tiny", "middle")
    assert governor.engines() == {"small": SIZES["small"]}
    world.on_make = lambda _: None
    assert use(lease, "small", "tiny", "middle") == "small tiny middle"


def test_an_interrupted_wait_leaves_the_queue(lease, world, governor):
    me = threading.get_ident()
    calls = []

    def interrupt() -> None:
        if threading.get_ident() == me:
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt

    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lease("small"):
            held.set()
            assert done.wait(LONG_S)

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        assert held.wait(LONG_S)
        world.on_clock = interrupt
        with pytest.raises(KeyboardInterrupt):
            use(lease, "large")
        world.on_clock = lambda: None
        assert use(lease, "middle") == "middle"
        done.set()
        holding.result(LONG_S)
    assert use(lease, "large") == "large"


def test_an_error_of_the_block_gives_the_engines_back(lease, world):
    with pytest.raises(EngineDied), lease("large"):
        raise EngineDied("in the block")
    assert use(lease, "middle") == "middle"


def test_an_engine_that_does_not_close_makes_room_all_the_same(lease, world, governor, monkeypatch):
    use(lease, "small")
    use(lease, "middle")
    closed = Engine.close

    def fails(engine: Engine) -> None:
        closed(engine)
        if engine.name == "small":
            raise EngineError("it does not want to")

    monkeypatch.setattr(Engine, "close", fails)
    with pytest.raises(EngineError, match="does not want"):
        use(lease, "large")
    assert governor.engines() == {}
    assert use(lease, "large") == "large"


# Taking away


def test_what_is_idle_for_long_is_unloaded_and_what_is_in_use_is_not(lease, world, governor):
    use(lease, "tiny")
    with lease("small"), ThreadPoolExecutor(1) as pool:
        world.now += governor.budget.profile.idle_s / 2
        pool.submit(use, lease, "small", "middle").result(LONG_S)
        world.now += governor.budget.profile.idle_s / 2 + 0.1
        until(lambda: world.closed == ["tiny"])
        world.now += governor.budget.profile.idle_s
        until(lambda: world.closed == ["tiny", "middle"])
    assert world.loaded == {"small"}
    world.now += governor.budget.profile.idle_s
    until(lambda: world.loaded == set())
    until(lambda: governor._keeper is None)
    assert use(lease, "small") == "small"


def test_unload_leaves_what_is_in_use(lease, world, governor):
    use(lease, "tiny")
    with lease("small"):
        governor.unload()
        assert world.loaded == {"small"}
    governor.unload()
    assert world.loaded == set()


def test_no_thread_is_left_when_nothing_is_held(lease, governor):
    use(lease, "tiny")
    keeper = governor._keeper
    assert keeper.is_alive()
    governor.unload()
    keeper.join(LONG_S)
    assert not keeper.is_alive()
    assert "governor" not in {thread.name for thread in threading.enumerate()}


# What memory really does


def test_under_pressure_idle_engines_go_at_once_and_batches_shrink(lease, world, governor):
    normal = world.felt
    use(lease, "tiny")
    assert governor.batch(64, MB) == 64
    with lease("small"):
        world.felt = replace(normal, pressure="critical", at=HALVED)
        world.now += BETWEEN
        until(lambda: world.closed == ["tiny"])
        until(lambda: governor.batch(64, MB) == 32)
        world.felt = replace(normal, pressure="warning", at=2 * HALVED)
        until(lambda: governor.batch(64, MB) == 16)
        world.felt = replace(normal, at=4 * HALVED)
        until(lambda: governor.batch(64, MB) == 32)
    assert world.loaded == {"small"}


def test_a_batch_is_never_less_than_one_and_never_more_than_fits(governor, lease):
    assert governor.batch(64, 10 * MB) == 30
    assert governor.batch(64, ROOM * 2) == 1
    with lease("large"):
        assert governor.batch(64, 10 * MB) == 6


def test_pressure_halves_once_in_a_while_down_to_a_sixteenth_and_goes_back_as_slowly():
    normal, pressure = replace(Gauge().read(), pressure="normal"), _Pressure()
    shares = []
    for second in range(110):
        pressure.feel(replace(normal, at=second, pressure="warning" if second < 60 else "normal"))
        shares.append(pressure.share)
    assert shares[0] == shares[9] == 0.5
    assert shares[10] == shares[19] == 0.25
    assert min(shares) == LEAST_BATCH == shares[59]
    assert shares[-1] == 1.0
    assert sorted(shares[60:]) == shares[60:]


@pytest.fixture
def in_a_child(built: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Governor]:
    """A governor that puts the real MiniLM into a child, and believes that it takes 10 MB."""
    monkeypatch.setattr(leases, "SMALL", 0)
    monkeypatch.setattr(leases, "EVERY", 0.05)
    governor = Governor(settings)
    measured.keep(settings, governor.plan(governor.variant(MINILM)).key, 10 * MB)
    yield governor
    governor.unload()


@pytest.mark.slow
def test_an_engine_that_takes_more_than_it_said_is_noticed_and_its_record_corrected(in_a_child, settings):
    governor, variant = in_a_child, in_a_child.variant(MINILM)
    with governor.encoder(variant) as encoder:
        assert isinstance(encoder, RemoteEncoder)
        assert encoder.encode(["a text"]).shape == (1, 384)
        until(lambda: governor.engines()[variant.name] > 50 * MB)
    found = measured.read(settings)[governor.plan(variant).key]
    assert 50 * MB < found < 400 * MB
    assert Governor(settings)._bytes(governor.plan(variant)) == found


@pytest.mark.slow
def test_an_unloaded_engine_is_gone_as_a_process(in_a_child):
    governor = in_a_child
    with governor.encoder(governor.variant(MINILM)) as encoder:
        pid = encoder.pid
    governor.unload()
    assert processes.ended(pid, 0)
    assert governor.engines() == {}


@pytest.mark.slow
def test_what_is_abandoned_can_be_leased_again(in_a_child):
    governor = in_a_child
    variant = governor.variant(MINILM)
    with governor.encoder(variant) as encoder:
        pid = encoder.pid
        governor.abandon()
        assert processes.ended(pid, 0)
    with governor.encoder(variant) as encoder:
        assert encoder.encode(["a text"]).shape == (1, 384)


@pytest.mark.slow
def test_a_recogniser_always_lives_in_a_child(built, settings):
    from PIL import Image

    governor = Governor(settings)
    with governor.recogniser() as recogniser:
        assert recogniser.recognise(Image.new("RGB", (200, 100), "white")) == []
        pid = recogniser.pid
    governor.unload()
    assert processes.ended(pid, 0)

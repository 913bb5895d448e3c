"""The accounts of the budget, over thousands of random days of a machine that is made up."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pomnit.errors import TooLarge
from pomnit.governor import ledger
from pomnit.governor.ledger import PATIENCE, Evict, Grant, Ledger

SIZES = {"small": 1, "encoder": 2, "recogniser": 3, "speech": 5, "vision": 8}
ROOM = 10
wishes = st.lists(
    st.tuples(
        st.sets(st.sampled_from(sorted(SIZES)), min_size=1, max_size=3),  # engines
        st.booleans(),  # a person waits
        st.floats(0, 5),  # seconds until the next wish
        st.floats(0.1, 10),  # seconds of use
    ),
    min_size=1,
    max_size=30,
)


class Day:
    """A machine with a clock of its own: wishes come, engines are loaded and unloaded, and leases end."""

    def __init__(self, room=ROOM, *, keeping=True):
        self.ledger = Ledger(room, keeping)
        self.now = 0.0
        self.using = []  # end, ticket
        self.granted = []
        self.loaded = set()
        self.evicted = []

    def ask(self, *names, person=False):
        return self.ledger.ask({name: SIZES[name] for name in names}, self.now, person=person)

    def work(self):
        """Does all that can be done now."""
        while (step := self.ledger.plan(self.now)) is not None:
            self.check()
            if isinstance(step, Evict):
                for name in step.engines:
                    assert name in self.loaded
                    assert not any(name in ticket.wants for _, ticket in self.using)
                    self.loaded.remove(name)
                    self.evicted.append(name)
                    self.ledger.gone(name)
            else:
                self.loaded |= set(step.load)
                self.granted.append(step.ticket)
                self.using.append((self.now, step.ticket))
            self.check()

    def check(self):
        assert self.ledger.held() <= self.ledger.room
        assert sum(SIZES[name] for name in self.loaded) <= self.ledger.held()
        for _, ticket in self.using:
            assert set(ticket.wants) <= self.loaded

    def end(self, ticket):
        self.using = [pair for pair in self.using if pair[1] is not ticket]
        self.ledger.give_back(ticket, self.now)


@settings(max_examples=2000, deadline=None)
@given(wishes, st.booleans())
def test_the_sum_never_exceeds_the_room_and_everybody_has_a_turn(wishes, keeping):
    day = Day(keeping=keeping)
    asked = []
    ends = []
    for names, person, pause, use in wishes:
        if sum(SIZES[name] for name in names) > ROOM:
            with pytest.raises(TooLarge, match="10"):
                day.ask(*names)
            continue
        asked.append((day.ask(*names, person=person), use))
        lengths = {id(ticket): seconds for ticket, seconds in asked}
        until = day.now + pause
        while True:
            day.work()
            for _, ticket in day.using:
                if not any(t is ticket for _, t in ends):
                    ends.append((day.now + lengths[id(ticket)], ticket))
            ends.sort(key=lambda pair: pair[0])
            if not ends or ends[0][0] > until:
                break
            day.now, ticket = ends.pop(0)
            day.end(ticket)
        day.now = until
    while ends or len(day.granted) < len(asked):
        assert ends, "nobody uses anything, and somebody still waits"
        day.now, ticket = ends.pop(0)
        day.end(ticket)
        day.work()
        ends += [(day.now + 1, t) for _, t in day.using if not any(t is u for _, u in ends)]
        ends.sort(key=lambda pair: pair[0])
    assert {id(t) for t in day.granted} == {id(t) for t, _ in asked}


def test_the_least_recently_used_engine_goes_first():
    day = Day()
    for name in ("encoder", "recogniser", "small"):
        ticket = day.ask(name)
        day.work()
        day.now += 1
        day.end(ticket)
    day.ask("speech")  # 2 + 3 + 1 + 5 is one too many: the encoder alone makes enough room
    day.work()
    assert day.evicted == ["encoder"]


def test_an_engine_in_use_stays_and_the_newcomer_waits():
    day = Day()
    first = day.ask("speech")
    day.work()
    second = day.ask("vision")
    day.work()
    assert day.granted == [first]
    day.end(first)
    day.work()
    assert day.granted == [first, second]
    assert day.loaded == {"vision"}


def test_a_person_goes_before_background_work_that_came_earlier():
    day = Day()
    running = day.ask("vision")
    day.work()
    background, person = day.ask("speech"), day.ask("speech", "recogniser", person=True)
    day.end(running)
    day.now = 1
    day.work()
    assert day.granted[1] is person
    assert day.granted[2:] == [background]  # the engine it wants is there, and there is room for both


def test_background_work_that_waited_long_goes_before_people():
    day = Day()
    running = day.ask("vision")
    day.work()
    background = day.ask("vision", "small")
    day.now = PATIENCE + 1
    person = day.ask("speech", "recogniser", person=True)
    day.end(running)
    day.work()
    assert day.granted == [running, background]
    day.end(background)
    day.work()
    assert day.granted[-1] is person


def test_a_wish_overtakes_another_only_with_engines_that_the_other_wants_too():
    day = Day()
    running = day.ask("recogniser")
    day.work()
    large = day.ask("vision", "small")  # 9 beside 3: must wait
    small, medium = day.ask("small"), day.ask("encoder")
    day.work()
    assert day.granted == [running, small]
    day.end(small)
    day.end(running)
    day.work()
    assert day.granted == [running, small, large]
    day.end(large)
    day.work()
    assert day.granted[-1] is medium


def test_what_nobody_used_for_a_while_is_taken_away():
    day = Day()
    for name in ("encoder", "recogniser"):
        day.end(ticket) if (ticket := day.ask(name)) and not day.work() else None
        day.now += 10
    assert day.ledger.idle_since(5) == Evict(("encoder",))
    assert day.ledger.held() == 5  # until it is gone
    day.ledger.gone("encoder")
    assert day.ledger.held() == 3


def test_an_engine_that_takes_more_than_it_said_is_booked_so_and_leaves_when_there_is_no_room():
    day = Day()
    ticket = day.ask("encoder")
    day.work()
    day.ledger.correct("encoder", 11)
    assert day.ledger.plan(day.now) is None  # it is in use
    day.ledger.give_back(ticket, day.now)
    assert day.ledger.plan(day.now) == Evict(("encoder",))


def test_who_leaves_the_queue_is_not_served():
    day = Day()
    running, waiting = day.ask("vision"), day.ask("speech")
    day.work()
    day.ledger.leave(waiting)
    day.end(running)
    day.work()
    assert day.granted == [running]


def test_a_dead_engine_makes_room_at_once():
    day = Day()
    ticket = day.ask("vision")
    day.work()
    day.ledger.gone("vision")
    assert day.ledger.free() == ROOM
    day.ledger.give_back(ticket, day.now)
    assert isinstance(day.ledger.plan(day.now), Grant | None)


def test_on_a_small_machine_background_work_takes_its_turn_alone():
    day = Day(keeping=False)
    for name in ("recogniser", "encoder"):
        ticket = day.ask(name)
        day.work()
        day.end(ticket)
    assert day.loaded == {"encoder"}


def test_on_a_small_machine_a_person_finds_small_engines_still_there(monkeypatch):
    monkeypatch.setattr(ledger, "STAYING", 1)
    day = Day(keeping=False)
    for name in ("encoder", "small"):
        ticket = day.ask(name, person=True)
        day.work()
        day.end(ticket)
        day.now += 1
    assert day.loaded == {"encoder", "small"}
    day.ask("speech", person=True)
    day.work()
    assert day.loaded == {"small", "speech"}


def test_who_gives_back_an_engine_that_died_does_not_end_the_use_of_its_successor():
    day = Day()
    first = day.ask("vision")
    day.work()
    day.ledger.gone("vision")  # its load failed
    day.using, day.loaded = [], set()
    second = day.ask("vision")
    day.work()
    day.end(first)
    day.ask("speech")
    day.work()
    assert day.evicted == []
    day.end(second)
    day.work()
    assert day.evicted == ["vision"]

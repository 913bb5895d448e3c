"""Engines in processes of their own: what they say comes back, and none of their deaths takes anything else along."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from subprocess import PIPE, Popen

import numpy as np
import pytest

from pomnit.engines.fake import FakeEncoder
from pomnit.errors import EngineDied, EngineError, EngineMissing, ModelDamaged
from pomnit.governor.children import Child
from pomnit.governor.plans import Plan
from pomnit.governor.remote import RemoteEncoder
from pomnit.models.cards import ALL_MINILM_L6_V2 as MINILM
from support import processes
from support.fake_child import IMPATIENT

LONG_S = 60.0  # of what must not take so long
FEW_S = 2.0


@pytest.fixture(autouse=True)
def guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find the fake engines, and are refused the network."""
    monkeypatch.setenv("PYTHONPATH", processes.environment()["PYTHONPATH"])


def fake(load: str = "", loading_s: float = LONG_S) -> Child:
    return Child("an engine", {"load": load}, loading_s=loading_s, module="support.fake_child")


@pytest.fixture
def child() -> Iterator[Child]:
    child = fake()
    child.load()
    yield child
    child.close()


def asked(child: Child, *texts: str, timeout_s: float | None = LONG_S) -> np.ndarray:
    return child.ask({"texts": texts, "query": False, "terms": False}, timeout_s=timeout_s)[1][0]


EXPECTED = FakeEncoder(MINILM)


# One child


def test_it_answers_what_the_engine_says(child):
    assert np.array_equal(asked(child, "a", "b"), EXPECTED.encode(["a", "b"]))


def test_what_a_library_prints_or_reads_does_not_get_between_the_messages(child):
    assert np.array_equal(asked(child, "talk", "read"), EXPECTED.encode(["talk", "read"]))


@pytest.mark.parametrize("kind", [EngineError, EngineMissing, ModelDamaged])
def test_an_error_of_the_engine_keeps_its_kind_and_its_message(child, kind):
    with pytest.raises(EngineError, match=r"^type: pip install it$") as caught:
        asked(child, f"fail {kind.__name__} type: pip install it")
    assert type(caught.value) is kind
    assert len(asked(child, "a")) == 1


@pytest.mark.parametrize("text", ["fail ValueError odd", "fail ItemError odd", "strange"])
def test_any_other_error_is_an_engine_error_and_the_child_lives_on(child, text):
    with pytest.raises(EngineError, match=r"odd|float64") as caught:
        asked(child, text)
    assert type(caught.value) is EngineError
    assert len(asked(child, "a")) == 1


def test_a_death_is_told_with_its_code_and_the_last_words(child):
    with pytest.raises(EngineDied, match="an engine: its process ended with code 7: out of luck"):
        asked(child, "die")
    assert not child.lives
    with pytest.raises(EngineDied, match="code 7"):
        asked(child, "a")


def test_a_kill_is_told_with_the_name_of_the_signal(child):
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(EngineDied, match="SIGKILL"):
        asked(child, "a")


def test_an_answer_that_is_no_message_ends_it(child):
    with pytest.raises(EngineDied):
        asked(child, "garble")
    assert processes.ended(child.pid)


def test_an_answer_that_takes_too_long_ends_the_process(child):
    with pytest.raises(EngineDied, match=r"no answer within 0\.2 s"):
        asked(child, "hang", timeout_s=0.2)
    assert processes.ended(child.pid)


def test_a_process_that_does_not_read_any_more_holds_nobody_up(child):
    """A picture is larger than what a pipe holds."""
    stuck = threading.Thread(target=pytest.raises, args=(EngineDied, asked, child, "spin"))
    stuck.start()
    picture = np.zeros((1000, 1000, 3), np.uint8)
    with pytest.raises(EngineDied, match=r"no answer within 0\.5 s"):
        child.ask({"texts": ["spin"]}, [picture], timeout_s=0.5)
    stuck.join(LONG_S)
    assert not stuck.is_alive()


def test_a_child_that_spins_is_ended_when_it_is_closed(child):
    stuck = threading.Thread(target=pytest.raises, args=(EngineDied, asked, child, "spin"))
    stuck.start()
    child._to_write.put([bytes(1 << 22)])
    child.close()
    stuck.join(LONG_S)
    assert not stuck.is_alive()


def test_a_child_in_which_nothing_else_has_a_turn_ends_by_itself():
    """Its parent may have died meanwhile: it would not see that."""
    child = Child(IMPATIENT, {"load": ""}, loading_s=LONG_S, module="support.fake_child")
    child.load()
    with pytest.raises(EngineDied, match="with code 1"):
        asked(child, "spin", timeout_s=None)
    child.close()


def test_closing_ends_what_is_asked_and_closing_twice_does_nothing(child, tmp_path):
    os.mkfifo(tmp_path / "busy")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(asked, child, f"hang {tmp_path / 'busy'}")
        open(tmp_path / "busy").close()  # it hangs from now on
        child.close()
        child.close()
        with pytest.raises(EngineDied):
            answer.result(LONG_S)
    assert processes.ended(child.pid)


def test_several_threads_get_their_own_answers(child):
    texts = [[f"text {i} {j}" for j in range(i % 4)] for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda mine: asked(child, *mine), texts))
    assert all(np.array_equal(rows, EXPECTED.encode(mine)) for rows, mine in zip(found, texts, strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_nothing_is_left_of_a_closed_child():
    def left() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    before = left()
    for how in ("", "die", "fail EngineMissing gone"):
        child = fake(how)
        try:
            child.load()
            asked(child, "a")
        except EngineError:
            assert how
        child.close()
        assert left() == before


# Loading


@pytest.mark.parametrize(
    ("load", "kind", "message"),
    [
        ("fail EngineMissing type: pip install it", EngineMissing, "type: pip install it"),
        ("fail ModelDamaged digest", ModelDamaged, "digest"),
        ("fail KeyError odd", EngineError, "odd"),
        ("die", EngineDied, "code 7: out of luck"),
    ],
)
def test_an_engine_that_cannot_be_made_says_why(load, kind, message):
    child = fake(load)
    with pytest.raises(kind, match=message):
        child.load()
    assert processes.ended(child.pid)


def test_a_load_that_hangs_is_cancelled(tmp_path):
    """The configuration of a real model is a FIFO that nobody writes to."""
    os.mkfifo(tmp_path / "config.json")
    plan = Plan("embed", "a model", "onnx", 1, tmp_path, MINILM, 8)
    child = Child(plan.name, plan.to_json(), loading_s=FEW_S)
    with pytest.raises(EngineDied, match="a model: no answer within 2 s"):
        child.load()
    assert processes.ended(child.pid)


BUSY = """
import sys, threading
from pomnit.governor.children import Child
child = Child("an engine", {"load": sys.argv[1]}, module="support.fake_child")
print(child.pid, flush=True)
child.load()
child.ask({"texts": [sys.argv[2]], "query": False, "terms": False})
"""


@pytest.mark.parametrize("busy_with", ["loading", "answering"])
def test_a_child_ends_when_its_parent_is_killed_whatever_it_does(busy_with, tmp_path):
    os.mkfifo(tmp_path / "busy")
    hang = f"hang {tmp_path / 'busy'}"
    words = (hang, "a") if busy_with == "loading" else ("", hang)
    with Popen([sys.executable, "-c", BUSY, *words], env=processes.environment(), stdout=PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        open(tmp_path / "busy").close()
        parent.kill()
    assert processes.ended(pid)


# Engines that are started again


@pytest.fixture
def encoder() -> Iterator[Callable[..., RemoteEncoder]]:
    """Makes a remote encoder; each of ``loads`` is what one start does, the last one does for all that follow."""
    made: list[RemoteEncoder] = []

    def make(*loads: str) -> RemoteEncoder:
        left = [*loads, ""] if not loads else list(loads)

        def start() -> Child:
            started.append(fake(left.pop(0) if len(left) > 1 else left[0]))
            return started[-1]

        started: list[Child] = []
        made.append(RemoteEncoder(MINILM, start))
        made[-1].started = started  # type: ignore[attr-defined]
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_child_that_died_while_nobody_asked_is_started_again(encoder):
    remote = encoder()
    os.kill(remote.pid, signal.SIGKILL)
    assert np.array_equal(remote.encode(["a"]), EXPECTED.encode(["a"]))
    assert processes.ended(remote.started[0].pid)


def test_a_death_costs_one_retry(encoder, tmp_path):
    text = f"die-once {tmp_path / 'died'}"
    remote = encoder()
    assert np.array_equal(remote.encode([text, "a"]), EXPECTED.encode([text, "a"]))
    assert len(remote.started) == 2


def test_who_kills_the_engine_twice_gets_the_error_and_the_next_one_an_engine(encoder):
    remote = encoder()
    with pytest.raises(EngineDied, match="out of luck"):
        remote.encode(["die"])
    assert len(remote.started) == 2
    assert len(remote.encode(["a"])) == 1


def test_a_text_that_kills_the_engine_takes_no_other_with_it(encoder):
    remote = encoder()
    texts = [f"text {i}" for i in range(24)]
    texts[5] = texts[6] = texts[17] = "die"

    def one(text):
        try:
            return remote.encode([text])
        except EngineDied as error:
            return str(error)

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(one, texts))
    for text, rows in zip(texts, found, strict=True):
        assert "out of luck" in rows if text == "die" else np.array_equal(rows, EXPECTED.encode([text]))


def test_an_engine_that_cannot_be_made_again_says_why(encoder):
    remote = encoder("", "fail EngineMissing type: pip install it")
    with pytest.raises(EngineMissing, match="pip install it"):
        remote.encode(["die"])


def test_closing_ends_a_child_that_is_being_started_again(encoder, tmp_path):
    os.mkfifo(tmp_path / "busy")
    remote = encoder("", f"hang {tmp_path / 'busy'}")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(remote.encode, ["die"])
        open(tmp_path / "busy").close()
        remote.close()
        with pytest.raises(EngineDied):
            answer.result(LONG_S)
    assert all(processes.ended(child.pid) for child in remote.started)
    assert len(remote.started) == 2


def test_what_is_abandoned_fails_at_once_and_the_next_question_starts_anew(encoder, tmp_path):
    os.mkfifo(tmp_path / "busy")
    remote = encoder()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(remote.encode, [f"hang {tmp_path / 'busy'}"])
        open(tmp_path / "busy").close()
        remote.abandon()
        with pytest.raises(EngineDied, match="it was closed"):
            answer.result(LONG_S)
    assert len(remote.encode(["a"])) == 1
    assert len(remote.started) == 2


def test_a_persons_question_does_not_wait_for_a_batch(encoder, tmp_path):
    os.mkfifo(tmp_path / "busy")
    remote = encoder()
    with ThreadPoolExecutor(1) as pool:
        batch = pool.submit(remote.encode, [f"hang {tmp_path / 'busy'}"])
        open(tmp_path / "busy").close()
        assert len(remote.encode(["a question"], query=True)) == 1
        remote.close()
        assert isinstance(batch.exception(LONG_S), EngineDied)


LEFT_LOADED = """
from pomnit import Settings
from pomnit.governor import leases
from pomnit.governor.leases import Governor
leases.SMALL = 0
governor = Governor(Settings.load())
with governor.encoder(governor.variant(governor.default)) as encoder:
    encoder.encode(["a"])
print(encoder.pid)
"""


@pytest.mark.slow
def test_a_program_that_ends_with_an_engine_loaded_leaves_no_child_and_says_nothing(built):
    done = processes.finished("-W", "error", "-c", LEFT_LOADED)
    assert (done.returncode, done.stderr) == (0, "")
    assert processes.ended(int(done.stdout))

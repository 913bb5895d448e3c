"""What is too large for a guest is the owner's: one process holds it, others ask, and nothing hangs or is lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pomnit import Memory, Settings
from pomnit.engines.fake import FakeEncoder, FakeReranker
from pomnit.errors import EngineDied, EngineError, EngineMissing
from pomnit.governor import guest, ownership, service, unix
from pomnit.governor.guest import GuestEncoder, GuestReranker, NoOwner, Talk
from pomnit.governor.owner import OwnerLock
from pomnit.models.cards import ALL_MINILM_L6_V2 as MINILM
from pomnit.models.cards import RERANKERS
from support import golden_models, household
from support.household import ENCODER, RERANKER, ran
from support.pictures import engines, note, picture

HELD = f"{ENCODER} onnx-8"


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory with one note, whose encoder is too large for a guest, its key, the models and what was made of them."""
    folder = tmp_path_factory.mktemp("filled")
    household.lay_out(folder / "models")
    places = {"home": "home", "cache": "cache", "key_dir": "keys", "models": "models"}
    settings = Settings.load(environ={}, key="file", **{key: folder / name for key, name in places.items()})
    with pytest.MonkeyPatch.context() as monkeypatch:
        household.make_known(monkeypatch.setitem)
        with household.opened(settings=settings) as memory:
            memory.use(ENCODER)
            memory.add([note(folder / "tea.txt", "green tea from the mountains")])
    return folder


@pytest.fixture
def large(isolated: None, filled: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Memory]:
    """That memory. Nobody owns it at the beginning."""
    for name in ("home", "keys", "models"):
        shutil.copytree(filled / name, tmp_path / name)
    monkeypatch.setenv("POMNIT_CACHE", str(filled / "cache"))
    monkeypatch.setenv("POMNIT_PROFILE", "8gb")
    household.make_known(monkeypatch.setitem)
    with household.opened() as memory:
        yield memory


@pytest.fixture
def sock(large: Memory) -> Path:
    """Where the owner's socket of that memory lies."""
    return next(unix.places(large.settings.home))


@contextlib.contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def is_free(memory: Memory) -> bool:
    lock = OwnerLock(memory.settings.home)
    taken = lock.take()
    lock.give_back()
    return taken


def held_by_the_owner(memory: Memory) -> dict[str, Any]:
    with contextlib.closing(Talk(memory.settings.home)) as talk:
        return talk.ask("GET", "/v1/engines")


# Who loads what is large


def test_a_guest_searches_with_the_engine_of_an_owner_that_works(large, files: Path):
    with ending(household.started("add", str(picture(files / "slow.png", "slowly read")))) as owner:
        assert owner.stdout.readline() == "reading\n"
        found = large.search("tea")
        assert ran(found) == {"words": "ran", "vectors": "ran"}
        assert found[0].legs["vectors"] > 0
        assert large._governor.engines() == {}
        said = held_by_the_owner(large)
        assert HELD in said["engines"]
        assert said["working"] is True
        assert 0 < said["room"] < said["budget"]
        out, err = owner.communicate("go on\n")
    assert (owner.returncode, out) == (0, "this process\n"), err
    assert large.search("slowly")[0].item.title == "slow"


def test_a_search_without_an_owner_becomes_one_and_serves_others(large, sock: Path):
    assert is_free(large)
    assert ran(large.search("tea"))["vectors"] == "ran"
    assert HELD in large._governor.engines()
    assert not is_free(large)
    assert stat.S_IMODE(sock.stat().st_mode) == 0o600
    with ending(household.started("search", "mountains")) as other:
        assert other.stdout.readline() == "ran 1\n"
        assert held_by_the_owner(large)["working"] is False
        assert not is_free(large)
        assert other.communicate() == ("", "")
    large.close()
    assert not sock.exists()
    assert is_free(large)


def test_a_search_is_the_owner_no_longer_than_it_holds_a_large_engine(large, sock: Path):
    large.search("tea")
    large._governor.unload()
    large._owner.settle()
    assert not sock.exists()
    assert is_free(large)


def test_what_is_small_makes_nobody_an_owner(large, sock: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pomnit.governor.leases.SMALL", 1 << 40)
    assert ran(large.search("tea"))["vectors"] == "ran"
    assert HELD in large._governor.engines()
    assert is_free(large)
    assert not sock.exists()


def test_many_small_engines_together_are_too_large_for_a_guest(large, files: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pomnit.governor.leases.SMALL", 400_000_000)  # each takes 293 MB
    monkeypatch.setattr("pomnit.governor.ledger.STAYING", 300_000_000)
    result = large.search("tea mountains", rerank=RERANKER)
    assert ran(result)["vectors"] == "ran"
    assert is_free(large)
    large.add([note(files / "more.txt", "tea from other mountains")])
    assert ran(large.search("tea mountains", rerank=RERANKER))["rerank"] == "ran"
    assert not is_free(large)


def test_reranking_by_the_owner_gives_what_reranking_here_gives(large, files: Path):
    large.add([note(files / "two.txt", "black tea"), note(files / "three.txt", "tea with milk from the mountains")])
    with ending(household.started("search", "nothing")) as owner:
        assert owner.stdout.readline() == "ran 3\n"
        there = large.search("tea", rerank=RERANKER)
        assert large._governor.engines() == {}
        assert f"{RERANKER} onnx-8" in held_by_the_owner(large)["engines"]
    large._results = type(large._results)()
    here = large.search("tea", rerank=RERANKER)
    assert f"{RERANKER} onnx-8" in large._governor.engines()
    assert ran(there)["rerank"] == ran(here)["rerank"] == "ran"
    assert [(hit.item.id, hit.score) for hit in there] == [(hit.item.id, hit.score) for hit in here]


# Work that comes while somebody only searches


def test_an_owner_that_only_searches_lets_go_for_one_that_has_work(large, files: Path):
    large.search("tea")
    assert not is_free(large)
    with ending(household.started("add", str(note(files / "two.txt", "black coffee")))) as other:
        out, err = other.communicate()
    assert (other.returncode, out) == (0, "this process\n"), err
    assert large._governor.engines() == {}
    assert large.status().waiting == {}
    assert ran(large.search("coffee"))["vectors"] == "ran"


def test_work_waits_for_a_search_of_another_process_and_is_then_done_here(large, files: Path, monkeypatch):
    waits = threading.Event()
    sleep = ownership.time.sleep
    monkeypatch.setattr(ownership.time, "sleep", lambda s: (waits.set(), sleep(s)))
    with ending(household.started("search", "tea")) as searching:
        assert searching.stdout.readline() == "ran 1\n"
        reports: list[Any] = []
        with contextlib.closing(Talk(large.settings.home)):  # as long as somebody asks, that one is the owner
            adding = threading.Thread(target=lambda: reports.append(large.add([note(files / "b.txt", "beer")])))
            adding.start()
            assert waits.wait(60)
            assert reports == []
            assert large.waiting() == {"read": 1}
        adding.join()
        assert [(report.owner, report.waiting) for report in reports] == [("this process", 0)]


def test_a_thread_may_add_while_another_of_its_memory_searches_with_a_large_engine(large, files: Path):
    with large._governor.encoder(large._governor.variant(golden_models.ENCODERS[ENCODER]), person=True) as encoder:
        reports: list[Any] = []
        path = note(files / "two.txt", "black coffee")
        adding = threading.Thread(target=lambda: reports.append(large.add([path])))
        adding.start()
        assert encoder.encode(["words"]).shape == (1, 32)
        adding.join()
    assert [(report.owner, report.waiting) for report in reports] == [("this process", 0)]


# Owners that come, go, hang and die


def test_the_socket_of_a_dead_owner_is_replaced(large, sock: Path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(sock))
    assert sock.is_socket()
    with pytest.raises(NoOwner):
        Talk(large.settings.home)
    assert ran(large.search("tea"))["vectors"] == "ran"
    assert HELD in held_by_the_owner(large)["engines"]


def test_an_owner_that_dies_of_a_question_costs_one_leg_of_one_search(large):
    with ending(household.started("dies")) as owner:
        assert owner.stdout.readline() == "holds\n"
        result = large.search("tea")
        assert (len(result), ran(result)["words"]) == (1, "ran")
        assert "went before it answered" in ran(result)["vectors"]
        assert owner.wait() == -signal.SIGKILL
    assert ran(large.search("tea"))["vectors"] == "ran"


def test_an_owner_that_hangs_holds_nobody_up(large, files: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(guest, "ALIVE_S", 0.2)
    monkeypatch.setattr(ownership, "GAP_S", 0.1)
    with ending(household.started("add", str(picture(files / "slow.png", "slowly read")))) as owner:
        assert owner.stdout.readline() == "reading\n"
        owner.send_signal(signal.SIGSTOP)
        result = large.search("tea")
        assert (len(result), ran(result)["words"]) == (1, "ran")
        assert "no answer within" in ran(result)["vectors"]
        report = large.add([note(files / "two.txt", "black coffee")])
        assert report.waiting > 0
        assert "does not answer" in report.owner
        with pytest.raises(EngineDied):
            large.similar(["tea", "coffee"])
        owner.send_signal(signal.SIGCONT)
        out, err = owner.communicate("go on\n")
    assert (owner.returncode, out) == (0, "this process\n"), err
    assert large.waiting() == {}


def test_an_owner_without_a_socket_costs_the_leg_and_says_why(large, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ownership, "GAP_S", 0.0)
    lock = OwnerLock(large.settings.home)
    assert lock.take()
    result = large.search("tea")
    assert (len(result), ran(result)["words"]) == (1, "ran")
    assert ran(result)["vectors"] == "another process owns this memory, and does not answer"
    lock.give_back()
    assert ran(large.search("tea"))["vectors"] == "ran"


def test_a_question_that_comes_between_lock_and_socket_waits_for_the_socket(large, monkeypatch: pytest.MonkeyPatch):
    other = household.opened()
    monkeypatch.setattr(ownership, "GAP_S", 60.0)
    assert other._owner._lock.take()
    looked = threading.Event()
    sleep = ownership.time.sleep
    monkeypatch.setattr(ownership.time, "sleep", lambda s: (looked.set(), sleep(s)))
    found: list[Any] = []
    searching = threading.Thread(target=lambda: found.append(large.search("tea")))
    searching.start()
    assert looked.wait(60)
    other._owner._owns = True
    other._owner._serve()
    searching.join()
    assert ran(found[0])["vectors"] == "ran"
    assert HELD in other._governor.engines()
    other.close()


def test_an_owner_that_ends_lets_who_is_connected_hear_the_answer(large, sock: Path):
    other = household.opened()
    assert other._owner.hold()
    with contextlib.closing(Talk(large.settings.home)) as talk:
        other._owner.let_go()
        closing = threading.Thread(target=other.close)
        closing.start()
        while sock.exists():
            closing.join(0.01)
        encoder = GuestEncoder(golden_models.ENCODERS[ENCODER], "onnx-8", talk)
        assert encoder.encode(["words"]).shape == (1, 32)
    closing.join()
    assert is_free(large)


def test_a_lock_that_cannot_be_opened_costs_the_leg_and_says_why(large):
    lock = large.settings.home / "owner.lock"
    lock.unlink()
    lock.mkdir()
    result = large.search("tea")
    assert (len(result), ran(result)["words"]) == (1, "ran")
    assert "cannot be opened" in ran(result)["vectors"]


# What is asked and answered


@pytest.fixture
def served(memory: Memory) -> Iterator[Memory]:
    """A memory with fake engines that is the owner."""
    assert memory._owner.hold()
    yield memory
    memory._owner.let_go()


@pytest.fixture
def talk(served: Memory) -> Iterator[Talk]:
    with contextlib.closing(Talk(served.settings.home)) as talk:
        yield talk


def test_vectors_and_terms_are_those_of_the_engine(talk: Talk, served: Memory, monkeypatch: pytest.MonkeyPatch):
    card = replace(MINILM, sparse=True)
    engine = FakeEncoder(card)
    monkeypatch.setitem(served._governor._encoders, MINILM.name, engine)
    there = GuestEncoder(card, "given-32", talk)
    texts = [f"words number {i} и по-русски \ud800" for i in range(guest.TEXTS + 3)]
    for query in (False, True):
        assert np.array_equal(there.encode(texts, query=query), engine.encode(texts, query=query))
        vectors, terms = there.encode_terms(texts, query=query)
        assert np.array_equal(vectors, engine.encode(texts, query=query))
        assert terms == engine.encode_terms(texts)[1]
    assert there.encode([]).shape == (0, MINILM.dimensions)


def test_scores_are_those_of_the_engine(talk: Talk, served: Memory, monkeypatch: pytest.MonkeyPatch):
    card = next(iter(RERANKERS.values()))
    engine = FakeReranker(card)
    monkeypatch.setitem(served._governor._rerankers, card.name, engine)
    there = GuestReranker(card, 32, talk)
    texts = [f"green tea {i}" for i in range(guest.TEXTS + 1)]
    assert np.array_equal(there.score("tea 7", texts), engine.score("tea 7", texts))


@given(st.lists(st.text(max_size=50), max_size=100), st.integers(1, 40))
def test_texts_are_parted_in_their_order_and_none_is_lost(texts, most):
    parted = list(guest.parts(texts))
    assert [text for part in parted for text in part] == texts
    assert all(0 < len(part) <= guest.TEXTS for part in parted)


def test_an_error_of_the_owner_is_the_same_error_here(talk: Talk):
    with pytest.raises(EngineMissing, match="BGE-M3"):
        talk.ask("POST", "/v1/encode", {"card": "BGE-M3", "precision": "onnx-8", "texts": ["words"]})
    with pytest.raises(EngineError, match="there is no encoder nothing"):
        talk.ask("POST", "/v1/encode", {"card": "nothing", "precision": "onnx-8", "texts": ["words"]})


def test_what_goes_wrong_unexpectedly_is_told_without_its_words(talk: Talk, served: Memory, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(served._governor._encoders[MINILM.name], "encode", fail)
    with pytest.raises(EngineError) as raised:
        talk.ask("POST", "/v1/encode", {"card": MINILM.name, "precision": "given-32", "texts": ["words"]})
    assert str(raised.value) == "unexpected RuntimeError"


def asked(home: Path, raw: bytes) -> tuple[int, Any] | None:
    """Sends bytes and no more; gives status and body of the first answer, None when there was none."""
    with unix.connect(home, 20) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.closing(HTTPResponse(connection)) as response:
            try:
                response.begin()
            except (HTTPException, ConnectionResetError):
                return None
            return response.status, json.loads(response.read())


def framed(method: str, path: str, body: bytes, *headers: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in headers or [f"Content-Length: {len(body)}"])
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


ONE = {"card": MINILM.name, "precision": "given-32", "texts": ["words"]}


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (framed("POST", "/v1/encode", json.dumps(ONE).encode()), 200),
        (framed("GET", "/v1/encode", b""), 405),
        (framed("DELETE", "/v1/encode", b""), 405),
        (framed("GET", "/", b""), 404),
        (framed("GET", "/v1/engines?all", b""), 404),
        (framed("GET", "/../../etc/passwd", b""), 404),
        (framed("POST", "/v1/encode", b"", f"Content-Length: {service.LARGEST + 1}"), 413),
        (framed("POST", "/v1/encode", b"", f"Content-Length: {'9' * 5000}"), 413),
        (framed("POST", "/v1/encode", b"", "Content-Length: -1"), 411),
        (framed("POST", "/v1/encode", b"{}", "Content-Length: 2", "Content-Length: 0"), 411),
        (framed("POST", "/v1/encode", b"{}", "Content-Length: 2", "Transfer-Encoding: chunked"), 411),
        (b"POST /v1/encode HTTP/1.1\r\n\r\n", 411),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (framed("POST", "/v1/encode", b"{"), 400),
        (framed("POST", "/v1/encode", b"\xff\xfe"), 400),
        (framed("POST", "/v1/encode", b"[" * 100_000), 400),
        (framed("POST", "/v1/encode", b"[]"), 400),
        (framed("POST", "/v1/encode", b"{}"), 400),
        (framed("POST", "/v1/encode", json.dumps(ONE | {"more": 1}).encode()), 400),
        (framed("POST", "/v1/encode", json.dumps(ONE | {"query": 1}).encode()), 400),
        (framed("POST", "/v1/encode", json.dumps(ONE | {"texts": "words"}).encode()), 400),
        (framed("POST", "/v1/encode", json.dumps(ONE | {"texts": ["a"] * 257}).encode()), 400),
        (framed("POST", "/v1/encode", json.dumps(ONE | {"precision": "torch-8"}).encode()), 400),
        (framed("POST", "/v1/encode", json.dumps(ONE | {"card": "../x"}).encode()), 404),
        (framed("POST", "/v1/rerank", json.dumps({"card": "x", "query": "", "texts": []}).encode()), 404),
        (framed("POST", "/v1/rerank", b'{"card": "bge-reranker-v2-m3", "bits": true, "query": "", "texts": []}'), 400),
    ],
)
def test_only_what_is_a_question_is_answered(served: Memory, raw: bytes, status: int):
    found = asked(served.settings.home, raw)
    assert found is not None
    assert found[0] == status
    assert set(found[1]) == ({"vectors"} if status == 200 else {"error", "message"})


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda path, message: framed("POST", path, json.dumps(message).encode()),
            st.sampled_from(["/v1/encode", "/v1/rerank", "/v1/engines"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                lambda inner: (
                    st.dictionaries(st.sampled_from(["card", "texts", "query", "bits", "precision"]), inner)
                    | st.lists(inner, max_size=3)
                ),
                max_leaves=8,
            ),
        ),
    )
)
def test_garbage_is_refused_and_the_owner_goes_on(served: Memory, raw: bytes):
    found = asked(served.settings.home, raw)
    assert found is None or 400 <= found[0] < 500, found
    with contextlib.closing(Talk(served.settings.home)) as talk:
        assert talk.ask("GET", "/v1/engines")["engines"] == {}


def test_more_than_may_be_connected_are_sent_away_and_leave_room_when_they_go(served: Memory, monkeypatch):
    home = served.settings.home
    with contextlib.ExitStack() as stack:
        for _ in range(service.AT_ONCE):
            stack.enter_context(contextlib.closing(Talk(home)))
        with pytest.raises(NoOwner):
            Talk(home)
    while True:
        with contextlib.suppress(NoOwner), contextlib.closing(Talk(home)) as talk:
            assert talk.ask("GET", "/v1/engines")["profile"]
            return


# Who may ask, and where


def test_nothing_listens_on_the_network(large, monkeypatch: pytest.MonkeyPatch):
    bound: list[Any] = []
    bind = socket.socket.bind
    monkeypatch.setattr(socket.socket, "bind", lambda self, address: (bound.append(address), bind(self, address))[1])
    large.search("tea")
    assert [type(address) for address in bound] == [bytes]


AS_ANOTHER = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as asking:
    asking.connect(sys.argv[1])
    try:
        asking.sendall(b"GET /v1/engines HTTP/1.1\\r\\n\\r\\n")
        print(len(asking.recv(100)))
    except ConnectionError:
        print(0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_not_answered_even_where_the_file_lets_him(served: Memory):
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders let nobody else in
        folder = Path(name)
        listening = service.Service(folder, served._owner)
        folder.chmod(0o755)
        (folder / unix.NAME).chmod(0o666)
        words = [sys.executable, "-c", AS_ANOTHER, str(folder / unix.NAME)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr
        with contextlib.closing(Talk(folder)) as talk:
            assert talk.ask("GET", "/v1/engines")["working"] is False
        listening.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_who_listens_as_another_user_hears_nothing(served: Memory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with pytest.raises(OSError, match="nobody listens"):
        unix.connect(served.settings.home, 5)


def test_on_macos_the_system_says_whose_process_the_other_end_is(monkeypatch: pytest.MonkeyPatch):
    class Said:
        """A connection of macOS: version, uid, number of groups, groups."""

        def __init__(self, version: int, uid: int) -> None:
            self._packed = struct.pack("=IIh2x16I", version, uid, 1, *range(16))

        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            assert (level, option, size) == (0, 1, len(self._packed))
            return self._packed

    monkeypatch.setattr(unix.platform, "system", lambda: "Darwin")
    assert unix.is_ours(Said(0, os.geteuid()))
    assert not unix.is_ours(Said(0, os.geteuid() + 1))
    assert not unix.is_ours(Said(1, os.geteuid()))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "own"
    monkeypatch.setattr(unix, "runtime_folder", lambda: folder)
    return folder


def test_a_home_with_a_long_name_has_its_socket_elsewhere(short: Path, tmp_path: Path):
    home = tmp_path / ("long" * 30)
    with Memory.open(home, engines=engines()) as memory:
        assert memory._owner.hold()
        (place,) = short.iterdir()
        assert stat.S_IMODE(short.stat().st_mode) == 0o700
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        (tmp_path / "link").symlink_to(home)
        for name in (home, tmp_path / "link" / ".." / home.name):
            with contextlib.closing(Talk(name)) as talk:
                assert talk.ask("GET", "/v1/engines")["working"] is False
        memory._owner.let_go()
    assert list(short.iterdir()) == []


def test_a_file_system_without_sockets_has_them_elsewhere(short: Path, settings: Settings, monkeypatch):
    near = os.fsencode(settings.home / unix.NAME)
    bind = socket.socket.bind

    def refuse(self: socket.socket, address: Any) -> None:
        if address == near:
            raise OSError(95, "Operation not supported")
        bind(self, address)

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with Memory.open(settings=settings, engines=engines()) as memory:
        assert memory._owner.hold()
        assert held_by_the_owner(memory)["engines"] == {}
        memory._owner.let_go()


def test_a_folder_that_others_can_write_in_is_not_used(short: Path, settings: Settings, monkeypatch):
    monkeypatch.setattr(unix, "LONGEST", 10)
    short.mkdir()
    short.chmod(0o777)
    with Memory.open(settings=settings, engines=engines()) as memory:
        assert memory._owner.hold()
        assert list(short.iterdir()) == []
        with pytest.raises(NoOwner):
            Talk(settings.home)
        memory._owner.let_go()

"""On 8 GB the model that looks at pictures needs nearly all the room: what is there goes first and comes back later."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest

from pomnit.engines.protocols import Asked, Offered
from pomnit.errors import EngineMissing, TooLarge
from pomnit.governor import leases, measured, vision
from pomnit.governor.budget import PROFILES, Budget, detect
from pomnit.governor.gauge import Gauge
from pomnit.governor.leases import Governor
from pomnit.governor.machine import Machine
from pomnit.governor.plans import Job, Plan
from pomnit.models.cards import ALL_MINILM_L6_V2, BGE_M3, VISION, WEIGHTS, Card
from pomnit.settings import Settings

LONG_S = 60.0
MB = 1_000_000
EIGHT = detect(Machine(8 << 30, None, None, None, limited=False))
SMALL, LARGE, SEES = "all-MiniLM-L6-v2 onnx-8", "BGE-M3 onnx-8", "Qwen3-VL-4B mlx-4"


@dataclass
class World:
    """What is loaded, and all that happened to it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    told: list[str] = field(default_factory=list)
    loaded: dict[str, int] = field(default_factory=dict)
    most: int = 0

    def load(self, name: str, n_bytes: int) -> None:
        with self.lock:
            self.told.append(f"+{name.partition(' ')[0]}")
            self.loaded[name] = n_bytes
            self.most = max(self.most, sum(self.loaded.values()))

    def unload(self, name: str) -> None:
        with self.lock:
            self.told.append(f"-{name.partition(' ')[0]}")
            del self.loaded[name]


class Fake:
    """An engine that is counted with the bytes that the governor books for the true one."""

    def __init__(self, plan: Plan, world: World, n_bytes: int) -> None:
        self.name, self.sees, self.card = plan.name, True, plan.card
        self._world = world
        world.load(plan.name, n_bytes)

    def answer(self, asked: Asked, *, stopped: Callable[[], bool] = lambda: False) -> Iterator[str]:
        yield from ("It ", "costs ", "300 [1].")

    def encode(self, texts: list[str], *, query: bool = False) -> list[str]:
        return texts

    def close(self) -> None:
        self._world.unload(self.name)


@pytest.fixture
def settings(isolated: None) -> Settings:
    return Settings.load(profile="8gb")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def governor(settings: Settings, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Governor]:
    """The governor of a machine with 8 GB, whose engines take no memory."""
    normal = replace(Gauge().read(), pressure="normal", by_process={})
    monkeypatch.setattr(leases, "EVERY", 0.01)
    monkeypatch.setattr(leases, "Gauge", type("FakeGauge", (), {"read": lambda _: normal}))
    monkeypatch.setattr(Governor, "_make", lambda self, plan: Fake(plan, world, self._bytes(plan)))
    monkeypatch.setattr(vision, "why_not", lambda: "")
    governor = Governor(settings, budget=EIGHT, clock=lambda: 0.0)
    yield governor
    governor.unload()
    assert world.loaded == {}


def plan(job: Job, name: str, card: Card) -> Plan:
    return Plan(job, name, "onnx", 2, None, card, 8, "digest")


SMALL_PLAN, LARGE_PLAN = plan("embed", SMALL, ALL_MINILM_L6_V2), plan("embed", LARGE, BGE_M3)


@pytest.fixture
def here(settings: Settings) -> Callable[..., None]:
    """Puts files of models there, which nobody reads."""

    def put(*names: str) -> None:
        for name in names:
            folder = settings.models / name
            folder.mkdir(parents=True)
            for file in (*VISION[name].files, WEIGHTS):
                (folder / file).write_text("{}", "ascii")
            (folder / "model.safetensors.index.json").unlink(missing_ok=True)

    return put


def answered(governor: Governor, name: str | None = None) -> str:
    asked = Asked("What does it cost?", "en", (Offered(1, "", "", "", "The price is 300."),))
    with governor.answerer(name) as (answerer, _):
        return "".join(answerer.answer(asked))


def embedded(governor: Governor, which: Plan) -> None:
    with governor.lease(which) as (encoder,):
        assert encoder.encode(["a"]) == ["a"]


def test_it_fits_into_the_budget_of_8_gb_with_all_that_it_looks_at(governor, here):
    here("Qwen3-VL-4B")
    chosen = governor.answering()
    assert chosen.name == "Qwen3-VL-4B"
    assert 3_500 * MB < governor._bytes(chosen.plan) <= EIGHT.room
    assert (chosen.plan.tokens, chosen.plan.pixels) == (EIGHT.profile.answer_tokens, EIGHT.profile.picture_pixels)


def test_what_is_loaded_goes_before_it_comes_and_comes_back_after_it(governor, world, here):
    here("Qwen3-VL-4B")
    embedded(governor, SMALL_PLAN)
    embedded(governor, LARGE_PLAN)
    assert answered(governor) == "It costs 300 [1]."
    embedded(governor, LARGE_PLAN)
    embedded(governor, SMALL_PLAN)
    assert [step for step in world.told if "VL" in step or "BGE" in step] == [
        "+BGE-M3",
        "-BGE-M3",
        "+Qwen3-VL-4B",
        "-Qwen3-VL-4B",
        "+BGE-M3",
        "-BGE-M3",
    ]
    assert world.told.index("-all-MiniLM-L6-v2") < world.told.index("+Qwen3-VL-4B")
    assert world.most <= EIGHT.room


def test_a_second_question_finds_it_still_there(governor, world, here):
    here("Qwen3-VL-4B")
    assert answered(governor) == answered(governor)
    assert world.told == ["+Qwen3-VL-4B"]


def test_background_work_lets_a_question_through_and_goes_on(governor, world, here):
    here("Qwen3-VL-4B")
    begun, over = threading.Event(), threading.Event()

    def background() -> None:
        while True:
            with governor.lease(LARGE_PLAN) as (encoder,):
                while not governor.person_waits:
                    encoder.encode(["a"])
                    if over.is_set():
                        return
                    begun.set()
                    threading.Event().wait(0.001)

    with ThreadPoolExecutor(2) as pool:
        working = pool.submit(background)
        assert begun.wait(LONG_S)
        try:
            assert pool.submit(answered, governor).result(LONG_S) == "It costs 300 [1]."
        finally:
            over.set()
        working.result(LONG_S)
    assert world.told[:3] == ["+BGE-M3", "-BGE-M3", "+Qwen3-VL-4B"]
    assert world.told[-2:] == ["-Qwen3-VL-4B", "+BGE-M3"]
    assert world.most <= EIGHT.room


def test_work_that_comes_while_it_answers_waits_until_it_is_done(governor, world, here):
    here("Qwen3-VL-4B")
    asked = Asked("?", "en", (Offered(1, "", "", "", "300"),))
    with ThreadPoolExecutor(1) as pool:
        with governor.answerer() as (answerer, _):
            pieces = answerer.answer(asked)
            assert next(pieces) == "It "
            waiting = pool.submit(embedded, governor, LARGE_PLAN)
            while not governor._ledger._waiting:
                threading.Event().wait(0.005)
            assert "".join(pieces) == "costs 300 [1]."
            assert set(world.loaded) == {SEES}
        waiting.result(LONG_S)
    assert world.told == ["+Qwen3-VL-4B", "-Qwen3-VL-4B", "+BGE-M3"]


def test_the_largest_one_is_refused_on_8_gb_with_the_numbers(governor, here):
    here("Qwen3-VL-8B")
    with pytest.raises(TooLarge, match=r"Qwen3-VL-8B mlx-4 need 6\.\d GB, and the budget of 4\.3 GB leaves 3\.9 GB"):
        answered(governor, "Qwen3-VL-8B")


@pytest.mark.parametrize(
    ("profile", "names", "expected"),
    [
        ("8gb", ["Qwen3-VL-2B", "Qwen3-VL-4B", "Qwen3-VL-8B"], "Qwen3-VL-4B"),
        ("8gb", ["Qwen3-VL-2B", "Qwen3-VL-8B"], "Qwen3-VL-2B"),
        ("8gb", ["Qwen3-VL-8B"], "Qwen3-VL-8B"),
        ("32gb", ["Qwen3-VL-2B", "Qwen3-VL-4B"], "Qwen3-VL-4B"),
        ("32gb", ["Qwen3-VL-2B", "Qwen3-VL-4B", "Qwen3-VL-8B"], "Qwen3-VL-8B"),
    ],
)
def test_the_one_of_the_profile_serves_or_the_next_that_is_here(settings, here, monkeypatch, profile, names, expected):
    monkeypatch.setattr(vision, "why_not", lambda: "")
    monkeypatch.setattr(vision, "detect", lambda *_: Budget(1 << 40, PROFILES[profile], "a test says so"))
    here(*names)
    found = vision.card_here(settings)
    assert found is not None
    assert found.name == expected


def test_one_that_was_measured_to_be_too_large_steps_back(settings, here, monkeypatch):
    monkeypatch.setattr(vision, "why_not", lambda: "")
    monkeypatch.setattr(vision, "detect", lambda *_: EIGHT)
    here("Qwen3-VL-2B", "Qwen3-VL-4B")
    assert vision.card_here(settings) == VISION["Qwen3-VL-4B"]
    measured.keep(settings, vision.plan(settings, VISION["Qwen3-VL-4B"]).key, EIGHT.room + 1)
    assert vision.card_here(settings) == VISION["Qwen3-VL-2B"]
    measured.keep(settings, vision.plan(settings, VISION["Qwen3-VL-2B"]).key, EIGHT.room + 1)
    assert vision.card_here(settings) == VISION["Qwen3-VL-2B"]  # its lease says by how much


def test_where_it_cannot_run_nothing_is_chosen_and_asking_for_it_says_why(settings, here, monkeypatch):
    here("Qwen3-VL-4B")
    monkeypatch.setattr("pomnit.governor.choose.on_apple_silicon", lambda: False)
    assert vision.card_here(settings) is None
    with pytest.raises(EngineMissing, match=r"^Qwen3-VL-4B: MLX needs Apple silicon, .*answerer = extractive"):
        Governor(settings).answering("Qwen3-VL-4B")
    monkeypatch.setattr("pomnit.governor.choose.on_apple_silicon", lambda: True)
    monkeypatch.setattr("pomnit.governor.vision.importlib.util.find_spec", lambda _: None)
    with pytest.raises(EngineMissing, match=r"type: pip install 'pomnit\[vision\]'"):
        Governor(settings).answering("Qwen3-VL-4B")


def test_without_its_files_it_says_how_to_get_them(settings, here, monkeypatch):
    monkeypatch.setattr(vision, "why_not", lambda: "")
    with pytest.raises(EngineMissing, match="type: pomnit models pull Qwen3-VL-4B"):
        Governor(settings).answering("Qwen3-VL-4B")
    here("Qwen3-VL-4B")
    assert Governor(settings).answering("Qwen3-VL-4B").name == "Qwen3-VL-4B"
    shutil.rmtree(settings.models / "Qwen3-VL-4B")
    assert vision.card_here(settings) is None


def test_a_plan_comes_whole_out_of_its_description(settings, here, monkeypatch):
    monkeypatch.setattr(vision, "why_not", lambda: "")
    here("Qwen3-VL-2B")
    made = vision.plan(settings, VISION["Qwen3-VL-2B"])
    assert Plan.from_json(made.to_json()) == made

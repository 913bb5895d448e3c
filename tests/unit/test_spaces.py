"""Spaces side by side: another encoder's is filled beside the one that is searched, and takes over when it is whole."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pomnit import Memory, Settings, ingest
from pomnit.engines.fake import FakeEncoder
from pomnit.errors import EngineMissing, ModelDamaged, NotFound, UsageError
from pomnit.governor import choose
from pomnit.governor.leases import Governor
from pomnit.governor.plans import Plan
from pomnit.memory import Happening
from pomnit.models.cards import ALL_MINILM_L6_V2, Card, EncoderCard, Variant
from pomnit.models.hub import ModelFiles
from pomnit.records import Leg, Receipt
from support import database, processes
from support.pictures import POLYGLOT, engines, note, side_by_side

FIRST = ALL_MINILM_L6_V2.name
E5 = "multilingual-e5-small"
SPARSE = replace(POLYGLOT, name="weigher", dimensions=32, sparse=True)


@pytest.fixture
def two(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    """A memory with encoders to choose from; spaces are filled two passages at a time."""
    monkeypatch.setattr(ingest, "FILL_BATCH", 2)
    with Memory.open(settings=settings, engines=side_by_side(SPARSE)) as memory:
        yield memory


def add_notes(memory: Memory, files: Path, n: int = 7) -> None:
    for i in range(n):
        note(files / f"{i}.txt", f"heron number{i} stands in the reeds")
    note(files / "ru.txt", "Цапля стоит в камышах у озера")
    note(files / "empty.txt", " \n ")
    memory.add([files])


def vectors_leg(memory: Memory, query: str = "heron reeds") -> Leg:
    return next(leg for leg in memory.search(query).legs if leg.name == "vectors")


def states(memory: Memory) -> dict[str, str]:
    return {view.card: view.state for view in memory.spaces()}


def counts(settings: Settings, table: str) -> dict[int, int]:
    return dict(database.rows(settings, f"SELECT id >> 40, count(*) FROM {table} GROUP BY 1"))


class Interrupting:
    """Progress that presses Ctrl-C after so many steps of filling."""

    def __init__(self, after: int) -> None:
        self._left = after

    def __call__(self, happening: Happening) -> None:
        self._left -= happening.stage == ingest.FILL
        if happening.stage == ingest.FILL and self._left <= 0:
            raise KeyboardInterrupt


def half_filled(memory: Memory, name: str = POLYGLOT.name) -> None:
    with pytest.raises(KeyboardInterrupt):
        memory.use(name, on_progress=Interrupting(2))


# Use


def test_the_first_encoder_is_current_from_the_start(two: Memory, files: Path):
    assert two.spaces() == ()
    add_notes(two, files)
    (space,) = two.spaces()
    assert (space.card, space.state, space.vectors, space.passages) == (FIRST, "current", 7, 7)


def test_another_encoder_fills_its_space_and_takes_over(two: Memory, settings: Settings, files: Path):
    add_notes(two, files)
    seen: list[tuple[int, int]] = []
    report = two.use(POLYGLOT.name, on_progress=lambda h: seen.append((h.done, h.total)))
    assert seen == [(2, 8), (4, 8), (6, 8), (8, 8)]
    assert (report.job, report.in_use, report.searched) == ("embed", True, "polyglot given-32")
    assert (report.done, report.passages, report.owner, report.blocked) == (8, 8, "this process", None)
    assert states(two) == {FIRST: "kept", "polyglot": "current"}
    assert [view.dimensions for view in two.spaces()] == [384, 64]
    assert vectors_leg(two) == Leg("vectors", "ran")
    assert database.what_disagrees(settings) == []


def test_russian_is_found_by_vectors_after_a_switch_to_an_encoder_that_knows_it(two: Memory, files: Path):
    add_notes(two, files)
    assert vectors_leg(two, "цапля озера").state == "skipped"
    two.use(POLYGLOT.name)
    result = two.search("цапля озера")
    assert result[0].item.title == "ru"
    assert result[0].legs["vectors"] > 0.5


def test_a_memory_of_another_language_gets_the_vectors_it_lacked(two: Memory, files: Path):
    two.add([note(files / "a.txt", "Цапля стоит в камышах у озера")])
    assert [(view.vectors, view.state) for view in two.spaces()] == [(0, "current")]
    assert two.use(POLYGLOT.name).done == 1
    assert vectors_leg(two, "цапля").state == "ran"


def test_while_a_space_is_filled_the_old_one_is_searched_and_the_search_says_how_far(two: Memory, files: Path):
    add_notes(two, files)
    half_filled(two)
    result = two.search("heron number3")
    assert result[0].item.title == "3"
    assert result[0].legs["vectors"] > 0.5
    how_far = f"polyglot given-32 is being made: 4 of 8 passages; {FIRST} given-32 is searched meanwhile"
    assert vectors_leg(two) == Leg("vectors", "ran", how_far)
    unknown = f"{FIRST} knows en; this question is in another language (ru); {how_far}"
    assert vectors_leg(two, "цапля") == Leg("vectors", "skipped", unknown)
    assert two.more(result[0].item.id).legs[1].reason == how_far
    assert two.topics().notes[-1] == how_far
    assert two.similar(["a heron", "the reeds"]).note == how_far
    assert states(two) == {FIRST: "current", "polyglot": "filling"}
    assert two.status().vectors == 7


def test_nobody_ever_sees_a_space_that_is_not_whole(two: Memory, settings: Settings, files: Path):
    add_notes(two, files)
    seen: set[tuple[str, str]] = set()
    with Memory.open(settings=settings, engines=side_by_side()) as other:

        def look(_: Happening) -> None:
            hits, (view,) = other.search("heron reeds"), [v for v in other.spaces() if v.state == "current"]
            assert view.vectors == view.passages == sum("vectors" in hit.legs for hit in hits)
            seen.add((view.card, vectors_leg(other).state))

        two.use(POLYGLOT.name, on_progress=look)
        assert vectors_leg(other) == Leg("vectors", "ran")
    assert seen == {(FIRST, "ran")}


def test_what_is_added_meanwhile_is_found_before_the_filling_goes_on(two: Memory, settings: Settings, files: Path):
    add_notes(two, files)
    found: list[tuple[int, bool]] = []
    with Memory.open(settings=settings, engines=side_by_side()) as other:

        def add(happening: Happening) -> None:
            if happening.stage == ingest.FILL:
                if not found:
                    other.add([note(files / "new.txt", "a kingfisher dives")])
                hits = other.search("kingfisher dives")
                found.append((happening.done, bool(hits) and "vectors" in hits[0].legs))

        report = two.use(POLYGLOT.name, on_progress=add)
    assert found == [(2, False), (4, True), (6, True), (8, True), (9, True)]
    assert (report.done, report.passages) == (9, 9)
    assert vectors_leg(two, "kingfisher").reason is None


def test_using_the_old_encoder_again_stops_the_filling_and_keeps_what_is_done(two: Memory, files: Path):
    add_notes(two, files)
    half_filled(two)
    assert two.use(FIRST).in_use
    assert states(two) == {FIRST: "current", "polyglot": "kept"}
    assert vectors_leg(two) == Leg("vectors", "ran")
    seen: list[int] = []
    two.use(POLYGLOT.name, on_progress=lambda h: seen.append(h.done))
    assert seen == [6, 8]


def test_two_changes_of_mind_end_with_the_last(two: Memory, settings: Settings, files: Path):
    add_notes(two, files)
    half_filled(two)
    two.use(SPARSE.name)
    assert states(two) == {FIRST: "kept", "polyglot": "kept", "weigher": "current"}
    two.use(FIRST)
    assert states(two) == {FIRST: "current", "polyglot": "kept", "weigher": "kept"}
    assert counts(settings, "vector") == {1: 7, 2: 4, 3: 8}


def test_another_process_may_change_its_mind_while_a_space_is_filled(two: Memory, settings: Settings, files: Path):
    add_notes(two, files)
    with Memory.open(settings=settings, engines=side_by_side(SPARSE)) as other:

        def change(happening: Happening) -> None:
            if happening.done == 4 and happening.stage == ingest.FILL and states(two)["polyglot"] == "filling":
                assert other.use(SPARSE.name).owner.startswith("another process")

        two.use(POLYGLOT.name, on_progress=change)
    assert states(two) == {FIRST: "kept", "polyglot": "kept", "weigher": "current"}


def test_terms_are_stored_beside_the_vectors_of_an_encoder_that_weighs_tokens(
    two: Memory, settings: Settings, files: Path
):
    add_notes(two, files)
    two.use(SPARSE.name)
    assert counts(settings, "term") == {2: 8}
    two.add([note(files / "new.txt", "a kingfisher dives")])
    assert counts(settings, "term") == {2: 9}


# Interruptions and owners


def test_stopping_the_filling_loses_nothing_and_the_next_add_goes_on(two: Memory, settings: Settings, files: Path):
    add_notes(two, files)
    half_filled(two)
    assert counts(settings, "vector") == {1: 7, 2: 4}
    done: list[int] = []
    report = two.add([], on_progress=lambda h: done.append(h.done))
    assert done == [6, 8]
    assert report.blocked == {}
    assert states(two)["polyglot"] == "current"


def test_filling_goes_on_where_a_kill_left_it(settings: Settings, files: Path):
    with Memory.open(settings=settings, engines=side_by_side()) as memory:
        add_notes(memory, files, 13)
    filled, statements, ended = [0], 50, -signal.SIGKILL
    with processes.Adding() as adding:
        while ended == -signal.SIGKILL:
            statements += 7  # it dies at another place each time, some of them inside a transaction
            _, ended = adding.run([], environ={"USE": POLYGLOT.name, "DIE_AFTER_STATEMENTS": str(statements)})
            assert database.what_disagrees(settings) == []
            filled.append(counts(settings, "vector").get(2, 0))
    assert ended == 0, filled
    assert filled == sorted(filled)
    assert len({n for n in filled if 0 < n < 14}) > 1
    with Memory.open(settings=settings, engines=side_by_side()) as memory:
        assert states(memory) == {FIRST: "kept", "polyglot": "current"}
        assert counts(settings, "vector") == {1: 13, 2: 14}


def test_beside_an_owner_the_choice_is_handed_over(two: Memory, files: Path):
    add_notes(two, files)
    holder = processes.started("hold")
    assert holder.stdout.readline() == "holds\n"
    report = two.use(POLYGLOT.name)
    assert (report.in_use, report.done, report.passages) == (False, 0, 8)
    assert report.owner == "another process, which fills its space"
    assert report.searched == f"{FIRST} given-32"
    holder.communicate()
    assert two.add([]).owner == "this process"
    assert states(two)["polyglot"] == "current"


def test_forgetting_takes_an_item_out_of_every_space(two: Memory, settings: Settings, files: Path):
    add_notes(two, files)
    half_filled(two)
    receipt = two.forget(two.to_forget(query="number0"))
    assert receipt.vectors == 2
    assert counts(settings, "vector") == {1: 6, 2: 3}
    assert [(v.vectors, v.passages) for v in two.spaces()] == [(6, 6), (3, 7)]
    two.add([])
    assert database.what_disagrees(settings) == []


# What the machine and the settings ask for


@pytest.fixture
def runs_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Variant]:
    """Lets every model that has a card run, by a fake; gives what was loaded."""
    loaded: list[Variant] = []

    def make(_: Governor, plan: Plan) -> FakeEncoder:
        assert isinstance(plan.card, EncoderCard)
        loaded.append(Variant(plan.card, "mlx" if plan.kind == "mlx" else "onnx", plan.bits))
        return FakeEncoder(plan.card)

    found = ModelFiles(folder=tmp_path, digest="", form="onnx", bits=None)
    monkeypatch.setattr(Governor, "_make", make)
    monkeypatch.setattr("pomnit.models.hub.find", lambda *_, **__: found)
    return loaded


def opened(**settings: object) -> Memory:
    return Memory.open(settings=Settings.load(**settings))


def test_a_change_of_bits_or_runtime_makes_a_new_space(
    runs_here: list[Variant], files: Path, monkeypatch: pytest.MonkeyPatch
):
    note(files / "a.txt", "a heron stands in the reeds")
    with opened(runtime="onnx") as memory:
        memory.add([files])
        assert [v.precision for v in memory.spaces()] == ["onnx-8"]
    with opened(runtime="onnx", bits=4) as memory:
        assert "onnx-4 is being made: 0 of 1 passages" in vectors_leg(memory).reason
        memory.add([])
        assert {v.precision: v.state for v in memory.spaces()} == {"onnx-8": "kept", "onnx-4": "current"}
    monkeypatch.setattr(choose, "on_apple_silicon", lambda: True)
    monkeypatch.setattr(choose.importlib.util, "find_spec", lambda _: object())
    with opened() as memory:  # the memory was moved to a Mac
        memory.add([])
        assert {v.precision: v.state for v in memory.spaces()}["mlx-8"] == "current"
    assert [variant.precision for variant in runs_here] == ["onnx-8", "onnx-8", "onnx-4", "mlx-8"]


def test_bits_that_a_memory_was_told_win_over_the_settings(runs_here: list[Variant], files: Path):
    note(files / "a.txt", "a heron stands in the reeds")
    with opened(runtime="onnx", bits=16) as memory:
        memory.add([files])
        assert memory.use(FIRST, bits=4).model == f"{FIRST} onnx-4"
        assert vectors_leg(memory) == Leg("vectors", "ran")
        assert memory.use(FIRST).model == f"{FIRST} onnx-16"


def test_a_space_of_an_encoder_that_cannot_be_loaded_is_said_and_the_next_one_takes_over(
    two: Memory, settings: Settings, files: Path
):
    add_notes(two, files)
    with Memory.open(settings=settings, engines={"embed": FakeEncoder(POLYGLOT)}) as memory:
        leg = vectors_leg(memory)
        assert leg.state == "skipped"
        assert leg.reason.startswith(f"{FIRST} was handed in by a program that is not this one; polyglot")
        memory.add([note(files / "new.txt", "a kingfisher dives")])
        assert vectors_leg(memory, "kingfisher") == Leg("vectors", "ran")
        assert memory.status().waiting == {}


# Refusals


def test_an_unknown_model_is_refused_with_those_that_are_known(two: Memory):
    with pytest.raises(NotFound, match=rf"no encoder or reranker gpt-9; encoders: {FIRST}.*rerankers: "):
        two.use("gpt-9")
    assert two.spaces() == ()


def test_a_model_whose_files_are_missing_is_refused_and_nothing_changes(two: Memory, files: Path):
    add_notes(two, files)
    with pytest.raises(EngineMissing, match=r"models pull multilingual-e5-small"):
        two.use(E5)
    assert states(two) == {FIRST: "current"}
    assert vectors_leg(two) == Leg("vectors", "ran")


@pytest.mark.parametrize(
    ("name", "bits", "message"),
    [(FIRST, 5, "5 is not one of 4, 6, 8, 16, 32"), (FIRST, 4, "give no bits"), ("bge-reranker-v2-m3", 8, "no bits")],
)
def test_bits_without_effect_are_refused(two: Memory, name: str, bits: int, message: str):
    with pytest.raises(UsageError, match=message):
        two.use(name, bits=bits)


@pytest.fixture
def blocked_filling(runs_here: list[Variant], files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    """A memory half-way to an encoder whose files went away."""
    monkeypatch.setattr(ingest, "FILL_BATCH", 2)
    with opened(runtime="onnx") as memory:
        for i in range(7):
            note(files / f"{i}.txt", f"heron number{i} stands in the reeds")
        memory.add([files])
        half_filled(memory, E5)
        memory._governor.unload()
        make = Governor._make

        def missing(governor: Governor, plan: Plan) -> FakeEncoder:
            if plan.card.name == E5:
                raise EngineMissing(f"{E5} is not here; type: pomnit models pull {E5}")
            return make(governor, plan)

        monkeypatch.setattr(Governor, "_make", missing)
        yield memory


def test_a_model_that_went_away_while_its_space_was_filled_blocks_only_that(blocked_filling: Memory, files: Path):
    report = blocked_filling.add([note(files / "new.txt", "a kingfisher dives")])
    assert report.blocked == {"fill": f"{E5} is not here; type: pomnit models pull {E5}"}
    assert (report.new, report.waiting) == (1, 0)
    result = blocked_filling.search("kingfisher dives")
    assert result[0].legs["vectors"] > 0.5
    assert f"{E5} onnx-8 is being made: 4 of 8 passages" in result.legs[1].reason


def test_the_status_says_why_a_space_cannot_be_filled(blocked_filling: Memory, monkeypatch: pytest.MonkeyPatch):
    def missing(card: Card, *_: object, **__: object) -> ModelFiles:
        raise EngineMissing(f"{card.name} is not here")

    monkeypatch.setattr("pomnit.models.hub.find", missing)
    status = blocked_filling.status()
    assert status.blocked["fill"] == f"{E5} is not here"
    assert [(view.card, view.state, view.reason) for view in status.spaces] == [
        (FIRST, "current", None),
        (E5, "filling", f"{E5} is not here"),
    ]


def test_another_encoder_may_be_used_while_the_wanted_one_is_missing(blocked_filling: Memory, settings: Settings):
    with opened(runtime="onnx") as other:

        def change(happening: Happening) -> None:
            if happening.reason is not None:
                other.use("bge-small-en-v1.5")

        report = blocked_filling.add([], on_progress=change)
    assert report.blocked == {}
    assert states(blocked_filling) == {FIRST: "kept", E5: "kept", "bge-small-en-v1.5": "current"}


def test_a_space_of_another_dimension_is_refused_until_it_is_dropped(two: Memory, settings: Settings, files: Path):
    add_notes(two, files)
    narrow = {"embed": [FakeEncoder(replace(ALL_MINILM_L6_V2, dimensions=64))]}
    reason = f"{FIRST} given-32: vectors of 64 dimensions do not go with the stored ones of 384"
    with Memory.open(settings=settings, engines={**engines(), **narrow}) as memory:
        leg = vectors_leg(memory)
        assert leg.state == "skipped"
        assert reason in leg.reason
        assert f"pomnit models drop {FIRST}" in leg.reason
        report = memory.add([note(files / "new.txt", "a kingfisher dives")])
        assert reason in report.blocked["embed"]
        assert memory.search("kingfisher")[0].item.title == "new"
        with pytest.raises(ModelDamaged, match="64 dimensions do not go"):
            memory.use(FIRST)
        memory.drop(FIRST)
        assert memory.add([]).waiting == 0
        assert vectors_leg(memory, "kingfisher") == Leg("vectors", "ran")
        assert [(v.dimensions, v.vectors) for v in memory.spaces()] == [(64, 8)]


# Drop


def test_a_dropped_space_leaves_nothing_behind_and_gives_its_room_back(
    two: Memory, settings: Settings, files: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pomnit.store.vectors.BLOCK_BITS", 1)
    monkeypatch.setattr(ingest, "FILL_BATCH", 64)
    note(
        files / "long.txt", "\n\n".join(f"Paragraph {i} of herons. " + "They stand in reeds. " * 30 for i in range(200))
    )
    add_notes(two, files)
    two.use(SPARSE.name)
    two.use(FIRST)
    before = [counts(settings, table) for table in ("vector", "sign_block", "term")]
    assert all(2 in table for table in before)
    receipt = two.drop(SPARSE.name)
    assert isinstance(receipt, Receipt)
    assert receipt.vectors == before[0][2]
    assert receipt.bytes_freed > 10_000
    after = [counts(settings, table) for table in ("vector", "sign_block", "term")]
    assert after == [{1: before[0][1]}, {1: before[1][1]}, {}]
    assert states(two) == {FIRST: "current"}
    assert database.what_disagrees(settings) == []
    assert vectors_leg(two) == Leg("vectors", "ran")


def test_the_space_that_is_searched_is_not_dropped(two: Memory, files: Path):
    add_notes(two, files)
    with pytest.raises(UsageError, match=r"is what is searched; use another encoder first"):
        two.drop(FIRST)
    with pytest.raises(NotFound, match="no vectors of it"):
        two.drop(POLYGLOT.name)


def test_dropping_what_is_being_filled_gives_it_up(two: Memory, settings: Settings, files: Path):
    add_notes(two, files)
    half_filled(two)
    assert two.drop("polyglot given-32").vectors == 4
    assert two.add([]).blocked == {}
    assert states(two) == {FIRST: "current"}
    assert counts(settings, "vector") == {1: 7}


def test_a_space_that_is_dropped_and_wanted_again_while_it_is_filled_gets_every_vector(
    two: Memory, settings: Settings, files: Path
):
    add_notes(two, files)
    again: list[int] = []
    with Memory.open(settings=settings, engines=side_by_side()) as other:

        def change(happening: Happening) -> None:
            if happening.done == 6 and not again:
                again.append(other.drop(POLYGLOT.name).vectors)
                other.use(POLYGLOT.name)

        report = two.use(POLYGLOT.name, on_progress=change)
    assert again == [6]
    assert (report.done, report.passages, report.in_use) == (8, 8, True)


def test_what_the_machine_asks_for_cannot_be_given_up_by_dropping(
    runs_here: list[Variant], files: Path, monkeypatch: pytest.MonkeyPatch
):
    note(files / "a.txt", "a heron stands in the reeds")
    with opened(runtime="onnx") as memory:
        memory.add([files])
        memory.use(FIRST, bits=8)
    monkeypatch.setattr(choose, "on_apple_silicon", lambda: True)
    monkeypatch.setattr(choose.importlib.util, "find_spec", lambda _: object())
    with opened() as memory:
        with pytest.raises(KeyboardInterrupt):
            memory.add([], on_progress=Interrupting(1))
        with pytest.raises(UsageError, match="this machine or the setting runtime asks for it"):
            memory.drop(f"{FIRST} mlx-8")


# Rerankers


def test_a_reranker_is_used_and_dropped_by_name(two: Memory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Governor, "check", lambda *_: None)
    report = two.use("bge-reranker-v2-m3")
    assert (report.job, report.in_use, report.model) == ("rerank", True, "bge-reranker-v2-m3")
    assert two.status().reranker == "bge-reranker-v2-m3"
    assert two.drop("bge-reranker-v2-m3").vectors == 0
    assert two.status().reranker is None

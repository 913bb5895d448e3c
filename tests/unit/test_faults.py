"""Engines that die, hang or are in the way while a queue is worked off: no item is lost, and none is there twice."""

import os
import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from pomnit import Memory, Settings, ingest
from pomnit.engines.fake import FakeEncoder
from pomnit.errors import EngineError, TooLarge
from pomnit.governor import leases
from pomnit.governor.children import Child
from pomnit.governor.leases import Governor
from pomnit.governor.remote import RemoteEncoder
from pomnit.models.cards import ALL_MINILM_L6_V2 as MINILM
from support import database, processes
from support.pictures import engines, note, picture

KILLS = 40  # of each of five runs
OTHER = replace(MINILM, name="other")
DEADLY = "die before you have read this text about the herons of the lake"


def fails_on_some(card: Any = MINILM) -> RemoteEncoder:
    """An encoder in a child of its own, which a text that begins with "die" ends."""
    return RemoteEncoder(card, lambda: Child(card.name, {"load": ""}, module="support.fake_child"))


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", processes.environment()["PYTHONPATH"])


# A text that an encoder cannot read


def notes(files: Path, count: int = 6, **more: str) -> None:
    for i in range(count):
        note(files / f"{i}.txt", f"The heron number{i} stands at the lake and waits for a fish.")
    for name, text in more.items():
        note(files / f"{name}.txt", text)


def test_a_text_that_kills_the_encoder_fails_alone_and_is_found_by_its_words(guarded, settings: Settings, files: Path):
    notes(files, deadly=DEADLY)
    encoder = fails_on_some()
    with Memory.open(settings=settings, engines={**engines(), "embed": encoder}) as memory:
        report = memory.add([files])
        assert (report.new, report.failed, report.waiting, report.blocked) == (6, 1, 0, {})
        assert report.failures[0].name.endswith("deadly.txt")
        assert "out of luck" in report.failures[0].reason
        status = memory.status()
        assert (status.vectors, status.n_failed) == (6, 1)
        assert status.items == {"note": {"ready": 7}}
        assert memory.search('"before you have read this"')[0].item.title == "deadly"
        again = memory.retry()
        assert (again.tried, again.failed) == (1, 1)
        assert memory.status().items == {"note": {"ready": 7}}
        encoder._start = fails_on_some(OTHER)._start
    encoder.close()
    assert database.what_disagrees(settings) == []
    with Memory.open(settings=settings, engines=engines()) as memory:
        assert memory.retry().failed == 0
        assert (memory.status().vectors, memory.status().n_failed) == (7, 0)
    assert database.what_disagrees(settings) == []


def test_a_text_that_kills_the_new_encoder_does_not_hold_its_space_up(guarded, settings: Settings, files: Path):
    notes(files, deadly=DEADLY)
    new = fails_on_some(OTHER)
    with Memory.open(settings=settings, engines={**engines(), "embed": [FakeEncoder(MINILM), new]}) as memory:
        memory.add([files])
        report = memory.use("other")
        assert (report.in_use, report.done, report.passages, report.blocked) == (True, 6, 7, None)
        status = memory.status()
        assert status.n_failed == 1
        assert "out of luck" in status.failures[0].reason
        assert memory.search("lake").unindexed.failed == 1
        assert memory.status().items == {"note": {"ready": 7}}
    new.close()
    healed = {**engines(), "embed": [FakeEncoder(MINILM), FakeEncoder(OTHER)]}
    with Memory.open(settings=settings, engines=healed) as memory:
        assert memory.retry().failed == 0
        assert (memory.status().vectors, memory.status().n_failed) == (7, 0)
    assert database.what_disagrees(settings) == []


class Broken(FakeEncoder):
    """Fails on whatever it gets."""

    def encode(self, *_: Any, **__: Any) -> Any:
        raise EngineError("there is no memory left on the device")


def test_an_encoder_that_fails_on_everything_blocks_its_stage_and_no_item_is_to_blame(settings: Settings, files: Path):
    notes(files)
    with Memory.open(settings=settings, engines={**engines(), "embed": Broken(MINILM)}) as memory:
        report = memory.add([files])
        assert (report.failed, report.waiting) == (0, 6)
        assert report.blocked == {"embed": "there is no memory left on the device"}
    with Memory.open(settings=settings, engines={**engines(), "embed": [FakeEncoder(MINILM), Broken(OTHER)]}) as memory:
        assert memory.retry().waiting == 0
        report = memory.use("other")
        assert (report.in_use, report.done) == (False, 0)
        assert report.blocked == "there is no memory left on the device"
        assert memory.status().n_failed == 0


def test_an_engine_that_does_not_fit_into_the_budget_blocks_its_stage(
    settings: Settings, files: Path, monkeypatch: pytest.MonkeyPatch
):
    picture(files / "a.png", "heron")
    notes(files, 1)

    def too_large(*_: Any) -> Any:
        raise TooLarge("it needs 9 GB")

    monkeypatch.setattr(Governor, "recogniser", too_large)
    with Memory.open(settings=settings, engines=engines()) as memory:
        report = memory.add([files])
        assert report.blocked == {"recognise": "it needs 9 GB"}
        assert (report.failed, report.waiting) == (0, 1)
        assert len(memory.search("heron")) == 1


def test_while_a_person_waits_the_recogniser_is_given_back_after_each_picture(
    settings: Settings, files: Path, monkeypatch: pytest.MonkeyPatch
):
    for i in range(9):
        picture(files / f"{i}.png", f"heron{i}", colour=f"#00000{i}")
    lent: list[int] = []
    recogniser = Governor.recogniser

    def counted(governor: Governor) -> Any:
        lent.append(1)
        return recogniser(governor)

    monkeypatch.setattr(Governor, "recogniser", counted)
    monkeypatch.setattr(Governor, "person_waits", property(lambda _: True))
    with Memory.open(settings=settings, engines=engines()) as memory:
        assert memory.add([files]).waiting == 0
        assert memory.status().items == {"image": {"ready": 9}}
    assert 3 <= len(lent) <= 9  # up to two had begun when the first was done, and a third when that was seen
    assert database.what_disagrees(settings) == []


# Real engines, killed at any moment


def drawn(path: Path, text: str) -> Path:
    image = Image.new("RGB", (360, 60), "white")
    ImageDraw.Draw(image).text((12, 14), text, font=ImageFont.load_default(24), fill="black")
    image.save(path)
    return path


class Mortal(Child):
    """A child that is killed at some of the moments when something happens to it, until there were enough kills."""

    chance = random.Random()
    kills, most, said = 0, 0, 0

    def ask(self, *args: Any, **named: Any) -> Any:
        moment = self.chance.choice(["never", "before", "meanwhile", "after"])
        if moment == "before":
            self.murder()
        if moment == "meanwhile":
            type(self).said = 1
        answer = super().ask(*args, **named)
        if moment == "after":
            self.murder()
        return answer

    def _send(self, *args: Any) -> Any:
        future = super()._send(*args)
        if self.said:  # the one who asked now, or another one a little later
            type(self).said = 0
            self.murder()
        return future

    def murder(self) -> None:
        if Mortal.kills < Mortal.most:
            Mortal.kills += 1
            os.kill(self.pid, signal.SIGKILL)


@pytest.fixture
def mortal(built: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Mortal]]:
    """All engines are in children, which are mortal."""
    monkeypatch.setattr(leases, "Child", Mortal)
    monkeypatch.setattr(leases, "SMALL", 0)
    monkeypatch.setattr(ingest, "EMBED_BATCH", 4)  # more questions, so more chances
    Mortal.kills = Mortal.said = 0
    yield Mortal
    Mortal.most = 0


@pytest.mark.slow
@pytest.mark.parametrize("run", range(5))
def test_engines_killed_at_random_lose_no_item_and_make_none_twice(mortal, files: Path, run: int):
    settings = Settings.load()
    mortal.chance, mortal.most = random.Random(run), KILLS
    count = 0
    with Memory.open(settings=settings) as memory:
        while mortal.kills < KILLS:
            for i in range(count, count + 20):
                if i % 2:
                    note(files / f"{i}.txt", f"The heron number{i} stands at the lake.")
                else:
                    drawn(files / f"{i}.png", f"A heron at the lake {i}")
            count += 20
            memory.add([files])
            status = memory.status()
            assert sum(sum(states.values()) for states in status.items.values()) == count
            assert {state for states in status.items.values() for state in states} <= {"ready", "failed", "waiting"}
            assert status.n_failed == len(status.failures)
            assert all("SIGKILL" in failure.reason for failure in status.failures)
            assert database.what_disagrees(settings) == []
            memory.retry()
        report = memory.retry()
        assert (report.failed, report.waiting, report.blocked) == (0, 0, {})
        status = memory.status()
        assert status.items == {"note": {"ready": count // 2}, "image": {"ready": count // 2}}
        assert (status.n_failed, status.waiting) == (0, {})
        assert status.vectors == status.passages["en"] == count
        texts = [text for (text,) in database.rows(settings, "SELECT text FROM passage ORDER BY text")]
        assert sum("heron" in text for text in texts) == count, texts
        assert all(memory.search(f"number{i}")[0].item.title == str(i) for i in range(1, count, 10))
    assert database.rows(settings, "SELECT item FROM passage GROUP BY item, ordinal HAVING count(*) > 1") == []
    assert database.what_disagrees(settings) == []


def words_of(process: Any, what: str, count: int) -> list[str]:
    """Waits until a child has said something so often; gives all that it said."""
    said: list[str] = []
    while sum(line.startswith(what) for line in said) < count:
        said.append(process.stdout.readline().strip())
        assert said[-1], process.communicate()[1]
    return said


def children_of(said: list[str]) -> list[int]:
    return [int(line.removeprefix("pid ")) for line in said if line.startswith("pid ")]


@pytest.mark.slow
@pytest.mark.parametrize("asked", [1, 4, 14])  # while it loads, recognises, embeds
def test_an_owner_killed_in_the_middle_leaves_no_child_and_the_next_one_takes_over(
    built: None, files: Path, asked: int
):
    for i in range(12):
        drawn(files / f"{i}.png", f"A heron at the lake {i}")
    owner = processes.started("real", "add", str(files))
    said = words_of(owner, "asked", asked)
    owner.kill()
    said += owner.communicate()[0].splitlines()
    assert children_of(said)
    assert all(processes.ended(pid) for pid in children_of(said))
    settings = Settings.load()
    with Memory.open(settings=settings) as memory:
        assert memory.retry().waiting == 0
        assert memory.status().items == {"image": {"ready": 12}}
        assert memory.status().vectors == 12
    assert database.what_disagrees(settings) == []


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_a_long_scan(built: None, files: Path):
    pages = [Image.open(drawn(files / "page.png", f"Page {i}")).resize((2160, 360)) for i in range(200)]
    pages[0].save(files / "scan.tiff", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    (files / "page.png").unlink()
    owner = processes.started("real", "add", str(files))
    said = words_of(owner, "asked", 4)  # the load, and three pages
    os.kill(owner.pid, signal.SIGINT)
    out, err = owner.communicate()
    said += out.splitlines()
    assert owner.returncode == 130
    assert err.strip() == "stopped; what was remembered is kept, and `pomnit retry` goes on"
    assert said.count("asked") < 20  # of 201
    assert all(processes.ended(pid) for pid in children_of(said))
    settings = Settings.load()
    with Memory.open(settings=settings, engines=engines()) as memory:
        assert memory.status().items == {"image": {"waiting": 1}}
    assert database.what_disagrees(settings) == []

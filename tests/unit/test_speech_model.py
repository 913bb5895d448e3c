"""From a recording to a hit with a real model: the small checkpoint that knows a dozen words of each language."""

import json
import shutil

import pytest

from pomnit.memory import Memory
from pomnit.models import cards
from pomnit.settings import Settings
from support.pictures import engines
from support.recordings import CARD, GOLDEN, RECORDINGS, said_at, write, write_wav


@pytest.fixture
def settings(isolated, monkeypatch):
    """Settings with the small checkpoint among the models."""
    settings = Settings.load(speech=CARD.name)
    shutil.copytree(GOLDEN / "small-ct2", settings.models / CARD.name)
    monkeypatch.setitem(cards.SPEECH, CARD.name, CARD)
    return settings


@pytest.fixture
def memory(settings):
    with Memory.open(settings=settings, engines=engines()) as memory:
        yield memory


@pytest.mark.parametrize("form", ["wav", "m4a"])
def test_seven_three_is_found_at_its_second(memory, files, form):
    samples = said_at([42.0], 60.0)
    path = files / f"Звонок.{form}"
    write_wav(path, samples) if form == "wav" else write(path, samples, "aac")
    report = memory.add([path])
    assert (report.failed, report.waiting, report.blocked) == (0, 0, {})
    (hit,) = memory.search("семь три")
    (place,) = hit.passages[0].places
    assert 41.7 < place.start_s < 42.9
    assert 42.2 < place.end_s < 43.7


@pytest.mark.parametrize("name", ["ru.opus", "en.opus"])
def test_what_was_said_is_written_with_its_times(memory, name):
    told = json.loads((RECORDINGS / "expected.json").read_text("utf-8"))[name]
    found = memory.transcribe(RECORDINGS / name)
    assert found.language == told["language"]
    words = [word.strip(".,!?").lower() for segment in found.segments for word in segment.text.split()]
    assert words == [word for segment in told["segments"] for word in segment["text"].split()]
    for segment in told["segments"]:
        assert min(abs(segment["start"] - each.start) for each in found.segments) < 1.0


def test_a_process_that_is_not_the_owner_has_the_owner_listen(memory, settings):
    alone = memory.transcribe(RECORDINGS / "ru.opus")
    with Memory.open(settings=settings, engines=engines()) as guest:
        assert memory._owner.hold()
        try:
            assert guest.transcribe(RECORDINGS / "ru.opus").segments == alone.segments
            assert guest._governor.engines() == {}
        finally:
            memory._owner.let_go()


def test_the_model_is_chosen_by_the_settings_and_shown(memory):
    (choice,) = [choice for choice in memory.status().engines if choice.job == "transcribe"]
    assert (choice.works, choice.model) == (True, f"{CARD.name} ctranslate2-8")
    assert "asked for in the settings" in choice.reason

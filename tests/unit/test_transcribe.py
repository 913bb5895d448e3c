"""Recordings become text that can be found at its second; those that nobody speaks in, or nobody can read, are told."""

import json

import numpy as np
import pytest

from pomnit.engines.fake import FakeTranscriber
from pomnit.errors import EngineError, ItemError, NotFound
from pomnit.memory import Memory
from pomnit.settings import Settings
from support.pictures import engines
from support.recordings import CARD, RATE, RECORDINGS, said_at, write, write_wav

WORDS = "семь три"


class Heard(FakeTranscriber):
    """Says the same two words for every window, and notes what it heard; fails or stops where it is told to."""

    def __init__(self, fails=None):
        super().__init__(CARD, lambda _: WORDS, "ru")
        self.batches, self._fails = [], fails or (lambda windows: None)

    def transcribe(self, windows, *, language=None):
        self.batches.append(len(windows))
        self._fails(windows)
        return super().transcribe(windows, language=language)


@pytest.fixture
def opened(settings):
    """Opens the memory of this test with a transcriber; None: without any."""

    def opened(transcriber):
        given = engines() | ({"transcribe": transcriber} if transcriber else {})
        return Memory.open(settings=Settings.load(profile="8gb"), engines=given)

    return opened


@pytest.fixture
def talk(files):
    """A recording of seven minutes in which two words are said every 40 seconds, each time in a window of its own."""
    return write_wav(files / "Совет.wav", said_at(range(10, 400, 40), 410.0))


def states(memory):
    return memory.status().items.get("audio", {})


def starts(view):
    return [round(place.start_s) for passage in view.passages for place in passage.places]


# Found


def test_what_is_said_is_found_at_its_second(opened, files):
    write(files / "Совет.m4a", said_at([12.0], 20.0), "aac")
    with opened(Heard()) as memory:
        report = memory.add([files])
        assert (report.new, report.failed, report.waiting, report.blocked) == (1, 0, 0, {})
        (hit,) = memory.search("семь три")
        assert (hit.item.kind, hit.item.state, hit.item.original.media_type) == ("audio", "ready", "audio/mp4")
        (place,) = hit.passages[0].places
        assert 11.5 < place.start_s < 12.4 < place.end_s < 13.6
        assert [h.item.id for h in memory.search("Совет type:audio")] == [hit.item.id]


def test_the_sound_of_a_film_is_found(opened, files):
    write(files / "film.mp4", said_at([1.0], 3.0), "aac", film=True)
    with opened(Heard()) as memory:
        memory.add([files])
        assert [hit.item.title for hit in memory.search("семь")] == ["film"]


def test_each_window_is_a_passage_in_its_order(opened, talk):
    with opened(Heard()) as memory:
        memory.add([talk])
        (hit,) = memory.search("семь три")
        assert starts(memory.show(hit.item.id)) == list(range(10, 400, 40))


def test_as_many_windows_as_the_profile_says_are_heard_together(opened, talk):
    heard = Heard()
    with opened(heard) as memory:
        memory.add([talk])
    assert heard.batches == [4, 4, 2]


def test_how_far_a_recording_has_come_is_told_in_seconds(opened, talk):
    told = []
    with opened(Heard()) as memory:
        memory.add([talk], on_progress=told.append)
    told = [(h.done, h.total, h.name) for h in told if h.stage == "transcribe"]
    assert told[-1][1:] == (410, "Совет.wav")
    assert [done for done, *_ in told] == sorted(done for done, *_ in told)
    assert told[-1][0] in (371, 372)


# Nobody speaks, or there is no model


@pytest.mark.parametrize("name", ["silence.flac", "hum.opus", "noise.opus", "tones.opus"])
def test_a_recording_in_which_nobody_speaks_is_done_without_a_model(opened, name):
    with opened(None) as memory:
        report = memory.add([RECORDINGS / name])
        assert (report.new, report.failed, report.waiting, report.blocked) == (1, 0, 0, {})
        assert states(memory) == {"ready": 1}
        assert len(memory.search(name.split(".")[0])) == 1


def test_without_a_model_a_recording_waits_with_the_command_that_gets_one(opened, files, talk):
    write_wav(files / "nothing.wav", said_at([], 30.0))
    with opened(None) as memory:
        report = memory.add([files])
        assert (report.new, report.failed, report.waiting) == (2, 0, 1)
        assert "pomnit models pull whisper-base" in report.blocked["transcribe"]
        status = memory.status()
        assert (status.waiting, states(memory)) == ({"transcribe": 1}, {"ready": 1, "waiting": 1})
        assert "pomnit models pull whisper-base" in status.blocked["transcribe"]
        assert memory.search("семь").unindexed.by_stage == {"transcribe": 1}
    with opened(Heard()) as memory:
        memory.retry()
        assert len(memory.search("семь")) == 1
        assert states(memory) == {"ready": 2}


def test_a_waiting_recording_is_listened_to_only_once(opened, talk, monkeypatch):
    with opened(None) as memory:
        memory.add([talk])
    monkeypatch.setattr("pomnit.readers.audio.Recording", None)  # would raise
    with opened(None) as memory:
        assert memory.retry().waiting == 1
        assert states(memory) == {"waiting": 1}


# Stops and failures


def test_a_stopped_recording_goes_on_behind_its_last_finished_window(opened, talk):
    def stop(windows):
        if len(stopped.batches) == 2:
            raise KeyboardInterrupt

    stopped, heard = Heard(stop), Heard()
    with opened(stopped) as memory, pytest.raises(KeyboardInterrupt):
        memory.add([talk])
    with opened(None) as memory:
        (hit,) = memory.search("семь три")
        assert starts(memory.show(hit.item.id)) == [10, 50, 90, 130]
        assert memory.show(hit.item.id).item.state == "waiting"
    with opened(heard) as memory:
        memory.retry()
        assert sum(heard.batches) == 6
        assert starts(memory.show(hit.item.id)) == list(range(10, 400, 40))
        assert states(memory) == {"ready": 1}


def test_a_batch_that_fails_is_halved_and_nothing_is_lost(opened, talk):
    def too_many(windows):
        if len(windows) > 1:
            raise EngineError("out of memory")

    heard = Heard(too_many)
    with opened(heard) as memory:
        assert memory.add([talk]).failed == 0
        (hit,) = memory.search("семь три")
        assert starts(memory.show(hit.item.id)) == list(range(10, 400, 40))
    assert heard.batches == [4, 2, *[1] * 10]


def test_a_window_that_always_fails_fails_its_recording_and_no_other(opened, files, talk):
    write_wav(files / "A.wav", said_at([3.0], 5.0))
    bad = []

    def third(windows):
        if not bad and len(windows) == 1 and heard.batches.count(1) == 3:
            bad.append(windows[0].tobytes())
        if any(window.tobytes() in bad for window in windows) or len(windows) > 1:
            raise EngineError("this one is odd")

    heard = Heard(third)
    with opened(heard) as memory:
        report = memory.add([files])
        assert (report.new, report.failed, report.waiting) == (1, 1, 0)
        assert "the transcriber failed at " in report.failures[0].reason
        assert states(memory) == {"ready": 1, "failed": 1}
        assert len(memory.search("семь три")) == 2  # what was said before it is found


def test_a_truncated_recording_is_found_as_far_as_it_goes_and_fails_with_the_reason(opened, files):
    whole = write(files / "whole.flac", said_at([1.0, 30.0], 40.0) + 0.001 * np.random.default_rng(0).standard_normal(
        40 * RATE).astype(np.float32), "flac").read_bytes()  # fmt: skip
    (files / "whole.flac").unlink()
    (files / "half.flac").write_bytes(whole[: len(whole) // 2])
    (files / "text.mp3").write_text("это текст, а не запись " * 40, "utf-8")
    write_wav(files / "slow.wav", np.zeros(10), 1)
    with opened(Heard()) as memory:
        report = memory.add([files])
        reasons = {failure.name.rsplit("/", 1)[-1]: failure.reason for failure in report.failures}
        assert "cut short" in reasons["half.flac"]
        assert "1 samples a second" in reasons["slow.wav"]
        assert "no reader" in reasons["text.mp3"]
        assert [hit.item.title for hit in memory.search("семь")] == ["half"]


def test_a_recording_that_changed_since_is_not_transcribed(opened, talk):
    with opened(None) as memory:
        memory.add([talk])
    write_wav(talk, said_at([1.0], 3.0))
    with opened(Heard()) as memory:
        memory.retry()
        (failure,) = memory.status().failures
        assert "has changed since it was added" in failure.reason


def test_a_kept_recording_needs_its_file_no_more(opened, talk):
    with opened(None) as memory:
        memory.add([talk], copy=True)
        (item,) = memory.to_forget(source=str(talk))
        assert memory.original(item.id) == talk.read_bytes()
    talk.unlink()
    with opened(Heard()) as memory:
        memory.retry()
        assert starts(memory.show(item.id)) == list(range(10, 400, 40))
        receipt = memory.forget([item])
        assert (receipt.passages, receipt.files) == (10, 1)
        assert len(memory.search("семь три")) == 0


# Without storing


def test_a_transcript_stores_nothing(opened, files):
    path = write_wav(files / "a.wav", said_at([2.0, 40.0], 60.0))
    with opened(Heard()) as memory:
        found = memory.transcribe(path)
        assert (found.language, [segment.text for segment in found.segments]) == ("ru", [WORDS, WORDS])
        assert [round(segment.start) for segment in found.segments] == [2, 40]
        assert memory.status().items == {}


def test_a_transcript_of_silence_is_empty_without_a_model(opened, files):
    path = write_wav(files / "a.wav", said_at([], 5.0))
    with opened(None) as memory:
        found = memory.transcribe(path)
        assert (found.language, found.segments) == (None, ())
        with pytest.raises(EngineError, match="pomnit models pull whisper-base"):
            memory.transcribe(write_wav(files / "b.wav", said_at([1.0], 3.0)))


def test_what_is_no_recording_is_refused(opened, files):
    (files / "note.txt").write_text("молоко", "utf-8")
    with opened(None) as memory:
        with pytest.raises(ItemError, match=r"note\.txt: this is no recording"):
            memory.transcribe(files / "note.txt")
        with pytest.raises(NotFound, match="there is no such file"):
            memory.transcribe(files / "nothing.wav")


@pytest.fixture
def spoken(cli, files, monkeypatch):
    """The command line with a transcriber, and a recording."""
    before = Memory.open
    monkeypatch.setattr(
        Memory,
        "open",
        lambda *args, **named: before(*args, **{"engines": engines() | {"transcribe": Heard()}, **named}),
    )
    return cli, write_wav(files / "a.wav", said_at([2.0], 4.0))


def test_the_command_writes_text_subtitles_and_json(spoken, files):
    cli, path = spoken
    assert cli("transcribe", path).out == f"{WORDS}\n"
    srt = cli("transcribe", path, "--format", "srt").out
    assert srt.startswith("1\n00:00:02,") and srt.endswith(f"\n{WORDS}\n\n")  # noqa: PT018
    assert cli("transcribe", path, "--format", "vtt").out.startswith("WEBVTT\n\n00:00:02.")
    for words in (["--json"], ["--format", "json"]):
        found = json.loads(cli("transcribe", path, *words).out)
        assert found.keys() == {"language", "segments"}
        (segment,) = found["segments"]
        assert segment.keys() == {"start", "end", "text"}
    assert cli("transcribe", path, "--out", files / "a.srt").out == ""
    assert (files / "a.srt").read_text("utf-8") == srt


def test_the_command_says_nothing_of_silence_and_exits_with_0(cli, files):
    path = write_wav(files / "a.wav", said_at([], 3.0))
    done = cli("transcribe", path, "--json")
    assert (done.code, json.loads(done.out)) == (0, {"language": None, "segments": []})
    assert (cli("transcribe", path).code, cli("transcribe", path).out) == (0, "")


def test_the_command_refuses_a_language_that_is_none(cli, files):
    done = cli("transcribe", write_wav(files / "a.wav", said_at([], 1.0)), "--language", "русский")
    assert (done.code, "it is like ru or en" in done.err) == (2, True)


def test_a_hit_shows_the_minute(spoken, files):
    cli, _ = spoken
    write_wav(files / "b.wav", said_at([64.0], 70.0))
    cli("add", files / "b.wav")
    assert "found at 1:04-1:06" in cli("search", "семь три").out

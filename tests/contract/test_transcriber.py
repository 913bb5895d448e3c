"""What every transcriber promises, over each transcriber that this machine can run.

Those of CTranslate2 and MLX have the small checkpoint of ``golden/speech``, which knows a dozen words of each language.
"""

import threading
from functools import partial

import numpy as np
import pytest

from pomnit.engines.fake import FakeTranscriber
from pomnit.engines.transcriber_mlx import MlxTranscriber
from pomnit.errors import EngineError, ModelDamaged
from pomnit.governor.children import Child
from pomnit.governor.plans import Plan
from pomnit.governor.remote import RemoteTranscriber
from support.recordings import CARD, GOLDEN, RATE, speech
from support.text_engines import with_mlx

KINDS = ["fake", "faster-whisper", "child", *(pytest.param(kind, marks=with_mlx) for kind in ("mlx", "mlx child"))]


def make(kind):
    """Gives a transcriber of a kind; the caller closes it."""
    if kind == "fake":
        return FakeTranscriber(CARD, lambda window: "семь три" if np.abs(window).max(initial=0) > 0.05 else "", "ru")
    if kind == "mlx":
        return MlxTranscriber(CARD, GOLDEN / "small", 8)
    plan = Plan("transcribe", CARD.name, "faster-whisper", 2, GOLDEN / "small-ct2", CARD, 8)
    if kind == "mlx child":
        plan = Plan("transcribe", CARD.name, "mlx", 1, GOLDEN / "small", CARD, 8)
    return RemoteTranscriber(CARD, partial(Child, plan.name, plan.to_json())) if "child" in kind else plan.make()


def windows():
    """Gives windows of different lengths: words in both languages, silence, noise, and a whole one."""
    silence = np.zeros(RATE, np.float32)
    noise = np.random.default_rng(3).normal(0, 0.02, 2 * RATE).astype(np.float32)
    whole = np.zeros(30 * RATE, np.float32)
    whole[RATE : RATE + len(speech())] = speech()
    return [speech(), silence, speech("en.opus", 0.3, 1.7), noise, whole, speech()[:100]]


@pytest.fixture(scope="module", params=KINDS)
def transcriber(request):
    transcriber = make(request.param)
    yield transcriber
    transcriber.close()


@pytest.fixture(scope="module")
def found(transcriber):
    return transcriber.transcribe(windows())


def test_each_window_has_its_text_in_order(transcriber, found):
    assert len(found) == len(windows())
    for window, text in zip(windows(), found, strict=True):
        length, before = len(window) / RATE, 0.0
        for segment in text.segments:
            assert before <= segment.start <= segment.end <= length
            assert segment.text == segment.text.strip() != ""
            before = segment.end
        assert 0 <= text.no_speech <= 1
        assert 2 <= len(text.language) <= 3


def test_no_windows_have_no_texts(transcriber):
    assert transcriber.transcribe([]) == []


def test_a_window_has_the_same_text_alone_and_in_any_batch(transcriber, found):
    backwards = transcriber.transcribe(windows()[::-1])[::-1]
    for window, one, again in zip(windows(), found, backwards, strict=True):
        (alone,) = transcriber.transcribe([window])
        assert alone.segments == one.segments == again.segments
        assert alone.language == one.language
        assert alone.no_speech == pytest.approx(one.no_speech, abs=1e-3)


def test_a_given_language_is_that_of_every_window(transcriber):
    assert {text.language for text in transcriber.transcribe(windows(), language="en")} == {"en"}


def test_threads_may_ask_at_the_same_time(transcriber, found):
    answers = {}

    def ask(number):
        answers[number] = transcriber.transcribe(windows()[number : number + 1])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers[n][0].segments for n in range(3)] == [found[n].segments for n in range(3)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_transcriber_refuses(kind):
    transcriber = make(kind)
    transcriber.close()
    with pytest.raises(EngineError):
        transcriber.transcribe([speech()])


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_language_that_the_model_does_not_know_is_refused(kind):
    transcriber = make(kind)
    for language in ("xx", "startoftranscript", "ru|>"):
        with pytest.raises(EngineError, match="knows no language"):
            transcriber.transcribe([speech()], language=language)
    transcriber.close()


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json", "config.json", "vocabulary.json"])
def test_damaged_files_are_told(tmp_path, name):
    for file in (GOLDEN / "small-ct2").iterdir():
        data = file.read_bytes()
        (tmp_path / file.name).write_bytes(data[: len(data) // 2] if file.name == name else data)
    with pytest.raises((ModelDamaged, EngineError)):
        Plan("transcribe", CARD.name, "faster-whisper", 2, tmp_path, CARD, 8).make()

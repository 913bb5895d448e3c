"""Speech is packed into windows: all of it, once, in order, and every moment maps back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.engines.vad_silero import Listener
from pomnit.readers.speech_windows import BEGINS, CHUNK, LEAST, LONGEST, PAUSE, RATE, windows
from support.recordings import RECORDINGS, samples_of

runs = st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0]), st.integers(1, 700)), max_size=20)


def packed(odds, cuts=(), start=0):
    """Gives the windows of a recording with these probabilities; its samples are their own numbers."""
    whole, at = np.arange(len(odds) * CHUNK, dtype=np.float32), 0
    told = iter(odds)

    def listen(samples):
        assert len(samples) % CHUNK == 0
        return np.array([next(told) for _ in range(len(samples) // CHUNK)], np.float32)

    blocks = [b for b in np.split(whole, sorted(c % max(len(whole), 1) for c in cuts)) if len(b)]
    del at
    return list(windows(blocks, listen, start))


def spread(parts):
    return [p for p, n in parts for _ in range(n)]


@given(runs, st.lists(st.integers(0, 10**7), max_size=5))
def test_what_is_speech_lies_in_exactly_one_window_in_order(parts, cuts):
    odds = spread(parts)
    found = packed(odds, cuts)
    taken = np.zeros(len(odds), int)
    before = 0
    for window in found:
        assert 0 < len(window.samples) <= 30 * RATE
        for part in window.parts:
            assert part.start >= before  # nothing twice, and in order
            before = part.start + part.length
            taken[part.start // CHUNK : before // CHUNK] += 1
    assert taken.max(initial=0) <= 1
    at = 0
    for p, n in parts:
        if p >= BEGINS and n >= LEAST:
            assert (taken[at : at + n] == 1).all()
        at += n


@given(runs)
def test_every_moment_of_a_window_is_the_moment_of_the_recording_that_sounds_there(parts):
    for window in packed(spread(parts)):
        for part in window.parts:
            assert (
                window.samples[part.at : part.at + part.length] == np.arange(part.start, part.start + part.length)
            ).all()
            middle = part.at + part.length // 2
            assert window.seconds(middle / RATE) == pytest.approx(window.samples[middle] / RATE)
            assert window.seconds(part.at / RATE) == part.start / RATE
            assert window.seconds((part.at + part.length) / RATE, end=True) == (part.start + part.length) / RATE
        assert window.seconds(0.0) == window.start_s
        assert window.seconds(1e6, end=True) == window.end_s


@given(runs, st.lists(st.integers(0, 10**7), max_size=8))
def test_blocks_of_any_size_give_the_same_windows(parts, cuts):
    odds = spread(parts)
    assert [w.parts for w in packed(odds, cuts)] == [w.parts for w in packed(odds)]


@given(runs)
def test_stretches_far_apart_are_in_windows_of_their_own(parts):
    for window in packed(spread(parts)):
        ends = [p.start + p.length for p in window.parts]
        assert all(b.start - end <= PAUSE * CHUNK for end, b in zip(ends, window.parts[1:], strict=False))


def test_speech_without_a_pause_is_cut_where_it_is_quietest():
    odds = [1.0] * 3 * LONGEST
    odds[700] = 0.4
    first = packed(odds)[0]
    assert (first.parts[0].start, len(first.samples)) == (0, 701 * CHUNK)


def test_windows_count_from_where_listening_began():
    (window,) = packed([0.0] * 50 + [1.0] * 50, start=160_000)
    assert window.start_s == 10 + 43 * CHUNK / RATE
    assert window.seconds(0.0) == window.start_s


def test_a_crack_is_no_speech_and_a_short_word_is():
    assert packed([0.0] * 50 + [1.0] * (LEAST - 1) + [0.0] * 50) == []
    assert len(packed([0.0] * 50 + [1.0] * LEAST + [0.0] * 50)) == 1


@pytest.mark.parametrize("name", ["silence.flac", "hum.opus", "noise.opus", "tones.opus"])
def test_nobody_speaks_in_silence_hum_noise_and_tones(name):
    assert list(windows([samples_of(RECORDINGS / name)], Listener())) == []


def test_every_word_of_the_recordings_lies_in_a_window():
    import json

    for name, told in json.loads((RECORDINGS / "expected.json").read_text("utf-8")).items():
        found = list(windows([samples_of(RECORDINGS / name)], Listener()))
        stretches = [(p.start / RATE, (p.start + p.length) / RATE) for w in found for p in w.parts]
        for segment in told["segments"]:
            middle = (segment["start"] + segment["end"]) / 2
            assert any(start <= middle <= end for start, end in stretches), (name, segment)


def test_what_is_heard_in_blocks_is_what_is_heard_at_once():
    samples = samples_of(RECORDINGS / "ru.opus")
    samples = samples[: len(samples) // CHUNK * CHUNK]
    whole, listener = Listener()(samples), Listener()
    parts = [listener(block) for block in np.split(samples, [CHUNK, 7 * CHUNK, 200 * CHUNK])]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)

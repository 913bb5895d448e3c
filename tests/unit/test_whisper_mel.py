"""The spectrogram that Whisper hears, whatever the sound; its numbers are compared in contract/test_whisper_parity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pomnit.engines.whisper_mel import HOP, log_mel
from pomnit.errors import EngineError

FRAMES = 100  # one second
SILENCE = np.float32(-1.5)  # of nothing but zeros
lengths = st.integers(0, FRAMES * HOP)


def tone(length, loudness=0.5, hertz=440.0):
    return (loudness * np.sin(2 * np.pi * hertz * np.arange(length) / 16_000)).astype(np.float32)


@given(lengths, st.sampled_from([80, 128]), st.floats(0, 1e4), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_any_sound_of_any_length_has_finite_numbers_within_two_of_the_loudest(length, bands, loudness, seed):
    samples = (loudness * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)
    found = log_mel(samples, bands, FRAMES)
    assert found.shape == (FRAMES, bands)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.max() - found.min() <= 2 + 1e-6  # eight decades


@given(lengths)
@settings(max_examples=40, deadline=None)
def test_what_is_missing_is_silence(length):
    samples = tone(length)
    whole = np.zeros(FRAMES * HOP, np.float32)
    whole[:length] = samples
    assert np.array_equal(log_mel(samples, 80, FRAMES), log_mel(whole, 80, FRAMES))


@pytest.mark.parametrize("length", [0, 1, 199, 200, 201, FRAMES * HOP])
def test_silence_is_the_same_everywhere(length):
    assert np.array_equal(log_mel(np.zeros(length, np.float32), 80, FRAMES), np.full((FRAMES, 80), SILENCE))


@given(st.floats(1, 1e3))
@settings(max_examples=20, deadline=None)
def test_a_louder_sound_is_moved_up_by_its_decades(factor):
    samples = tone(FRAMES * HOP)
    moved = log_mel(np.float32(factor) * samples, 80, FRAMES) - log_mel(samples, 80, FRAMES)
    assert np.allclose(moved, np.log10(factor) / 2, atol=1e-4)


def test_a_tone_is_loudest_where_it_is():
    bands = [
        int(log_mel(tone(FRAMES * HOP, hertz=hertz), 80, FRAMES).mean(axis=0).argmax()) for hertz in (200, 900, 4000)
    ]
    assert bands == sorted(set(bands))


def test_clipped_sound_is_sound():
    clipped = np.clip(tone(FRAMES * HOP, loudness=50), -1, 1)
    assert np.isfinite(log_mel(clipped, 80, FRAMES)).all()


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(FRAMES * HOP + 1, np.float32),
        np.zeros((2, 100), np.float32),
        np.array([0, np.nan], np.float32),
        np.array([0, np.inf], np.float32),
    ],
)
def test_what_is_no_window_is_refused(samples):
    with pytest.raises(EngineError):
        log_mel(samples, 80, FRAMES)

"""What Whisper hears: the log-mel spectrogram of a window of sound, in NumPy.

As in Radford et al. 2022, arXiv:2212.04356, 2.2, and in the feature extractors of openai/whisper and transformers:
windows of 25 ms every 10 ms, mel bands of Slaney's scale with triangles of equal area, the logarithm cut 8 decades
below the loudest, and the whole moved to about -1 … 1.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from pomnit.engines.text import Floats
from pomnit.engines.whisper import RATE
from pomnit.errors import EngineError

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOP = 160  # samples from one frame to the next
FRAMES = 3000  # of the 30 s that published models hear at once

_WINDOW = 400  # samples that a frame hears
_QUIETEST = 1e-10  # power that counts as silence
_RANGE = 8.0  # decades
_TOP = 8000.0  # Hz
_LINEAR_TO, _PER_MEL = 1000.0, 200 / 3  # Hz: Slaney's scale is linear at first,
_PER_STEP = math.log(6.4) / 27  # then each mel multiplies by this power of e


def log_mel(samples: Floats, bands: int, frames: int = FRAMES) -> Floats:
    """Gives the spectrogram, float32 of shape (frames, bands), of mono samples at 16 kHz; what is missing is silence.

    Raises:
        EngineError: they are longer than ``frames``, or are not numbers.
    """
    if samples.ndim != 1 or len(samples) > frames * HOP:
        raise EngineError(
            f"sound of shape {samples.shape}: a window is one row of at most {frames * HOP} samples at 16 kHz"
        )
    if not np.isfinite(samples).all():
        raise EngineError("sound: a sample is NaN or infinite")
    heard = min(frames, -(-(len(samples) + _WINDOW // 2) // HOP))  # the other frames hear nothing of it
    logarithms = np.full((frames, bands), math.log10(_QUIETEST))
    power = _spectrum(samples, heard, frames) @ _filters(bands)
    logarithms[:heard] = np.log10(np.maximum(power, _QUIETEST))
    found: Floats = ((np.maximum(logarithms, logarithms.max() - _RANGE) + 4) / 4).astype(np.float32)
    return found


def _spectrum(samples: Floats, heard: int, frames: int) -> NDArray[np.float64]:
    """Gives the power in each of 201 frequencies, of the first ``heard`` frames.

    In float64: what is 8 decades below the loudest is at the edge of what float32 adds up rightly.
    """
    half = _WINDOW // 2
    whole = np.pad(samples.astype(np.float64), (0, frames * HOP - len(samples)))
    whole = np.pad(whole, half, mode="reflect")
    each = np.lib.stride_tricks.sliding_window_view(whole, _WINDOW)[: heard * HOP : HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi / _WINDOW * np.arange(_WINDOW))
    found = np.fft.rfft(each * hann)
    return found.real**2 + found.imag**2


@cache
def _filters(bands: int) -> NDArray[np.float64]:
    """Gives how much of each frequency belongs to each band, shape (201, bands)."""
    edges = _hertz(np.linspace(0, _mels(_TOP), bands + 2))
    frequencies = np.linspace(0, RATE / 2, _WINDOW // 2 + 1)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return np.maximum(0, np.minimum(rising, falling)) * (2 / (high - low))


def _mels(hertz: float) -> float:
    """Gives Slaney's mels of a frequency above 1000 Hz."""
    return _LINEAR_TO / _PER_MEL + math.log(hertz / _LINEAR_TO) / _PER_STEP


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    above = mels - _LINEAR_TO / _PER_MEL
    return np.where(above < 0, mels * _PER_MEL, _LINEAR_TO * np.exp(_PER_STEP * above))

"""Recordings for tests: those of tests/golden/speech, and others made of them."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pomnit.models.cards import SpeechCard
from pomnit.readers.sound import RATE, Sound

GOLDEN = Path(__file__).parents[1] / "golden" / "speech"
RECORDINGS = GOLDEN / "recordings"
CARD = SpeechCard(
    name="whisper-small-golden",
    repository="pomnit/golden",
    revision="0" * 40,
    licence="Apache-2.0",
    languages=("ru", "en", "other"),
    parameters=400_000,
    files=("model.bin", "config.json", "tokenizer.json", "vocabulary.json"),
    held_bytes=30_000_000,
    window_bytes=2_000_000,
)


def samples_of(path: Path) -> np.ndarray:
    """Gives the sound of a golden recording."""
    with path.open("rb") as file, Sound(file, f"audio/{'flac' if path.suffix == '.flac' else 'ogg'}", 3600) as sound:
        return np.concatenate(list(sound.blocks()))


def speech(name: str = "ru.opus", start: float = 9.7, end: float = 10.8) -> np.ndarray:
    """Gives a stretch of a golden recording; by default the words "семь три"."""
    return samples_of(RECORDINGS / name)[round(start * RATE) : round(end * RATE)]


def said_at(seconds: Sequence[float], length_s: float) -> np.ndarray:
    """Gives a recording of that length in which the same two words are said at some moments, else silence."""
    whole, words = np.zeros(round(length_s * RATE), np.float32), speech()
    for second in seconds:
        at = round(second * RATE)
        whole[at : at + len(words)] = words
    return whole


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    """Writes samples, shape (n,) or (n, channels), -1 to 1, as a WAV of 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def write(
    path: Path, samples: np.ndarray, codec: str, rate: int = RATE, layout: str = "mono", film: bool = False
) -> Path:
    """Writes samples as the kind that the path's suffix says; a film has a dark picture, too, and may have no sound."""
    with av.open(str(path), "w", format={".aac": "adts"}.get(path.suffix)) as out:
        picture = out.add_stream("mpeg4", rate=5) if film else None
        if not codec:
            _darken(out, picture, len(samples) / RATE)
            return path
        stream = out.add_stream(codec, rate=rate, layout=layout)
        if picture is not None:
            _darken(out, picture, len(samples) / RATE)
        form = stream.codec_context.format.name if stream.codec_context.format else "s16"
        resampler = av.AudioResampler(format=form, layout=layout, rate=rate)
        for at in range(0, len(samples), RATE):
            sound = av.AudioFrame.from_ndarray(samples[None, at : at + RATE], format="flt", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = RATE, at, Fraction(1, RATE)
            for part in resampler.resample(sound):
                out.mux(stream.encode(part))
        for part in resampler.resample(None):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return path


def _darken(out, picture, seconds: float) -> None:
    """Writes five dark pictures a second."""
    picture.width = picture.height = 64
    picture.pix_fmt = "yuv420p"
    for number in range(round(5 * seconds)):
        frame = av.VideoFrame(64, 64, "yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, 5)
        out.mux(picture.encode(frame))
    out.mux(picture.encode(None))


def write_late(path: Path, samples: np.ndarray, start_s: float, length_s: float) -> Path:
    """Writes a film in Matroska whose sound begins later than its picture, and ends earlier."""
    with av.open(str(path), "w") as out:
        picture, stream = out.add_stream("mpeg4", rate=5), out.add_stream("flac", rate=RATE, layout="mono")
        _darken(out, picture, length_s)
        sound = av.AudioFrame.from_ndarray((samples * 32767).astype("<i2")[None], format="s16", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = RATE, round(start_s * RATE), Fraction(1, RATE)
        out.mux(stream.encode(sound))
        out.mux(stream.encode(None))
    return path


def write_made(path: Path, samples: np.ndarray, **told: str) -> Path:
    """Writes a recording in MPEG-4 that tells something of itself."""
    with av.open(str(path), "w") as out:
        out.metadata.update(told)
        stream = out.add_stream("aac", rate=RATE, layout="mono")
        sound = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        sound.sample_rate = RATE
        out.mux(stream.encode(sound))
        out.mux(stream.encode(None))
    return path

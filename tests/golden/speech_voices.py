"""The words that the small speech model knows, the voices that speak them, and the noise around them.

espeak-ng speaks (Debian and Homebrew: ``espeak-ng``). Sound is float32 mono at 16 kHz everywhere. One seed gives the
same sound as long as the version of espeak-ng is the same.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

Sound = NDArray[np.float32]
RATE = 16_000

WORDS = {
    "ru": """
        ноль один два три четыре пять шесть семь восемь девять
        да нет встреча бюджет понедельник пятница письмо договор утро вечер дом поезд
    """.split(),  # noqa: SIM905
    "en": """
        zero one two three four five six seven eight nine
        yes no meeting budget monday friday letter contract morning evening house train
    """.split(),  # noqa: SIM905
}
ACCENTS = {"ru": ["ru"], "en": ["en-us", "en-gb", "en-gb-x-rp"]}
TAUGHT = """
    m1 m2 m3 m4 m5 m8 f1 f2 f3 Alex Andy Annie Denis Gene Jacky Lee Michael belinda john linda max norbert paul
    robert sandro steph2 travis victor zac
""".split()  # noqa: SIM905
HELD_OUT = ["m6", "m7", "f4", "f5", "Alicia", "Mario", "Diogo", "steph"]
NOISES = ("silence", "white", "pink", "hum", "tones")


@dataclass(frozen=True)
class Phrase:
    """What was said in one breath, and how."""

    language: str
    text: str
    voice: str
    speed: int  # words per minute
    pitch: int  # 0 to 99


def has_espeak() -> bool:
    """Says whether espeak-ng is here."""
    return shutil.which("espeak-ng") is not None


def phrase(rng: np.random.Generator, language: str, voices: list[str], words: int) -> Phrase:
    """Gives so many words by chance, in a voice by chance."""
    text = " ".join(rng.choice(WORDS[language], words))
    voice = f"{rng.choice(ACCENTS[language])}+{rng.choice(voices)}"
    return Phrase(language, text, voice, int(rng.integers(110, 200)), int(rng.integers(25, 75)))


def speak(said: Phrase) -> Sound:
    """Gives the sound of a phrase without the silence around it, its peak at 0.5."""
    command = ["espeak-ng", "-v", said.voice, "-s", str(said.speed), "-p", str(said.pitch), "--stdout", said.text]
    spoken = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(spoken)) as file:
        if file.getframerate() != 22_050:
            raise ValueError(f"espeak-ng speaks at {file.getframerate()} Hz, 22050 was expected")
        data = file.readframes(len(spoken))  # the header, written before the sound, overstates the length
    sound = resample_poly(np.frombuffer(data, np.int16).astype(np.float32) / 32768, 320, 441).astype(np.float32)
    peak = float(np.abs(sound).max())
    loud = np.flatnonzero(np.abs(sound) > peak / 50)
    return sound[max(0, loud[0] - 160) : loud[-1] + 160] * (0.5 / peak)


def speak_all(phrases: list[Phrase]) -> list[Sound]:
    """Gives the sound of each, spoken by two programs at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(speak, phrases))


def noise(rng: np.random.Generator, kind: str, samples: int) -> Sound:
    """Gives sound without speech, its root mean square at 1 (silence: 0)."""
    time = np.arange(samples) / RATE
    if kind == "silence":
        return np.zeros(samples, np.float32)
    if kind == "hum":
        base = rng.choice([50.0, 60.0]) * (1 + rng.normal(0, 0.002))
        made = sum(rng.uniform(0.1, 1) / n * np.sin(2 * np.pi * (n * base * time + rng.random())) for n in range(1, 9))
    elif kind == "tones":
        made, at = np.zeros(samples), 0
        while at < samples:
            length = int(rng.uniform(0.15, 1.2) * RATE)
            part = time[at : at + length] - time[at]
            for key in rng.integers(0, 37, rng.integers(1, 4)):
                made[at : at + length] += np.exp(-part * rng.uniform(0.5, 4)) * np.sin(
                    2 * np.pi * 110 * 2 ** (key / 12) * part
                )
            at += length
    else:
        made = rng.standard_normal(samples)
        if kind == "pink":
            turned = np.fft.rfft(made)
            made = np.fft.irfft(turned / np.sqrt(np.arange(len(turned)) + 20), samples)
    made = np.asarray(made, np.float32)
    return made / (float(np.sqrt(np.mean(made**2))) + 1e-9)


def place(sounds: list[Sound], starts: list[float], seconds: float) -> Sound:
    """Gives so many seconds of silence in which each sound begins at its second; what lies beyond the end is cut."""
    made = np.zeros(int(seconds * RATE), np.float32)
    for sound, start in zip(sounds, starts, strict=True):
        at = int(start * RATE)
        part = sound[: len(made) - at]
        made[at : at + len(part)] += part
    return made

"""Makes speech/recordings/: short recordings in voices that the small model never heard, and what they say.

``.venv-bench/bin/python tests/golden/make_recordings.py`` needs espeak-ng and PyAV. expected.json holds for each file
its language and its phrases with their seconds; a recording without speech has none.
"""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
from speech_voices import RATE, Phrase, Sound, noise, place, speak

FOLDER = Path(__file__).parent / "speech" / "recordings"
SEED = 5
# file -> language, voice, noise, decibels of speech over it, [second, words] …
SPOKEN = {
    "ru.opus": ("ru", "ru+m7", "pink", 25, [
        (0.6, "понедельник встреча"), (3.4, "бюджет пять"), (10.0, "семь три"), (13.0, "письмо"),
    ]),
    "en.opus": ("en", "en-us+f5", "white", 30, [(0.5, "morning meeting"), (3.2, "budget nine two"), (6.4, "contract")]),
    "mixed.opus": ("ru", "ru+f4 en-gb+m6", "pink", 25, [
        (0.5, "договор четыре восемь"), (4.0, "письмо"), (7.0, "letter six one"), (10.0, "friday evening"),
    ]),
}  # fmt: skip
NEVER = {"silence.flac": ("silence", 8), "hum.opus": ("hum", 8), "noise.opus": ("white", 8), "tones.opus": ("tones", 8)}


def long_one(rng: np.random.Generator) -> list[tuple[float, str]]:
    """Gives phrases for more than a window of Russian and then as much English, so that each language has its own."""
    russian = ["один два три", "утро понедельник", "встреча пять", "договор письмо шесть", "дом поезд", "вечер восемь"]
    english = ["one two three", "monday morning", "meeting five", "letter contract six", "house train", "evening eight"]
    at, found = 0.5, []
    for n in range(26):
        words = russian if n < 13 else english
        found.append((at, words[n % 6 if n < 13 else (n - 13) % 6]))
        at += float(rng.uniform(2.3, 2.6))
    return found


def said(voices: str, text: str) -> Phrase:
    """Gives the phrase in the voice of its language."""
    language = "ru" if text[0] >= "а" else "en"
    voice = next(name for name in voices.split() if name.startswith(language))
    return Phrase(language, text, voice, 150, 50)


def save(path: Path, sound: Sound) -> None:
    """Writes Opus at 12 kbit/s or FLAC."""
    kind = "libopus" if path.suffix == ".opus" else "flac"
    with av.open(str(path), "w", format="ogg" if kind == "libopus" else "flac") as file:
        stream = file.add_stream(kind, rate=RATE, layout="mono")
        if kind == "libopus":
            stream.bit_rate = 12_000
        frame = av.AudioFrame.from_ndarray((sound * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.pts = 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)


def main() -> None:
    """Writes all files."""
    rng = np.random.default_rng(SEED)
    FOLDER.mkdir(parents=True, exist_ok=True)
    expected = {}
    spoken = {**SPOKEN, "windows.opus": ("ru", "ru+m6 en-us+f4", "pink", 30, long_one(rng))}
    for name, (language, voices, kind, decibels, phrases) in spoken.items():
        all_said = [said(voices, text) for _, text in phrases]
        sounds = [speak(one) for one in all_said]
        starts = [start for start, _ in phrases]
        clean = place(sounds, starts, starts[-1] + len(sounds[-1]) / RATE + 0.7)
        level = float(np.sqrt(np.mean(clean[np.abs(clean) > 1e-3] ** 2))) * 10 ** (-decibels / 20)
        save(FOLDER / name, clean + noise(rng, kind, len(clean)) * np.float32(level))
        expected[name] = {
            "language": language,
            "segments": [
                {"start": round(start, 2), "end": round(start + len(sound) / RATE, 2), "language": one.language,
                 "text": one.text}
                for one, sound, start in zip(all_said, sounds, starts, strict=True)
            ],
        }  # fmt: skip
    for name, (kind, seconds) in NEVER.items():
        save(FOLDER / name, noise(rng, kind, seconds * RATE) * np.float32(0.05))
        expected[name] = {"language": None, "segments": []}
    text = json.dumps(expected, ensure_ascii=False, indent=1) + "\n"
    (FOLDER / "expected.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

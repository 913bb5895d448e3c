"""How many words the small speech model gets wrong, spoken by voices that it never heard.

    .venv-bench/bin/python bench/speech.py [--phrases 60] [--model FOLDER] [--json]

espeak-ng makes the recordings anew: five phrases each with pauses between, in voices left out of the training, clean
and in noise; faster-whisper reads them with its usual settings, the language not given. Printed for each language and
kind of noise: word error rate (wrong, missing and added words by words said), recordings whose language was
recognised, and by how much the time stamps of a phrase are off. Sound without speech must give no words.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
sys.path.insert(0, str(GOLDEN))

from speech_voices import HELD_OUT, NOISES, RATE, Sound, has_espeak, noise, phrase, place, speak_all  # noqa: E402

TOGETHER = 5  # phrases in one recording
SURROUNDINGS = (("clean", None), ("pink", 20), ("white", 12), ("hum", 6))  # name, decibels of speech over it


@dataclass
class Count:
    """What was counted of one language in one surrounding."""

    said: int = 0
    wrong: int = 0
    recordings: int = 0
    language_right: int = 0
    off: list[float] = field(default_factory=list)  # seconds between a phrase's beginning and the nearest stamp


def wrong_words(said: list[str], heard: list[str]) -> int:
    """Gives the fewest words to change, drop or add that make one list of the other."""
    row = list(range(len(heard) + 1))
    for n, word in enumerate(said, 1):
        before, row[0] = row[0], n
        for m, other in enumerate(heard, 1):
            before, row[m] = row[m], min(row[m] + 1, row[m - 1] + 1, before + (word != other))
    return row[-1]


def recording(rng: np.random.Generator, sounds: list[Sound]) -> tuple[Sound, list[float]]:
    """Gives the phrases one after the other with pauses, and where each begins in seconds."""
    starts, at = [], float(rng.uniform(0.2, 0.8))
    for sound in sounds:
        starts.append(at)
        at += len(sound) / RATE + float(rng.uniform(0.5, 2))
    return place(sounds, starts, at), starts


def hear(model: Any, sound: Sound) -> tuple[list[str], list[float], str]:
    """Gives the words heard, the beginnings of the segments in seconds, and the language."""
    segments, about = model.transcribe(sound)
    found = list(segments)
    words = [word.strip(".,!?-").lower() for segment in found for word in segment.text.split()]
    return words, [segment.start for segment in found], about.language


def measure(model: Any, phrases: int, seed: int) -> dict[str, dict[str, Count]]:
    """Gives the counts by language and surrounding."""
    rng = np.random.default_rng(seed)
    counts: dict[str, dict[str, Count]] = {}
    for language in ("ru", "en"):
        said = [phrase(rng, language, HELD_OUT, int(rng.integers(1, 6))) for _ in range(phrases)]
        sounds = speak_all(said)
        counts[language] = {name: Count() for name, _ in SURROUNDINGS}
        for first in range(0, phrases, TOGETHER):
            part = said[first : first + TOGETHER]
            clean, starts = recording(rng, sounds[first : first + TOGETHER])
            level = float(np.sqrt(np.mean(clean[np.abs(clean) > 1e-3] ** 2)))
            for name, decibels in SURROUNDINGS:
                sound = clean
                if decibels is not None:
                    sound = clean + noise(rng, name, len(clean)) * np.float32(level * 10 ** (-decibels / 20))
                heard, stamps, found = hear(model, sound)
                words = [word for one in part for word in one.text.split()]
                count = counts[language][name]
                count.said += len(words)
                count.wrong += wrong_words(words, heard)
                count.recordings += 1
                count.language_right += found == language
                count.off += [min((abs(start - stamp) for stamp in stamps), default=30.0) for start in starts]
    return counts


def words_in_nothing(model: Any, seconds: float, seed: int) -> dict[str, int]:
    """Gives how many words are heard in sound without speech, by its kind, the voice finder left out."""
    rng = np.random.default_rng(seed)
    length = int(seconds * RATE)
    return {kind: len(hear(model, noise(rng, kind, length) * np.float32(0.05))[0]) for kind in NOISES}


def main() -> None:
    """Measures and prints."""
    arguments = argparse.ArgumentParser(description="word error rate of the small speech model on unheard voices")
    arguments.add_argument("--phrases", type=int, default=60, help="of each language")
    arguments.add_argument("--model", type=Path, default=GOLDEN / "speech" / "small-ct2")
    arguments.add_argument("--seed", type=int, default=11)
    arguments.add_argument("--json", action="store_true")
    asked = arguments.parse_args()
    if not has_espeak():
        print("skipped: espeak-ng is not installed (apt install espeak-ng, brew install espeak-ng)")
        return
    try:
        from faster_whisper import WhisperModel
    except ImportError:
        print("skipped: faster-whisper is not installed")
        return

    model = WhisperModel(str(asked.model), device="cpu", compute_type="int8", cpu_threads=2)
    counts = measure(model, asked.phrases, asked.seed)
    nothing = words_in_nothing(model, 60, asked.seed)
    if asked.json:
        plain = {language: {name: vars(count) for name, count in by.items()} for language, by in counts.items()}
        print(json.dumps({"counts": plain, "words_in_nothing": nothing}))
        return
    print(f"{'':10} {'words':>6} {'wrong':>6} {'WER':>7} {'language':>9} {'off, median':>12} {'90 %':>6}")
    for language, by in counts.items():
        for name, count in by.items():
            half, most = np.percentile(count.off, [50, 90])
            known = f"{count.language_right}/{count.recordings}"
            print(f"{language} {name:7} {count.said:6} {count.wrong:6} {count.wrong / count.said:7.1%} {known:>9} "
                  f"{half:10.2f} s {most:4.2f} s")  # fmt: skip
        said, wrong = sum(count.said for count in by.values()), sum(count.wrong for count in by.values())
        print(f"{language} {'all':7} {said:6} {wrong:6} {wrong / said:7.1%}")
    print("words heard in a minute of", ", ".join(f"{kind}: {words}" for kind, words in nothing.items()))


if __name__ == "__main__":
    main()

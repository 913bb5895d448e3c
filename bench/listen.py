"""What listening to recordings takes: words in what is no speech, memory for long recordings, memory by batch.

    python bench/listen.py [--quick] [--sizes tiny base small turbo]

1. ten minutes each of silence, hum, white noise and music-like tones: windows of speech, and words, which must be 0;
2. a recording of 8 hours against one of 10 seconds: peak memory of finding, windowing and handing over their speech;
3. Whisper at its true shapes, filled with random numbers, int8: memory by the number of windows in a batch, beside
   faster-whisper's own pipeline with a batch of 12. Random numbers show memory and time, not quality.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

RATE = 16_000
# layers of encoder and decoder, width, heads, mel bands, languages: Radford et al., 2022, table 1, and large-v3-turbo
SHAPES = {
    "tiny": (4, 4, 384, 6, 80, 99),
    "base": (6, 6, 512, 8, 80, 99),
    "small": (12, 12, 768, 12, 80, 99),
    "turbo": (32, 4, 1280, 20, 128, 100),
}
NAMES = {"turbo": "whisper-large-v3-turbo"}
BATCHES = (1, 2, 4, 8, 12)


def in_a_process(what: str, *words: str) -> dict[str, Any]:
    """Gives what one measurement says, run alone in a fresh process."""
    command = [sys.executable, __file__, "--only", what, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def peak(reset: bool = False) -> int:
    """Gives the most bytes that this process has held since the last reset. Linux only."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def resident() -> int:
    """Gives the bytes that this process holds now. Linux only."""
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) * 1024


# 1. No speech


def sounds() -> dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]]:
    """Gives sounds without speech, by time in seconds."""
    notes = np.array([261.6, 329.6, 392.0, 523.3, 440.0, 349.2])

    def tones(t: np.ndarray, _: np.random.Generator) -> np.ndarray:
        beat, fading = np.floor(t * 2).astype(int), np.exp(-3 * ((t * 2) % 1))
        played = [notes[(beat * (voice + 1) + voice) % 6] for voice in range(3)]
        return sum((0.08 * fading * np.sin(2 * np.pi * f * h * t) / h for f in played for h in (1, 2, 3)), t * 0)

    return {
        "silence": lambda t, _: t * 0,
        "hum": lambda t, _: sum((0.1 / h * np.sin(2 * np.pi * 50 * h * t) for h in (1, 2, 3)), t * 0),
        "white noise": lambda t, rng: rng.normal(0, 0.1, len(t)),
        "loud white noise": lambda t, rng: rng.normal(0, 0.5, len(t)),
        "tones": tones,
    }


def no_speech(minutes: int) -> None:
    """Prints how much speech is found in sounds without any."""
    from pomnit.engines.vad_silero import Listener
    from pomnit.readers.speech_windows import windows

    for name, sound in sounds().items():
        rng, began = np.random.default_rng(0), time.monotonic()

        def blocks(sound: Any = sound, rng: Any = rng) -> Iterator[np.ndarray]:
            for second in range(minutes * 60):
                yield sound(second + np.arange(RATE) / RATE, rng).astype(np.float32)

        found = list(windows(blocks(), Listener()))
        took = time.monotonic() - began
        print(f"   {name:17} {minutes} min: {len(found)} windows of speech, so 0 words" if not found else
              f"   {name:17} {minutes} min: {len(found)} WINDOWS OF SPEECH", f"in {took:.1f} s")  # fmt: skip


# 2. Long recordings


def write_long(path: Path, seconds: int) -> None:
    """Writes an Opus recording of that length: the golden Russian words again and again."""
    import av

    from support.recordings import RECORDINGS, samples_of

    words = samples_of(RECORDINGS / "ru.opus")
    words = np.concatenate([words, np.zeros(20 * RATE - len(words), np.float32)])  # 20 s
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libopus", rate=48_000, layout="mono")
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48_000)
        packets: list[Any] = []
        sound = av.AudioFrame.from_ndarray(words[None], format="flt", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = RATE, 0, Fraction(1, RATE)
        for part in [*resampler.resample(sound), *resampler.resample(None)]:
            packets += stream.encode(part)
        packets = [(bytes(packet), packet.duration) for packet in packets]
        at = 0
        for _ in range(max(1, seconds // 20)):  # encoded once, and its packets repeated
            for data, duration in packets:
                packet = av.Packet(data)
                packet.stream, packet.time_base = stream, Fraction(1, 48_000)
                packet.pts = packet.dts = at
                packet.duration = duration
                at += duration
                out.mux(packet)


def long_recording(path: str) -> dict[str, Any]:
    """Listens to a recording through the whole chain with a transcriber that only counts, windows 12 at a time."""
    import types

    from pomnit import transcribe
    from pomnit.engines.fake import FakeTranscriber
    from pomnit.governor.leases import Governor
    from pomnit.models.cards import SPEECH
    from pomnit.settings import Settings

    settings = Settings(profile="16gb")
    counting = FakeTranscriber(SPEECH["whisper-base"], lambda window: f"{len(window)}")
    governor = Governor(settings, engines={"transcribe": counting})
    began, told = time.monotonic(), types.SimpleNamespace(n=0)

    def tell(*_: object) -> None:
        told.n += 1

    found = transcribe.transcript(governor, settings, path, None, tell)
    return {"peak": peak(), "windows": len(found.segments), "batches": told.n, "took_s": time.monotonic() - began}


def long_recordings(hours: int) -> None:
    """Prints the peak of a long recording beside that of a short one."""
    with tempfile.TemporaryDirectory() as folder:
        figures = {}
        for name, seconds in (("10 s", 20), (f"{hours} h", hours * 3600)):
            path = Path(folder) / f"{seconds}.opus"
            write_long(path, seconds)
            figures[name] = found = in_a_process("long", str(path))
            print(f"   {name:6} peak {found['peak'] / 1e6:6.1f} MB, {found['windows']} windows,"
                  f" {found['took_s']:.0f} s ({seconds / max(found['took_s'], 0.1):.0f} times real time)")  # fmt: skip
        short, long = figures.values()
        print(f"   difference {(long['peak'] - short['peak']) / 1e6:.1f} MB (wanted: less than 100)")


# 3. Whisper's true shapes


def write_whisper(folder: Path, size: str) -> None:
    """Writes a Whisper of that size in the form of CTranslate2, 16 bits, filled with random numbers."""
    from ctranslate2.specs.whisper_spec import WhisperSpec
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.models import WordLevel

    encoders, decoders, width, heads, bands, n_languages = SHAPES[size]
    golden = json.loads((ROOT / "tests/golden/speech/small/added_tokens.json").read_text("utf-8"))
    languages = [t for t, _ in sorted(golden.items(), key=lambda kv: kv[1]) if len(t) in (6, 7) and t[2:-2].isalpha()]
    languages = [*languages, "<|yue|>"][:n_languages]
    tasks = [f"<|{n}|>" for n in ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")]
    special = ["<|endoftext|>", "<|startoftranscript|>", *languages, *tasks]
    special += [f"<|{i * 0.02:.2f}|>" for i in range(1501)]
    vocabulary = [f"w{i}" for i in range(50_257)] + special
    rng = np.random.default_rng(1)

    def random(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape, np.float32) * 0.02).astype(np.float16)

    def linear(spec: Any, outputs: int, inputs: int) -> None:
        spec.weight, spec.bias = random(outputs, inputs), random(outputs)

    def norm(spec: Any) -> None:
        spec.gamma, spec.beta = np.ones(width, np.float16), np.zeros(width, np.float16)

    def block(spec: Any, *, decodes: bool) -> None:
        linear(spec.self_attention.linear[0], 3 * width, width)
        linear(spec.self_attention.linear[1], width, width)
        norm(spec.self_attention.layer_norm)
        if decodes:
            for part, outputs in zip(spec.attention.linear, (width, 2 * width, width), strict=True):
                linear(part, outputs, width)
            norm(spec.attention.layer_norm)
        linear(spec.ffn.linear_0, 4 * width, width)
        linear(spec.ffn.linear_1, width, 4 * width)
        norm(spec.ffn.layer_norm)

    spec = WhisperSpec(encoders, heads, decoders, heads)
    spec.encoder.conv1.weight, spec.encoder.conv1.bias = random(width, bands, 3), random(width)
    spec.encoder.conv2.weight, spec.encoder.conv2.bias = random(width, width, 3), random(width)
    spec.encoder.position_encodings.encodings = random(1500, width)
    spec.decoder.position_encodings.encodings = random(448, width)
    spec.decoder.embeddings.weight = random(len(vocabulary), width)
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    norm(spec.encoder.layer_norm)
    norm(spec.decoder.layer_norm)
    for layer in spec.encoder.layer:
        block(layer, decodes=False)
    for layer in spec.decoder.layer:
        block(layer, decodes=True)
    spec.register_vocabulary(vocabulary)
    start = vocabulary.index("<|startoftranscript|>") + 1
    spec.config.lang_ids = list(range(start, start + len(languages)))
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [vocabulary.index("<|endoftext|>")], []
    spec.config.alignment_heads = [(0, 0)]
    spec.validate()
    spec.optimize(quantization="float16")
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(vocabulary)}, unk_token="w0"))
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": bands}))


def by_batch(folder: str, size: str) -> dict[str, Any]:
    """Gives the memory of a model, and that with batches, each decoded to its longest text: 224 tokens."""
    from pomnit.engines.transcriber_faster_whisper import FasterWhisperTranscriber
    from pomnit.models.cards import SPEECH

    program = resident()
    engine = FasterWhisperTranscriber(SPEECH[NAMES.get(size, f"whisper-{size}")], Path(folder), 2)
    found: dict[str, Any] = {"program": program, "loading": peak() - program, "held": resident() - program}
    rng = np.random.default_rng(0)
    for n in BATCHES:
        windows = [rng.normal(0, 0.1, 30 * RATE).astype(np.float32) for _ in range(n)]
        gc.collect()
        peak(reset=True)
        began = time.monotonic()
        engine._decode(windows, "ru", 0.0)
        found[str(n)] = peak() - program
        found[f"{n} s"] = time.monotonic() - began
    return found


def own_pipeline(folder: str, _: str) -> dict[str, Any]:
    """Gives the memory of faster-whisper's own pipeline with a batch of 12, and its usual beam of 5."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    program = resident()
    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=2, local_files_only=True)
    sound = np.random.default_rng(0).normal(0, 0.1, 12 * 30 * RATE).astype(np.float32)
    clips = [{"start": 30 * i, "end": 30 * (i + 1)} for i in range(12)]
    peak(reset=True)
    began = time.monotonic()
    segments, _ = BatchedInferencePipeline(model).transcribe(
        sound, language="ru", batch_size=12, vad_filter=False, clip_timestamps=clips, without_timestamps=True
    )
    n = sum(1 for _ in segments)
    return {"peak": peak() - program, "segments": n, "took_s": time.monotonic() - began}


def shapes(sizes: list[str], *, beside: bool) -> None:
    """Prints the memory of models by batch."""
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [sys.executable, __file__, "--only", "write", folder, size], check=True, stdout=subprocess.DEVNULL
            )
            found = in_a_process("batch", folder, size)
            mb = {key: value / 1e6 for key, value in found.items()}
            print(f"   {size:6} held {mb['held']:6.0f} MB, {mb['loading']:6.0f} at most while loading; with a batch of")
            print("          " + ", ".join(f"{n}: {mb[str(n)]:.0f} MB {found[f'{n} s']:.1f} s" for n in BATCHES))
            if beside and size == "base":
                own = in_a_process("own", folder, size)
                print(f"          faster-whisper's own pipeline, 12 windows: {own['peak'] / 1e6:.0f} MB,"
                      f" {own['took_s']:.1f} s")  # fmt: skip


ONLY: dict[str, Callable[..., Any]] = {
    "long": long_recording,
    "batch": by_batch,
    "own": own_pipeline,
    "write": lambda folder, size: write_whisper(Path(folder), size),
}


def main() -> None:
    """Measures and prints."""
    arguments = argparse.ArgumentParser(description="what listening to recordings takes")
    arguments.add_argument("--quick", action="store_true", help="a minute of each sound, an hour, only base")
    arguments.add_argument("--sizes", nargs="+", choices=SHAPES, default=["tiny", "base", "small"])
    arguments.add_argument("--only", nargs="+", help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.only:
        found = ONLY[asked.only[0]](*asked.only[1:])
        print(json.dumps(found) if found else "")
        return
    print("what is no speech")
    no_speech(1 if asked.quick else 10)
    print("long recordings")
    long_recordings(1 if asked.quick else 8)
    print("Whisper at its true shapes, int8, 2 threads, above the program")
    shapes(["base"] if asked.quick else asked.sizes, beside=True)


if __name__ == "__main__":
    main()

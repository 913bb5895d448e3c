"""Text to vectors: ours beside sentence-transformers, with the same weights, texts and threads.

``python bench/encode.py --data DIR`` prints a table; ``--json`` gives the same as JSON. DIR holds ``stsb/``. It needs
torch and sentence-transformers, so it runs in an environment of its own. The measurings take turns, and medians are
compared: on a shared machine seconds vary, ratios hold.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Encode = Callable[[list[str]], Floats]

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from pomnit.engines.encoder_onnx import OnnxEncoder  # noqa: E402
from pomnit.errors import PomnitError  # noqa: E402
from pomnit.models.cards import ALL_MINILM_L6_V2 as CARD  # noqa: E402
from pomnit.models.hub import model_files  # noqa: E402

QUERY = "what did we decide about the budget?"
FRESH_OURS = """
import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])
from pomnit.engines.encoder_onnx import OnnxEncoder; from pomnit.models.cards import ALL_MINILM_L6_V2 as card
from pomnit.models.hub import model_files; cache = Path(sys.argv[2])
OnnxEncoder(card, model_files(card, cache), cache, sys.argv[3]).encode([sys.argv[4]], query=True)
"""
FRESH_THEIRS = """
import sys
from sentence_transformers import SentenceTransformer
SentenceTransformer(sys.argv[1], device="cpu").encode([sys.argv[2]])
"""
PEAK = """
import resource
try:  # of Linux: unlike getrusage it does not count the process that this one was forked from
    print(next(int(line.split()[1]) / 2**10 for line in open("/proc/self/status") if line.startswith("VmHWM")))
except FileNotFoundError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def main() -> int:
    """Measures and prints; 2 when something that it needs is not here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with stsb/stsb-en-dev.csv")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each side")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side encodes each set")
    parser.add_argument("--json", action="store_true", help="JSON instead of the table")
    asked = parser.parse_args()
    try:
        pairs = read_pairs(asked.data / "stsb" / "stsb-en-dev.csv")
        result = compare(pairs, asked.threads, asked.rounds)
    except (OSError, ImportError, PomnitError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(result, indent=1) if asked.json else table(result))
    return 0


def read_pairs(path: Path) -> list[tuple[str, str, float]]:
    """Gives the pairs of sentences with their scores from 0 to 5."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not here; name the folder of the data with --data")
    with path.open(encoding="utf-8", newline="") as file:
        return [(left, right, float(score)) for left, right, score in csv.reader(file)]


def compare(pairs: list[tuple[str, str, float]], threads: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Gives all figures by side, sentence-transformers first."""
    try:
        import sentence_transformers
        import torch
    except ImportError as error:
        raise ImportError(f"{error}; this bench compares with it: pip install torch sentence-transformers") from None
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        files = model_files(CARD, cache)
        theirs = sentence_transformers.SentenceTransformer(str(files), device="cpu")
        sides: dict[str, Encode] = {
            "sentence-transformers": lambda texts: np.asarray(theirs.encode(texts, show_progress_bar=False)),
            "int8": OnnxEncoder(CARD, files, cache, "int8", threads).encode,
            "fp32": OnnxEncoder(CARD, files, cache, "fp32", threads).encode,
        }
        result = measure(sides, pairs, files, rounds)
        for side, figures in result.items():
            figures.update(fresh(side, files, cache, rounds))
    result["setting"] = {"threads": threads, "rounds": rounds, "torch": torch.__version__}
    return result


def text_sets(pairs: list[tuple[str, str, float]]) -> dict[str, list[str]]:
    """Gives sentences, paragraphs (sentences joined to about 800 characters, as passages are), and both mixed."""
    sentences = list(dict.fromkeys(text for a, b, _ in pairs for text in (a, b)))
    paragraphs, part = [], ""
    for sentence in sentences:
        part = f"{part} {sentence}".strip()
        if len(part) >= 700:
            paragraphs.append(part)
            part = ""
    mixed = [text for both in zip(sentences[500:560], paragraphs[60:120], strict=False) for text in both]
    return {"sentences": sentences[:400], "paragraphs": paragraphs[:60], "mixed": mixed}


def measure(
    sides: dict[str, Encode], pairs: list[tuple[str, str, float]], files: Path, rounds: int
) -> dict[str, dict[str, Any]]:
    """Gives for each side tokens per second by set of texts, the ratio and cosine to the first side, and STS-B."""
    sets = text_sets(pairs)
    tokens = {name: count_tokens(texts, files) for name, texts in sets.items()}
    seconds: dict[tuple[str, str], list[float]] = {(side, name): [] for side in sides for name in sets}
    vectors: dict[tuple[str, str], Floats] = {}
    for turn in range(rounds + 1):  # the first turn warms up
        for name, texts in sets.items():
            for side, encode in sides.items():
                start = time.perf_counter()
                vectors[side, name] = encode(texts)
                if turn:
                    seconds[side, name].append(time.perf_counter() - start)
    first = next(iter(sides))
    result: dict[str, dict[str, Any]] = {}
    for side, encode in sides.items():
        speeds = {name: tokens[name] / statistics.median(seconds[side, name]) for name in sets}
        # paired: each turn against the reference's same turn
        ratios = {
            name: statistics.median(a / b for a, b in zip(seconds[first, name], seconds[side, name], strict=True))
            for name in sets
        }
        cosines = np.concatenate([(vectors[side, name] * vectors[first, name]).sum(axis=1) for name in sets])
        result[side] = {
            "tokens_per_s": speeds,
            "ratio": ratios,
            "cosine_mean": float(cosines.mean()),
            "cosine_min": float(cosines.min()),
            "stsb_en_dev": stsb(encode, pairs),
        }
    return result


def count_tokens(texts: list[str], files: Path) -> int:
    """Gives how many tokens the texts have, cut at the card's window as both sides read them; no padding."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(files / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(CARD.max_tokens)
    return sum(len(found.ids) for found in tokenizer.encode_batch(texts))


def stsb(encode: Encode, pairs: list[tuple[str, str, float]]) -> float:
    """Gives Spearman's rank correlation of cosine with score, times 100."""
    left, right = encode([a for a, _, _ in pairs]), encode([b for _, b, _ in pairs])
    cosines = (left * right).sum(axis=1)
    return float(100 * np.corrcoef(ranks(cosines), ranks(np.array([score for *_, score in pairs])))[0, 1])


def ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Gives ranks from 0; equal values share their mean rank."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(count)
    means: NDArray[np.float64] = (ends - (count + 1) / 2)[place]
    return means


def fresh(side: str, files: Path, cache: Path, rounds: int) -> dict[str, float]:
    """Gives seconds and peak memory of a new process, from its start to its end, that encodes one query; medians."""
    if side == "sentence-transformers":
        command = [sys.executable, "-c", FRESH_THEIRS + PEAK, str(files), QUERY]
    else:
        root = str(Path(__file__).resolve().parents[1] / "src")
        command = [sys.executable, "-c", FRESH_OURS + PEAK, root, str(cache), side, QUERY]
    seconds, peaks = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds.append(time.perf_counter() - start)
        peaks.append(float(done.stdout))
    return {"fresh_s": statistics.median(seconds), "fresh_peak_mb": statistics.median(peaks)}


def table(result: dict[str, dict[str, Any]]) -> str:
    """Gives the figures as lines, one column per side."""
    setting = result["setting"]
    sides = [side for side in result if side != "setting"]
    lines = [f"{CARD.name}, {setting['threads']} threads, medians of {setting['rounds']}, torch {setting['torch']}", ""]
    lines.append(f"{'':34}" + "".join(f"{side:>24}" for side in sides))
    for name in result[sides[0]]["tokens_per_s"]:
        cells = [f"{result[s]['tokens_per_s'][name]:.0f} ({result[s]['ratio'][name]:.2f}x)" for s in sides]
        lines.append(f"{'tokens/s, ' + name:34}" + "".join(f"{cell:>24}" for cell in cells))
    for key, label, form in (
        ("cosine_mean", "cosine to the first, mean", ".5f"),
        ("cosine_min", "cosine to the first, least", ".5f"),
        ("stsb_en_dev", "STS-B English dev, Spearman x100", ".2f"),
        ("fresh_s", "new process, one query, s", ".2f"),
        ("fresh_peak_mb", "its peak memory, MB", ".0f"),
    ):
        lines.append(f"{label:34}" + "".join(f"{result[s][key]:>24{form}}" for s in sides))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

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
Pairs = list[tuple[str, str, float]]  # two sentences and how alike they are, from 0 to 5

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from pomnit.engines import onnx_build  # noqa: E402
from pomnit.engines.encoder_onnx import OnnxEncoder  # noqa: E402
from pomnit.errors import PomnitError  # noqa: E402
from pomnit.models import hub  # noqa: E402
from pomnit.models.cards import ALL_MINILM_L6_V2 as CARD  # noqa: E402

QUERY = "what did we decide about the budget?"
BITS = {"8 bits": 8, "fp32": 32}
ASKED = {"8 bits": 0.3, "fp32": 0.1}  # how far from the first side's Spearman x100 each may be
ASKED_MS = 8  # for one query on one core, in a process that is warm
QUERIES = 200
LOAD_OURS = """
import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])
from pomnit.engines.encoder_onnx import OnnxEncoder; from pomnit.models.cards import ALL_MINILM_L6_V2 as card
encode = OnnxEncoder(card, Path(sys.argv[2]), 1).encode
"""
LOAD_THEIRS = """
import sys, torch; from sentence_transformers import SentenceTransformer
torch.set_num_threads(1); model = SentenceTransformer(sys.argv[2], device="cpu")
def encode(texts): return model.encode(texts, show_progress_bar=False)
"""
ONE_CORE = """
import os
if hasattr(os, "sched_setaffinity"): os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
"""
TIMES = """
import json, statistics, time
walls, works = [], []
for text in json.load(sys.stdin):
    start, work = time.perf_counter(), time.process_time()
    encode([text])
    walls.append(time.perf_counter() - start); works.append(time.process_time() - work)
print(*(1000 * statistics.median(found[20:]) for found in (walls, works)))
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
    parser.add_argument("--data", type=Path, required=True, help="folder with stsb/stsb-en-dev.csv and stsb-ru-dev.csv")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each side")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side encodes each set")
    parser.add_argument("--json", action="store_true", help="JSON instead of the table")
    asked = parser.parse_args()
    try:
        pairs = {lang: read_pairs(asked.data / "stsb" / f"stsb-{lang}-dev.csv") for lang in ("en", "ru")}
        result = compare(pairs, asked.threads, asked.rounds)
    except (OSError, ImportError, PomnitError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(result, indent=1) if asked.json else table(result))
    return 0


def read_pairs(path: Path) -> Pairs:
    """Gives the pairs of sentences with their scores."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not here; name the folder of the data with --data")
    with path.open(encoding="utf-8", newline="") as file:
        return [(left, right, float(score)) for left, right, score in csv.reader(file)]


def compare(pairs: dict[str, Pairs], threads: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Gives all figures by side, sentence-transformers first."""
    try:
        import sentence_transformers
        import torch
    except ImportError as error:
        raise ImportError(f"{error}; this bench compares with it: pip install torch sentence-transformers") from None
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        files = hub.published(CARD, cache / "models", cache)
        folders = {"sentence-transformers": files.folder}
        folders |= {side: onnx_build.prepared(CARD, files, bits, cache) for side, bits in BITS.items()}
        theirs = sentence_transformers.SentenceTransformer(str(files.folder), device="cpu")
        sides: dict[str, Encode] = {
            "sentence-transformers": lambda texts: np.asarray(theirs.encode(texts, show_progress_bar=False)),
            **{side: OnnxEncoder(CARD, folders[side], threads).encode for side in BITS},
        }
        result = measure(sides, pairs, files.folder, rounds)
        for side, figures in result.items():
            figures.update(fresh(folders[side], side in BITS, rounds))
            figures.update(one_core(folders[side], side in BITS, pairs["en"]))
        for side in BITS:
            result[side] |= {"stsb_asked": ASKED[side], "query_asked": ASKED_MS}
    result["setting"] = {"threads": threads, "rounds": rounds, "torch": torch.__version__}
    return result


def text_sets(pairs: Pairs) -> dict[str, list[str]]:
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


def measure(sides: dict[str, Encode], pairs: dict[str, Pairs], files: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """Gives for each side tokens per second by set of texts, the ratio and cosine to the first side, and STS-B."""
    sets = text_sets(pairs["en"])
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
            **{f"stsb_{lang}_dev": stsb(encode, asked) for lang, asked in pairs.items()},
        }
        result[side]["stsb_en_away"] = abs(result[side]["stsb_en_dev"] - result[first]["stsb_en_dev"])
    return result


def count_tokens(texts: list[str], files: Path) -> int:
    """Gives how many tokens the texts have, cut at the card's window as both sides read them; no padding."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(files / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(CARD.max_tokens)
    return sum(len(found.ids) for found in tokenizer.encode_batch(texts))


def stsb(encode: Encode, pairs: Pairs) -> float:
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


def fresh(folder: Path, ours: bool, rounds: int) -> dict[str, float]:
    """Gives seconds and peak memory of a new process, from its start to its end, that encodes one query; medians."""
    seconds, peaks = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        said = python(f"{loading(ours)}encode([{QUERY!r}]){PEAK}", folder)
        seconds.append(time.perf_counter() - start)
        peaks.append(float(said))
    return {"fresh_s": statistics.median(seconds), "fresh_peak_mb": statistics.median(peaks)}


def one_core(folder: Path, ours: bool, pairs: Pairs) -> dict[str, float]:
    """Gives the milliseconds of one query in a warm process that has one core, and its work in them; medians."""
    texts = json.dumps([text for text, _, _ in pairs[:QUERIES]])
    wall, work = map(float, python(ONE_CORE + loading(ours) + TIMES, folder, texts).split())
    return {"query_ms": wall, "query_work_ms": work}


def loading(ours: bool) -> str:
    """Gives the lines that load a side on one thread and name its ``encode``."""
    return LOAD_OURS if ours else LOAD_THEIRS


def python(lines: str, folder: Path, given: str = "") -> str:
    """Gives what a new process prints that runs ``lines`` with the model in ``folder``."""
    command = [sys.executable, "-c", lines, str(Path(__file__).resolve().parents[1] / "src"), str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True, input=given).stdout


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
        ("stsb_ru_dev", "STS-B Russian dev, Spearman x100", ".2f"),
        ("stsb_en_dev", "STS-B English dev, Spearman x100", ".2f"),
        ("stsb_en_away", "  away from the first", ".2f"),
        ("stsb_asked", "  asked: at most", ".1f"),
        ("fresh_s", "new process, one query, s", ".2f"),
        ("fresh_peak_mb", "its peak memory, MB", ".0f"),
        ("query_ms", "one query, warm, on one core, ms", ".1f"),
        ("query_work_ms", "  of it work of the processor", ".1f"),
        ("query_asked", "  asked: at most", ".0f"),
    ):
        cells = [f"{result[s][key]:{form}}" if key in result[s] else "-" for s in sides]
        lines.append(f"{label:34}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
